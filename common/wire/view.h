// SPDX-License-Identifier: MIT
//
// Jobs, tasks and workers as people see them: what lists, watches and JSON show. Parts of messages
// (message.h has the rule for changing them).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/job.h"
#include "common/model/member.h"
#include "common/model/task.h"

namespace capstan::msg {

/// A job as people see it.
struct JobView {
  JobId id;
  std::string name;
  std::string owner;
  JobState state = JobState::Queued;
  std::uint64_t tasks = 0;
  JobCounts counts;
  WallTime submitted_at;
  WallTime started_at;   ///< 0: no start was heard yet.
  WallTime finished_at;  ///< 0: not finished.
  std::int32_t priority = 0;
  std::uint32_t cpus = 1;
  Bytes command;       ///< The template, as one line for people.
  std::string reason;  ///< Why it failed as a job, or what it waits for, or "".
  std::uint64_t mem_bytes = 0;
  std::vector<std::string> tags;
  WallTime begin_at;             ///< 0: at once.
  std::vector<JobId> waits_for;  ///< Jobs that are not finished yet.
};
struct TaskView {
  TaskIndex task;
  TaskState state = TaskState::Waiting;
  AttemptNo attempt;  ///< The last; 0: none yet.
  std::string worker;
  EndClass end = EndClass::Success;  ///< Of the last attempt that ended.
  bool ended = false;                ///< `end` and what follows are known.
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  std::string reason;
  bool cancelling = false;
  WallTime started_at, finished_at;
  Micros wall{0}, cpu{0};
  std::uint64_t max_rss_bytes = 0;
  std::uint64_t stdout_bytes = 0, stderr_bytes = 0;
};
/// One attempt at a task; `task` and `attempt` of `view` name it.
struct AttemptView {
  TaskView view;
  WallTime assigned_at;
  bool late = false;     ///< Its result came after it was given up.
  bool running = false;  ///< Not ended, as far as the master knows.
};
/// Why one worker does not run a task, or that it could.
struct WorkerVerdict {
  std::string worker;
  bool fits = false;
  std::string reason;
};
/// One decision, for people.
struct EventView {
  Seq seq;
  WallTime at;
  std::string who;   ///< A user, "master", or a worker's name.
  std::string what;  ///< One word: "submitted", "assigned", "started", "succeeded" …
  JobId job;         ///< 0: of no job.
  TaskIndex task;    ///< 0: of no single task.
  std::string text;  ///< The rest in words.
};
struct KeyView {
  std::string name;
  Role role = Role::User;
  std::string public_key;
  WallTime added_at;
  std::string added_by;
};
enum class WorkerState : std::uint8_t { Up = 0, Suspect = 1, Draining = 2, Lost = 3, Left = 4 };
std::string_view to_string(WorkerState state);  ///< "up", "suspect" …
struct WorkerView {
  std::string name;
  WorkerState state = WorkerState::Up;
  std::uint32_t cpus = 0;
  std::uint32_t running = 0;  ///< cpus of attempts reported or presumed running.
  std::uint32_t queued = 0;   ///< Attempts sent ahead.
  std::string version;
  std::string address;
  std::string note;          ///< "weak containment", "disk full" …
  Micros last_heard_ago{0};  ///< Negative: not since this master began.
  std::uint64_t mem_bytes = 0;
  std::uint64_t mem_assigned_bytes = 0;
};

}  // namespace capstan::msg
