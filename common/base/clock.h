// SPDX-License-Identifier: MIT
//
// Time. Steady time decides (silence, deadlines); wall time is for people. Pure code is handed
// both; only shells own a Clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace capstan {

using Micros = std::chrono::microseconds;

/// Steady time: µs since an arbitrary beginning, never runs back. Not comparable across machines.
struct TimePoint {
  std::int64_t us = 0;
  constexpr auto operator<=>(const TimePoint&) const = default;
  constexpr TimePoint operator+(Micros d) const { return {us + d.count()}; }
  constexpr TimePoint operator-(Micros d) const { return {us - d.count()}; }
  constexpr Micros operator-(TimePoint other) const { return Micros(us - other.us); }
  /// Later than every real time: "no deadline".
  static constexpr TimePoint never() { return {INT64_MAX}; }
};

/// Wall time: µs since 1970-01-01 UTC.
struct WallTime {
  std::int64_t us = 0;
  constexpr auto operator<=>(const WallTime&) const = default;
};

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint now() const = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
};

/// CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override;
  [[nodiscard]] WallTime wall() const override;
};

}  // namespace capstan
