// SPDX-License-Identifier: MIT
//
// Who may be what: a second master on a directory, two workers of one name, an admin's file for a
// worker, a worker that needs no flag any more.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

std::string printed(const Finished& done) {
  return done.out + done.err;
}

}  // namespace

TEST_SUITE("integration/identity") {
  TEST_CASE("a second master on the same directory is refused with the pid of the first") {
    Cluster cluster({.workers = 0});
    Child::Options options;
    options.argv = {program("capstan-master"),
                    "--dir",
                    cluster.master_dir(),
                    "--listen",
                    "127.0.0.1:0",
                    "--http",
                    "127.0.0.1:0"};
    const Finished second = run(std::move(options));
    CHECK(second.code != 0);
    CHECK(contains(second.err, std::to_string(cluster.master().pid())));
    (void)cluster.cli().status();
  }

  TEST_CASE("a second worker on the same directory is refused with the pid of the first") {
    Cluster cluster;
    Child::Options options;
    options.argv = cluster.worker_command("w1");
    const Finished second = run(std::move(options));
    CHECK(second.code != 0);
    CHECK(contains(second.err, std::to_string(cluster.worker("w1").pid())));
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
  }

  TEST_CASE("two workers with one name: the second becomes NAME-2 and says so") {
    Cluster cluster;
    Child::Options options;
    options.argv = {program("capstan-worker"),
                    "--access",
                    cluster.worker_access(),
                    "--dir",
                    cluster.worker_dir("other"),
                    "--name",
                    "w1",
                    "--cpus",
                    "1"};
    Child second(std::move(options));
    second.wait_for("w1-2");
    cluster.wait_workers_up(2);
    const auto workers = cluster.cli().workers();
    CHECK(workers.count("w1") == 1);
    CHECK(workers.count("w1-2") == 1);
  }

  TEST_CASE("an admin's file is refused for a worker") {
    Cluster cluster({.workers = 0});
    Child::Options options;
    options.argv = {program("capstan-worker"), "--access", cluster.admin_access(), "--dir",
                    cluster.worker_dir("x")};
    const Finished done = run(std::move(options));
    CHECK(done.code != 0);
    CHECK(contains(printed(done), "worker.access"));
  }

  TEST_CASE("a worker that has its key needs no flag, and keeps its name") {
    Cluster cluster;
    cluster.worker("w1").signal(SIGTERM);
    CHECK(cluster.worker("w1").wait().code == 0);
    Child::Options options;
    options.argv = {program("capstan-worker"), "--dir", cluster.worker_dir("w1"), "--cpus", "1"};
    Child again(std::move(options));
    cluster.wait_workers_up(1);
    CHECK(cluster.cli().workers().count("w1") == 1);
    CHECK(cluster.cli().workers().size() == 1);
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
  }

  TEST_CASE("what holds keys is for its owner alone") {
    Cluster cluster;
    struct stat access {};
    REQUIRE(::stat(cluster.admin_access().c_str(), &access) == 0);
    CHECK((access.st_mode & 0777) == 0600);
    struct stat state {};
    REQUIRE(::stat(cluster.master_dir().c_str(), &state) == 0);
    CHECK((state.st_mode & 0077) == 0);
    write_file(cluster.dir() / "open.access", read_file(cluster.admin_access()), 0644);
    const Finished done = cluster.cli().run({"--access", cluster.dir() / "open.access", "jobs"});
    CHECK(done.code != 0);
    CHECK(contains(done.err, "chmod 600"));
  }

  TEST_CASE("exactly one database in the master's directory, and its schema says its version") {
    const Cluster cluster({.workers = 0});
    const Finished listed =
        run({.argv = {"sh", "-c", "ls \"$1\"/*.db | wc -l", "sh", cluster.master_dir()}});
    CHECK(listed.out == "1\n");
    CHECK(cluster.database().number("PRAGMA user_version") == 1);
    CHECK(cluster.database().number("PRAGMA auto_vacuum") == 2);
    CHECK(cluster.database().column("PRAGMA journal_mode").at(0) == "wal");
  }
}

}  // namespace capstan::itest
