// SPDX-License-Identifier: MIT
//
// What the end of an attempt leads to: the table of docs/architecture.md section 5, and how long a
// task waits before it is tried again. Pure.
//
//   class                               spends            leads to
//   success                             nothing           Succeeded
//   exit signal timeout stall oom       a retry           Backoff, or Failed when none is left
//   launch_error, never launched        nothing           Ready, and the worker is out for this job
//   launch_error, launched elsewhere    a retry           Backoff or Failed
//   worker_lost cancelled superseded    nothing           Ready
//   any of them while being cancelled   nothing           Cancelled
#pragma once

#include <cstdint>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/task.h"

namespace capstan {

enum class Outcome : std::uint8_t { Succeeded, Backoff, Failed, Cancelled, Ready, Excluded };

/// What is known of the task and its job when the attempt's result arrives.
struct BeforeResult {
  bool cancelling = false;
  bool launched = false;       ///< Some attempt of the job got past launching.
  std::uint32_t failures = 0;  ///< Retries spent so far.
  std::uint32_t retries = 0;   ///< Retries allowed.
};

/// Of a result that counts. Backoff and Failed spend a retry; Excluded: Ready, but not there.
[[nodiscard]] Outcome outcome_of(EndClass end, const BeforeResult& before);

/// The task itself did it, on this worker: a retry prefers another one.
[[nodiscard]] bool is_failure(EndClass end);

/// The command was started, so program and directory exist there.
[[nodiscard]] bool proves_launch(EndClass end);

/// `first` (0: 1 s) doubling to 60 s, or to `first` where that is more, by the number of failures
/// (1: the first), of which up to a quarter is taken off by a hash of the attempt, so that tasks
/// that failed together do not come back together.
[[nodiscard]] Micros backoff_after(const AttemptKey& key, std::uint32_t failures,
                                   Micros first = Micros(0));

}  // namespace capstan
