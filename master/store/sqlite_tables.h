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

 private:
  explicit SqliteTables(Connection connection) : connection_(std::move(connection)) {}
  Result<void> prepare();
  Result<std::optional<JobRow>> find_job(JobId job);
  Result<TaskPage> walk_touched(const TaskFilter& filter, const JobRow& job);
  Result<TaskPage> walk_all(const TaskFilter& filter, const JobRow& job);

  Connection connection_;
  Statement applied_, job_, tasks_, failed_, ended_, task_, attempts_;
};

}  // namespace capstan::store
