// SPDX-License-Identifier: MIT
#include "master/store/row_reader.h"

#include <algorithm>
#include <string>

#include "common/base/bytes.h"
#include "master/store/entry_codec.h"
#include "master/store/row_writer.h"
#include "master/store/task_id.h"

namespace capstan::store {
namespace {

template <class T>
Result<T> or_corrupt(Result<T> parsed) {
  if (!parsed) return fail(Errc::Corrupt, "in the tables: " + parsed.error().message);
  return parsed;
}

Result<EndClass> parse_end(std::string_view text) {
  for (auto i = EndClass::Success; i <= EndClass::Superseded;
       i = static_cast<EndClass>(static_cast<std::uint8_t>(i) + 1)) {
    if (to_string(i) == text) return i;
  }
  return fail(Errc::Corrupt, "in the tables: end class " + printable(text));
}

}  // namespace

Uuid read_uuid(Statement& row) {
  Uuid id;
  const std::string_view bytes = row.bytes();
  if (bytes.size() == id.bytes.size()) std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

Result<ReadTask> read_task(Statement& row) {
  ReadTask read;
  read.task = task_of(row.i64());
  TaskRow& task = read.row;
  task.state = TRY(or_corrupt(parse_task_state(row.bytes())));
  task.attempt = AttemptNo(row.u32());
  task.attempts = AttemptNo(row.u32());
  task.worker = WorkerId(row.u32());
  task.instance = read_uuid(row);
  task.round = row.u32();
  task.failures = row.u32();
  task.losses = row.u32();
  task.cancelling = row.flag();
  task.recalled = row.flag();
  task.number_free = row.flag();
  task.ready_at.us = row.i64();
  task.assigned_at.us = row.i64();
  task.started_at.us = row.i64();
  task.finished_at.us = row.i64();
  task.ended = !row.is_null();
  if (task.ended)
    task.end = TRY(parse_end(row.bytes()));
  else
    row.skip();
  task.exit_code = row.i32();
  task.signal = row.i32();
  task.wall = Micros(row.i64());
  task.cpu = Micros(row.i64());
  task.max_rss_bytes = row.u64();
  task.stdout_bytes = row.u64();
  task.stderr_bytes = row.u64();
  task.finished_seq = Seq(row.u64());
  task.reason = row.bytes();
  return read;
}

void read_tails(Statement& row, TaskRow& task) {
  task.stdout_tail = row.bytes();
  task.stderr_tail = row.bytes();
}

Result<std::pair<AttemptKey, AttemptRow>> read_attempt(Statement& row) {
  std::pair<AttemptKey, AttemptRow> read;
  auto& [key, attempt] = read;
  key.job = JobId(row.u64());
  key.task = TaskIndex(row.u32());
  key.attempt = AttemptNo(row.u32());
  attempt.worker = WorkerId(row.u32());
  attempt.instance = read_uuid(row);
  attempt.round = row.u32();
  attempt.assigned_at.us = row.i64();
  attempt.started_at.us = row.i64();
  attempt.ended_at.us = row.i64();
  attempt.end = TRY(parse_end(row.bytes()));
  attempt.late = row.flag();
  attempt.exit_code = row.i32();
  attempt.signal = row.i32();
  attempt.wall = Micros(row.i64());
  attempt.cpu = Micros(row.i64());
  attempt.max_rss_bytes = row.u64();
  attempt.stdout_bytes = row.u64();
  attempt.stderr_bytes = row.u64();
  attempt.reason = row.bytes();
  return read;
}

void read_tails(Statement& row, AttemptRow& attempt) {
  attempt.stdout_tail = row.bytes();
  attempt.stderr_tail = row.bytes();
}

Result<JobRow> read_job(Statement& row) {
  JobRow job;
  job.id = JobId(row.u64());
  job.owner = row.bytes();
  job.token = row.bytes();
  job.state = TRY(or_corrupt(parse_job_state(row.bytes())));
  job.paused = row.flag();
  job.cancelling = row.flag();
  job.tasks = row.u64();
  JobCounts& c = job.counts;
  for (std::uint64_t* count : {&c.waiting, &c.ready, &c.running, &c.backoff, &c.succeeded,
                               &c.failed, &c.cancelled, &c.skipped}) {
    *count = row.u64();
  }
  job.submitted_at.us = row.i64();
  job.started_at.us = row.i64();
  job.finished_at.us = row.i64();
  job.reason = row.bytes();
  job.excluded = TRY(parse_id_list<WorkerId>(row.bytes()));
  job.launched = row.flag();
  job.mean_wall = Micros(row.i64());
  job.inputs = SubmissionId(row.u64());
  job.skipping = row.flag();
  job.awaits_begin = row.flag();
  job.waits_for = TRY(parse_id_list<JobId>(row.bytes()));
  job.priority = row.i32();
  job.spec = std::make_shared<const JobSpec>(TRY(decode_spec(row.bytes())));
  return job;
}

std::pair<WorkerId, WorkerRow> read_worker(Statement& row) {
  std::pair<WorkerId, WorkerRow> read;
  auto& [id, worker] = read;
  id = WorkerId(row.u32());
  worker.name = row.bytes();
  worker.public_key = row.bytes();
  worker.instance = read_uuid(row);
  worker.cpus = row.u32();
  worker.version = row.bytes();
  worker.address = row.bytes();
  worker.note = row.bytes();
  worker.present = row.flag();
  worker.leaving = row.flag();
  worker.disk_full = row.flag();
  worker.joined_at.us = row.i64();
  worker.left_at.us = row.i64();
  worker.left_reason = row.bytes();
  worker.mem_bytes = row.u64();
  worker.drained = row.flag();
  worker.drained_by = row.bytes();
  worker.drain_reason = row.bytes();
  worker.removed = row.flag();
  return read;
}

Result<std::pair<std::string, KeyRow>> read_key(Statement& row) {
  std::pair<std::string, KeyRow> read;
  auto& [public_key, key] = read;
  public_key = row.bytes();
  key.name = row.bytes();
  key.role = TRY(or_corrupt(parse_role(row.bytes())));
  key.added_at.us = row.i64();
  key.added_by = row.bytes();
  key.revoked_at.us = row.i64();
  key.revoked_by = row.bytes();
  return read;
}

Result<std::pair<Asked, RequestRow>> read_request(Statement& row) {
  std::pair<Asked, RequestRow> read;
  auto& [asked, request] = read;
  asked.owner = row.bytes();
  asked.request = read_uuid(row);
  request.at.us = row.i64();
  request.steady_at.us = row.i64();
  request.code = static_cast<Errc>(row.i64());
  request.reason = row.bytes();
  request.jobs = TRY(parse_id_list<JobId>(row.bytes()));
  request.tasks = row.u64();
  request.submission = row.flag();
  return read;
}

const Asked* asked_of(const Command& command) {
  return std::visit(
      [](const auto& c) -> const Asked* {
        if constexpr (requires { c.asked; }) return &c.asked;
        return nullptr;
      },
      command);
}

TokenRow read_token(Statement& row) {
  TokenRow token;
  token.job = JobId(row.u64());
  token.digest = row.bytes();
  token.tasks = row.u64();
  token.at.us = row.i64();
  return token;
}

Result<std::pair<SubmissionId, SubmissionRow>> read_submission(Statement& row) {
  std::pair<SubmissionId, SubmissionRow> read;
  auto& [id, submission] = read;
  id = SubmissionId(row.u64());
  submission.asked.owner = row.bytes();
  submission.asked.request = read_uuid(row);
  submission.token = row.bytes();
  submission.digest = row.bytes();
  submission.opened_at.us = row.i64();
  submission.parts = row.u64();
  submission.inputs = row.u64();
  submission.spec = TRY(decode_spec(row.bytes()));
  return read;
}

cmd::JobsDeleted::One read_deletable(Statement& row) {
  cmd::JobsDeleted::One one;
  one.job = JobId(row.u64());
  one.owner = row.str();
  one.token = row.str();
  one.inputs = SubmissionId(row.u64());
  one.tasks = row.u64();
  return one;
}

}  // namespace capstan::store
