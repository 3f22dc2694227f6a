// SPDX-License-Identifier: MIT
#include "master/store/row_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "master/store/entry_codec.h"
#include "master/store/task_id.h"

namespace capstan::store {
namespace {

constexpr std::size_t kCommandShown = 1000;  // Of the readable command: one screen of it.

std::string_view blob_of(const Uuid& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

void put_instance(Statement& s, const Instance& instance) {
  if (instance.is_set())
    s.blob(blob_of(instance));
  else
    s.null();
}

std::string readable_command(const JobSpec& spec) {
  std::string line;
  for (const Bytes& argument : spec.argv) {
    if (!line.empty()) line += ' ';
    line += spec.shell ? argument : shell_quoted(argument);
    if (line.size() > kCommandShown) break;
  }
  if (line.size() > kCommandShown) {
    std::size_t end = kCommandShown;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
    line.resize(end);
  }
  return printable(line);
}

// Here, in the schema's view and in the loader's join they are written out.
static_assert(kTaskBits == 31 && kTaskMask == 2147483647);

// The columns that the attempts table shares with the details of a task's row.
constexpr const char* kArchive =
    "INSERT OR REPLACE INTO attempts"
    " SELECT id >> 31, id & 2147483647, attempt, worker, instance, round, assigned_at_us,"
    " started_at_us, finished_at_us, end_class, 0, exit_code, signal, wall_us, cpu_us, "
    "max_rss_bytes,"
    " stdout_bytes, stderr_bytes, reason, stdout_tail, stderr_tail"
    " FROM task_rows WHERE id BETWEEN ? AND ? AND end_class IS NOT NULL";

constexpr const char* kUpdateJob =
    "UPDATE jobs SET state = ?, waiting = ?, ready = ?, running = ?, backoff = ?, succeeded = ?,"
    " failed = ?, cancelled = ?, skipped = ?, paused = ?, cancelling = ?, skipping = ?, "
    "awaits_begin = ?,"
    " waits_for = ?, priority = ?, started_at_us = ?,"
    " finished_at_us = ?, mean_wall_us = ?, launched = ?, excluded = ?, reason = ?"
    " WHERE id = ?";

constexpr const char* kInsertJob =
    "INSERT INTO jobs (state, waiting, ready, running, backoff, succeeded, failed, cancelled,"
    " skipped, paused, cancelling, skipping, awaits_begin, waits_for, priority, started_at_us,"
    " finished_at_us, mean_wall_us, launched, excluded, reason, id, owner, name, tasks, cpus,"
    " submitted_at_us, inputs, token, command, cwd)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

constexpr const char* kPutTasks =
    "INSERT OR REPLACE INTO task_rows SELECT c0, c1, c2, c3, c4, c5, c6,"
    " CASE WHEN c7 OR c8 OR c9 OR c10 OR c11 OR c12 THEN json_object('failures', c7,"
    " 'losses', c8, 'cancelling', c9, 'recalled', c10, 'number_free', c11, 'ready_at_us', c12)"
    " END, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27"
    " FROM task_feed";
/// Most tasks succeed at their first attempt and say nothing: more than half of their columns are
/// the same then. A literal costs a fraction of what it takes to ask the feed.
constexpr const char* kPutPlainTasks =
    "INSERT OR REPLACE INTO task_rows SELECT c0, 'succeeded', 1, 1, c4, NULL, 1, NULL, c13, c14,"
    " c15, 'success', 0, 0, c19, c20, c21, 0, 0, c24, '', x'', x'' FROM plain_task_feed";

/// Its row is one for kPutPlainTasks.
bool is_plain(const TaskRow& row) {
  const bool is_first = row.attempt.value == 1 && row.attempts.value == 1 && row.round == 1;
  const bool has_succeeded = row.state == TaskState::Succeeded && row.ended &&
                             row.end == EndClass::Success && row.exit_code == 0 && row.signal == 0;
  const bool may_run = row.instance.is_set();
  const bool has_history = row.failures != 0 || row.losses != 0 || row.cancelling || row.recalled ||
                           row.number_free || row.ready_at.us != 0;
  const bool has_output = row.stdout_bytes != 0 || row.stderr_bytes != 0 || !row.reason.empty() ||
                          !row.stdout_tail.empty() || !row.stderr_tail.empty();
  return is_first && has_succeeded && !may_run && !has_history && !has_output;
}

constexpr const char* kPutAttempt =
    "INSERT OR REPLACE INTO attempts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

constexpr int kTaskFields = 28;

/// Text that the row's statement reads until it was run.
struct JobTexts {
  std::string excluded, waits_for;
};

void put_changing(Statement& s, const JobRow& row, const JobTexts& texts) {
  const JobCounts& c = row.counts;
  s.text(to_string(row.state)).put(c.waiting).put(c.ready).put(c.running).put(c.backoff);
  s.put(c.succeeded).put(c.failed).put(c.cancelled).put(c.skipped);
  s.put(row.paused).put(row.cancelling).put(row.skipping).put(row.awaits_begin);
  s.text(texts.waits_for).put(row.priority);
  s.put_or_null(row.started_at.us).put_or_null(row.finished_at.us);
  s.put(row.mean_wall.count()).put(row.launched).text(texts.excluded).text(row.reason);
  s.put(row.id.value);
}

std::string tag_lines(const std::vector<std::string>& tags) {
  std::string lines;
  for (const std::string& tag : tags) lines += (lines.empty() ? "\n" : "") + tag + "\n";
  return lines;
}

}  // namespace

/// Task rows of a batch: the columns of kPutTasks.
class TaskFeed final : public RowFeed {
 public:
  using Row = TaskRows::Entry;
  void clear() { rows_.clear(); }
  /// Behind those that were added before. REQUIRES: it lives while they are read.
  void add(const Row& row) { rows_.push_back(&row); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  void rewind() override { at_ = 0; }
  [[nodiscard]] bool at_end() const override { return at_ == rows_.size(); }
  void next() override { ++at_; }
  void column(int number, FeedValue value) const override {
    const auto& [key, row] = *rows_[at_];
    kGetters[static_cast<std::size_t>(number)](key, *row, value);
  }

 private:
  using Key = TaskKey;
  using Getter = void (*)(const Key&, const TaskRow&, FeedValue);
  static const std::array<Getter, kTaskFields> kGetters;

  std::vector<const Row*> rows_;
  std::size_t at_ = 0;
};

const std::array<TaskFeed::Getter, kTaskFields> TaskFeed::kGetters = {
    [](const Key& key, const TaskRow&, FeedValue v) { v.put(task_id(key.first, key.second)); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.text(to_string(row.state)); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.attempt.value); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.attempts.value); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put_or_null(row.worker.value); },
    [](const Key&, const TaskRow& row, FeedValue v) {
      row.instance.is_set() ? v.blob(blob_of(row.instance)) : v.null();
    },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.round); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.failures); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.losses); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.cancelling); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.recalled); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.number_free); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put_or_null(row.ready_at.us); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put_or_null(row.assigned_at.us); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put_or_null(row.started_at.us); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put_or_null(row.finished_at.us); },
    [](const Key&, const TaskRow& row, FeedValue v) {
      row.ended ? v.text(to_string(row.end)) : v.null();
    },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.exit_code); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.signal); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.wall.count()); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.cpu.count()); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.max_rss_bytes); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.stdout_bytes); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put(row.stderr_bytes); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.put_or_null(row.finished_seq.value); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.text(row.reason); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.blob(row.stdout_tail); },
    [](const Key&, const TaskRow& row, FeedValue v) { v.blob(row.stderr_tail); },
};

