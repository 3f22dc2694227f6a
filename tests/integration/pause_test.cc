// SPDX-License-Identifier: MIT
//
// A worker that is stopped for a while: shorter than the limit nothing is run again; longer than
// it, its tasks run elsewhere and its late results count as they should.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

/// Stops or continues shepherd and agent, not their tasks.
void signal_worker(Cluster& cluster, const std::string& name, int number) {
  const pid_t agent = cluster.agent_of(name);
  REQUIRE(agent != 0);
  ::kill(agent, number);
  cluster.worker(name).signal(number);
}

double last_heard_s(const Cluster& cluster, const std::string& name) {
  const Json heard = cluster.cli().workers().at(name).at("last_heard_s");
  return heard.is_null() ? -1 : heard.get<double>();
}

}  // namespace

TEST_SUITE("integration/pause") {
  TEST_CASE("12 s: it is suspected, and nothing is run again") {
    Cluster cluster({.workers = 2});
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    signal_worker(cluster, first.worker, SIGSTOP);
    CHECK(eventually([&] { return last_heard_s(cluster, first.worker) >= 12; }));
    CHECK(cluster.cli().workers().at(first.worker).at("state") == "suspect");
    // It gets no new work meanwhile, and others go on.
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
    signal_worker(cluster, first.worker, SIGCONT);
    CHECK(eventually([&] { return cluster.cli().workers_in("up") == 2; }));
    meeting.let_go(1);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.cli().tasks(job).at(0).at("attempt") == 1);
    CHECK(cluster.database().number("SELECT count(*) FROM attempts") == 0);
  }

  TEST_CASE("longer than the limit: its late success wins while the task is not finished") {
    Cluster cluster(
        {.workers = 2, .master_flags = {"--suspect-after", "3s", "--lost-after", "5s"}});
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    signal_worker(cluster, first.worker, SIGSTOP);
    const Rendezvous::Arrival second = meeting.arrival();
    CHECK(second.attempt == 2);
    CHECK(second.worker != first.worker);
    // The first attempt ends well while its worker cannot say so.
    meeting.let_go(1);
    CHECK(wait_gone(first.pid));
    signal_worker(cluster, first.worker, SIGCONT);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.cli().tasks(job).at(0).at("attempt") == 1);
    // The second is taken back, and is gone.
    CHECK(wait_gone(second.pid));
    CHECK(eventually([&] {
      return cluster.database().number(
                 "SELECT count(*) FROM attempts WHERE attempt = 2 AND end_class = 'superseded'") ==
             1;
    }));
    CHECK(cluster.database().number(
              "SELECT count(*) FROM all_attempts WHERE end_class = 'success'") == 1);
  }

  TEST_CASE("longer than the limit: what comes after the task is finished changes nothing") {
    Cluster cluster(
        {.workers = 2, .master_flags = {"--suspect-after", "3s", "--lost-after", "5s"}});
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    signal_worker(cluster, first.worker, SIGSTOP);
    const Rendezvous::Arrival second = meeting.arrival();
    meeting.let_go(2);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.cli().tasks(job).at(0).at("attempt") == 2);
    CHECK(is_alive(first.pid));
    signal_worker(cluster, first.worker, SIGCONT);
    // It is not wanted any more: killed when its worker comes back.
    CHECK(wait_gone(first.pid));
    CHECK(eventually([&] { return cluster.cli().workers_in("up") == 2; }));
    CHECK(cluster.cli().tasks(job).at(0).at("attempt") == 2);
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
  }
}

}  // namespace capstan::itest
