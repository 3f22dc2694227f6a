// SPDX-License-Identifier: MIT
//
// A task's row, and the rows of a batch. Each task that runs is put twice, hundreds of thousands of
// times a second: so adding a row is moving it behind the others, and what was added is put in
// order once, when it is read. Rows stay where they are meanwhile, in blocks. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/sparse_text.h"
#include "common/model/task.h"

namespace capstan {

using TaskKey = std::pair<JobId, TaskIndex>;

/// An entry that is known in this life of the process alone: neither stored nor compared.
struct UnstoredSeq {
  Seq seq;
  bool operator==(const UnstoredSeq&) const { return true; }
};

/// How an attempt went, beside how it ended.
struct AttemptDetails {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  SparseText reason;
  Micros wall{0}, cpu{0};
  std::uint64_t max_rss_bytes = 0, stdout_bytes = 0, stderr_bytes = 0;
  SparseText stdout_tail, stderr_tail;
  bool operator==(const AttemptDetails&) const = default;
};

/// A task that was touched. Every attempt is in exactly one place: in its task's row while it is
/// Running there or once it ended the task (`ended`), else in `attempts`. So the row of a task in
/// Backoff has no details; those of its last attempt are in `attempts`.
struct TaskRow : AttemptDetails {
  TaskState state = TaskState::Ready;
  AttemptNo attempt;   ///< The winner's when succeeded, else the last.
  AttemptNo attempts;  ///< Highest number given so far.
  WorkerId worker;
  Instance instance;           ///< While Running, and of an attempt that was lost.
  std::uint32_t round = 1;     ///< Raised by every retry, unless nothing had an attempt.
  std::uint32_t failures = 0;  ///< Retries spent in this round.
  std::uint32_t losses = 0;    ///< Charged worker losses in this round.
  bool cancelling = false;
  bool recalled = false;     ///< wanted back, not yet confirmed
  bool number_free = false;  ///< `attempts` was returned never started: given again.
  TimePoint ready_at;        ///< Backoff until then.
  WallTime assigned_at, started_at, finished_at;
  bool ended = false;  ///< `end` and the details are known.
  EndClass end = EndClass::Success;
  Seq finished_seq;  ///< The entry that finished it; 0: not finished.
  UnstoredSeq born;  ///< The entry that touched it first; 0: an earlier life, or not known.
  bool operator==(const TaskRow&) const = default;
};

/// The last row of each task.
class TaskRows {
 public:
  struct Entry {
    TaskKey key;
    TaskRow* row = nullptr;  ///< Never null; lives as long as this, whatever is added.
  };
  using const_iterator = std::vector<Entry>::const_iterator;

  TaskRows() = default;
  TaskRows(const TaskRows& other);
  TaskRows& operator=(const TaskRows& other);
  TaskRows(TaskRows&&) noexcept = default;
  TaskRows& operator=(TaskRows&&) noexcept = default;
  ~TaskRows() = default;

  /// In place of what was put of this task before.
  void put(TaskKey key, TaskRow&& row);
  /// All of `later`, in the same way.
  void append(TaskRows&& later);
  void erase(TaskKey key);
  /// Those of which `is_gone(key, row)` says so; it may take their rows. REQUIRES: sorted.
  template <class IsGone>
  void erase_if(IsGone is_gone) {
    static_cast<void>(sorted());
    std::erase_if(entries_, [&](const Entry& entry) { return is_gone(entry.key, *entry.row); });
    sorted_ = entries_.size();
  }
  void clear();

  /// Before what is below: by job and index, each task once. Costs what was put since the last
  /// time, and what lies behind the first of it.
  void sort();
  /// REQUIRES, with all that follow: sorted since the last put().
  [[nodiscard]] const_iterator begin() const { return sorted().begin(); }
  [[nodiscard]] const_iterator end() const { return sorted().end(); }
  [[nodiscard]] const_iterator lower_bound(TaskKey key) const;
  /// Null: none.
  [[nodiscard]] TaskRow* find(TaskKey key) const;
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// How many were put; how many tasks, when it is sorted.
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  [[nodiscard]] bool is_sorted() const { return sorted_ >= entries_.size(); }
  [[nodiscard]] const std::vector<Entry>& sorted() const;

  std::vector<std::vector<TaskRow>> blocks_;  ///< None grows beyond what it reserved.
  std::vector<Entry> entries_;                ///< In the order in which they came, until sorted.
  std::size_t sorted_ = 0;  ///< So many from the first on are sorted; all, when it is more.
};

}  // namespace capstan

template <>
struct std::hash<capstan::TaskKey> {
  std::size_t operator()(const capstan::TaskKey& key) const noexcept {
    return std::hash<capstan::AttemptKey>{}({key.first, key.second, {}});
  }
};
