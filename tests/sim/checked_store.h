// SPDX-License-Identifier: MIT
//
// Holds everything that is written against what was written before: positions dense, epochs not
// falling, finished tasks final until a new round, attempt numbers never falling, one job for each
// id, no job begun before what it waits for. It passes on to the store behind it, and may be told
// to die in the middle of a write.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/passing_store.h"

namespace capstan::sim {

class CheckedStore final : public test::PassingStore {
 public:
  using PassingStore::PassingStore;

  /// The next append fails with OutcomeUnknown; `written` says what really happened.
  void die_in_next_append(bool written) { dies_ = written; }
  /// It died in another way before that.
  void live_on() { dies_.reset(); }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  /// A worker was lost or left.
  [[nodiscard]] bool has_lost_a_worker() const { return has_lost_; }
  [[nodiscard]] std::uint64_t entries() const { return last_seq_.value; }

  Result<void> append(const SealedBatch& sealed, const store::Batch& batch,
                      const RowChanges& committed, Seq applied) override;
  Result<void> flush(const RowChanges& committed, Seq applied) override;
  Result<void> truncate(Seq keep) override;

 private:
  struct Seen {
    TaskState state = TaskState::Ready;
    std::uint32_t round = 0;
    AttemptNo attempts;
    bool number_free = false;
  };
  void check_batch(const store::Batch& batch);
  void check_rows(const RowChanges& rows);
  void check_job(const JobRow& row);
  void check_upstream(const JobRow& row, JobId upstream);
  void check_released();
  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what;
  }

  std::optional<bool> dies_;
  Seq last_seq_;
  Epoch last_epoch_;
  TimePoint last_at_;
  std::map<std::pair<JobId, TaskIndex>, Seen> seen_;
  std::set<AttemptKey> returned_;  ///< By the entries whose rows are still to come.
  std::map<JobId, std::string> owners_;
  std::map<JobId, std::uint32_t> retries_;
  struct SeenJob {
    std::shared_ptr<const JobSpec> spec;
    bool waits = true;
    std::set<JobId> upstream;  ///< What it still waits for.
    bool finished = false;
    bool reopened = false;            ///< It was finished before.
    JobState end = JobState::Queued;  ///< The last one.
  };
  std::map<JobId, SeenJob> jobs_;
  std::vector<std::pair<JobId, WallTime>> released_;  ///< In entries whose rows are still to come.
  bool has_lost_ = false;
  std::string complaint_;
};

}  // namespace capstan::sim
