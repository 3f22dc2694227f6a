// SPDX-License-Identifier: MIT
//
// A task's states, and what an attempt at it came to.
//
//              deps met             assigned             exit 0
//  [Waiting] ----------> [Ready] -----------> [Running] ---------> [Succeeded]
//                           ^                  |
//                           |  backoff over    |  fails, or its worker is lost
//                        [Backoff] <-----------+----> [Failed]     no attempts left
//     cancel: from Waiting, Ready, Backoff at once -> [Cancelled]; from Running when its processes
//     are reported gone.       a needed task failed -> [Skipped]
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/sparse_text.h"

namespace capstan {

/// Stored and sent: never renumber.
enum class TaskState : std::uint8_t {
  Waiting = 0,
  Ready = 1,
  Running = 2,
  Backoff = 3,
  Succeeded = 4,
  Failed = 5,
  Cancelled = 6,
  Skipped = 7,
};
constexpr bool is_finished(TaskState s) {
  return s >= TaskState::Succeeded;
}
std::string_view to_string(TaskState state);
Result<TaskState> parse_task_state(std::string_view text);

/// How an attempt ended. Stored and sent: never renumber.
enum class EndClass : std::uint8_t {
  Success = 0,
  Exit = 1,         ///< A non-zero exit code.
  Signal = 2,       ///< Killed by a signal that we did not send.
  Timeout = 3,      ///< --time-limit.
  Stall = 4,        ///< --stall-limit (later).
  Oom = 5,          ///< Killed for memory (later).
  LaunchError = 6,  ///< Program, cwd or stdin missing: it never ran.
  WorkerLost = 7,   ///< Its worker was lost, or stopped with it.
  Cancelled = 8,    ///< By the user.
  Superseded = 9,   ///< Another attempt won.
};
std::string_view to_string(EndClass end);  ///< "success", "exit", …, "launch_error", …

/// What the worker says of one attempt that ended. No clock of the worker's is in it: durations
/// only, so that a clock that is an hour off changes nothing.
struct AttemptResult {
  AttemptKey key;
  EndClass end = EndClass::Success;
  std::int32_t exit_code = 0;  ///< Valid for Success and Exit.
  std::int32_t signal = 0;     ///< The signal that ended it, or 0.
  SparseText reason;           ///< In words, at most kReasonBytes; "" when there is nothing to add.
  Micros ended_ago{0};         ///< Steady time between its end and the sending of this.
  Micros wall{0};              ///< From start to end.
  Micros cpu{0};               ///< User and system, descendants included.
  std::uint64_t max_rss_bytes = 0;
  std::uint64_t stdout_bytes = 0;  ///< Written by the task, dropped ones included.
  std::uint64_t stderr_bytes = 0;
  SparseText stdout_tail;  ///< The end, at most kTailBytes; all of it when stdout_bytes fits.
  SparseText stderr_tail;
  bool operator==(const AttemptResult&) const = default;
};

/// Why an attempt is to be killed: decides the class of its result.
enum class CancelWhy : std::uint8_t { User = 0, Superseded = 1, NotGranted = 2 };

enum class Stream : std::uint8_t { Stdout = 0, Stderr = 1 };

/// Attempts of one number, of tasks that follow each other. 1 at least.
struct AttemptRun {
  JobId job;
  AttemptNo attempt;
  TaskIndex first;
  std::uint32_t count = 1;
  bool operator==(const AttemptRun&) const = default;
};
/// True: it follows the others, and is one of them now.
[[nodiscard]] bool extend(AttemptRun& run, const AttemptKey& key);
/// The same attempts in the same order.
[[nodiscard]] std::vector<AttemptRun> runs_of(const std::vector<AttemptKey>& keys);
[[nodiscard]] std::vector<AttemptKey> keys_of(const std::vector<AttemptRun>& runs);

}  // namespace capstan
