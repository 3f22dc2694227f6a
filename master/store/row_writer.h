// SPDX-License-Identifier: MIT
//
// Row changes to SQL: the statements, prepared once, and the order in which they run. Inside the
// caller's transaction, on its connection. Loop thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "master/core/rows.h"
#include "master/store/sqlite.h"

namespace capstan::store {

/// The ids that come next. Kept in `meta`, because ids are never used again, also when the rows
/// that had them are gone, or were lost with another master.
struct NextIds {
  JobId job{1};
  SubmissionId submission{1};
  WorkerId worker{1};
  bool operator==(const NextIds&) const = default;

  /// Moves behind every id in `changes`.
  void pass(const RowChanges& changes);
};

class TaskFeed;

class RowWriter {
 public:
  static Result<RowWriter> prepare(Connection& connection);
  RowWriter(RowWriter&&) noexcept;
  ~RowWriter();

  /// Archives first, then every row; a job's template is written when its row is new.
  /// REQUIRES: a transaction is open on the connection that prepare() was given.
  Result<void> write(Connection& connection, const RowChanges& changes);

 private:
  RowWriter();
  Result<void> prepare_deletions(Connection& connection);
  Result<void> write_archived(const RowChanges& changes);
  Result<void> write_tasks(const RowChanges& changes);
  Result<void> write_job(Connection& connection, const JobRow& row);
  Result<void> insert_job(const JobRow& row);
  Result<void> write_attempt(const AttemptKey& key, const AttemptRow& row);
  Result<void> write_worker(WorkerId id, const WorkerRow& row);
  Result<void> write_key(const std::string& public_key, const KeyRow& row);
  Result<void> write_request(const Asked& asked, const RequestRow& row);
  Result<void> write_submission(Connection& connection, SubmissionId id, const SubmissionRow& row);
  Result<void> write_deleted(const RowChanges& changes);
  Result<void> sweep(const SweptRow& row);
  Result<void> write_staging(Connection& connection, const RowChanges& changes);

  std::unique_ptr<TaskFeed> task_feed_, plain_task_feed_;  ///< Outlive the statements.
  Statement archive_, update_job_, insert_job_, insert_spec_;
  Statement put_tasks_, put_plain_tasks_, put_attempt_, delete_attempt_, put_worker_, put_key_,
      put_request_, put_token_;
  Statement update_submission_, insert_submission_, delete_submission_;
  Statement put_inputs_, drop_inputs_;
  Statement delete_job_, delete_token_, put_deletion_;
  Statement sweep_tasks_, sweep_attempts_, sweep_inputs_, delete_spec_, delete_deletion_;
  Statement forget_requests_;
};

/// "3,7,12", "" for none; and back, Corrupt for anything else.
template <class Id>
std::string id_list(const std::vector<Id>& ids);
template <class Id>
Result<std::vector<Id>> parse_id_list(std::string_view text);

}  // namespace capstan::store
