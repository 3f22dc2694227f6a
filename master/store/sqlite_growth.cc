// SPDX-License-Identifier: MIT
//
// What retention asks of the tables: which jobs may go, and in which steps their rows do. Part of
// SqliteTables.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "master/store/files.h"
#include "master/store/row_reader.h"
#include "master/store/sqlite_tables.h"
#include "master/store/task_id.h"

namespace capstan::store {
namespace {

// The oldest jobs with about so many tasks go before the size is looked at again.
constexpr std::uint64_t kTasksAtOnce = 20'000;
constexpr int kJobsAtOnce = 500;
// A chunk of inputs has 64 KiB: so many of them are about the work of a step.
constexpr std::int64_t kChunksPerStep = 32;
constexpr std::uint64_t kRowsPerChunk = 32;

std::uint64_t bytes_in(const std::string& dir) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(dir, error), end; !error && it != end;
       it.increment(error)) {
    bytes += file_bytes(it->path().string());
  }
  return bytes;
}

}  // namespace

Result<void> SqliteTables::prepare_sweep() {
  Connection& db = connection_;
  task_beyond_ = TRY(
      db.prepare("SELECT id FROM task_rows WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1 OFFSET ?"));
  attempt_beyond_ = TRY(db.prepare(
      "SELECT task FROM attempts WHERE job = ? AND task > ? ORDER BY task LIMIT 1 OFFSET ?"));
  input_beyond_ =
      TRY(db.prepare("SELECT first FROM inputs WHERE submission = ? AND first > ?"
                     " ORDER BY first LIMIT 1 OFFSET ?"));
  tasks_left_ =
      TRY(db.prepare("SELECT (SELECT count(*) FROM task_rows WHERE id BETWEEN ?1 AND ?2)"
                     " + (SELECT count(*) FROM attempts WHERE job = ?3 AND task > ?4)"));
  return {};
}

// --- Which jobs ----------------------------------------------------------------------------------

Result<std::vector<JobId>> SqliteTables::list_gone(const std::vector<JobId>& jobs) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  const JobId next(
      static_cast<std::uint64_t>(TRY(connection_.read_int("SELECT next_job FROM meta"))));
  Statement is_known =
      TRY(connection_.prepare("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)"
                              " OR EXISTS (SELECT 1 FROM deletions WHERE job = ?1)"));
  std::vector<JobId> gone;
  for (const JobId job : jobs) {
    if (job >= next) continue;  // Its entry has not reached the tables yet.
    const Rewind rewind(is_known);
    is_known.put(job.value);
    if (TRY(is_known.next()) && is_known.i64() == 0) gone.push_back(job);
  }
  return gone;
}

Result<std::uint64_t> SqliteTables::bytes_kept() {
  // Free pages are used again; the journal has a bound of its own.
  const std::int64_t rows = TRY(connection_.read_int(
      "SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM"
      " pragma_freelist_count)"));
  const std::int64_t journal = TRY(connection_.read_int(
      "SELECT journal_bytes - ifnull((SELECT bytes_before FROM journal ORDER BY first_seq LIMIT 1),"
      " journal_bytes) FROM meta"));
  const std::int64_t page = TRY(connection_.read_int("SELECT page_size FROM pragma_page_size"));
  const std::int64_t database = std::max<std::int64_t>(rows * page - journal, 0);
  return static_cast<std::uint64_t>(database) + bytes_in(dir_ + "/logs");
}

/// The last of those that are too many.
Result<SqliteTables::EndOf> SqliteTables::end_beyond(std::uint64_t jobs_kept) {
  Statement rows =
      TRY(connection_.prepare("SELECT finished_at_us, id FROM jobs WHERE finished_at_us IS NOT NULL"
                              " ORDER BY finished_at_us DESC, id DESC LIMIT 1 OFFSET ?"));
  rows.put(jobs_kept);
  if (!TRY(rows.next())) return EndOf{};
  const std::int64_t at = rows.i64();
  return EndOf{at, rows.i64()};
}

Result<SqliteTables::EndOf> SqliteTables::end_of_oldest() {
  Statement rows = TRY(connection_.prepare(
      "SELECT finished_at_us, id, tasks FROM jobs WHERE finished_at_us IS NOT NULL"
      " ORDER BY finished_at_us, id LIMIT ?"));
  rows.put(kJobsAtOnce);
  EndOf end;
  std::uint64_t tasks = 0;
  while (tasks < kTasksAtOnce && TRY(rows.next())) {
    const std::int64_t at = rows.i64();
    end = {at, rows.i64()};
    tasks += rows.u64();
  }
  return end;
}

Result<SqliteTables::EndOf> SqliteTables::expiry_end(const Expiry& expiry) {
  EndOf end{};
  if (expiry.finished_before.us > 0) end = {expiry.finished_before.us - 1, INT64_MAX};
  if (expiry.jobs_kept > 0) end = std::max(end, TRY(end_beyond(expiry.jobs_kept)));
  if (expiry.bytes_kept > 0 && TRY(bytes_kept()) > expiry.bytes_kept) {
    end = std::max(end, TRY(end_of_oldest()));
  }
  return end;
}

