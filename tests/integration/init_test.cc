// SPDX-License-Identifier: MIT
//
// capstan-master init, as an operator types it.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

Args init(const Args& args) {
  Args all = {program("capstan-master"), "init"};
  all.insert(all.end(), args.begin(), args.end());
  return all;
}

std::string at(int port) {
  return "127.0.0.1:" + std::to_string(port);
}

}  // namespace

TEST_SUITE("integration/init") {
  TEST_CASE("it says what was made and what is next, and never touches what is there") {
    const TempDir dir;
    const Args args =
        init({"--masters", "a=node1:7741,b=node2:7741", "--witness", "w=node3:7741", dir / "c"});
    const Finished made = run({.argv = args});
    CHECK(made.code == 0);
    CHECK(made.err.empty());
    CHECK(contains(made.out, "capstan-master --dir b"));
    for (const char* name : {"a/master.key", "b/cluster", "w/capstan.vote", "admin.access"})
      CHECK(exists(dir / "c/" + name));
    CHECK_FALSE(exists(dir / "c/w/admin.access"));
    const std::string key = read_file(dir / "c/a/master.key");
    const Finished again = run({.argv = args});
    CHECK(again.code == 3);
    CHECK(contains(again.err, "not empty"));
    CHECK(read_file(dir / "c/a/master.key") == key);
    CHECK(run({.argv = init({"--help"})}).code == 0);
    CHECK(run({.argv = init({})}).code == 2);
    const auto is_refused = [&](const Args& bad, const std::string& why) {
      const Finished refused = run({.argv = bad});
      CHECK(refused.code == 2);
      CHECK(contains(refused.err, why));
      CHECK(lines_of(refused.err).size() == 1);
      CHECK_FALSE(exists(dir / "d"));
    };
    is_refused(
        init({"--masters", "a=node1:7741,b=node1:7741", "--witness", "w=node3:7741", dir / "d"}),
        "given twice");
    is_refused(init({"--masters", "a=node1:7741,b=node2:7741", dir / "d"}),
               "--witness w=HOST:PORT");
  }

  TEST_CASE("a single master that is adopted goes on as the first node, under every old key") {
    Cluster cluster;
    const std::string done = cluster.cli().submit({}, {"echo", "before"});
    REQUIRE(cluster.cli().wait(done) == 0);
    const Args args =
        init({"--masters", "a=" + at(cluster.port()) + ",b=" + at(free_port()), "--witness",
              "w=" + at(free_port()), "--adopt", cluster.master_dir(), cluster.dir() / "c"});
    const Finished running = run({.argv = args});
    CHECK(running.code == 3);
    CHECK(contains(running.err, "its master runs"));
    CHECK_FALSE(exists(cluster.dir() / "c"));

    cluster.kill_master();
    const Finished made = run({.argv = args});
    REQUIRE(made.code == 0);
    CHECK(contains(made.err, "on one machine"));
    CHECK(contains(made.out, "--dir b --http 127.0.0.1:0"));
    Child old({.argv = cluster.master_command()});
    CHECK(old.wait().code == 2);
    CHECK(contains(old.err(), "start that one"));

    const auto node = [&](const std::string& name) {
      return Child::Options{.argv = {program("capstan-master"), "--dir",
                                     cluster.dir() / "c/" + name, "--http", "127.0.0.1:0"}};
    };
    Child master(node("a"));
    Child standby(node("b"));
    Child witness(node("w"));
    master.wait_for("ready on 127.0.0.1:" + std::to_string(cluster.port()));
    CHECK(cluster.cli().ok({"logs", done}) == "before\n");  // With the old access file.
    const Cli fresh(cluster.dir() / "c/admin.access", cluster.dir().path());
    const std::string next = fresh.submit({}, {"echo", "after"});  // On the old worker.
    CHECK(fresh.wait(next) == 0);
    const std::string known = cluster.worker_dir("w1") + "/worker.access";
    CHECK(eventually([&] { return contains(read_file(known), "master = b "); }));
    master.signal(SIGTERM);
    CHECK(master.wait().code == 0);
  }
}

}  // namespace capstan::itest
