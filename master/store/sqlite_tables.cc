// SPDX-License-Identifier: MIT
#include "master/store/sqlite_tables.h"

#include <algorithm>

#include "common/model/glob.h"
#include "master/store/job_walk.h"
#include "master/store/row_reader.h"
#include "master/store/sqlite_store.h"
#include "master/store/task_id.h"

namespace capstan::store {
namespace {

using TaskFilter = Tables::TaskFilter;

constexpr std::uint32_t kFailedOnly = 1U << static_cast<unsigned>(TaskState::Failed);

std::uint64_t first_wanted(const TaskFilter& filter) {
  std::uint64_t first = filter.from_start ? 0 : std::uint64_t{filter.after.value} + 1;
  if (filter.only.empty()) return first;
  std::uint64_t lowest = UINT64_MAX;
  for (const IndexRange& range : filter.only) {
    lowest = std::min<std::uint64_t>(lowest, range.first);
  }
  return std::max(first, lowest);
}

std::uint32_t last_wanted(const TaskFilter& filter) {
  if (filter.only.empty()) return UINT32_MAX;
  std::uint32_t last = 0;
  for (const IndexRange& range : filter.only) last = std::max(last, range.last);
  return last;
}

void put(Statement& rows, const TaskIds& ids) {
  rows.put(ids.first).put(ids.last);
}

/// "'queued','failed'", of the bits of JobState. No bit, no word: what matches nothing.
std::string state_words(std::uint32_t states) {
  std::string words;
  for (unsigned i = 0; i <= static_cast<unsigned>(JobState::Skipped); ++i) {
    if ((states & 1U << i) == 0) continue;
    if (!words.empty()) words += ',';
    words += "'" + std::string(to_string(static_cast<JobState>(i))) + "'";
  }
  return words;
}

}  // namespace

Result<std::unique_ptr<SqliteTables>> SqliteTables::open(const std::string& dir) {
  Connection connection = TRY(Connection::open(database_path(dir), Access::ReadOnly));
  std::unique_ptr<SqliteTables> tables(new SqliteTables(dir, std::move(connection)));
  TRY(tables->prepare());
  return tables;
}

Result<void> SqliteTables::prepare() {
  Connection& db = connection_;
  const std::string select = std::string("SELECT ") + kTaskColumns;
  const std::string with_tails = select + ", stdout_tail, stderr_tail FROM task_rows t WHERE id";
  applied_ = TRY(db.prepare("SELECT applied_seq FROM meta"));
  job_ = TRY(db.prepare(std::string("SELECT ") + kJobColumns +
                        " FROM jobs JOIN specs ON job = id WHERE id = ?"));
  tasks_ = TRY(db.prepare(select + " FROM task_rows t WHERE id BETWEEN ? AND ? ORDER BY id"));
  failed_ = TRY(db.prepare(select + " FROM task_rows t INDEXED BY tasks_failed"
                                    " WHERE id BETWEEN ? AND ? AND state = 'failed' ORDER BY id"));
  ended_ = TRY(db.prepare(with_tails + " BETWEEN ? AND ? AND finished_seq > ?"
                                       " AND finished_seq <= ? ORDER BY id LIMIT ?"));
  task_ = TRY(db.prepare(with_tails + " BETWEEN ? AND ?"));
  attempts_ = TRY(db.prepare(std::string("SELECT ") + kAttemptColumns +
                             ", a.stdout_tail, a.stderr_tail FROM attempts a"
                             " WHERE a.job = ? AND a.task = ? ORDER BY a.attempt"));
  return prepare_sweep();
}

Result<Seq> SqliteTables::applied_seq() {
  const Rewind rewind(applied_);
  if (!TRY(applied_.next())) return fail(Errc::Corrupt, "the table meta is empty");
  return Seq(applied_.u64());
}

Result<std::vector<JobRow>> SqliteTables::list_jobs(const JobFilter& filter) {
  std::string sql =
      std::string("SELECT name, ") + kJobColumns + " FROM jobs JOIN specs ON job = id WHERE id < ?";
  if (filter.owner) sql += " AND owner = ?";
  if (!filter.tag.empty()) sql += " AND instr(tags, ?) > 0";
  if (filter.submitted_since.us != 0) sql += " AND submitted_at_us >= ?";
  if (filter.states != 0) sql += " AND state IN (" + state_words(filter.states) + ")";
  if (filter.live_only) sql += " AND state NOT IN ('succeeded', 'failed', 'cancelled', 'skipped')";
  sql += " ORDER BY id DESC";
  Statement rows = TRY(connection_.prepare(sql));
  rows.put(filter.before ? static_cast<std::int64_t>(filter.before.value) : INT64_MAX);
  if (filter.owner) rows.text(*filter.owner);
  const std::string tag = "\n" + filter.tag + "\n";
  if (!filter.tag.empty()) rows.text(tag);
  if (filter.submitted_since.us != 0) rows.put(filter.submitted_since.us);
  std::vector<JobRow> jobs;
  while (jobs.size() < filter.limit && TRY(rows.next())) {
    const std::string_view name = rows.bytes();
    if (filter.name.empty() || matches_glob(filter.name, name)) jobs.push_back(TRY(read_job(rows)));
  }
  return jobs;
}

Result<std::optional<JobRow>> SqliteTables::find_job(JobId job) {
  const Rewind rewind(job_);
  job_.put(job.value);
  if (!TRY(job_.next())) return std::optional<JobRow>();
  return std::optional<JobRow>(TRY(read_job(job_)));
}

Result<std::optional<JobRow>> SqliteTables::get_job(JobId job) {
  return find_job(job);
}

Result<Tables::TaskPage> SqliteTables::list_tasks(const TaskFilter& filter) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  const std::optional<JobRow> job = TRY(find_job(filter.job));
  if (!job || count_in(job->counts, filter.states) == 0) return TaskPage{};
  return has_state(filter.states, untouched_state(*job)) ? walk_all(filter, *job)
                                                         : walk_touched(filter, *job);
}

