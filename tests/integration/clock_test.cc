// SPDX-License-Identifier: MIT
//
// Wall clocks that are wrong or jump decide nothing: silence, backoff and order go by steady time,
// and what people are shown is the master's time.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>

#include "tests/integration/peers.h"

namespace capstan::itest {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;

/// The wall clock of the programs that are started with env().
class WrongClock {
 public:
  explicit WrongClock(const TempDir& dir) : path_(dir / "clock") { set(microseconds(0)); }
  void set(microseconds offset) {
    const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::int64_t us = offset.count();
    REQUIRE(::pwrite(fd.get(), &us, sizeof us, 0) == sizeof us);
  }
  [[nodiscard]] Args env() const {
    return {"LD_PRELOAD=" + program("libfaults.so"), "ASAN_OPTIONS=verify_asan_link_order=0",
            "CAPSTAN_TEST_CLOCK=" + path_};
  }

 private:
  std::string path_;
};

std::int64_t wall_us() {
  return std::chrono::duration_cast<microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// A task that fails at first, so that its backoff is part of it.
std::string submit_one_that_fails_first(const Cli& cli) {
  return cli.submit({"--retries", "1"}, {"sh", "-c", "test $CAPSTAN_ATTEMPT -gt 1"});
}

}  // namespace

TEST_SUITE("integration/clock") {
  TEST_CASE("a worker whose clock is an hour off") {
    const TempDir dir;
    WrongClock clock(dir);
    SUBCASE("ahead") {
      clock.set(hours(1));
    }
    SUBCASE("behind") {
      clock.set(hours(-1));
    }
    const std::int64_t began = wall_us();
    Cluster cluster({.worker_env = clock.env()});
    const Cli& cli = cluster.cli();
    const std::string job = submit_one_that_fails_first(cli);
    CHECK(cli.wait(job) == 0);
    clock.set(microseconds(0));  // And it is put right while it works.
    const std::string next = submit_one_that_fails_first(cli);
    CHECK(cli.wait(next) == 0);
    const std::int64_t ended = wall_us();
    const Database database = cluster.database();
    for (const char* time : {"assigned_at_us", "started_at_us", "ended_at_us"}) {
      CAPTURE(time);
      for (const std::string& us :
           database.column(std::string("SELECT ") + time + " FROM all_attempts")) {
        CHECK(std::stoll(us) >= began);
        CHECK(std::stoll(us) <= ended);
      }
    }
    CHECK(database.number("SELECT count(*) FROM all_attempts") == 4);
    CHECK(database.number("SELECT count(*) FROM all_attempts WHERE end_class = 'worker_lost'") ==
          0);
    CHECK(cli.workers().at("w1").at("state") == "up");
  }

  TEST_CASE("the master's clock is set back an hour, and forth again, while it works") {
    const TempDir dir;
    WrongClock clock(dir);
    Cluster cluster({.cpus = 2, .master_env = clock.env()});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string running = cli.submit({}, meeting.command());
    const Rendezvous::Arrival arrival = meeting.arrival();
    const auto check_works = [&] {
      const auto began = std::chrono::steady_clock::now();
      CHECK(cli.wait(submit_one_that_fails_first(cli)) == 0);
      // A backoff of a second is one, in whatever year.
      CHECK(std::chrono::steady_clock::now() - began < kPatience);
      CHECK(cli.workers().at("w1").at("state") == "up");
    };
    for (const microseconds offset : {microseconds(hours(-1)), microseconds(hours(1))}) {
      clock.set(offset);
      check_works();
    }
    // A start in the past: entries go on from where they were.
    clock.set(hours(-1));
    cluster.kill_master();
    cluster.start_master();
    cluster.wait_workers_up(1);
    check_works();
    CHECK(cluster.database().number(
              "SELECT count(*) FROM all_attempts WHERE end_class = 'worker_lost'") == 0);
    CHECK(is_alive(arrival.pid));
    meeting.let_go(1);
    CHECK(cli.wait(running) == 0);
  }
}

}  // namespace capstan::itest
