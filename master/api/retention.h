// SPDX-License-Identifier: MIT
//
// What is deleted, and how it goes: finished jobs that are too old, too many or too large by the
// master's policy, and those that somebody purges. A deletion is an entry that takes jobs off the
// lists (cmd::JobsDeleted); what they had in the tables is swept by further entries, a bounded
// number of rows at a time and at a bounded pace, so that no turn is held up. The reader thread
// finds the jobs and cuts the steps. A job that a live one waits for stays. Loop thread only.
//
//   policy, purge, delete -> JobsDeleted -> its pack of output is removed -> DeletionsSwept … last
//
// The pack goes before the last step, which forgets the job: so a crash leaves none behind.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/net/transport.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/core/command.h"
#include "master/store/store.h"

namespace capstan::api {

class Retention {
 public:
  /// 0: no bound.
  struct Policy {
    Micros age{0};           ///< Since a job's end.
    std::uint64_t jobs = 0;  ///< Finished ones.
    std::uint64_t bytes = 0;
    std::uint32_t rows_per_step = 500;  ///< Swept at a time; several steps go into one entry.
  };
  struct Parts {
    Ledger& ledger;
    Reads& reads;
    Logs& logs;
    store::Store& store;
    Policy policy;
  };
  explicit Retention(Parts parts)
      : ledger_(parts.ledger),
        reads_(parts.reads),
        logs_(parts.logs),
        store_(parts.store),
        policy_(parts.policy),
        pass_at_(ledger_.at()),
        vacuum_at_(ledger_.at()) {}

  /// Answers `asked` when every finished job of `owner` (none: everybody's) that ended before
  /// `finished_before` was deleted. Unavailable: too many wait for that already.
  [[nodiscard]] Result<void> purge(const Asked& asked, std::optional<std::string> owner,
                                   WallTime finished_before);
  /// A job ended: there may be one too many now.
  void on_finished();

  /// In a turn, behind everything else: adds what is due now.
  void step();
  /// Behind the write: asks the tables for what comes next, gives space back.
  [[nodiscard]] Result<void> after_write();
  [[nodiscard]] TimePoint next_due() const;

 private:
  struct Purge {
    Asked asked;
    std::optional<std::string> owner;
    WallTime finished_before;
    bool is_read = false;
    std::optional<Error> failed{};  ///< It could not be read.
    std::deque<cmd::JobsDeleted::One> jobs;
    std::uint64_t deleted = 0;
    std::uint64_t kept = 0;  ///< Others wait for them.
    bool more = false;       ///< Than one purge takes.
  };

  void read_purge(const Purge& purge);
  void read_expired();
  void read_old_requests();
  void read_steps();
  void remove_packs();
  void commit_purge();
  void commit_expired();
  void commit_steps(std::uint64_t most);
  /// The next ones of `jobs` that may go.
  std::vector<cmd::JobsDeleted::One> take(std::deque<cmd::JobsDeleted::One>& jobs,
                                          std::uint64_t& kept);
  [[nodiscard]] bool is_due() const;

  Ledger& ledger_;
  Reads& reads_;
  Logs& logs_;
  store::Store& store_;
  Policy policy_;

  std::deque<Purge> purges_;                    // The first one is at work.
  std::deque<cmd::JobsDeleted::One> expired_;   // By the policy, to be deleted.
  std::deque<store::Tables::SweepStep> steps_;  // Of deletions, to be swept.
  std::set<JobId> packs_gone_;                  // Of steps_ that are the last of their job.
  WallTime passed_at_{};                        // Where the policy's pass is.
  JobId passed_{};
  bool reads_purge_ = false;
  bool reads_expired_ = false;
  bool reads_steps_ = false;
  TimePoint step_at_;
  TimePoint pass_at_;
  TimePoint steps_at_;  // Not to be asked for before.
  TimePoint vacuum_at_;
  TimePoint forget_upto_{};
};

}  // namespace capstan::api
