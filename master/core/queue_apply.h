// SPDX-License-Identifier: MIT
//
// One entry at work on the queue: internal to master/core. The handlers are grouped by what they
// change: queue_submissions.cc, queue_waiting.cc, queue_steering.cc, queue_workers.cc,
// queue_tasks.cc and queue_results.cc; queue_apply.cc has the moves that all are made of.
//
// A task's state changes by leave() and enter() alone, which keep counts, sets and grants in step;
// finish(), to_ready() … are those two with the row that belongs to the move.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "master/core/effect.h"
#include "master/core/queue.h"
#include "master/core/reconcile.h"

namespace capstan {

class QueueApply {
 public:
  QueueApply(Queue& queue, const Entry& entry, std::vector<Effect>& effects, RowChanges& rows)
      : queue_(queue), entry_(entry), effects_(effects), rows_(rows) {}

  void run();

 private:
  // --- One for each command --------------------------------------------------------------------
  void on(const cmd::ReignBegan& c);
  void on(const cmd::SubmissionOpened& c);
  void on(const cmd::InputsStaged& c);
  void on(const cmd::JobSubmitted& c);
  void on(const cmd::SubmissionDropped& c);
  void on(const cmd::JobCancelled& c);
  void on(const cmd::JobPaused& c);
  void on(const cmd::JobResumed& c);
  void on(const cmd::TasksRetried& c);
  void on(const cmd::JobReopened& c);
  void on(const cmd::RequestAnswered& c);
  void on(const cmd::WorkerEnrolled& c);
  void on(const cmd::WorkerJoined& c);
  void on(const cmd::WorkerLost& c);
  void on(const cmd::WorkerNoticed& c);
  void on(const cmd::WorkerLeft& c);
  void on(const cmd::TasksAssigned& c);
  void on(const cmd::TasksRecalled& c);
  void on(const cmd::TasksReturned& c);
  void on(const cmd::TasksStarted& c);
  void on(const cmd::ResultsReported& c);
  void on(const cmd::BackoffsOver& c);
  void on(const cmd::JobReleased& c);
  void on(const cmd::JobPrioritised& c);
  void on(const cmd::WorkersDrained& c);
  void on(const cmd::WorkersRemoved& c);
  void on(const cmd::KeyAdded& c);
  void on(const cmd::KeyRevoked& c);
  void on(const cmd::JobsDeleted& c);
  void on(const cmd::DeletionsSwept& c);
  void on(const cmd::RequestsForgotten& c);
  void on(const cmd::MinCopiesSet& c);

  /// A task by its place.
  struct Place {
    Job& job;
    std::uint32_t ordinal = 0;
  };
  /// A granted attempt: Running on a worker.
  struct Granted {
    Place at;
    LiveTask& live;
  };
  /// Why attempts are given up, and how many started ones may still be charged for it.
  struct Loss {
    std::string reason;
    std::uint32_t budget = 0;
  };
  using Attempts = std::vector<AttemptKey>;

  // --- Requests --------------------------------------------------------------------------------
  /// True when it was answered before: answered again, nothing else is to be done.
  bool is_repeated(const Asked& asked);
  void answer(const Asked& asked, RequestRow row);
  void refuse(const Asked& asked, Errc code, std::string reason);
  /// One job's part of a request over several: the last one answers for all.
  struct Part {
    JobId job;
    std::uint64_t tasks = 0;
    bool found = true;  ///< False: NotFound, and `note` says what.
    std::string note{};
  };
  static void add_part(RequestRow& row, const Part& part, bool last);
  void answer_part(const Asked& asked, bool last, const Part& part);
  /// What is to be said of a job that is not in memory.
  [[nodiscard]] Part absent(JobId job) const;
  void tell(const Asked& asked, const RequestRow& row);

  // --- Submissions -----------------------------------------------------------------------------
  void drop(SubmissionId id);
  void refuse_and_drop(const Asked& asked, SubmissionId id, std::string reason);
  bool is_token_taken(const cmd::JobSubmitted& c, const SubmissionRow& submission);
  void take_token(const Job& job, const SubmissionRow& submission);

  // --- Waiting for other jobs, and for the begin -------------------------------------------------
  /// The states of the jobs that one is to run after.
  using Upstream = std::map<JobId, JobState>;
  /// All of them, or the first that is not known.
  [[nodiscard]] tl::expected<Upstream, JobId> find_upstream(const JobSpec& spec,
                                                            const cmd::JobSubmitted& c) const;
  void begin_waiting(Job& job, const Upstream& upstream);
  void stop_waiting(Job& job);
  /// Its tasks are Ready from now on. REQUIRES: it waits for nothing any more.
  void release(Job& job);
  void skip(Job& job, std::string reason);
  /// It is finished: who waited for it begins, waits on, or is skipped.
  void tell_dependents(const Job& job);
  void forget_token(JobId job);

