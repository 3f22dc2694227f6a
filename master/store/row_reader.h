// SPDX-License-Identifier: MIT
//
// Rows of the tables to the structs of master/core/rows.h, for the loader, the point reads and the
// wide reads alike. Each reader has the columns that it takes, in order; tails are read only where
// they are wanted. What cannot be ours is Corrupt.
#pragma once

#include "common/base/error.h"
#include "master/core/command.h"
#include "master/core/rows.h"
#include "master/store/sqlite.h"

namespace capstan::store {

/// Of the table task_rows, a row without its tails; behind it `stdout_tail, stderr_tail` may
/// follow.
inline constexpr const char* kTaskColumns =
    "t.id, t.state, attempt, attempts, worker, instance, round, history->>'failures',"
    " history->>'losses', history->>'cancelling', history->>'recalled', history->>'number_free',"
    " history->>'ready_at_us', assigned_at_us, started_at_us, finished_at_us, end_class,"
    " exit_code, signal, wall_us, cpu_us, max_rss_bytes, stdout_bytes, stderr_bytes, finished_seq,"
    " reason";
struct ReadTask {
  TaskIndex task;
  TaskRow row;
};
Result<ReadTask> read_task(Statement& row);
void read_tails(Statement& row, TaskRow& task);

/// Of the table under the name `a`; behind it the tails may follow.
inline constexpr const char* kAttemptColumns =
    "a.job, a.task, a.attempt, a.worker, a.instance, a.round, a.assigned_at_us, a.started_at_us,"
    " a.ended_at_us, a.end_class, a.late, a.exit_code, a.signal, a.wall_us, a.cpu_us,"
    " a.max_rss_bytes, a.stdout_bytes, a.stderr_bytes, a.reason";
Result<std::pair<AttemptKey, AttemptRow>> read_attempt(Statement& row);
void read_tails(Statement& row, AttemptRow& attempt);

/// With its template. From `jobs JOIN specs ON job = id`.
inline constexpr const char* kJobColumns =
    "id, owner, token, state, paused, cancelling, tasks, waiting, ready, running, backoff,"
    " succeeded, failed, cancelled, skipped, submitted_at_us, started_at_us, finished_at_us, "
    "reason,"
    " excluded, launched, mean_wall_us, inputs, skipping, awaits_begin, waits_for, priority, spec";
Result<JobRow> read_job(Statement& row);

inline constexpr const char* kWorkerColumns =
    "id, name, public_key, instance, cpus, version, address, note, present, leaving, disk_full,"
    " joined_at_us, left_at_us, left_reason, mem_bytes, drained, drained_by, drain_reason, removed";
std::pair<WorkerId, WorkerRow> read_worker(Statement& row);

inline constexpr const char* kKeyColumns =
    "public_key, name, role, added_at_us, added_by, revoked_at_us, revoked_by";
Result<std::pair<std::string, KeyRow>> read_key(Statement& row);

inline constexpr const char* kRequestColumns =
    "owner, request, at_us, steady_at_us, code, reason, jobs, tasks, submission";
Result<std::pair<Asked, RequestRow>> read_request(Statement& row);

/// Who asked for it, with which request; null for what nobody asks for.
const Asked* asked_of(const Command& command);

inline constexpr const char* kTokenColumns = "job, digest, tasks, at_us";
TokenRow read_token(Statement& row);

inline constexpr const char* kSubmissionColumns =
    "id, owner, request, token, digest, opened_at_us, parts, inputs, spec";
Result<std::pair<SubmissionId, SubmissionRow>> read_submission(Statement& row);

/// 16 bytes; none for NULL.
Uuid read_uuid(Statement& row);

/// id, owner, token, inputs, tasks.
cmd::JobsDeleted::One read_deletable(Statement& row);

}  // namespace capstan::store
