// SPDX-License-Identifier: MIT
//
// A command that cannot be started is a launch error, with the system's words.
#include <doctest/doctest.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

void check_launch_error(const Cluster& cluster, const Args& options, const Args& command,
                        const std::string& words) {
  CAPTURE(words);
  const Cli& cli = cluster.cli();
  const std::string job = cli.submit(options, command);
  CHECK(cli.wait(job) != 0);

  CHECK(cli.job(job).at("state") == "failed");
  const std::vector<Json> tasks = cli.tasks(job);
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].at("state") == "failed");
  const std::string reason = tasks[0].at("reason");
  CHECK(reason.starts_with("launch_error"));
  CHECK(contains(reason, words));

  const Finished shown = cli.run({"job", job});
  CHECK(contains(shown.out + shown.err, words));
  const Finished logs = cli.run({"logs", job});
  CHECK(contains(logs.out + logs.err, words));

  const Database database = cluster.database();
  CHECK(database.number("SELECT count(*) FROM all_attempts WHERE job = " + job +
                        " AND end_class <> 'launch_error'") == 0);
}

}  // namespace

// ThreadSanitizer makes vfork a fork, and the child's errno never comes back.
TEST_SUITE("integration/launch" * doctest::skip(kThreadsAreChecked)) {
  TEST_CASE("not found, not executable, no such directory") {
    Cluster cluster({.workers = 2});
    write_file(cluster.dir() / "script", "#!/bin/sh\nexit 0\n", 0644);
    write_file(cluster.dir() / "lost-interpreter", "#!/no/such/interpreter\n", 0755);
    check_launch_error(cluster, {}, {"/no/such/program"}, "No such file or directory");
    check_launch_error(cluster, {}, {"capstan-no-such-program-in-path"},
                       "No such file or directory");
    check_launch_error(cluster, {}, {cluster.dir() / "script"}, "Permission denied");
    check_launch_error(cluster, {}, {cluster.dir() / "lost-interpreter"},
                       "No such file or directory");
    check_launch_error(cluster, {"--cwd", "/no/such/folder"}, {"true"}, "/no/such/folder");
    // A worker that cannot start one job is as good as ever for the next.
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
  }

  TEST_CASE("workers that cannot launch a job are excluded from it, and named when all are") {
    Cluster cluster({.workers = 2});
    const std::string job = cluster.cli().submit({"--array", "1-50"}, {"/no/such/program"});
    CHECK(cluster.cli().wait(job) != 0);
    const std::string shown = cluster.cli().ok({"job", job});
    CHECK(contains(shown, "w1"));
    CHECK(contains(shown, "w2"));
    // It gave up as a whole: not every task was tried on every worker.
    CHECK(cluster.database().number("SELECT count(*) FROM all_attempts WHERE job = " + job) < 100);
    CHECK(cluster.cli().job(job).at("counts").at("succeeded") == 0);
  }

  TEST_CASE("run says why, and ends with a failure") {
    const Cluster cluster;
    const Finished done = cluster.cli().run({"run", "--", "/no/such/program"});
    CHECK(done.code != 0);
    CHECK(contains(done.err, "No such file or directory"));
  }
}

}  // namespace capstan::itest
