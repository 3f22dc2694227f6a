// SPDX-License-Identifier: MIT
//
// A job as its rows leave it: only touched tasks have one. These walks put the untouched ones in
// between, for lists, and count them into runs, for a job that is reopened. Pure; used by both
// stores, so that they cannot differ.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/error.h"
#include "common/model/job.h"
#include "master/core/command.h"
#include "master/core/rows.h"

namespace capstan::store {

/// What a task without a row is: Ready while its job lives, Cancelled when the whole job was; in a
/// job that ended by itself whatever the job's counts say of those that it never touched.
[[nodiscard]] TaskState untouched_state(const JobRow& job);

/// How many of the job's tasks are in one of `states` (a bit for each TaskState; 0: all).
[[nodiscard]] std::uint64_t count_in(const JobCounts& counts, std::uint32_t states);
[[nodiscard]] constexpr bool has_state(std::uint32_t states, TaskState state) {
  return states == 0 || (states >> static_cast<unsigned>(state) & 1U) != 0;
}

/// Indices that are in the template and (unless `only` is empty) in one of `only`. Ranges that
/// never meet cost a step for each of their tasks: a walk ends after so many.
class IndexWalk {
 public:
  /// REQUIRES: both outlive the walk; `spec_indices` ascend.
  IndexWalk(const std::vector<IndexRange>& spec_indices, const std::vector<IndexRange>& only)
      : spec_(spec_indices), only_(only) {}
  /// The smallest not below `from`. Invalid: it takes too long to find it.
  [[nodiscard]] Result<std::optional<std::uint32_t>> next(std::uint64_t from);
  [[nodiscard]] bool contains(std::uint32_t index) const;

 private:
  /// Comparisons in vain: a tenth of a second. A page of tasks that are there needs a hundredth.
  static constexpr std::uint64_t kComparedMax = 50'000'000;

  const std::vector<IndexRange>& spec_;
  const std::vector<IndexRange>& only_;
  std::uint64_t compared_ = 0;
};

/// Consecutive tasks of one state and attempt number, as cmd::JobReopened carries them.
class RunBuilder {
 public:
  /// REQUIRES: `job` outlives the builder.
  explicit RunBuilder(const JobRow& job) : job_(job) {}
  /// The next task that has a row. REQUIRES: ascending.
  Result<void> add(TaskIndex task, const TaskRow& row);
  /// Fills in `reopened.runs` and `round`. Invalid: too fragmented for one entry.
  Result<void> finish(cmd::JobReopened& reopened);

 private:
  void append(const cmd::JobReopened::Run& run);
  void append_untouched(std::uint64_t count);
  [[nodiscard]] Result<void> are_few_enough() const;
  std::optional<std::uint64_t> ordinal_of(std::uint32_t index);

  const JobRow& job_;
  std::vector<cmd::JobReopened::Run> runs_;
  std::size_t bytes_ = 0;           ///< Of all but the last, packed.
  std::uint64_t next_ = 0;          ///< Ordinals below are counted.
  std::size_t range_ = 0;           ///< Where the last task was found…
  std::uint64_t range_begins_ = 0;  ///< …and the ordinal of that range's first.
  std::uint32_t round_ = 1;
};

}  // namespace capstan::store
