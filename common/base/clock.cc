// SPDX-License-Identifier: MIT
#include "common/base/clock.h"

#include <ctime>

namespace capstan {
namespace {

std::int64_t read_us(clockid_t id) {
  timespec t{};
  ::clock_gettime(id, &t);
  return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_nsec / 1000;
}

}  // namespace

TimePoint SystemClock::now() const {
  return {read_us(CLOCK_MONOTONIC)};
}

WallTime SystemClock::wall() const {
  return {read_us(CLOCK_REALTIME)};
}

}  // namespace capstan