Result<Tables::ExpiredPage> SqliteTables::list_expired(const Expiry& expiry) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  const auto [last_at, last_id] = TRY(expiry_end(expiry));
  std::string sql =
      "SELECT id, owner, token, inputs, tasks, finished_at_us FROM jobs"
      " WHERE finished_at_us IS NOT NULL AND (finished_at_us, id) > (?, ?)"
      " AND (finished_at_us, id) <= (?, ?)";
  if (expiry.owner) sql += " AND owner = ?";
  sql += " ORDER BY finished_at_us, id LIMIT ?";
  Statement rows = TRY(connection_.prepare(sql));
  rows.put(expiry.after_at.us).put(expiry.after.value).put(last_at).put(last_id);
  if (expiry.owner) rows.text(*expiry.owner);
  rows.put(std::int64_t{expiry.limit} + 1);
  ExpiredPage page;
  while (TRY(rows.next())) {
    if (page.jobs.size() == expiry.limit) {
      page.more = true;
      break;
    }
    page.jobs.push_back(read_deletable(rows));
    page.last_at.us = rows.i64();
  }
  return page;
}

// --- In which steps ------------------------------------------------------------------------------

Result<std::vector<Tables::SweepStep>> SqliteTables::plan_sweep(const SweepAsk& ask) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  std::vector<SweepStep> steps;
  std::uint64_t rows = 0;
  for (const auto& deletion : ask.deletions) {
    const std::size_t before = steps.size();
    SweepAsk rest = ask;
    rest.rows = ask.rows - rows;
    rest.deletions.clear();
    TRY(plan_sweep_of(deletion, rest, steps));
    for (std::size_t i = before; i < steps.size(); ++i) rows += steps[i].rows;
    if (rows >= ask.rows) break;
  }
  return steps;
}

Result<void> SqliteTables::plan_sweep_of(const std::pair<JobId, SubmissionId>& deletion,
                                         const SweepAsk& ask, std::vector<SweepStep>& steps) {
  const auto [job, inputs] = deletion;
  const auto beyond = [](Statement& at, auto first, std::int64_t second,
                         std::int64_t offset) -> Result<std::optional<std::int64_t>> {
    const Rewind rewind(at);
    at.put(first).put(second).put(offset);
    if (!TRY(at.next())) return std::optional<std::int64_t>();
    return std::optional<std::int64_t>(at.i64());
  };
  const auto ids_behind = [job = job](std::int64_t task) {
    return task_ids(job, static_cast<std::uint64_t>(task + 1), UINT64_MAX);
  };
  std::uint64_t rows = 0;
  std::int64_t task = -1;
  while (rows < ask.rows) {
    const std::int64_t offset = std::int64_t{ask.rows_per_step} - 1;
    const TaskIds ids = ids_behind(task);
    auto by_tasks = TRY(beyond(task_beyond_, ids.first, ids.last, offset));
    if (by_tasks) by_tasks = task_of(*by_tasks).value;
    const auto by_attempts = TRY(beyond(attempt_beyond_, job.value, task, offset));
    if (!by_tasks && !by_attempts) break;
    task = std::min(by_tasks.value_or(INT64_MAX), by_attempts.value_or(INT64_MAX));
    const std::uint64_t in_step = ask.rows_per_step;
    steps.push_back({{job, TaskIndex(static_cast<std::uint32_t>(task)), 0, false}, in_step});
    rows += in_step;
  }
  std::int64_t input = -1;
  while (inputs && rows < ask.rows) {
    const auto next = TRY(beyond(input_beyond_, inputs.value, input, kChunksPerStep - 1));
    if (!next) break;
    input = *next;
    const std::uint64_t in_step = kChunksPerStep * kRowsPerChunk;
    const auto upto = static_cast<std::uint64_t>(input);
    steps.push_back({{job, TaskIndex(UINT32_MAX), upto, false}, in_step});
    rows += in_step;
  }
  if (rows >= ask.rows) return {};
  const Rewind rewind(tasks_left_);
  const TaskIds ids = ids_behind(task);
  tasks_left_.put(ids.first).put(ids.last).put(job.value).put(task);
  const std::uint64_t left = TRY(tasks_left_.next()) ? tasks_left_.u64() : 0;
  steps.push_back({{job, TaskIndex(UINT32_MAX), UINT64_MAX, true}, left + 3});
  return {};
}

Result<TimePoint> SqliteTables::find_old_requests(TimePoint before, std::uint32_t limit) {
  Statement row = TRY(connection_.prepare(
      "SELECT ifnull(max(steady_at_us), 0) FROM (SELECT steady_at_us FROM requests"
      " WHERE steady_at_us < ? ORDER BY steady_at_us LIMIT ?)"));
  row.put(before.us).put(limit);
  if (!TRY(row.next())) return TimePoint{};
  return TimePoint{row.i64()};
}

}  // namespace capstan::store
