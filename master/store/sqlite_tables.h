// SPDX-License-Identifier: MIT
//
// Wide reads of the database on a read-only connection of their own, so that the loop never waits
// for a list. One thread at a time; each call is one read transaction, short, because an open one
// keeps the WAL from being checkpointed.
#pragma once

#include <memory>
#include <string>

#include "master/store/sqlite.h"
#include "master/store/store.h"

namespace capstan::store {

class SqliteTables final : public Tables {
 public:
  /// REQUIRES: a SqliteStore was opened on `dir` (it makes the tables).
  static Result<std::unique_ptr<SqliteTables>> open(const std::string& dir);

  Result<Seq> applied_seq() override;
  Result<std::vector<JobRow>> list_jobs(const JobFilter& filter) override;
  Result<std::optional<JobRow>> get_job(JobId job) override;
  Result<TaskPage> list_tasks(const TaskFilter& filter) override;
  Result<TaskPage> list_ended(const EndedFilter& filter) override;
  Result<std::optional<TaskEntry>> get_task(JobId job, TaskIndex task) override;
  Result<std::vector<std::pair<AttemptKey, AttemptRow>>> list_attempts(JobId job,
                                                                       TaskIndex task) override;
  Result<JournalPiece> read_journal(const JournalAsk& ask) override;
  Result<ExpiredPage> list_expired(const Expiry& expiry) override;
  Result<std::vector<JobId>> list_gone(const std::vector<JobId>& jobs) override;
  Result<std::vector<SweepStep>> plan_sweep(const SweepAsk& ask) override;
  Result<TimePoint> find_old_requests(TimePoint before, std::uint32_t limit) override;
  Result<cmd::JobReopened> read_finished_job(JobId job) override;

 private:
  SqliteTables(std::string dir, Connection connection)
      : dir_(std::move(dir)), connection_(std::move(connection)) {}
  /// The end of a job and its id: the order in which they go.
  using EndOf = std::pair<std::int64_t, std::int64_t>;
  Result<EndOf> expiry_end(const Expiry& expiry);
  Result<EndOf> end_beyond(std::uint64_t jobs_kept);
  Result<EndOf> end_of_oldest();
  Result<std::uint64_t> bytes_kept();
  Result<void> plan_sweep_of(const std::pair<JobId, SubmissionId>& deletion, const SweepAsk& ask,
                             std::vector<SweepStep>& steps);
  Result<void> prepare();
  Result<void> prepare_sweep();
  Result<std::optional<JobRow>> find_job(JobId job);
  Result<TaskPage> walk_touched(const TaskFilter& filter, const JobRow& job);
  Result<TaskPage> walk_all(const TaskFilter& filter, const JobRow& job);

  std::string dir_;
  Connection connection_;
  Statement applied_, job_, tasks_, failed_, ended_, task_, attempts_;
  Statement task_beyond_, attempt_beyond_, input_beyond_, tasks_left_;
};

}  // namespace capstan::store
