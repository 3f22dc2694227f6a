// SPDX-License-Identifier: MIT
//
// A live job in memory. Tasks are ordinals 0..N-1 here; TaskIndex is what people see. An untouched
// task costs nothing (an interval), a touched one a byte (state and attempt number), and only what
// is assigned or has a history in this round is a LiveTask. Pure; owned by Queue.
//
// Touched means: the tables have a row for it. What has none is Ready; Waiting, while the job waits
// for others or for its begin; Cancelled or Skipped, when the whole job was (`cancelling`,
// `skipping`): so a million tasks that wait, are let go, cancelled or skipped write one row.
// A Waiting task is kept as a Ready one: in `ready`, and by its byte.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/keyed_list.h"
#include "common/model/job.h"
#include "common/model/task.h"
#include "master/core/command.h"
#include "master/core/interval_set.h"
#include "master/core/rows.h"

namespace capstan {

/// An attempt of this round that was given up while it may still run: its worker was lost.
struct LostAttempt {
  AttemptNo attempt;
  WorkerId worker;
  Instance instance;
  bool started = false;
  WallTime assigned_at, started_at;
  bool operator==(const LostAttempt&) const = default;
};

/// A task that is assigned, waits for its backoff, or has a history in this round. A Ready task has
/// one exactly when has_history().
struct LiveTask {
  TaskState state = TaskState::Ready;  ///< Ready, Running or Backoff.
  AttemptNo attempts;                  ///< Highest number given; the current one while Running.
  WorkerId worker;                     ///< While Running.
  Instance instance;
  bool started = false;  ///< Its start was reported.
  bool cancelling = false;
  bool recalled = false;
  bool number_free = false;  ///< `attempts` was handed back never started: given again.
  std::uint32_t round = 1;
  std::uint32_t failures = 0;  ///< Retries spent.
  std::uint32_t losses = 0;    ///< Charged worker losses.
  TimePoint ready_at;          ///< While Backoff.
  WallTime assigned_at, started_at;
  std::vector<WorkerId> failed_on;  ///< Ascending. Preferred to be avoided.
  std::vector<LostAttempt> lost;    ///< Ascending by attempt.
  UnstoredSeq born;                 ///< As TaskRow::born.
  bool operator==(const LiveTask&) const = default;
  /// Something to remember beside the attempt number.
  [[nodiscard]] bool has_history() const {
    return number_free || failures > 0 || losses > 0 || !failed_on.empty() || !lost.empty();
  }
};

/// State and attempt number of every touched task: a byte each, in pages made when first touched.
class TaskBytes {
 public:
  explicit TaskBytes(std::uint64_t tasks = 0) : tasks_(tasks) {}
  /// Ready with 0 attempts when untouched.
  [[nodiscard]] TaskState state(std::uint32_t ordinal) const;
  [[nodiscard]] AttemptNo attempts(std::uint32_t ordinal) const;
  /// True once set() was called for it.
  [[nodiscard]] bool is_touched(std::uint32_t ordinal) const { return byte(ordinal) != 0; }
  [[nodiscard]] std::uint64_t touched() const { return touched_; }
  /// The first touched one not below `from`. Skips untouched pages whole.
  [[nodiscard]] std::optional<std::uint32_t> next_touched(std::uint32_t from) const;
  /// REQUIRES: not Waiting (its byte would be that of an untouched task).
  void set(std::uint32_t ordinal, TaskState state, AttemptNo attempts);
  [[nodiscard]] std::uint64_t size() const { return tasks_; }
  bool operator==(const TaskBytes& other) const;

 private:
  static constexpr std::uint32_t kPage = 4096;
  /// State in the upper, attempt number in the lower four bits. Empty: untouched.
  using Page = std::vector<std::uint8_t>;
  [[nodiscard]] std::uint8_t byte(std::uint32_t ordinal) const {
    const std::uint32_t page = ordinal / kPage;
    return page < pages_.size() && !pages_[page].empty() ? pages_[page][ordinal % kPage] : 0;
  }

