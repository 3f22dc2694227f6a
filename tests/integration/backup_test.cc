// SPDX-License-Identifier: MIT
//
// A backup of a running master, and a cluster that goes on from it.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "tests/integration/cluster.h"

namespace capstan::itest {

TEST_SUITE("integration/backup") {
  TEST_CASE("a backup is made online, and what it had goes on in a new generation") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string done = cli.submit({}, {"echo", "kept"});
    REQUIRE(cli.wait(done) == 0);
    Rendezvous meeting(cluster.dir());
    const std::string running = cli.submit({}, meeting.command());
    const auto first = meeting.arrival();
    const std::string file = cluster.dir() / "a.backup";
    CHECK(contains(cli.ok({"backup", file}), "verified"));
    struct stat status {};
    REQUIRE(::stat(file.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0600U);
    CHECK_FALSE(exists(file + ".part"));
    CHECK(cli.run({"backup", file}).code == 2);  // It is there already.
    const std::string lost = cli.submit({}, {"true"});
    REQUIRE(cli.run({"wait", "--timeout", "1ms", lost}).code == 124);  // Queued behind the other.

    // Refused over the living one.
    const Finished living = cli.run({"restore", file, cluster.master_dir()});
    CHECK(living.code == 3);
    CHECK(contains(living.err, "capstan-master"));

    cluster.kill_master();
    const Finished over = cli.run({"restore", file, cluster.master_dir()});
    CHECK(over.code == 3);
    CHECK(contains(over.err, "not empty"));
    REQUIRE(::rename(cluster.master_dir().c_str(), (cluster.dir() / "old").c_str()) == 0);
    CHECK(cli.run({"restore", file, cluster.master_dir()}).code == 0);
    cluster.start_master();
    CHECK(cli.ok({"logs", done}) == "kept\n");
    CHECK(wait_gone(first.pid));  // The worker ended what the old generation gave it.
    const auto second = meeting.arrival();
    CHECK(second.pid != first.pid);
    meeting.let_go(second.attempt);
    CHECK(cli.wait(running) == 0);
    CHECK(cli.run({"job", lost}).code == 3);  // It came after the backup.
  }

  TEST_CASE("a backup is nobody else's file") {
    const Cluster cluster;
    const std::string file = cluster.dir() / "a.backup";
    write_file(file + ".part", "", 0666);
    cluster.cli().ok({"backup", "--quiet", file});
    struct stat now {};
    REQUIRE(::stat(file.c_str(), &now) == 0);
    CHECK((now.st_mode & 0777U) == 0600);
  }

  TEST_CASE("a master that has led does not begin with an empty queue in place of a lost one") {
    Cluster cluster;
    CHECK(cluster.cli().wait(cluster.cli().submit({}, {"true"})) == 0);
    cluster.kill_master();
    const std::string database = cluster.master_dir() + "/capstan.db";
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((database + suffix).c_str());
    const Finished started = run({.argv = cluster.master_command()});
    CHECK(started.code == 3);
    CHECK(contains(started.err, "is missing"));
    CHECK(contains(started.err, "capstan restore"));
    CHECK_FALSE(exists(database));
  }

  TEST_CASE("a backup in place of a database does not start") {
    Cluster cluster;
    const std::string file = cluster.dir() / "a.backup";
    cluster.cli().ok({"backup", "--quiet", file});
    cluster.kill_master();
    const std::string database = cluster.master_dir() + "/capstan.db";
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((database + suffix).c_str());
    REQUIRE(::rename(file.c_str(), database.c_str()) == 0);
    const Finished started = run({.argv = cluster.master_command()});
    CHECK(started.code == 2);
    CHECK(contains(started.err, "capstan restore"));
    // And alone, without the keys that it carries.
    ::unlink((cluster.master_dir() + "/master.key").c_str());
    const Finished alone = run({.argv = cluster.master_command()});
    CHECK(alone.code == 2);
    CHECK(contains(alone.err, "capstan restore"));
  }
}

}  // namespace capstan::itest
