// SPDX-License-Identifier: MIT
#include "worker/exec/null_runner.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

namespace capstan {
namespace {

shepherd::Launch launch_of(std::uint32_t task) {
  return {.key = {JobId(3), TaskIndex(task), AttemptNo(1)}, .argv = {"/bin/false"}};
}

TEST_SUITE("worker/exec/null_runner") {
  TEST_CASE("every attempt succeeds at once, with usage of its own") {
    NullRunner runner([](pid_t, int) {});
    REQUIRE(runner.start(launch_of(1)));
    REQUIRE(runner.start(launch_of(2)));
    CHECK(runner.running_count() == 2);
    const std::vector<Runner::Ended> ended = runner.take_ended();
    REQUIRE(ended.size() == 2);
    CHECK(ended[0].key.task == TaskIndex(1));
    CHECK(ended[0].end.exit_code == 0);
    CHECK(ended[0].end.cpu == NullRunner::cpu_of(TaskIndex(1)));
    CHECK(ended[1].end.cpu != ended[0].end.cpu);
    CHECK(ended[1].end.max_rss_bytes != ended[0].end.max_rss_bytes);
    CHECK(runner.take_ended().empty());
  }

  TEST_CASE("fail-every N fails every Nth") {
    NullRunner runner([](pid_t, int) {});
    for (const std::uint32_t task : {19U, 20U}) {
      shepherd::Launch launch = launch_of(task);
      launch.argv = {"fail-every", "20"};
      REQUIRE(runner.start(launch));
    }
    const std::vector<Runner::Ended> ended = runner.take_ended();
    CHECK(ended[0].end.exit_code == 0);
    CHECK(ended[1].end.exit_code == 1);
  }

  TEST_CASE("the agent's end is told") {
    pid_t told = 0;
    int status = 0;
    NullRunner runner([&](pid_t pid, int how) { told = pid, status = how; });
    char name[] = "false";
    char* const argv[] = {name, nullptr};
    pid_t child = 0;
    REQUIRE(::posix_spawnp(&child, "false", nullptr, nullptr, argv, environ) == 0);
    siginfo_t ended{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) == 0);
    runner.on_child();
    CHECK(told == child);
    CHECK(WEXITSTATUS(status) == 1);
  }
}

}  // namespace
}  // namespace capstan
