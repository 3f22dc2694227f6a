// SPDX-License-Identifier: MIT
//
// What may change the queue: decisions, never wishes, and the entry that carries one. Entries are
// stored and shipped (master/store/entry_codec): a command's number is its place in Command plus
// one; append only, fields too, and only together with a higher kEntryLevel.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/sum.h"
#include "common/model/job.h"
#include "common/model/member.h"
#include "common/model/task.h"
#include "master/core/cluster_commands.h"
#include "master/core/index_span.h"

namespace capstan {

/// Who asked, and under which id: names the answer to a mutation. `owner` is the authenticated
/// name.
struct Asked {
  std::string owner;
  RequestId request;
  auto operator<=>(const Asked&) const = default;
};

namespace cmd {

// Submissions. Staged parts are invisible until JobSubmitted, and dropped by SubmissionDropped.
struct SubmissionOpened {
  Asked asked;
  SubmissionId id;
  std::string token;
  Bytes digest;
  JobSpec spec;
};
/// Inputs first … first+count-1 (0-based) as one chunk; `chunk` is what the inputs table stores.
/// From kStdinFirst on: a piece of the job's standard input, which comes before all inputs.
struct InputsStaged {
  Asked asked;
  SubmissionId id;
  std::uint64_t part = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  Bytes chunk;
};
/// Commits a submission: `spec.indices` is complete here.
struct JobSubmitted {
  /// How a job ended that this one is to run after. Those that are live are looked up in apply.
  struct Ended {
    JobId job;
    JobState state = JobState::Succeeded;
  };
  Asked asked;
  SubmissionId id;
  JobId job;
  std::uint64_t inputs = 0;
  std::vector<Ended> ended{};
};
struct SubmissionDropped {
  SubmissionId id;
};

// Steering. `spans` empty: the whole job. Each is one request on one job of possibly several:
// the last one (`last`) carries the answer.
struct JobCancelled {
  Asked asked;
  JobId job;
  std::vector<IndexSpan> spans;
  bool last = true;
  std::string reason{};  ///< In the words of the user; "": none was given.
};
struct JobPaused {
  Asked asked;
  JobId job;
  bool last = true;
};
struct JobResumed {
  Asked asked;
  JobId job;
  bool last = true;
};
/// Opens a new round for tasks of a live job that are finished: those in `spans` (all when empty)
/// whose state is in `states` (a bit for each TaskState).
struct TasksRetried {
  Asked asked;
  JobId job;
  std::vector<IndexSpan> spans;
  std::uint32_t states = 0;
  bool last = true;
};
/// A finished job comes back into memory, so that TasksRetried may follow. What the tables said:
/// `runs` are consecutive tasks (by ordinal) of one state and attempt number.
struct JobReopened {
  struct Run {
    std::uint64_t count = 0;
    TaskState state = TaskState::Waiting;
    AttemptNo attempts;
    bool has_rows = true;  ///< False: cancelled or skipped with the whole job, without rows.
  };
  JobId job;
  std::string owner;
  JobSpec spec;
  WallTime submitted_at, started_at;
  std::vector<Run> runs;
  std::string token;
  SubmissionId inputs;      ///< As in JobRow.
  bool cancelling = false;  ///< As in JobRow: tasks without a row are Cancelled.
  bool launched = false;
  Micros mean_wall{0};
  std::uint32_t round = 1;  ///< The highest of its tasks.
  bool skipping = false;    ///< As in JobRow: tasks without a row are Skipped.
  std::int32_t priority = 0;
  std::string reason{};
};
/// A request that found nothing to do; its answer is kept all the same.
struct RequestAnswered {
  Asked asked;
  Errc code = Errc::NotFound;
  std::string reason{};
};

// Workers.
struct WorkerEnrolled {
  WorkerId worker;
  std::string name;
  std::string public_key;
};
/// A HELLO: apply reconciles it (reconcile.h) in one step.
struct WorkerJoined {
  struct Held {
    AttemptKey key;
    bool started = false;
  };
  WorkerId worker;
  Instance instance;
  std::uint32_t cpus = 0;
  std::string version;
  std::string address;
  std::string note;  ///< Containment.
  std::vector<Held> held;
  std::vector<AttemptKey> spooled;
  bool leaving = false;
  bool disk_full = false;
  std::uint64_t mem_bytes = 0;  ///< What its tasks may use together; 0: not known.
};
/// Silent for too long, or closed and not back: its attempts are lost.
struct WorkerLost {
  WorkerId worker;
  Instance instance;
  std::string reason{};
};
struct WorkerNoticed {
  WorkerId worker;
  Instance instance;
  bool leaving = false;
  bool disk_full = false;
};
/// Said goodbye: whatever it still holds is lost without blame.
struct WorkerLeft {
  WorkerId worker;
  Instance instance;
};

struct TasksAssigned {
  WorkerId worker;
  JobId job;
  AttemptNo attempt;
  std::vector<TaskIndex> tasks;
};
struct TasksRecalled {
  WorkerId worker;
  std::vector<AttemptKey> keys;
};
struct TasksReturned {
  WorkerId worker;
  Instance instance;
  std::vector<AttemptKey> keys;
};
struct TasksStarted {
  struct One {
    AttemptKey key;
    Micros ago{0};
  };
  WorkerId worker;
  Instance instance;
  std::vector<One> started;
};
struct ResultsReported {
  WorkerId worker;
  Instance instance;
  std::vector<AttemptResult> results;
};
struct BackoffsOver {
  JobId job;
  std::vector<TaskIndex> tasks;
};

struct JobReleased {
  JobId job;  ///< The wall clock has reached its --begin.
};
struct JobPrioritised {
  Asked asked;
  JobId job;
  std::int32_t priority = 0;
  bool last = true;
};
// Steering of workers and keys, by an admin. Several workers at once: all of them or none.
struct WorkersDrained {
  Asked asked;
  std::vector<WorkerId> workers;
  bool drained = true;  ///< False: they take work again.
  std::string reason;
};
struct WorkersRemoved {
  Asked asked;
  std::vector<WorkerId> workers;
};
struct KeyAdded {
  Asked asked;
  std::string name;
  std::string public_key;
  Role role = Role::User;
};
/// Every key of that name, a worker's too. `own`: the public key of one that the master made for
/// itself (the invitation), which is in no table; or "".
struct KeyRevoked {
  Asked asked;
  std::string name;
  std::string own;
};
// Finished jobs leave the lists at once, and their tokens; what they had elsewhere is swept.
struct JobsDeleted {
  struct One {
    JobId job;
    std::string owner;
    std::string token;
    SubmissionId inputs;
    std::uint64_t tasks = 0;
  };
  Asked asked;  ///< No request: by retention.
  std::vector<One> jobs;
  bool names_jobs = false;  ///< The answer lists them.
  bool last = true;
  std::string note;  ///< For people; with `last`.
};
struct DeletionsSwept {
  /// Up to and with these; `last`: whatever is left of the job.
  struct Step {
    JobId job;
    TaskIndex tasks_upto;
    std::uint64_t inputs_upto = 0;
    bool last = false;
  };
  std::vector<Step> steps;
};
/// Answers of requests that nobody repeats any more.
struct RequestsForgotten {
  TimePoint upto;
};

}  // namespace cmd

using Command = Sum<std::variant<
    cmd::ReignBegan,                                                                          // 1
    cmd::SubmissionOpened, cmd::InputsStaged, cmd::JobSubmitted, cmd::SubmissionDropped,      // 2
    cmd::JobCancelled, cmd::JobPaused, cmd::JobResumed, cmd::TasksRetried, cmd::JobReopened,  // 6
    cmd::RequestAnswered,                                                                     // 11
    cmd::WorkerEnrolled, cmd::WorkerJoined, cmd::WorkerLost, cmd::WorkerNoticed,
    cmd::WorkerLeft,                                                                  // 12
    cmd::TasksAssigned, cmd::TasksRecalled, cmd::TasksReturned, cmd::TasksStarted,    // 17
    cmd::ResultsReported, cmd::BackoffsOver,                                          // 21
    cmd::JobReleased, cmd::JobPrioritised, cmd::WorkersDrained, cmd::WorkersRemoved,  // 23
    cmd::KeyAdded, cmd::KeyRevoked,                                                   // 27
    cmd::JobsDeleted, cmd::DeletionsSwept, cmd::RequestsForgotten,                    // 29
    cmd::MinCopiesSet>>;                                                              // 32

/// A command with its place in history. The only thing that changes anything.
struct Entry {
  Seq seq;
  Epoch epoch;
  TimePoint at;   ///< The only "now" inside apply: never runs back, not even across reigns.
  WallTime wall;  ///< For people; decides nothing in apply.
  std::uint32_t level = 1;
  Command command;
};

}  // namespace capstan

extern template class capstan::Sum<capstan::Command::variant>;
