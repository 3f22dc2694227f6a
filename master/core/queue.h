// SPDX-License-Identifier: MIT
//
// The queue: every live job, task and worker that the master knows, and who holds what. The same
// entries give the same state on the primary, the standby, after a restart and in tests/sim:
// `apply` has no clock, randomness, I/O, logging or unordered iteration. Finished jobs leave
// memory; the tables have them. Loop thread only.
//
//    submitted, and nothing
//    to wait for       assigned            exit 0
//   ----------> [Ready] -------> [Running] ---------> [Succeeded]
//                  ^                |  fails, worker lost
//                  |  backoff over  v        no attempts left
//                  `----------- [Backoff] ----------> [Failed]
//
// The rules are those of docs/architecture.md sections 5 and 6; reconcile.h has those of a HELLO.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/job.h"
#include "common/model/task.h"
#include "master/core/command.h"
#include "master/core/effect.h"
#include "master/core/job.h"
#include "master/core/rows.h"

namespace capstan {

/// What an attempt takes of its worker.
struct Share {
  std::uint32_t cpus = 0;
  std::uint64_t mem_bytes = 0;
  bool operator==(const Share&) const = default;
};
[[nodiscard]] Share share_of(const JobSpec& spec);

/// A worker as the queue knows it. Presence is by entries only; silence is not known here.
struct Worker {
  WorkerId id;
  WorkerRow row;
  using Grants = KeyedList<AttemptKey, std::monostate, kSpareGrants>;
  Grants granted;  ///< Every attempt that is Running here; those of this life in the order in
                   ///< which they were granted.
  std::uint32_t cpus_granted = 0;  ///< Sum of their cpus: above row.cpus when work was sent ahead.
  std::uint64_t mem_granted = 0;   ///< Sum of their memory: never above row.mem_bytes.
  /// Told to stop and no more granted, with their cpus: they hold their slots until the worker says
  /// that they are gone. For the planner alone: nothing in a row depends on it, it is not stored,
  /// and each HELLO states it anew (nobody gets work before its HELLO).
  std::map<AttemptKey, Share> dying;
  Share dying_sum;
  /// Ascending: what depends on their order is the same everywhere.
  [[nodiscard]] std::vector<AttemptKey> list_granted() const;
};

/// Deliberate mistakes, for testing the tests (tests/sim). Product code leaves it at None.
enum class QueueMutant : std::uint8_t {
  None,
  LateFailureCounts,
  ReuseLostNumber,
  ReadoptAlways,
  RestartCancelled,
  IgnoreInstance,
  HandbackUnconfirmed,
  ReplyBeforeReconcile,
  KeepSuperseded,
};

/// What a start of a master read from the tables (master/store fills it, Queue takes it over).
struct LoadedState {
  /// Touched tasks of consecutive indices that are alike: all that a queue keeps of finished ones,
  /// and of idle ones whose rows have no history.
  struct TaskRun {
    IndexSpan span;
    TaskState state = TaskState::Succeeded;
    AttemptNo attempts;
    std::uint32_t round = 1;
    bool operator==(const TaskRun&) const = default;
  };
  struct LoadedJob {
    JobRow row;
    std::vector<TaskRun> runs{};         ///< Ascending.
    std::map<TaskIndex, TaskRow> tasks;  ///< Other touched ones. Without output tails.
    /// Of tasks that are not finished, and of their round: those that were lost, and those that
    /// failed. Without output tails.
    std::map<AttemptKey, AttemptRow> attempts;
    /// A touched task, as one or the other. REQUIRES: behind all that were added before.
    void add_task(TaskIndex task, TaskRow touched);
    void add_run(const TaskRun& run);
    /// If it is to be remembered. REQUIRES: its task is not finished, and in the attempt's round.
    void add_attempt(const AttemptKey& key, AttemptRow ended);
  };
  Seq last_seq;
  Epoch last_epoch;
  TimePoint last_at;
  JobId next_job{1};
  SubmissionId next_submission{1};
  WorkerId next_worker{1};
  std::uint32_t min_copies = 1;
  std::map<WorkerId, WorkerRow> workers;
  std::map<std::string, KeyRow> keys;  ///< By public key.
  std::map<SubmissionId, SubmissionRow> submissions;
  std::map<Asked, RequestRow> requests;  ///< Within kRequestsInMemoryFor of last_at.
  std::vector<LoadedJob> jobs;           ///< Live ones only.
  std::map<JobId, SubmissionId> deletions;
  /// (owner, token): at least those of the jobs that `requests` name.
  std::map<std::pair<std::string, std::string>, TokenRow> tokens;
};

class Queue {
 public:
  Queue() = default;
  explicit Queue(QueueMutant mutant) : mutant_(mutant) {}

