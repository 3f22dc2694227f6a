// SPDX-License-Identifier: MIT
#include "common/model/task.h"

#include <fmt/format.h>

namespace capstan {
namespace {

constexpr std::string_view kStates[] = {"waiting",   "ready",  "running",   "backoff",
                                        "succeeded", "failed", "cancelled", "skipped"};
constexpr std::string_view kEnds[] = {"success",   "exit",      "signal",       "timeout",
                                      "stall",     "oom",       "launch_error", "worker_lost",
                                      "cancelled", "superseded"};

}  // namespace

std::string_view to_string(TaskState state) {
  const auto number = static_cast<std::size_t>(state);
  return number < std::size(kStates) ? kStates[number] : "unknown";
}

Result<TaskState> parse_task_state(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kStates); ++i) {
    if (text == kStates[i]) return static_cast<TaskState>(i);
  }
  return fail(Errc::Invalid, fmt::format("unknown task state '{}': use {}", printable(text),
                                         fmt::join(kStates, ", ")));
}

std::string_view to_string(EndClass end) {
  const auto number = static_cast<std::size_t>(end);
  return number < std::size(kEnds) ? kEnds[number] : "unknown";
}

bool extend(AttemptRun& run, const AttemptKey& key) {
  const std::uint64_t next = std::uint64_t{run.first.value} + run.count;
  if (key.job != run.job || key.attempt != run.attempt || key.task.value != next) return false;
  ++run.count;
  return true;
}

std::vector<AttemptRun> runs_of(const std::vector<AttemptKey>& keys) {
  std::vector<AttemptRun> runs;
  for (const AttemptKey& key : keys) {
    if (!runs.empty() && extend(runs.back(), key)) continue;
    runs.push_back({key.job, key.attempt, key.task, 1});
  }
  return runs;
}

std::vector<AttemptKey> keys_of(const std::vector<AttemptRun>& runs) {
  std::vector<AttemptKey> keys;
  for (const AttemptRun& run : runs) {
    for (std::uint32_t n = 0; n < run.count; ++n) {
      keys.push_back({run.job, TaskIndex(run.first.value + n), run.attempt});
    }
  }
  return keys;
}

}  // namespace capstan
