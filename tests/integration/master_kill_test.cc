// SPDX-License-Identifier: MIT
//
// kill -9 of the master at any moment, under load: every acknowledged job is there afterwards, what
// ran is not run again, no result comes twice.
#include <doctest/doctest.h>
#include <signal.h>

#include <set>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

constexpr int kTasksPerJob = 150;

Args array_of(int tasks) {
  return {"--array", "1-" + std::to_string(tasks)};
}

/// Says "JOB.TASK" in the pipe `done`, then ends.
Args say_done() {
  return {"sh", "-c", "echo $CAPSTAN_JOB_ID.$CAPSTAN_TASK_INDEX > done"};
}

std::string first_line(const std::string& text) {
  const std::vector<std::string> lines = lines_of(text);
  return lines.empty() ? "" : lines[0];
}

}  // namespace

TEST_SUITE("integration/master_kill") {
  TEST_CASE("six kills under load lose nothing and repeat nothing") {
    Cluster cluster({.workers = 2, .cpus = 2});
    Fifo done(cluster.dir() / "done");
    std::vector<std::string> acknowledged = {
        cluster.cli().submit(array_of(kTasksPerJob), say_done())};
    std::map<std::string, int> runs;

    for (int round = 0; round < 6; ++round) {
      // A different moment each time: after so many tasks of this round, a submission on its way.
      for (int i = 0; i < 10 + 17 * round; ++i) ++runs[done.line()];
      Args args = {"submit", "--quiet"};
      for (const std::string& arg : array_of(kTasksPerJob)) args.push_back(arg);
      args.emplace_back("--");
      for (const std::string& arg : say_done()) args.push_back(arg);
      const auto client = cluster.cli().start(args);
      if (round % 2 == 1) ++runs[done.line()];
      cluster.kill_master();
      cluster.start_master();
      const Finished submitted = client->wait();
      REQUIRE_MESSAGE(submitted.code == 0, submitted.err);
      acknowledged.push_back(first_line(submitted.out));
    }

    for (const std::string& job : acknowledged) CHECK(cluster.cli().wait(job) == 0);
    CHECK(std::set<std::string>(acknowledged.begin(), acknowledged.end()).size() == 7);
    CHECK(cluster.cli().jobs().size() == 7);

    const std::size_t all = acknowledged.size() * kTasksPerJob;
    std::size_t said = 0;
    for (const auto& [task, times] : runs) said += static_cast<std::size_t>(times);
    for (; said < all; ++said) ++runs[done.line()];
    CHECK(done.is_empty());
    CHECK(runs.size() == all);
    for (const auto& [task, times] : runs) {
      CAPTURE(task);
      CHECK(times == 1);
    }
    const Database database = cluster.database();
    CHECK(database.number("SELECT count(*) FROM tasks WHERE state = 'succeeded' AND attempt = 1") ==
          static_cast<std::int64_t>(all));
    CHECK(database.number("SELECT count(*) FROM attempts") == 0);
  }

  TEST_CASE("tasks run on while no master is there, and their results arrive afterwards") {
    Cluster cluster({.workers = 1, .cpus = 3});
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({"--array", "1-3"}, meeting.command("echo bye"));
    std::vector<Rendezvous::Arrival> arrivals;
    for (int i = 0; i < 3; ++i) arrivals.push_back(meeting.arrival());
    cluster.kill_master();
    // Two end while nobody listens; one runs on.
    meeting.let_go(1);
    meeting.let_go(1);
    CHECK(eventually([&] {
      std::size_t gone = 0;
      for (const auto& arrival : arrivals) gone += is_alive(arrival.pid) ? 0 : 1;
      return gone == 2;
    }));
    cluster.start_master();
    CHECK(eventually([&] { return cluster.cli().job(job).at("counts").at("succeeded") == 2; }));
    meeting.let_go(1);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.database().number("SELECT count(*) FROM all_attempts") == 3);
    CHECK(contains(cluster.cli().ok({"logs", job + ".1"}), "bye"));
  }

  TEST_CASE("a wait goes on across a restart of the master") {
    Cluster cluster;
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    (void)meeting.arrival();
    const auto waiting = cluster.cli().start({"wait", job});
    const auto running = cluster.cli().start({"run", "--", "echo", "behind it"});
    cluster.kill_master();
    cluster.start_master();
    meeting.let_go(1);
    CHECK(waiting->wait().code == 0);
    const Finished ran = running->wait();
    CHECK(ran.code == 0);
    CHECK(ran.out == "behind it\n");
  }

  TEST_CASE("SIGTERM ends the master cleanly, and the next start has everything") {
    Cluster cluster;
    const std::string job = cluster.cli().submit({"--hold", "--name", "kept"}, {"true"});
    cluster.master().signal(SIGTERM);
    CHECK(cluster.master().wait().code == 0);
    cluster.start_master();
    CHECK(cluster.cli().job(job).at("name") == "kept");
    CHECK(cluster.cli().job(job).at("state") == "paused");
    cluster.cli().ok({"resume", job});
    CHECK(cluster.cli().wait(job) == 0);
  }
}

}  // namespace capstan::itest