  [[nodiscard]] QueueMutant mutant() const { return mutant_; }

  /// A queue as the tables describe it. CHECKs that counts and rows agree.
  static Queue load(LoadedState state);
  /// tests/sim only.
  void set_mutant(QueueMutant mutant) { mutant_ = mutant; }

  /// Applies one entry; what it changes is folded into `rows`, what must be told is appended to
  /// `effects` in order. Total: a command that makes no sense (any more) changes nothing but
  /// last_seq, and answers its request with an error if it has one.
  /// REQUIRES: entry.seq == last_seq() + 1, entry.at >= last_at().
  void apply(const Entry& entry, std::vector<Effect>& effects, RowChanges& rows);

  [[nodiscard]] Seq last_seq() const { return last_seq_; }
  [[nodiscard]] Epoch last_epoch() const { return last_epoch_; }
  [[nodiscard]] TimePoint last_at() const { return last_at_; }

  // Ids that the primary stamps on the next command of their kind.
  [[nodiscard]] JobId next_job() const { return next_job_; }
  [[nodiscard]] SubmissionId next_submission() const { return next_submission_; }
  [[nodiscard]] WorkerId next_worker() const { return next_worker_; }
  /// An admin's word for the failover machine (cmd::MinCopiesSet).
  [[nodiscard]] std::uint32_t min_copies() const { return min_copies_; }

  [[nodiscard]] const std::map<JobId, Job>& jobs() const { return jobs_; }
  [[nodiscard]] const Job* find_job(JobId id) const;
  [[nodiscard]] const std::map<WorkerId, Worker>& workers() const { return workers_; }
  [[nodiscard]] const Worker* find_worker(WorkerId id) const;
  [[nodiscard]] const Worker* find_worker_by_name(const std::string& name) const;
  [[nodiscard]] const Worker* find_worker_by_key(const std::string& public_key) const;
  /// By public key; revoked ones too.
  [[nodiscard]] const std::map<std::string, KeyRow>& keys() const { return keys_; }
  /// Somebody has a valid key of this name: no worker's, and none that the master made for itself.
  [[nodiscard]] bool has_key_named(const std::string& name) const;
  [[nodiscard]] const std::map<SubmissionId, SubmissionRow>& submissions() const {
    return submissions_;
  }
  /// Deleted jobs that are not swept yet, with whose chunks their inputs are.
  [[nodiscard]] const std::map<JobId, SubmissionId>& deletions() const { return deletions_; }
  /// The open submission of this request, if there is one.
  [[nodiscard]] std::optional<SubmissionId> find_submission(const Asked& asked) const;
  /// The answer of a recent request; older ones are in the table.
  [[nodiscard]] const RequestRow* find_request(const Asked& asked) const;
  /// The job of a recently used token; older ones are in the table.
  [[nodiscard]] const TokenRow* find_token(const std::string& owner,
                                           const std::string& token) const;