  // --- Moves of one task -----------------------------------------------------------------------
  void leave(Place at, TaskState from, LiveTask* live);
  void enter(Place at, TaskState to, AttemptNo attempts);
  void grant(Granted granted, Worker& worker, AttemptNo attempt);
  void to_ready(Granted granted);
  void to_backoff(Granted granted);
  /// Ends it: `row` has the details, the rest is filled in. `live` is gone afterwards.
  void finish(Place at, LiveTask* live, TaskState state, TaskRow&& row);
  /// Running, its worker lost: back to Ready, or finished when it was cancelled or lost too often.
  void lose(Granted granted, Loss& loss);
  void adopt(const AttemptKey& key, Worker& worker);
  void begin(Granted granted, WallTime started_at);
  /// A number that was handed back never started is as if it never was.
  static void settle_number(LiveTask& live);
  void forget_if_plain(Place at);

  // --- Rows ------------------------------------------------------------------------------------
  [[nodiscard]] AttemptKey key_of(Place at, AttemptNo attempt) const;
  [[nodiscard]] TaskRow row_of(Place at, const LiveTask& live) const;
  [[nodiscard]] static AttemptRow attempt_of(const LiveTask& live);
  void write(Place at, const LiveTask& live);
  void write(Place at, TaskRow&& row);

  // --- Cancelling ------------------------------------------------------------------------------
  /// What is in `ready` ends as `state`: touched tasks by a row, all others by the job's flag.
  std::uint64_t end_ready(Job& job, TaskState state);
  /// A task of it failed: was it one too many?
  void stop_at_max_failures(Job& job);
  std::uint64_t cancel_all(Job& job);
  std::uint64_t cancel_between(Job& job, Job::OrdinalSpan span);
  bool cancel_live(Place at, LiveTask& live);
  void finish_ready(Place at, TaskState state);

  // --- Retry -----------------------------------------------------------------------------------
  struct RetryMatch {
    std::vector<std::uint32_t> touched;       ///< Finished, with a row.
    std::vector<Job::OrdinalSpan> untouched;  ///< Cancelled or skipped with the whole job.
    std::uint64_t untouched_count = 0;
  };
  [[nodiscard]] RetryMatch match(const Job& job, const cmd::TasksRetried& c) const;
  std::uint64_t retry(Job& job, const RetryMatch& found);
  void archive(Job& job, const std::vector<std::uint32_t>& ordinals);
  void leave_reopened();

  // --- Workers ---------------------------------------------------------------------------------
  [[nodiscard]] Worker* present(WorkerId id, const Instance& instance);
  void part(Worker& worker, Loss loss);
  void lose_all(Worker& worker, const Attempts& keys, Loss loss);
  void welcome(Worker& worker, const cmd::WorkerJoined& c);
  void start_again(Worker& worker, const Attempts& keys);
  void note_started(Worker& worker, const cmd::WorkerJoined& c);
  void mark_dying(Worker& worker, const AttemptKey& key, Share share);
  void forget_dying(Worker& worker, const AttemptKey& key);
  Attempts recall(Worker& worker, const Attempts& keys);
  /// It is leaving: what has not started there had better start elsewhere.
  void recall_unstarted(Worker& worker);
  /// False: one of them is not known (any more), and the request was refused.
  bool are_known(const Asked& asked, const std::vector<WorkerId>& workers);
  /// Its name and key are free again; `how`: "was removed by ann".
  void forget(Worker& worker, const std::string& how);

  // --- Results ---------------------------------------------------------------------------------
  void result(const cmd::ResultsReported& c, const AttemptResult& result);
  void granted_result(Granted granted, const AttemptResult& result);
  void late_result(Granted task, std::size_t lost, const AttemptResult& result);
  void win(Granted task, std::size_t lost, const AttemptResult& result);
  void supersede(Granted newer, AttemptNo winner);
  void learn(Job& job, const AttemptResult& result, WallTime started_at);
  void exclude(Granted granted, const AttemptResult& result);
  bool is_hopeless(const Job& job) const;
  [[nodiscard]] WallTime ended_at(const AttemptResult& result) const;

  // --- Finding ---------------------------------------------------------------------------------
  /// The attempt, if it is granted to this life of this worker.
  struct Found {
    Job* job = nullptr;
    std::uint32_t ordinal = 0;
    LiveTask* live = nullptr;
  };
  [[nodiscard]] Found find(JobId job, TaskIndex task);
  [[nodiscard]] Found find_granted(const AttemptKey& key, WorkerId worker,
                                   const Instance& instance);
  [[nodiscard]] WallTime ago(Micros past) const;

  void touch(Job& job);
  void close();
  template <class E>
  void emit(E effect) {
    effects_.emplace_back(std::move(effect));
  }

  Queue& queue_;
  const Entry& entry_;
  std::vector<Effect>& effects_;
  RowChanges& rows_;
  std::vector<Job*> touched_;
  std::vector<Job*> failed_;  // A task of theirs failed for good.
  std::string reason_;        // Of the tasks that are cancelled, in the user's words.
  std::map<std::pair<WorkerId, CancelWhy>, Attempts> cancels_;  // Told at the end of the entry.
};

}  // namespace capstan
