// SPDX-License-Identifier: MIT
//
// What an entry changes in the tables: whole rows, the last one wins. `RowChanges` collects and
// coalesces them over a batch (a task assigned and finished within it is written once); the store
// writes them, watches read them, replicas compare their hash. docs/storage.md has the schema.
// Plain values, ordered containers only (`tasks` once it is sorted): the order of writing is part
// of the result.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/sparse_text.h"
#include "common/model/job.h"
#include "common/model/task.h"
#include "master/core/command.h"
#include "master/core/task_rows.h"

namespace capstan {

struct JobRow {
  JobId id;
  std::string owner;
  std::shared_ptr<const JobSpec> spec;  ///< Immutable, shared with the queue; written once.
  std::string token;
  JobState state = JobState::Queued;
  bool paused = false;        ///< Kept apart from `state`: running tasks of a paused job go on.
  bool cancelling = false;    ///< The whole job was: tasks without a row are Cancelled, not Ready.
  bool skipping = false;      ///< The whole job was skipped: tasks without a row are Skipped.
  bool awaits_begin = false;  ///< Its spec.begin_at has not been reached (JobReleased).
  std::vector<JobId> waits_for{};  ///< Live jobs that must end before it begins. Ascending.
  std::int32_t priority = 0;       ///< The spec's, until somebody changes it.
  std::uint64_t tasks = 0;
  JobCounts counts;
  WallTime submitted_at, started_at, finished_at;
  std::string reason;              ///< Why it failed or was skipped as a whole, or was cancelled.
  std::vector<WorkerId> excluded;  ///< Workers that cannot launch it.
  bool launched = false;           ///< Some attempt of it got past launching.
  Micros mean_wall{0};             ///< Exponential mean, for prefill.
  SubmissionId inputs;             ///< Whose chunks are its inputs and stdin; 0: none.
};

/// An attempt that is not (or no more) the one in its task's row. WorkerLost and not late: it may
/// still run, and its result may still come.
struct AttemptRow : AttemptDetails {
  WorkerId worker;
  Instance instance;
  std::uint32_t round = 1;
  WallTime assigned_at, started_at, ended_at;
  EndClass end = EndClass::Exit;
  bool late = false;  ///< Its result came after it was given up.
  bool operator==(const AttemptRow&) const = default;
};

/// The attempt that a task's row describes, as it moves to `attempts`.
[[nodiscard]] AttemptRow attempt_in(const TaskRow& row);

struct WorkerRow {
  std::string name;
  std::string public_key;
  Instance instance;  ///< The last one; none before its first HELLO.
  std::uint32_t cpus = 0;
  std::string version, address, note;
  bool present = false;  ///< Joined and neither lost nor left.
  bool leaving = false;
  bool disk_full = false;
  WallTime joined_at, left_at;
  std::string left_reason;
  std::uint64_t mem_bytes = 0;  ///< What its tasks may use together; 0: not known.
  bool drained = false;         ///< By an admin: it finishes what runs and gets nothing new.
  std::string drained_by, drain_reason;
  bool removed = false;  ///< Its name and key are free again; the row names it in old attempts.
  bool operator==(const WorkerRow&) const = default;
};

/// A key that an admin gave to somebody, or took from somebody.
struct KeyRow {
  std::string name;
  Role role = Role::User;
  WallTime added_at;
  std::string added_by;
  WallTime revoked_at;  ///< 0: valid.
  std::string revoked_by;
  bool operator==(const KeyRow&) const = default;
};

/// A mutation that was answered: the same id gets the same answer. Errc::OutcomeUnknown: a request
/// over several jobs that was not finished yet; it counts as not answered, and sums up so far.
struct RequestRow {
  WallTime at;
  TimePoint steady_at;
  Errc code{};  ///< 0: it was done.
  std::string reason;
  std::vector<JobId> jobs;
  std::uint64_t tasks = 0;
  bool submission = false;
  bool operator==(const RequestRow&) const = default;
};

struct TokenRow {
  JobId job;
  Bytes digest;
  std::uint64_t tasks = 0;
  WallTime at;
  bool operator==(const TokenRow&) const = default;
};

/// An open submission.
struct SubmissionRow {
  Asked asked;
  std::string token;
  Bytes digest;
  JobSpec spec;
  TimePoint opened_at;
  std::uint64_t parts = 0;
  std::uint64_t inputs = 0;
  bool operator==(const SubmissionRow&) const = default;
};

/// Where the rows of a job's standard input begin: kStdinFirst + 0, 1 … each with one value.
inline constexpr std::uint64_t kStdinFirst = std::uint64_t{1} << 62U;

/// Inputs first … first+count-1 (0-based ordinals) of a submission; a job takes them over under its
/// submission's id.
struct InputChunkRow {
  std::uint64_t count = 0;
  Bytes chunk;
  bool operator==(const InputChunkRow&) const = default;
};

/// A job that leaves `jobs`, and `tokens` if it has one there, for `deletions`.
struct DeletedRow {
  std::string owner, token;
  SubmissionId inputs;
  bool operator==(const DeletedRow&) const = default;
};

/// Rows of a deleted job: tasks and attempts up to an index, inputs up to an ordinal. `last`:
/// all that is left, the template, and its row in `deletions`.
struct SweptRow {
  JobId job;
  SubmissionId inputs;
  TaskIndex tasks_upto;
  std::uint64_t inputs_upto = 0;
  bool last = false;
  bool operator==(const SweptRow&) const = default;
};

/// A std::nullopt deletes the row.
struct RowChanges {
  std::map<JobId, JobRow> jobs;
  TaskRows tasks;
  std::map<AttemptKey, std::optional<AttemptRow>> attempts;
  /// Before anything else of this batch: the ended attempts in these tasks' rows move to `attempts`
  /// (INSERT … SELECT … WHERE ended), because a new round begins. In order.
  std::vector<std::pair<JobId, IndexSpan>> archived;
  std::map<WorkerId, WorkerRow> workers;
  std::map<std::string, KeyRow> keys;  ///< By public key.
  std::map<Asked, RequestRow> requests;
  std::map<std::pair<std::string, std::string>, TokenRow> tokens;  ///< (owner, token)
  std::map<SubmissionId, std::optional<SubmissionRow>> submissions;
  std::map<std::pair<SubmissionId, std::uint64_t>, InputChunkRow> inputs;  ///< (submission, first)
  std::vector<SubmissionId> inputs_dropped;  ///< All chunks of a dropped submission.
  std::map<JobId, DeletedRow> deleted;       ///< Behind `archived`, before every other row.
  std::vector<SweptRow> swept;               ///< Behind every other row, in order.
  TimePoint requests_forgotten;              ///< Requests up to then are gone; 0: none.
  JobId next_job;                            ///< No job below gets an id any more; 0: as it was.
  std::uint32_t min_copies = 0;              ///< 0: as it was.

  [[nodiscard]] bool empty() const;
  /// Nothing but how far live jobs are, and how far deleted ones are swept: it may reach the tables
  /// a little later than the journal.
  /// Whatever is added to this struct and is not that, is to be named there.
  [[nodiscard]] bool is_progress() const;
  /// Deletes all chunks of a submission, those written in this batch too.
  void drop_inputs(SubmissionId submission);
  void delete_job(JobId job, DeletedRow row);
  /// Folds a later batch into this one.
  /// REQUIRES: `later.archived` is empty or `tasks` here touches none of its tasks (the store
  /// flushes first otherwise). Sorts `tasks`.
  void merge(RowChanges later);
};

}  // namespace capstan
