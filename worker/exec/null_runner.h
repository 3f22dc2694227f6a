// SPDX-License-Identifier: MIT
//
// A runner that starts nothing: every attempt succeeds at once. What is left is the scheduler alone
// (capstan-worker --null-exec, scripts/bench), with nothing else in the path changed: each result
// has a wall time that was measured, and usage of its own that a sum over the tables can be checked
// against. One command means something: `fail-every N` fails where the task's index is a multiple
// of N. Shepherd thread only.
#pragma once

#include <functional>

#include "worker/exec/runner.h"

namespace capstan {

class NullRunner final : public Runner {
 public:
  /// `on_other_child`: a child that is no task's, that is any.
  explicit NullRunner(std::function<void(pid_t, int status)> on_other_child)
      : on_other_child_(std::move(on_other_child)) {}

  void ignore(pid_t) override {}
  [[nodiscard]] Result<Started> start(const shepherd::Launch& launch) override;
  void kill(const AttemptKey&, bool) override {}
  void follow(JobId, bool) override {}
  [[nodiscard]] shepherd::Seen look(const AttemptKey& key) override { return {key, {}, 0}; }
  void poll_fds(std::vector<pollfd>&) const override {}
  void on_readable(int) override {}
  void on_child() override;
  void on_deadline() override {}
  [[nodiscard]] TimePoint next_deadline() const override { return TimePoint::never(); }
  [[nodiscard]] std::vector<Ended> take_ended() override;
  [[nodiscard]] std::size_t running_count() const override { return ended_.size(); }

  /// What task INDEX claims to have used: 1 … 1009 µs, and up to 4 MiB in steps of 4 KiB. Both are
  /// primes, so that neither a lost nor a doubled result leaves the sums as they are.
  static Micros cpu_of(TaskIndex task) { return Micros(1 + task.value % 1009); }
  static std::uint64_t rss_of(TaskIndex task) {
    return (1 + std::uint64_t{task.value} % 1021) * 4096;
  }

 private:
  std::function<void(pid_t, int)> on_other_child_;
  std::vector<Ended> ended_;
};

}  // namespace capstan
