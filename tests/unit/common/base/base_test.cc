// SPDX-License-Identifier: MIT
//
// The small ones: errors, ids, clock. (check_test.cc has CHECK: doctest's macro has its name.)
#include <doctest/doctest.h>

#include <cerrno>
#include <memory>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"

using namespace capstan;

namespace {

Result<void> odd_refused(int n) {
  if (n % 2 != 0) return fail(Errc::Invalid, "odd");
  return {};
}

Result<std::unique_ptr<int>> half(int n) {
  TRY(odd_refused(n));
  return std::make_unique<int>(n / 2);
}

Result<int> quarter(int n) {
  const auto once = TRY(half(n));
  return *TRY(half(*once));
}

}  // namespace

TEST_SUITE_BEGIN("common/base");

TEST_CASE("TRY hands on the error or takes the value out, also one that only moves") {
  CHECK(*quarter(8) == 2);
  const auto refused = quarter(6);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::Invalid);
  CHECK(refused.error().message == "odd");
  CHECK(fail(refused.error(), "while halving").value().message == "while halving: odd");
}

TEST_CASE("the system's words for an errno") {
  CHECK(errno_text(ENOENT) == "No such file or directory");
  CHECK_FALSE(errno_text(123456).empty());
}

TEST_CASE("attempts and tasks are written with dots") {
  CHECK(to_string(AttemptKey{JobId(17), TaskIndex(42), AttemptNo(2)}) == "17.42.2");
  CHECK(task_name(JobId(17), TaskIndex(0)) == "17.0");
}

TEST_CASE("random ids differ, and are written as 32 hex digits") {
  const Uuid one = Uuid::random();
  CHECK(one.is_set());
  CHECK(one != Uuid::random());
  CHECK(one.hex().size() == 32);
  Uuid small;
  small.bytes[15] = 0xAB;
  CHECK(small.hex() == "000000000000000000000000000000ab");
  CHECK_FALSE(Uuid{}.is_set());
  CHECK(random_number() != random_number());
}

TEST_CASE("steady time never runs back, and wall time is in this century") {
  const SystemClock clock;
  const TimePoint before = clock.now();
  CHECK(clock.now() >= before);
  CHECK(clock.wall().us > 1'600'000'000'000'000LL);
}

TEST_SUITE_END();