/// Only tasks that have a row can match.
Result<Tables::TaskPage> SqliteTables::walk_touched(const TaskFilter& filter, const JobRow& job) {
  const IndexWalk walk(job.spec->indices, filter.only);
  Statement& rows = filter.states == kFailedOnly ? failed_ : tasks_;
  const Rewind rewind(rows);
  put(rows, task_ids(filter.job, first_wanted(filter), last_wanted(filter)));
  TaskPage page;
  while (TRY(rows.next())) {
    ReadTask read = TRY(read_task(rows));
    if (!has_state(filter.states, read.row.state)) continue;
    if (!filter.only.empty() && !walk.contains(read.task.value)) continue;
    if (page.tasks.size() == filter.limit) {
      page.more = true;
      break;
    }
    page.tasks.push_back({read.task, std::move(read.row)});
  }
  return page;
}

/// Every task, those without a row in between.
Result<Tables::TaskPage> SqliteTables::walk_all(const TaskFilter& filter, const JobRow& job) {
  IndexWalk walk(job.spec->indices, filter.only);
  TaskRow untouched;
  untouched.state = untouched_state(job);
  const Rewind rewind(tasks_);
  put(tasks_, task_ids(filter.job, first_wanted(filter), last_wanted(filter)));
  std::optional<ReadTask> row;
  bool rows_left = true;
  TaskPage page;
  std::uint64_t from = first_wanted(filter);
  for (auto index = TRY(walk.next(from)); index; index = TRY(walk.next(from))) {
    from = std::uint64_t{*index} + 1;
    while (rows_left && (!row || row->task.value < *index)) {
      rows_left = TRY(tasks_.next());
      if (rows_left) row = TRY(read_task(tasks_));
    }
    const bool touched = row && row->task.value == *index;
    const TaskRow& task = touched ? row->row : untouched;
    if (!has_state(filter.states, task.state)) continue;
    if (page.tasks.size() == filter.limit) {
      page.more = true;
      break;
    }
    page.tasks.push_back({TaskIndex(*index), task});
  }
  return page;
}

Result<Tables::TaskPage> SqliteTables::list_ended(const EndedFilter& filter) {
  const Rewind rewind(ended_);
  const std::uint64_t first = filter.from_start ? 0 : std::uint64_t{filter.after.value} + 1;
  put(ended_, task_ids(filter.job, first, UINT64_MAX));
  ended_.put(filter.from.value).put(filter.to.value);
  ended_.put(std::uint64_t{filter.limit} + 1);
  TaskPage page;
  while (TRY(ended_.next())) {
    ReadTask read = TRY(read_task(ended_));
    if (page.tasks.size() == filter.limit) {
      page.more = true;
      break;
    }
    read_tails(ended_, read.row);
    page.tasks.push_back({read.task, std::move(read.row)});
  }
  return page;
}

Result<std::optional<Tables::TaskEntry>> SqliteTables::get_task(JobId job, TaskIndex task) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  {
    const Rewind rewind(task_);
    put(task_, task_ids(job, task.value, task.value));
    if (TRY(task_.next())) {
      ReadTask read = TRY(read_task(task_));
      read_tails(task_, read.row);
      return std::optional<TaskEntry>(TaskEntry{read.task, std::move(read.row)});
    }
  }
  const std::optional<JobRow> owner = TRY(find_job(job));
  if (!owner || !IndexWalk(owner->spec->indices, {}).contains(task.value)) {
    return std::optional<TaskEntry>();
  }
  TaskRow untouched;
  untouched.state = untouched_state(*owner);
  return std::optional<TaskEntry>(TaskEntry{task, untouched});
}

Result<std::vector<std::pair<AttemptKey, AttemptRow>>> SqliteTables::list_attempts(JobId job,
                                                                                   TaskIndex task) {
  const Rewind rewind(attempts_);
  attempts_.put(job.value).put(task.value);
  std::vector<std::pair<AttemptKey, AttemptRow>> list;
  while (TRY(attempts_.next())) {
    list.push_back(TRY(read_attempt(attempts_)));
    read_tails(attempts_, list.back().second);
  }
  return list;
}

Result<cmd::JobReopened> SqliteTables::read_finished_job(JobId id) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  const std::string name = "job " + std::to_string(id.value);
  const std::optional<JobRow> job = TRY(find_job(id));
  if (!job) return fail(Errc::NotFound, name + " is not known");
  if (!is_finished(job->state)) return fail(Errc::Unavailable, name + " is not finished yet");
  cmd::JobReopened reopened{
      job->id,       job->owner,    *job->spec,      job->submitted_at, job->started_at, {},
      job->token,    job->inputs,   job->cancelling, job->launched,     job->mean_wall,  1,
      job->skipping, job->priority, job->reason};
  RunBuilder runs(*job);
  const Rewind rewind(tasks_);
  put(tasks_, task_ids(id));
  while (TRY(tasks_.next())) {
    const ReadTask read = TRY(read_task(tasks_));
    TRY(runs.add(read.task, read.row));
  }
  TRY(runs.finish(reopened));
  return reopened;
}

}  // namespace capstan::store
