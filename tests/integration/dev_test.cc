// SPDX-License-Identifier: MIT
//
// `capstan dev`: a whole cluster in the foreground, and its nodes steered from another terminal.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {

TEST_SUITE("integration/dev") {
  TEST_CASE("with a command it ends with that command's exit code, and nothing is left") {
    const TempDir dir;
    const Cli cli("", dir.path());
    Finished done = cli.run({"dev", "--workers", "2", "--cpus", "1", "--", "sh", "-c",
                             program("capstan") + " run --quiet -- echo inside; exit 7"});
    CHECK(done.code == 7);
    CHECK(contains(done.out, "inside\n"));
    // Throw-away: what it made was its own, and nothing of it runs on.
    done = cli.run({"dev", "--workers", "1", "--dir", dir / "kept", "--", "true"});
    CHECK(done.code == 0);
    const Finished left = run({.argv = {"pgrep", "-f", dir / "kept"}});
    CHECK(left.out.empty());
  }

  TEST_CASE("Ctrl-C ends everything, running tasks as well") {
    DevCluster cluster(2, 1);
    Rendezvous meeting(cluster.dir());
    (void)cluster.cli().submit({}, meeting.command());
    const pid_t task = meeting.arrival().pid;
    cluster.child().signal(SIGINT);
    (void)cluster.child().wait();
    CHECK(wait_gone(task));
    const Finished left = run({.argv = {"pgrep", "-f", cluster.dir() / "dev"}});
    CHECK(left.out.empty());
  }

  TEST_CASE("a second start in the same directory has the history") {
    const TempDir dir;
    const Cli cli("", dir.path());
    const Args start = {"dev", "--workers", "1", "--dir", dir / "kept", "--"};
    Args first = start;
    first.insert(first.end(), {"sh", "-c", program("capstan") + " run --quiet -- echo kept"});
    CHECK(cli.run(first).code == 0);
    Args second = start;
    second.insert(second.end(), {"sh", "-c", program("capstan") + " logs 1"});
    CHECK(contains(cli.run(second).out, "kept\n"));
  }

  TEST_CASE("ps, kill, start: a worker's loss and return") {
    DevCluster cluster(2, 1);
    const std::string nodes = cluster.dev({"ps"});
    for (const std::string node : {"master", "w1", "w2", "w1.agent"}) CHECK(contains(nodes, node));
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    cluster.dev({"kill", first.worker});
    const Rendezvous::Arrival second = meeting.arrival(15s);
    CHECK(second.worker != first.worker);
    meeting.let_go(2);
    CHECK(cluster.cli().wait(job) == 0);
    cluster.dev({"start", first.worker});
    CHECK(eventually([&] { return cluster.cli().workers_in("up") == 2; }));
  }

  TEST_CASE("kill and start of the master; the agent alone") {
    DevCluster cluster(1, 1);
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const pid_t task = meeting.arrival().pid;
    cluster.dev({"kill", "master"});
    CHECK(cluster.cli().run({"jobs", "--timeout", "1s"}).code == 75);
    cluster.dev({"start", "master"});
    cluster.dev({"kill", "w1.agent"});
    CHECK(is_alive(task));
    meeting.let_go(1);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.database().number("SELECT count(*) FROM all_attempts") == 1);
  }

  TEST_CASE("two masters: the one that leads is killed, the other leads, both again in sync") {
    DevCluster cluster(1, 1, DevCluster::Pair{});
    const std::string nodes = cluster.dev({"ps"});
    for (const std::string node : {"a ", "b ", "w ", "w1 ", "w1.agent "})
      CHECK(contains(nodes, node));
    CHECK_FALSE(contains(nodes, "master"));
    cluster.wait_in_sync();
    const std::string first = cluster.primary();
    cluster.dev({"kill", first});
    CHECK(eventually([&] { return cluster.primary() == DevCluster::other(first); }));
    CHECK(cluster.cli().run({"run", "--quiet", "--", "echo", "on"}).out == "on\n");
    cluster.dev({"start", first});
    cluster.wait_in_sync();
    CHECK(cluster.primary() == DevCluster::other(first));
  }

  TEST_CASE("stop and continue") {
    DevCluster cluster(1, 1);
    cluster.dev({"stop", "master"});
    CHECK(cluster.cli().run({"jobs", "--timeout", "1s"}).code == 75);
    cluster.dev({"continue", "master"});
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
    CHECK(cluster.cli().run({"dev", "kill", "w9"}).code != 0);
  }
}

}  // namespace capstan::itest