  std::uint64_t tasks_ = 0;
  std::uint64_t touched_ = 0;
  std::vector<Page> pages_;
  std::map<std::uint32_t, AttemptNo> many_;  ///< Attempt numbers above what 4 bits hold.
};

/// Of each job and of each worker, so not many.
inline constexpr std::size_t kSpareGrants = 512;

struct Job {
  JobId id;
  std::string owner;
  std::shared_ptr<const JobSpec> spec;  ///< Immutable; shared with rows of the batch.
  std::string token;
  bool paused = false;
  bool cancelling = false;    ///< The whole job was cancelled: untouched tasks are Cancelled.
  bool skipping = false;      ///< The whole job was skipped: untouched tasks are Skipped.
  bool awaits_begin = false;  ///< Its begin was not reached yet.
  std::set<JobId> waits_for;  ///< Live jobs that must end first.
  std::int32_t priority = 0;
  std::uint64_t tasks = 0;
  JobCounts counts;
  WallTime submitted_at, started_at, finished_at;
  std::string reason;
  std::vector<WorkerId> excluded;  ///< Ascending.
  bool launched = false;
  Micros mean_wall{0};
  SubmissionId inputs;              ///< Where its inputs and stdin are; 0: it has none.
  std::uint32_t cpus_assigned = 0;  ///< Sum over Running tasks.
  std::uint32_t round = 1;  ///< Raised by every retry; a task's is the one it was granted in.

  IntervalSet ready;  ///< Ordinals that may be assigned now, or once nothing is waited for.
  TaskBytes bytes;
  KeyedList<std::uint32_t, LiveTask, kSpareGrants> live;         ///< By ordinal; in no order.
  std::map<std::pair<TimePoint, std::uint32_t>, bool> backoffs;  ///< (ready_at, ordinal)

  std::vector<std::uint32_t> range_starts;  ///< First ordinal of each range of spec->indices.
  /// What Queue's indexes say of this job.
  struct Indexed {
    bool ready = false;
    bool is_short = false;
    TimePoint backoff = TimePoint::never();
    std::uint32_t cpus = 0;
    std::int32_t priority = 0;
    bool begin = false;
  } indexed;
  bool is_touched = false;  ///< By the entry at work.

  /// Takes the spec, and sizes what depends on it: `tasks`, `bytes`, `range_starts`.
  void set_spec(std::shared_ptr<const JobSpec> taken);

  [[nodiscard]] JobState state() const;
  /// For other jobs or for its begin; then nothing of it was ever assigned (in this life).
  [[nodiscard]] bool is_waiting() const { return awaits_begin || !waits_for.empty(); }
  /// Of a task that is in `ready`.
  [[nodiscard]] TaskState idle_state() const {
    return is_waiting() ? TaskState::Waiting : TaskState::Ready;
  }
  /// Of a task without a row.
  [[nodiscard]] TaskState untouched_state() const;
  /// Something may be assigned now, if a worker has room for it.
  [[nodiscard]] bool is_ready() const;
  /// Its tasks are known to take less than what is sent ahead covers.
  [[nodiscard]] bool is_short() const;
  [[nodiscard]] TaskState task_state(std::uint32_t ordinal) const;
  [[nodiscard]] TaskIndex index_of(std::uint32_t ordinal) const;
  [[nodiscard]] std::optional<std::uint32_t> ordinal_of(TaskIndex index) const;
  /// First and last ordinal of the tasks whose index is in `span`.
  using OrdinalSpan = std::pair<std::uint32_t, std::uint32_t>;
  [[nodiscard]] std::optional<OrdinalSpan> ordinals_in(IndexSpan span) const;
  /// Of `live`, ascending.
  [[nodiscard]] std::vector<std::uint32_t> live_in(OrdinalSpan span) const;
  /// `worker` could not launch it.
  [[nodiscard]] bool is_excluded(WorkerId worker) const;
};

/// The job as the tables have it.
[[nodiscard]] JobRow to_row(const Job& job);

[[nodiscard]] std::uint64_t& count_of(JobCounts& counts, TaskState state);

}  // namespace capstan