RowWriter::RowWriter() = default;
RowWriter::RowWriter(RowWriter&&) noexcept = default;
RowWriter::~RowWriter() = default;

template <class Id>
std::string id_list(const std::vector<Id>& ids) {
  std::string text;
  for (const Id& id : ids) {
    if (!text.empty()) text += ',';
    text += std::to_string(id.value);
  }
  return text;
}

template <class Id>
Result<std::vector<Id>> parse_id_list(std::string_view text) {
  std::vector<Id> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    Id id;
    const auto [rest, error] = std::from_chars(at, end, id.value);
    if (error != std::errc{} || (rest != end && (*rest != ',' || rest + 1 == end))) {
      return fail(Errc::Corrupt, "a list of ids: " + printable(text));
    }
    ids.push_back(id);
    at = rest == end ? end : rest + 1;
  }
  return ids;
}

template std::string id_list(const std::vector<JobId>&);
template std::string id_list(const std::vector<WorkerId>&);
template Result<std::vector<JobId>> parse_id_list(std::string_view);
template Result<std::vector<WorkerId>> parse_id_list(std::string_view);

void NextIds::pass(const RowChanges& changes) {
  job = std::max(job, changes.next_job);
  if (!changes.jobs.empty()) job = std::max(job, changes.jobs.rbegin()->first.next());
  if (!changes.deleted.empty()) job = std::max(job, changes.deleted.rbegin()->first.next());
  if (!changes.workers.empty()) worker = std::max(worker, changes.workers.rbegin()->first.next());
  if (!changes.submissions.empty()) {
    submission = std::max(submission, changes.submissions.rbegin()->first.next());
  }
}

