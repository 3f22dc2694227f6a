// SPDX-License-Identifier: MIT
//
// Virtual time: a clock that jumps from event to event, and the one source of chance. Everything
// that happens in a simulation is an event here, so the same seed gives the same trace.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "common/base/clock.h"
#include "common/base/rng.h"

namespace capstan::sim {

class Schedule final : public Clock {
 public:
  explicit Schedule(std::uint64_t seed) : rng_(seed) {}

  [[nodiscard]] TimePoint now() const override { return now_; }
  [[nodiscard]] WallTime wall() const override {
    return {kWallStart + now_.us + wall_offset_.count()};
  }
  /// The master's wall clock is set by somebody: delays a --begin, at most, or makes it early.
  void shift_wall(Micros by) { wall_offset_ += by; }
  void correct_wall() { wall_offset_ = Micros(0); }
  /// As everybody else's clock shows.
  [[nodiscard]] WallTime true_wall() const { return {kWallStart + now_.us}; }

  using Action = std::function<void()>;
  void at(TimePoint when, Action action);
  void after(Micros delay, Action action) { at(now_ + delay, std::move(action)); }
  /// Runs the next event. False: there is none before `until` (the clock is at `until` then).
  bool step(TimePoint until);

  Rng& rng() { return rng_; }
  /// Uniform in [low, high] µs.
  Micros between(Micros low, Micros high);

  /// Folds what happened into the trace's hash; prints it when tracing.
  void trace(std::string_view what, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0);
  void set_printing(bool on) { printing_ = on; }
  [[nodiscard]] bool is_printing() const { return printing_; }
  [[nodiscard]] std::uint64_t trace_hash() const { return hash_; }

 private:
  static constexpr std::int64_t kWallStart = 1'750'000'000'000'000;
  Rng rng_;
  TimePoint now_{1'000'000};
  Micros wall_offset_{0};
  std::uint64_t order_ = 0;
  std::map<std::pair<TimePoint, std::uint64_t>, Action> events_;
  std::uint64_t hash_ = 0;
  bool printing_ = false;
};

}  // namespace capstan::sim
