// SPDX-License-Identifier: MIT
//
// What a user submits: a command template over 1..N tasks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace capstan {

/// first, first+step … not beyond last. REQUIRES first <= last, step >= 1.
struct IndexRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t step = 1;
  constexpr auto operator<=>(const IndexRange&) const = default;
  [[nodiscard]] constexpr std::uint64_t count() const {
    return (std::uint64_t{last} - first) / step + 1;
  }
};

/// NAME=VALUE for the environment of a task.
struct EnvVar {
  Bytes name;
  Bytes value;
  auto operator<=>(const EnvVar&) const = default;
};

/// The template of a job, fixed at its submission. Stored and sent: fields are appended only, and
/// only together with a higher entry level.
struct JobSpec {
  std::string name;         ///< UTF-8, at most kNameBytes; for people.
  Bytes cwd;                ///< Absolute, on the worker.
  std::vector<Bytes> argv;  ///< The template. With `shell`: exactly one element, a shell line.
  bool shell = false;       ///< Run by /bin/sh -c; inputs are quoted when they are filled in.
  bool has_inputs = false;  ///< One task per input, indices 1..N; else an array or a single task.
  std::vector<EnvVar> env;  ///< Added to the worker's allow-list.
  std::vector<IndexRange> indices;  ///< Ascending, not overlapping. Inputs: {1..N}; single: {1..1}.
  bool array = false;               ///< Indices come from --array.
  std::uint32_t max_running = 0;    ///< `%limit`: at most so many assigned at once; 0: no limit.
  std::uint32_t cpus = 1;
  std::int32_t priority = 0;  ///< Higher goes first.
  std::uint32_t retries = 0;
  Micros time_limit{0};  ///< Of one attempt; 0: none.
  bool hold = false;     ///< Submitted paused.
  /// Values of the inputs that one task takes, in order; the last task may get fewer. Several with
  /// --batch, or one of each source that was combined. {1} is the first of them, {} all.
  std::uint32_t inputs_per_task = 1;
  Bytes script;  ///< Text of a program that argv[0] stands for; "": argv[0] is the program.
  bool has_stdin = false;  ///< Each task reads the job's bytes (msg::JobStdin); else nothing.
  Bytes output_path;       ///< Pattern of a file for each task's stdout, beside the log; "": none.
  Bytes error_path;        ///< The same for stderr.
  Micros backoff{0};       ///< Before the first retry, doubling; 0: limits::kBackoffFirst.
  Micros stall_limit{0};   ///< Killed after so long without output; 0: never.
  std::uint32_t max_failures = 0;  ///< So many failed tasks end the job; 0: any number may fail.
  std::int32_t nice = 10;          ///< Of its processes: -20 … 19.
  std::vector<std::string> tags;   ///< For people, to find it by.
  WallTime begin_at;               ///< Not before; 0: at once.
  std::uint64_t mem_bytes = 0;     ///< Of one task; 0: not said.
  std::vector<JobId> after;        ///< Ascending. Begins when all of them succeeded, else skipped.
  std::vector<JobId> after_any;    ///< Ascending. Begins when all of them are finished.

  bool operator==(const JobSpec&) const = default;
};

[[nodiscard]] std::uint64_t task_count(const JobSpec& spec);

/// Everything in `spec` that limits.h bounds, and that it makes sense (an absolute cwd, argv not
/// empty, ranges ascending …). Both ends call it: the command line for exit 2, the master for
/// whoever does not use ours. A job with inputs may still be without indices (its close counts
/// them).
[[nodiscard]] Result<void> validate(const JobSpec& spec);

/// The order is the order of precedence at the end: failed before cancelled before succeeded.
enum class JobState : std::uint8_t {
  Queued = 0,
  Running,
  Paused,
  Succeeded,
  Failed,
  Cancelled,
  Skipped,  ///< A job that it was to run after did not succeed.
};
std::string_view to_string(JobState state);
Result<JobState> parse_job_state(std::string_view text);
constexpr bool is_finished(JobState s) {
  return s >= JobState::Succeeded;
}

/// How many of a job's tasks are in each state. `running` counts what is assigned.
struct JobCounts {
  std::uint64_t waiting = 0, ready = 0, running = 0, backoff = 0;
  std::uint64_t succeeded = 0, failed = 0, cancelled = 0, skipped = 0;
  bool operator==(const JobCounts&) const = default;
  [[nodiscard]] std::uint64_t finished() const { return succeeded + failed + cancelled + skipped; }
  [[nodiscard]] std::uint64_t total() const {
    return waiting + ready + running + backoff + finished();
  }
};

}  // namespace capstan