Result<RowWriter> RowWriter::prepare(Connection& db) {
  RowWriter w;
  w.archive_ = TRY(db.prepare(kArchive));
  w.update_job_ = TRY(db.prepare(kUpdateJob));
  w.insert_job_ = TRY(db.prepare(kInsertJob));
  w.insert_spec_ = TRY(db.prepare("INSERT OR REPLACE INTO specs VALUES (?,?,?)"));
  w.task_feed_ = std::make_unique<TaskFeed>();
  w.plain_task_feed_ = std::make_unique<TaskFeed>();
  TRY(db.add_feed("task_feed", kTaskFields, *w.task_feed_));
  TRY(db.add_feed("plain_task_feed", kTaskFields, *w.plain_task_feed_));
  w.put_tasks_ = TRY(db.prepare(kPutTasks));
  w.put_plain_tasks_ = TRY(db.prepare(kPutPlainTasks));
  w.put_attempt_ = TRY(db.prepare(kPutAttempt));
  w.delete_attempt_ =
      TRY(db.prepare("DELETE FROM attempts WHERE job = ? AND task = ? AND attempt = ?"));
  w.put_worker_ = TRY(
      db.prepare("INSERT OR REPLACE INTO workers VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  w.put_key_ = TRY(db.prepare("INSERT OR REPLACE INTO keys VALUES (?,?,?,?,?,?,?)"));
  w.put_request_ = TRY(db.prepare("INSERT OR REPLACE INTO requests VALUES (?,?,?,?,?,?,?,?,?)"));
  w.put_token_ = TRY(db.prepare("INSERT OR REPLACE INTO tokens VALUES (?,?,?,?,?,?)"));
  w.update_submission_ =
      TRY(db.prepare("UPDATE submissions SET parts = ?, inputs = ? WHERE id = ?"));
  w.insert_submission_ = TRY(db.prepare("INSERT INTO submissions VALUES (?,?,?,?,?,?,?,?,?)"));
  w.delete_submission_ = TRY(db.prepare("DELETE FROM submissions WHERE id = ?"));
  w.put_inputs_ = TRY(db.prepare("INSERT OR REPLACE INTO inputs VALUES (?,?,?,?)"));
  w.drop_inputs_ = TRY(db.prepare("DELETE FROM inputs WHERE submission = ?"));
  TRY(w.prepare_deletions(db));
  return w;
}

Result<void> RowWriter::prepare_deletions(Connection& db) {
  delete_job_ = TRY(db.prepare("DELETE FROM jobs WHERE id = ?"));
  // A token may belong to another job by now.
  delete_token_ = TRY(db.prepare("DELETE FROM tokens WHERE owner = ? AND token = ? AND job = ?"));
  put_deletion_ = TRY(db.prepare("INSERT OR REPLACE INTO deletions VALUES (?,?)"));
  sweep_tasks_ = TRY(db.prepare("DELETE FROM task_rows WHERE id BETWEEN ? AND ?"));
  sweep_attempts_ = TRY(db.prepare("DELETE FROM attempts WHERE job = ? AND task <= ?"));
  sweep_inputs_ = TRY(db.prepare("DELETE FROM inputs WHERE submission = ? AND first <= ?"));
  delete_spec_ = TRY(db.prepare("DELETE FROM specs WHERE job = ?"));
  delete_deletion_ = TRY(db.prepare("DELETE FROM deletions WHERE job = ?"));
  forget_requests_ = TRY(db.prepare("DELETE FROM requests WHERE steady_at_us <= ?"));
  return {};
}

Result<void> RowWriter::write(Connection& db, const RowChanges& changes) {
  TRY(write_archived(changes));
  TRY(write_deleted(changes));
  for (const auto& [id, row] : changes.jobs) TRY(write_job(db, row));
  TRY(write_tasks(changes));
  for (const auto& [key, row] : changes.attempts) {
    if (row) {
      TRY(write_attempt(key, *row));
      continue;
    }
    delete_attempt_.put(key.job.value).put(key.task.value).put(key.attempt.value);
    TRY(delete_attempt_.run());
  }
  for (const auto& [id, row] : changes.workers) TRY(write_worker(id, row));
  for (const auto& [key, row] : changes.keys) TRY(write_key(key, row));
  for (const auto& [asked, row] : changes.requests) TRY(write_request(asked, row));
  for (const auto& [key, row] : changes.tokens) {
    put_token_.text(key.first).text(key.second).put(row.job.value).blob(row.digest);
    TRY(put_token_.put(row.tasks).put(row.at.us).run());
  }
  TRY(write_staging(db, changes));
  for (const SweptRow& row : changes.swept) TRY(sweep(row));
  if (changes.requests_forgotten == TimePoint{}) return {};
  return forget_requests_.put(changes.requests_forgotten.us).run();
}

Result<void> RowWriter::write_tasks(const RowChanges& changes) {
  task_feed_->clear();
  plain_task_feed_->clear();
  for (const TaskFeed::Row& row : changes.tasks)
    (is_plain(*row.row) ? *plain_task_feed_ : *task_feed_).add(row);
  if (!task_feed_->empty()) TRY(put_tasks_.run());
  if (!plain_task_feed_->empty()) TRY(put_plain_tasks_.run());
  return {};
}

Result<void> RowWriter::write_deleted(const RowChanges& changes) {
  for (const auto& [job, row] : changes.deleted) {
    TRY(delete_job_.put(job.value).run());
    if (!row.token.empty()) {
      TRY(delete_token_.text(row.owner).text(row.token).put(job.value).run());
    }
    TRY(put_deletion_.put(job.value).put_or_null(row.inputs.value).run());
  }
  return {};
}

Result<void> RowWriter::sweep(const SweptRow& row) {
  const std::int64_t task = row.last ? INT64_MAX : std::int64_t{row.tasks_upto.value};
  const TaskIds ids = task_ids(row.job, 0, row.last ? UINT64_MAX : row.tasks_upto.value);
  TRY(sweep_tasks_.put(ids.first).put(ids.last).run());
  TRY(sweep_attempts_.put(row.job.value).put(task).run());
  if (row.inputs) {
    const std::int64_t input = row.last ? INT64_MAX : static_cast<std::int64_t>(row.inputs_upto);
    TRY(sweep_inputs_.put(row.inputs.value).put(input).run());
  }
  if (!row.last) return {};
  TRY(delete_spec_.put(row.job.value).run());
  return delete_deletion_.put(row.job.value).run();
}

Result<void> RowWriter::write_archived(const RowChanges& changes) {
  for (const auto& [job, span] : changes.archived) {
    const TaskIds ids = task_ids(job, span.first, span.last);
    TRY(archive_.put(ids.first).put(ids.last).run());
  }
  return {};
}

Result<void> RowWriter::write_job(Connection& db, const JobRow& row) {
  const JobTexts texts{id_list(row.excluded), id_list(row.waits_for)};
  put_changing(update_job_, row, texts);
  TRY(update_job_.run());
  if (db.changes() != 0) return {};
  return insert_job(row);
}

Result<void> RowWriter::insert_job(const JobRow& row) {
  CHECK(row.spec != nullptr);
  const JobSpec& spec = *row.spec;
  const JobTexts texts{id_list(row.excluded), id_list(row.waits_for)};
  const std::string command = readable_command(spec);
  const std::string cwd = printable(spec.cwd);
  put_changing(insert_job_, row, texts);
  insert_job_.text(row.owner).text(spec.name).put(row.tasks).put(spec.cpus);
  insert_job_.put_or_null(row.submitted_at.us).put_or_null(row.inputs.value);
  TRY(insert_job_.text(row.token).text(command).text(cwd).run());
  const std::string blob = encode_spec(spec);
  const std::string tags = tag_lines(spec.tags);
  return insert_spec_.put(row.id.value).blob(blob).text(tags).run();
}

Result<void> RowWriter::write_attempt(const AttemptKey& key, const AttemptRow& row) {
  Statement& s = put_attempt_;
  s.put(key.job.value).put(key.task.value).put(key.attempt.value).put_or_null(row.worker.value);
  put_instance(s, row.instance);
  s.put(row.round).put_or_null(row.assigned_at.us).put_or_null(row.started_at.us);
  s.put_or_null(row.ended_at.us).text(to_string(row.end)).put(row.late);
  s.put(row.exit_code).put(row.signal).put(row.wall.count()).put(row.cpu.count());
  s.put(row.max_rss_bytes).put(row.stdout_bytes).put(row.stderr_bytes).text(row.reason);
  return s.blob(row.stdout_tail).blob(row.stderr_tail).run();
}

Result<void> RowWriter::write_worker(WorkerId id, const WorkerRow& row) {
  Statement& s = put_worker_;
  s.put(id.value).text(row.name).text(row.public_key);
  put_instance(s, row.instance);
  s.put(row.cpus).text(row.version).text(row.address).text(row.note);
  s.put(row.present).put(row.leaving).put(row.disk_full);
  s.put_or_null(row.joined_at.us).put_or_null(row.left_at.us).text(row.left_reason);
  s.put(row.mem_bytes).put(row.drained).text(row.drained_by).text(row.drain_reason);
  return s.put(row.removed).run();
}

Result<void> RowWriter::write_key(const std::string& public_key, const KeyRow& row) {
  Statement& s = put_key_;
  s.text(public_key).text(row.name).text(to_string(row.role));
  s.put_or_null(row.added_at.us).text(row.added_by);
  return s.put_or_null(row.revoked_at.us).text(row.revoked_by).run();
}

Result<void> RowWriter::write_request(const Asked& asked, const RequestRow& row) {
  const std::string jobs = id_list(row.jobs);
  Statement& s = put_request_;
  s.text(asked.owner).blob(blob_of(asked.request)).put(row.at.us).put(row.steady_at.us);
  s.put(static_cast<std::int64_t>(row.code)).text(row.reason).text(jobs);
  return s.put(row.tasks).put(row.submission).run();
}

Result<void> RowWriter::write_submission(Connection& db, SubmissionId id,
                                         const SubmissionRow& row) {
  TRY(update_submission_.put(row.parts).put(row.inputs).put(id.value).run());
  if (db.changes() != 0) return {};
  const std::string spec = encode_spec(row.spec);
  Statement& s = insert_submission_;
  s.put(id.value).text(row.asked.owner).blob(blob_of(row.asked.request)).text(row.token);
  s.blob(row.digest).put(row.opened_at.us).put(row.parts).put(row.inputs);
  return s.blob(spec).run();
}

Result<void> RowWriter::write_staging(Connection& db, const RowChanges& changes) {
  for (const auto& [id, row] : changes.submissions) {
    if (row)
      TRY(write_submission(db, id, *row));
    else
      TRY(delete_submission_.put(id.value).run());
  }
  for (const auto& [key, row] : changes.inputs) {
    TRY(put_inputs_.put(key.first.value).put(key.second).put(row.count).blob(row.chunk).run());
  }
  for (const SubmissionId id : changes.inputs_dropped) TRY(drop_inputs_.put(id.value).run());
  return {};
}

}  // namespace capstan::store
