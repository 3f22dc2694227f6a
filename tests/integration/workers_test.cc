// SPDX-License-Identifier: MIT
//
// Workers steered by an admin, placement by memory, and what `why` and `attempts` say of it.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

Json why(const Cli& cli, const std::string& task) {
  return Json::parse(cli.ok({"why", task, "--json"}));
}

std::string verdict(const Json& why, const std::string& worker) {
  for (const Json& one : why.at("workers")) {
    if (one.at("worker") == worker) return one.at("reason");
  }
  return "";
}

}  // namespace

TEST_SUITE("integration/workers") {
  TEST_CASE("drain finishes what runs and gives nothing new, across restarts, until resume") {
    Cluster cluster({.workers = 2});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string job = cli.submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    const std::string other = first.worker == "w1" ? "w2" : "w1";
    cli.ok({"worker", "drain", first.worker, "--reason", "disk swap"});
    CHECK(cli.workers().at(first.worker).at("state") == "draining");
    CHECK(contains(cli.workers().at(first.worker).at("note").get<std::string>(), "disk swap"));
    const auto waiting =
        cli.start({"worker", "drain", first.worker, "--reason", "disk swap", "--wait", "--json"});
    meeting.let_go(1);
    const Finished drained = waiting->wait();
    CHECK(drained.code == 0);
    CHECK(Json::parse(drained.out).at("workers") == Json::array({first.worker}));
    CHECK(cli.wait(job) == 0);
    CHECK(cli.workers().at(first.worker).at("running") == 0);
    const Args three = {"--array", "1-3"};
    const std::string elsewhere = cli.submit(three, {"true"});
    CHECK(cli.wait(elsewhere) == 0);
    for (const Json& task : cli.tasks(elsewhere)) CHECK(task.at("worker") == other);

    cluster.kill_master();
    cluster.start_master();
    cluster.worker(first.worker).signal(SIGTERM);
    (void)cluster.worker(first.worker).wait();
    cluster.start_worker(first.worker);
    CHECK(eventually([&] { return cli.workers_in("up") == 1 && cli.workers_in("draining") == 1; }));
    CHECK(contains(cli.workers().at(first.worker).at("note").get<std::string>(), "disk swap"));
    cli.ok({"worker", "resume", "w*"});
    cluster.wait_workers_up(2);
    cli.ok({"worker", "wait", "2"});
    CHECK(cli.run({"worker", "wait", "3", "--timeout", "300ms"}).code == 124);
  }

  TEST_CASE("remove forgets a worker that is away or drained; others are refused") {
    Cluster cluster({.workers = 2});
    const Cli& cli = cluster.cli();
    const Finished busy = cli.run({"worker", "remove", "w1"});
    CHECK(busy.code == 3);
    CHECK(contains(busy.err, "drain"));
    CHECK(cli.run({"worker", "drain", "w[1-3]"}).code == 3);
    CHECK(cli.workers_in("up") == 2);
    CHECK(cli.run({"worker", "drain", "w[1-"}).code == 2);
    cli.ok({"run", "--", "true"});
    cli.ok({"worker", "drain", "w[1-1]"});
    cli.ok({"worker", "remove", "w1"});
    CHECK(cli.workers().count("w1") == 0);
    // Its key is shut out: it ends, and says why.
    const Finished gone = cluster.worker("w1").wait();
    CHECK(gone.code != 0);
    cluster.worker("w2").signal(SIGTERM);
    (void)cluster.worker("w2").wait();
    CHECK(eventually([&] { return cli.workers_in("up") == 0; }));
    cli.ok({"worker", "remove", "w2"});
    CHECK(cli.workers().empty());
    // The name is free for another machine.
    Child::Options options;
    options.argv = {program("capstan-worker"),
                    "--access",
                    cluster.worker_access(),
                    "--dir",
                    cluster.worker_dir("new"),
                    "--name",
                    "w1",
                    "--cpus",
                    "1"};
    Child again(std::move(options));
    cluster.wait_workers_up(1);
    CHECK(cli.workers().count("w1") == 1);
    CHECK(cluster.database().number("SELECT count(*) FROM workers WHERE removed") == 2);
  }

  TEST_CASE("why names the reason for the task, and for each worker") {
    Cluster cluster({.workers = 2, .cpus = 2});
    const Cli& cli = cluster.cli();
    const Finished wide = cli.run({"submit", "--cpus", "64", "--", "true"});
    CHECK(wide.code == 0);
    CHECK(contains(wide.err + wide.out, "no connected worker has 64 cpus"));
    Json said = why(cli, "last");
    CHECK(said.at("state") == "ready");
    CHECK(verdict(said, "w1") == "needs 64 cpus, has 2");
    CHECK(verdict(said, "w2") == "needs 64 cpus, has 2");
    cli.ok({"cancel", "last"});

    cli.ok({"worker", "drain", "w2", "--reason", "disk swap"});
    Rendezvous meeting(cluster.dir());
    const std::string job = cli.submit({"--array", "1-3%2"}, meeting.command());
    (void)meeting.arrival();
    (void)meeting.arrival();
    said = why(cli, job + ".3");
    CHECK(contains(said.at("reason").get<std::string>(), "%limit 2 reached"));
    CHECK(verdict(said, "w1") == "2 of 2 cpus busy");
    CHECK(contains(verdict(said, "w2"), ": disk swap"));
    CHECK(contains(why(cli, job + ".1").at("reason").get<std::string>(), "w1"));
    CHECK(contains(cli.ok({"why", job + ".3"}), "disk swap"));
    const std::string held = cli.submit({"--hold"}, {"true"});
    CHECK(why(cli, held).at("reason") == "job is paused: capstan resume " + held);
    meeting.let_go(1);
    meeting.let_go(1);
    (void)meeting.arrival();
    meeting.let_go(1);
    CHECK(cli.wait(job) == 0);
    CHECK(why(cli, job + ".1").at("state") == "succeeded");
    CHECK(cli.run({"why", job + ".9"}).code == 3);
    CHECK(cli.run({"why", job}).code == 2);
  }

  TEST_CASE("attempts lists every try, where and how it ended") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job =
        cli.submit({"--retries", "2"}, {"sh", "-c", "exit $((3-CAPSTAN_ATTEMPT))"});
    CHECK(cli.wait(job) == 0);
    const std::vector<Json> attempts = json_lines(cli.ok({"attempts", job + ".1", "--json"}));
    REQUIRE(attempts.size() == 3);
    CHECK(attempts[0].at("class") == "exit");
    CHECK(attempts[0].at("exit_code") == 2);
    CHECK(attempts[1].at("exit_code") == 1);
    CHECK(attempts[2].at("class") == "success");
    for (const Json& attempt : attempts) {
      CHECK(attempt.at("worker") == "w1");
      CHECK(attempt.at("late") == false);
      CHECK_FALSE(attempt.at("assigned_at").is_null());
    }
    CHECK(lines_of(cli.ok({"attempts", job})).size() == 4);
  }
}

}  // namespace capstan::itest
