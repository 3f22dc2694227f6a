// SPDX-License-Identifier: MIT
//
// Retry and cancel of what is large, over, or both: right, and soon.
#include <doctest/doctest.h>

#include <chrono>

#include "tests/integration/peers.h"

namespace capstan::itest {
namespace {

/// How long something took.
class Watch {
 public:
  [[nodiscard]] Seconds passed() const { return std::chrono::steady_clock::now() - began_; }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace

TEST_SUITE("integration/steering") {
  TEST_CASE("a finished job is retried after a restart, with large inputs, right") {
    Cluster cluster({.cpus = 4});
    const Cli& cli = cluster.cli();
    // 60 inputs of 60 kB: each its own chunk. Those that end in 7 fail as long as `gate` is shut.
    std::string inputs;
    for (int i = 0; i < 60; ++i)
      inputs += std::string(60'000, 'i') + "-" + std::to_string(i) + "\n";
    const std::string gate = cluster.dir() / "gate";
    const std::string job = cli.submit(
        {"--each-line", "-", "--retries", "0", "--shell"},
        {"case {} in *7) test -e " + gate + " || exit 1;; esac; x={}; echo ${#x} ${x#*-}"}, inputs);
    CHECK(cli.wait(job) == 1);
    CHECK(cli.job(job).at("counts").at("failed") == 6);
    cluster.kill_master();
    cluster.start_master();
    cluster.wait_workers_up(1);
    write_file(gate, "");
    CHECK(cli.ok({"retry", "--failed", job}).find("6") != std::string::npos);
    CHECK(cli.wait(job) == 0);
    CHECK(cli.job(job).at("counts").at("succeeded") == 60);
    const Database database = cluster.database();
    CHECK(database.number("SELECT count(*) FROM all_attempts") == 66);
    CHECK(database.number("SELECT count(*) FROM tasks WHERE attempts = 2") == 6);
    CHECK(contains(cli.ok({"logs", job + ".18"}), "60003 17"));
  }

  TEST_CASE("a million running and waiting tasks are cancelled within a second but for what runs") {
    Cluster cluster({.cpus = 4, .worker_flags = {"--kill-grace", "1s"}});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    Watch submitting;
    const std::string job = cli.submit({"--array", "1-1000000"}, meeting.command());
    MESSAGE("1,000,000 tasks were submitted in " << submitting.passed().count() << " s");
    for (int i = 0; i < 4; ++i) (void)meeting.arrival();
    Watch cancelling;
    cli.ok({"cancel", job});
    const Seconds took = cancelling.passed();
    MESSAGE("and cancelled in " << took.count() << " s");
    CHECK(took < 1s);
    const Json counts = cli.job(job).at("counts");
    CHECK(counts.at("ready") == 0);
    CHECK(counts.at("cancelled").get<int>() + counts.at("running").get<int>() == 1'000'000);
    CHECK(cli.wait(job) == 1);
    CHECK(cli.job(job).at("counts").at("cancelled") == 1'000'000);
    // And all of them again, and away with them: one flag.
    Watch again;
    cli.ok({"retry", job});
    cli.ok({"cancel", job});
    MESSAGE("retried and cancelled again in " << again.passed().count() << " s");
    CHECK(cli.wait(job) == 1);
  }
}

}  // namespace capstan::itest
