// SPDX-License-Identifier: MIT
//
// kill -9 of a worker's agent, of its shepherd, of both, of the whole process group: tasks go on or
// are run again elsewhere within 10 s, each recorded as what it was, and no process is left behind.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

/// Two workers of one cpu, and a job of one task that has arrived on one of them.
struct Scene {
  Cluster cluster{{.workers = 2}};
  Fifo started{cluster.dir() / "daemons"};
  Rendezvous meeting{cluster.dir()};
  std::string job;
  Rendezvous::Arrival first;
  /// Forked twice by the first attempt, in sessions of their own; one has no environment.
  std::vector<pid_t> daemons;

  explicit Scene(bool with_daemons = false) {
    Args command = meeting.command();
    if (with_daemons) {
      const std::string daemon =
          "/usr/bin/setsid /bin/sh -c 'echo $$ > daemons; exec sleep 1000' >/dev/null 2>&1 &) ; ";
      command[2] = "(" + daemon + "(/usr/bin/env -i " + daemon + command[2];
    }
    job = cluster.cli().submit({}, command);
    first = meeting.arrival();
    CHECK(first.attempt == 1);
    while (with_daemons && daemons.size() < 2) daemons.push_back(std::stoi(started.line()));
  }

  void check_daemons_gone() const {
    CHECK(daemons.size() == 2);
    for (const pid_t daemon : daemons) CHECK(wait_gone(daemon, 15s));
  }

  void check_runs_elsewhere_within_10_s() {
    const Rendezvous::Arrival second = meeting.arrival(10s);
    CHECK(second.attempt == 2);
    CHECK(second.worker != first.worker);
    CHECK(wait_gone(first.pid, 10s));
    meeting.let_go(2);
    CHECK(cluster.cli().wait(job) == 0);
    const Database database = cluster.database();
    CHECK(database.column("SELECT end_class FROM all_attempts ORDER BY attempt") ==
          std::vector<std::string>{"worker_lost", "success"});
  }
};

}  // namespace

