// SPDX-License-Identifier: MIT
#include "master/core/retry.h"

#include <doctest/doctest.h>

#include <set>

#include "common/model/limits.h"
#include "tests/support/builders.h"

namespace capstan {
namespace {

using test::a_key;

TEST_SUITE_BEGIN("master/core/retry");

TEST_CASE("the backoff doubles from 1 s to 60 s, less up to a quarter") {
  const std::int64_t full_s[] = {1, 1, 2, 4, 8, 16, 32, 60, 60, 60};
  for (std::uint32_t failures = 0; failures < 10; ++failures) {
    const Micros wait = backoff_after(a_key(1, 2, failures + 1), failures);
    CHECK(wait.count() <= full_s[failures] * 1'000'000);
    CHECK(wait.count() >= full_s[failures] * 750'000);
  }
  CHECK(backoff_after(a_key(1, 1, 1), 1'000'000) <= Micros(limits::kBackoffMax));
}

TEST_CASE("a first delay of one's own doubles as well, and may be above the longest") {
  const Micros first = std::chrono::milliseconds(100);
  const Micros third = backoff_after(a_key(1, 1, 3), 3, first);
  CHECK(third <= first * 4);
  CHECK(third * 4 >= first * 12);
  CHECK(backoff_after(a_key(1, 1, 1), 1'000'000, first) <= Micros(limits::kBackoffMax));
  const Micros long_first = limits::kDurationMax;
  for (const std::uint32_t failures : {1U, 9U, 1000U}) {
    const Micros wait = backoff_after(a_key(1, 1, 1), failures, long_first);
    CHECK(wait <= long_first);
    CHECK(wait * 4 >= long_first * 3);
  }
}

TEST_CASE("the jitter differs between tasks and is the same again") {
  std::set<std::int64_t> waits;
  for (std::uint32_t task = 1; task <= 100; ++task) {
    const Micros wait = backoff_after(a_key(1, task, 1), 1);
    CHECK(wait == backoff_after(a_key(1, task, 1), 1));
    waits.insert(wait.count());
  }
  CHECK(waits.size() > 95);
}

TEST_CASE("what each class leads to") {
  const BeforeResult fresh{false, true, 0, 1};
  const BeforeResult spent{false, true, 1, 1};
  CHECK(outcome_of(EndClass::Success, spent) == Outcome::Succeeded);
  for (const EndClass end : {EndClass::Exit, EndClass::Signal, EndClass::Timeout, EndClass::Stall,
                             EndClass::Oom, EndClass::LaunchError}) {
    CHECK(outcome_of(end, fresh) == Outcome::Backoff);
    CHECK(outcome_of(end, spent) == Outcome::Failed);
    CHECK(is_failure(end));
  }
  CHECK(outcome_of(EndClass::LaunchError, {false, false, 9, 1}) == Outcome::Excluded);
  for (const EndClass end : {EndClass::WorkerLost, EndClass::Cancelled, EndClass::Superseded}) {
    CHECK(outcome_of(end, spent) == Outcome::Ready);
    CHECK_FALSE(is_failure(end));
    CHECK_FALSE(proves_launch(end));
  }
  CHECK(outcome_of(EndClass::Success, {true, true, 0, 1}) == Outcome::Cancelled);
  CHECK_FALSE(is_failure(EndClass::Success));
  CHECK_FALSE(proves_launch(EndClass::LaunchError));
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