  // Indexes for the planner, so that a turn costs what is ready, not what is live.
  using ReadyJobs = std::map<std::int32_t, std::map<std::string, std::set<JobId>>, std::greater<>>;
  /// Jobs that are not paused, below their limit, with something Ready: by priority, by owner.
  [[nodiscard]] const ReadyJobs& ready_jobs() const { return ready_jobs_; }
  /// Those of them whose tasks are known to be so short that they are sent ahead.
  [[nodiscard]] const ReadyJobs& short_jobs() const { return short_jobs_; }
  /// Jobs that wait for their begin, by it (wall clock).
  [[nodiscard]] const std::set<std::pair<WallTime, JobId>>& begins() const { return begins_; }
  /// A live job begins only when this one has ended, or a submission that is open says so.
  [[nodiscard]] bool is_waited_for(JobId id) const;
  /// The earliest backoff of each job that has one.
  [[nodiscard]] const std::set<std::pair<TimePoint, JobId>>& backoff_jobs() const {
    return backoff_jobs_;
  }
  /// Cpus assigned to an owner's live jobs.
  [[nodiscard]] std::uint64_t cpus_of(const std::string& owner) const;

  /// Equal state, for tests: loaded and replayed, two replicas at one seq. Describes the first
  /// difference, "" when there is none.
  [[nodiscard]] static std::string difference(const Queue& a, const Queue& b);

 private:
  friend class QueueApply;  // queue_*.cc: the handlers, one group of commands each.

  QueueMutant mutant_ = QueueMutant::None;
  Seq last_seq_;
  Epoch last_epoch_;
  TimePoint last_at_;
  JobId next_job_{1};
  SubmissionId next_submission_{1};
  WorkerId next_worker_{1};
  std::uint32_t min_copies_ = 1;
  std::map<JobId, Job> jobs_;  // Live ones. Ordered: iteration order is part of the result.
  std::map<WorkerId, Worker> workers_;
  std::map<std::string, WorkerId> workers_by_key_;
  std::map<std::string, WorkerId> workers_by_name_;
  std::map<std::string, KeyRow> keys_;
  std::map<SubmissionId, SubmissionRow> submissions_;
  std::map<Asked, SubmissionId> submissions_by_request_;
  std::map<Asked, RequestRow> requests_;  // Recent ones.
  std::map<std::pair<TimePoint, Asked>, bool> requests_by_age_;
  // Tokens of the jobs that requests_ names: two submissions with one token may be on their way
  // before the tables, where master/api looks, have the first.
  using TokenKey = std::pair<std::string, std::string>;  // Owner, token.
  struct TokenUse {
    TokenKey key;
    std::uint32_t requests = 0;
    bool operator==(const TokenUse&) const = default;
  };
  std::map<TokenKey, TokenRow> tokens_;
  std::map<JobId, TokenUse> token_uses_;
  // Came back by JobReopened, and no retry changed them yet. Not in the tables as live.
  std::set<JobId> reopened_;
  std::map<JobId, SubmissionId> deletions_;

  ReadyJobs ready_jobs_;
  ReadyJobs short_jobs_;
  std::set<std::pair<TimePoint, JobId>> backoff_jobs_;
  std::set<std::pair<WallTime, JobId>> begins_;
  std::map<JobId, std::set<JobId>> dependents_;      // Who waits for it. No empty ones.
  std::map<std::string, std::uint64_t> owner_cpus_;  // No zeroes.

  [[nodiscard]] Job* job_at(JobId id);
  [[nodiscard]] Worker* worker_at(WorkerId id);
  void add_worker(WorkerId id, WorkerRow row);
  void remember(const Asked& asked, const RequestRow& row);
  /// The row of a request that is known, to be changed in place.
  RequestRow& renew_request(const Asked& asked, TimePoint at);
  void prune_requests();
  void count_token(const RequestRow& row);
  void uncount_token(const RequestRow& row);
  void index(Job& job);    // After each entry that touched it.
  void unindex(Job& job);  // Before it leaves.
};

}  // namespace capstan