TEST_SUITE("integration/worker_kill") {
  TEST_CASE("the agent: tasks go on, it is started again") {
    Scene scene;
    const pid_t agent = scene.cluster.agent_of(scene.first.worker);
    REQUIRE(agent != 0);
    ::kill(agent, SIGKILL);
    CHECK(eventually([&] {
      const pid_t now = scene.cluster.agent_of(scene.first.worker);
      return now != 0 && now != agent;
    }));
    CHECK(is_alive(scene.first.pid));
    scene.meeting.let_go(1);
    CHECK(scene.cluster.cli().wait(scene.job) == 0);
    const Json task = scene.cluster.cli().tasks(scene.job).at(0);
    CHECK(task.at("attempt") == 1);
    CHECK(task.at("worker") == scene.first.worker);
    CHECK(scene.cluster.database().number("SELECT count(*) FROM all_attempts") == 1);
  }

  TEST_CASE("the agent, again and again, under load") {
    Cluster cluster({.cpus = 2});
    Fifo done(cluster.dir() / "done");
    const std::string job =
        cluster.cli().submit({"--array", "1-300"}, {"sh", "-c", "echo $CAPSTAN_TASK_INDEX > done"});
    std::map<std::string, int> runs;
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 40; ++i) ++runs[done.line()];
      const pid_t agent = cluster.agent_of("w1");
      if (agent != 0) ::kill(agent, SIGKILL);
    }
    CHECK(cluster.cli().wait(job) == 0);
    while (runs.size() < 300) ++runs[done.line()];
    CHECK(done.is_empty());
    for (const auto& [task, times] : runs) CHECK(times == 1);
    CHECK(cluster.database().number("SELECT count(*) FROM attempts") == 0);
  }

  TEST_CASE("the shepherd: its tasks die with it and run elsewhere") {
    Scene scene(true);
    const pid_t agent = scene.cluster.agent_of(scene.first.worker);
    scene.cluster.worker(scene.first.worker).signal(SIGKILL);
    scene.check_runs_elsewhere_within_10_s();
    // The agent sees the end of the pair, kills what escaped, and goes.
    CHECK(wait_gone(agent, 15s));
    scene.check_daemons_gone();
    scene.cluster.start_worker(scene.first.worker);
    scene.cluster.wait_workers_up(2);
    CHECK(scene.cluster.cli().workers().size() == 2);
  }

  TEST_CASE("shepherd and agent at once: what escaped is gone after the next start") {
    Scene scene(true);
    const pid_t agent = scene.cluster.agent_of(scene.first.worker);
    Child& shepherd = scene.cluster.worker(scene.first.worker);
    shepherd.signal(SIGSTOP);
    ::kill(agent, SIGSTOP);
    ::kill(agent, SIGKILL);
    shepherd.signal(SIGKILL);
    scene.check_runs_elsewhere_within_10_s();
    scene.cluster.start_worker(scene.first.worker);
    scene.cluster.wait_workers_up(2);
    scene.check_daemons_gone();
  }

  TEST_CASE("the whole process group") {
    Scene scene(true);
    const pid_t agent = scene.cluster.agent_of(scene.first.worker);
    scene.cluster.worker(scene.first.worker).signal_group(SIGKILL);
    CHECK(wait_gone(agent, 10s));
    scene.check_runs_elsewhere_within_10_s();
    scene.cluster.start_worker(scene.first.worker);
    scene.cluster.wait_workers_up(2);
    scene.check_daemons_gone();
  }

  TEST_CASE("a task that keeps killing its workers fails in the end") {
    Cluster cluster({.workers = 1, .master_flags = {"--closed-grace", "200ms"}});
    Fifo starts(cluster.dir() / "starts");
    const std::string job = cluster.cli().submit(
        {"--retries", "100"}, {"sh", "-c", "echo $CAPSTAN_ATTEMPT > starts; sleep 1000"});
    int started = 0;
    while (!contains(cluster.cli().job(job).at("state").get<std::string>(), "failed")) {
      REQUIRE(started < 10);
      (void)starts.line();
      ++started;
      // Its start must be heard before the kill, or nobody is to blame.
      REQUIRE(
          eventually([&] { return !cluster.cli().tasks(job).at(0).at("started_at").is_null(); }));
      cluster.worker("w1").signal_group(SIGKILL);
      REQUIRE(eventually([&] { return cluster.cli().workers_in("up") == 0; }));
      cluster.start_worker("w1");
      cluster.wait_workers_up(1);
      REQUIRE(eventually(
          [&] { return !starts.is_empty() || cluster.cli().job(job).at("state") == "failed"; }));
    }
    CHECK(started >= 3);
    CHECK(started <= 4);
  }

  TEST_CASE("goodbye on SIGTERM: running tasks finish, nothing new comes") {
    Cluster cluster({.workers = 2});
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    Child& leaving = cluster.worker(first.worker);
    leaving.signal(SIGTERM);
    CHECK(eventually([&] { return cluster.cli().workers_in("up") == 1; }));
    for (int i = 0; i < 3; ++i) CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
    CHECK(is_alive(first.pid));
    meeting.let_go(1);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(leaving.wait().code == 0);
    CHECK(cluster.database().number("SELECT count(*) FROM attempts") == 0);
  }

  TEST_CASE("goodbye with a grace that is too short: the task runs elsewhere at once") {
    Cluster cluster({.workers = 2, .worker_flags = {"--grace", "200ms", "--kill-grace", "200ms"}});
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    cluster.worker(first.worker).signal(SIGTERM);
    const Rendezvous::Arrival second = meeting.arrival(10s);
    CHECK(second.worker != first.worker);
    CHECK(wait_gone(first.pid));
    CHECK(cluster.worker(first.worker).wait().code == 0);
    meeting.let_go(2);
    CHECK(cluster.cli().wait(job) == 0);
  }
}

}  // namespace capstan::itest
