// SPDX-License-Identifier: MIT
//
// Disks that are full, and disks that fail: what was acknowledged stays, what cannot be kept is
// refused or not asked for, and whoever has to act is told.
#include <doctest/doctest.h>

#include "tests/integration/peers.h"

namespace capstan::itest {
namespace {

constexpr std::uint64_t kMasterDisk = 192 * kMiB;
constexpr std::uint64_t kWorkerDisk = 64 * kMiB;

/// False, with a word about it, where no small disk can be made.
bool can_mount() {
  const std::string why_not = SmallDisk::why_not();
  if (!why_not.empty()) MESSAGE(why_not);
  return why_not.empty();
}

Finished submit_now(const Cli& cli) {
  return cli.run({"submit", "--quiet", "--timeout", "1s", "--", "true"});
}

std::string note_of(const Cli& cli, const std::string& worker) {
  return cli.workers().at(worker).at("note").get<std::string>();
}

}  // namespace

TEST_SUITE("integration/disk") {
  TEST_CASE("the master's disk is full: submissions are refused, what runs is committed") {
    if (!can_mount()) return;
    Cluster cluster({.master_disk_bytes = kMasterDisk});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string running = cli.submit({}, meeting.command());
    (void)meeting.arrival();
    const std::string waiting = cli.submit({}, {"true"});
    cluster.master_disk().fill();
    // The result meets a full disk, and the ballast makes room for it.
    meeting.let_go(1);
    CHECK(cli.wait(running) == 0);
    CHECK(cli.wait(waiting) == 0);
    const Finished refused = submit_now(cli);
    CHECK(refused.code == 75);
    CHECK(refused.out.empty());
    CHECK(contains(refused.err, "disk is nearly full"));
    CHECK(!cli.status().at("alarms").empty());
    CHECK(eventually([&] { return contains(cluster.master().err(), "error disk."); }));
    CHECK(cluster.master().is_running());

    SUBCASE("room again: submissions are taken again") {
      cluster.master_disk().empty();
      CHECK(eventually([&] { return submit_now(cli).code == 0; }));
      CHECK(cli.status().at("alarms").empty());
    }
    SUBCASE("it fills up again: exit 70 with the reason, and the restart loses nothing") {
      const std::size_t jobs = cli.jobs().size();
      // Retries and cancels are taken until nothing more can be written.
      cluster.master_disk().fill();
      CHECK(eventually([&] {
        (void)cli.run({"retry", "--timeout", "1s", running});
        (void)cli.run({"cancel", "--timeout", "1s", running});
        return !cluster.master().is_running();
      }));
      const Finished ended = cluster.master().wait();
      CHECK(ended.code == 70);
      CHECK(contains(ended.err, "disk is full"));
      cluster.master_disk().empty();
      cluster.start_master();
      CHECK(cli.jobs().size() == jobs);
      const std::string state = cli.job(waiting).at("state");
      CHECK(state == "succeeded");
      cluster.wait_workers_up(1);
      check_serves(cluster);
    }
  }

  TEST_CASE("a master starts on a disk that is full: the ballast makes room for the start") {
    if (!can_mount()) return;
    Cluster cluster({.master_disk_bytes = kMasterDisk});
    const Cli& cli = cluster.cli();
    const std::string done = cli.submit({}, {"true"});
    CHECK(cli.wait(done) == 0);
    bool is_again = false;
    SUBCASE("behind a crash") {
      cluster.kill_master();
    }
    SUBCASE("behind an orderly end") {
      cluster.master().signal(SIGTERM);
      CHECK(cluster.master().wait().code == 0);
    }
    SUBCASE("and has no room at all the second time") {
      cluster.kill_master();
      is_again = true;
    }
    cluster.master_disk().fill();
    cluster.start_master();
    const std::string state = cli.job(done).at("state");
    CHECK(state == "succeeded");
    CHECK(contains(cluster.master().err(), "the ballast is used up, for the start"));
    CHECK(cli.run({"job", "delete", done}).code == 0);
    if (is_again) {
      cluster.kill_master();
      cluster.master_disk().fill();
      Child starting({.argv = cluster.master_command()});
      const Finished ended = starting.wait();
      CHECK(ended.code == 70);
      CHECK(contains(ended.err, "make room on that disk"));
    }
    cluster.master_disk().empty();
    if (is_again) cluster.start_master();
    CHECK(eventually([&] { return submit_now(cli).code == 0; }));
  }

  TEST_CASE("a write error of the master's database: exit 70, and the restart loses nothing") {
    const TempDir control;
    const std::string fault = control / "fault";
    std::string failing;
    SUBCASE("in a write") {
      failing = "capstan.db-wal write\n";
    }
    SUBCASE("in a sync: unknown whether it is there") {
      failing = "capstan.db-wal sync\n";
    }
    Cluster cluster(
        {.master_env = {"LD_PRELOAD=" + program("libfaults.so"),
                        "ASAN_OPTIONS=verify_asan_link_order=0", "CAPSTAN_TEST_DISK=" + fault}});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string done = cli.submit({}, {"true"});
    CHECK(cli.wait(done) == 0);
    const std::string running = cli.submit({}, meeting.command());
    const Rendezvous::Arrival arrival = meeting.arrival();
    const std::string waiting = cli.submit({}, {"true"});

    write_file(fault, failing);
    meeting.let_go(1);
    const Finished ended = cluster.master().wait();
    CHECK(ended.code == 70);
    CAPTURE(ended.err);
    CHECK(contains(ended.err, "writing the database"));
    CHECK(contains(ended.err, "disk I/O error"));
    ::unlink(fault.c_str());
    cluster.start_master();
    CHECK(cli.wait(running) == 0);
    CHECK(cli.wait(waiting) == 0);
    CHECK(cli.wait(done) == 0);
    const Database database = cluster.database();
    CHECK(database.column("SELECT job || ' ' || attempt || ' ' || end_class FROM all_attempts"
                          " ORDER BY job, attempt") ==
          std::vector<std::string>{done + " 1 success", running + " 1 success",
                                   waiting + " 1 success"});
    CHECK(database.column("PRAGMA integrity_check") == std::vector<std::string>{"ok"});
    CHECK(arrival.attempt == 1);
  }

  TEST_CASE("the master's disk cannot take output: it stays with its worker until it can") {
    if (!can_mount()) return;
    Cluster cluster({.master_disk_bytes = kMasterDisk});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string job = cli.submit({}, meeting.command("seq 200000"));
    (void)meeting.arrival();
    cluster.master_disk().fill();
    meeting.let_go(1);
    CHECK(cli.wait(job) == 0);
    const auto logs = cli.start({"logs", job});
    logs->wait_for("waiting for what w1 has not delivered of " + job + ".1 yet");
    cluster.master_disk().empty();
    const Finished all = logs->wait();
    CHECK(all.code == 0);
    CHECK(lines_of(all.out).size() == 200'000);
    CHECK(all.out.ends_with("\n200000\n"));
  }

  TEST_CASE("a worker's disk is full: it takes no new work, says so, and keeps its results") {
    if (!can_mount()) return;
    Cluster cluster({.worker_disk_bytes = kWorkerDisk});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string running = cli.submit({}, meeting.command("seq 100000; echo end"));
    (void)meeting.arrival();
    cluster.worker_disk("w1").fill();
    meeting.let_go(1);
    CHECK(cli.wait(running) == 0);  // Its result came from memory.
    CHECK(eventually([&] { return contains(note_of(cli, "w1"), "disk full"); }));
    CHECK(cli.workers().at("w1").at("state") == "draining");
    const std::string waiting = cli.submit({}, {"true"});
    CHECK(cli.run({"wait", "--timeout", "2s", waiting}).code == 124);
    CHECK(cli.job(waiting).at("counts").at("running") == 0);
    CHECK(cluster.worker("w1").is_running());

    cluster.worker_disk("w1").empty();
    CHECK(cli.wait(waiting) == 0);
    CHECK(eventually([&] { return !contains(note_of(cli, "w1"), "disk full"); }));
    CHECK(cli.workers().at("w1").at("state") == "up");
  }
}

}  // namespace capstan::itest
