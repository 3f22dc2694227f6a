// SPDX-License-Identifier: MIT
//
// From lists of inputs to the values of each task: one list, N values to a task; or several lists,
// combined as GNU parallel does: a task for each combination, the first list outermost, linked
// lists going along with each other until the shortest ends. Everything is read and checked before
// anything is sent: the digest of a submission stands in its first message. Combinations are made
// when they are sent; only the lists are held.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cli/args.h"
#include "cli/inputs.h"
#include "cli/outcome.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/model/job.h"

namespace capstan::cli {

/// Refuses a task whose command could not be run. Cheap for all but absurdly long ones: a bound
/// first, the exact rendering only beyond it.
class InputChecker {
 public:
  /// REQUIRES: `spec` outlives it.
  explicit InputChecker(const JobSpec& spec);
  [[nodiscard]] Result<void> check(TaskIndex index,
                                   const std::vector<std::string_view>& values) const;

 private:
  const JobSpec& spec_;
  std::size_t longest_argument_ = 0;
  std::size_t most_placeholders_ = 0;
};

/// A list that was read, and how it is combined with those before it.
struct CombinedList {
  InputList list;
  bool is_linked = false;
};

/// Goes from task to task.
class TaskWalk {
 public:
  /// REQUIRES: `lists` outlives it; `per_task` is 1 when there are several.
  TaskWalk(const std::vector<CombinedList>& lists, std::uint64_t per_task);
  [[nodiscard]] std::uint64_t tasks() const { return tasks_; }
  /// To a task, from 0.
  void seek(std::uint64_t task);
  /// The values of the next task; they stay in the lists. REQUIRES: there is one.
  void next(std::vector<std::string_view>& values);

 private:
  /// Lists that go along with each other.
  struct Dimension {
    std::vector<InputList::Cursor> cursors;
    std::uint64_t size = 0;
    std::uint64_t at = 0;
    void seek(std::uint64_t index);
  };
  std::vector<Dimension> dimensions_;
  std::uint64_t per_task_;
  std::uint64_t tasks_ = 0;
};

/// What all tasks of a job get.
class TaskInputs {
 public:
  TaskInputs() = default;
  /// Exit 2 when there are none, too many, or some that cannot be run. `spec` says how many are for
  /// a task.
  static Outcome<TaskInputs> make(std::vector<CombinedList> lists, const JobSpec& spec);
  [[nodiscard]] std::uint64_t tasks() const { return tasks_; }
  [[nodiscard]] std::uint64_t values() const { return values_; }
  /// Parts as they are sent: the values of one task are in one of them.
  [[nodiscard]] std::uint64_t parts() const { return first_tasks_.size(); }
  [[nodiscard]] std::vector<Bytes> part(std::uint64_t number) const;
  /// Over all lists and how they are combined.
  [[nodiscard]] Digest digest(const Digest& before) const;

 private:
  [[nodiscard]] std::uint64_t per_task() const { return lists_.size() == 1 ? batch_ : 1; }
  Outcome<void> cut(const InputChecker& checker);

  std::vector<CombinedList> lists_;
  std::uint64_t batch_ = 1;
  std::uint64_t tasks_ = 0;
  std::uint64_t values_ = 0;
  std::vector<std::uint64_t> first_tasks_;  ///< Of each part, from 0.
};

/// What was asked for.
struct InputRequest {
  std::vector<InputSource> sources;
  char end = '\n';  ///< Of each input in a file.
};
/// Reads and checks them all. Exit 2 with the line's number when one cannot be run.
Outcome<TaskInputs> read_inputs(const InputRequest& request, const JobSpec& spec);

}  // namespace capstan::cli
