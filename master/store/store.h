// SPDX-License-Identifier: MIT
//
// Where the queue is kept. Two interfaces: Store is the one writer (loop thread), Tables is a
// reader of what is committed (any one thread, its own connection). SqliteStore/SqliteTables are
// real, tests/support/memory_store.h is the fake that can lose unsynced writes; one contract suite
// holds both to this header.
//
// A transaction holds one journal row for the batch and the row changes of all batches up to the
// last committed one; so the tables hold committed state only, and meta.applied_seq <=
// meta.last_seq. With a single master both are the same batch; a follower's tables lie behind.
// Before applied_seq reaches their entry there may be rows of tasks that ended, which a start takes
// away, and rows of deleted jobs may be gone (master/core/deferred_rows.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "common/model/member.h"
#include "master/core/command.h"
#include "master/core/queue.h"
#include "master/core/rows.h"

namespace capstan::store {

/// Entries first … last without a gap, in order, one epoch.
using Batch = std::vector<Entry>;

/// What names this database: made once, by create.
struct Meta {
  Uuid cluster;
  Uuid db_uuid;
  Generation generation;
  std::uint64_t nonce = 0;  ///< Of this start as data node; also in its vote file (vote_file.h).
  Seq applied_seq;          ///< The tables are at this entry.
  Seq last_seq;             ///< The journal ends here.
  Epoch last_epoch;
};

/// Everything a start needs: the tables, and the journal behind them.
struct Opened {
  Meta meta;
  LoadedState state;        ///< At meta.applied_seq.
  std::vector<Entry> tail;  ///< applied_seq + 1 … last_seq: to be replayed.
  /// Where the tables are, and of every batch behind it: ascending, at least one.
  std::vector<JournalEnd> ends;
  Digest rows_chain;  ///< Of the first of `ends`.
  bool clean = true;  ///< The last end was a close().
  /// False: the vote file knows another database. This one was lost, restored or rolled back, and
  /// its node must not lead with it.
  bool is_complete = true;
};

/// What the journal has behind an end.
struct JournalBatches {
  bool gone = false;  ///< It has no such end: trimmed, or another journal's.
  std::vector<SealedBatch> batches;
};

class Store {
 public:
  virtual ~Store() = default;

  /// `batch` as the journal's next row; `rows` are all that its entries change. Changes nothing: it
  /// is for the next append.
  [[nodiscard]] virtual SealedBatch seal(const Batch& batch, const RowChanges& rows) const = 0;
  /// The same where no other master follows: it costs less (SealedBatch::rows_chain).
  [[nodiscard]] virtual SealedBatch seal_alone(const Batch& batch) const = 0;
  /// Makes a batch durable (fsync done when this returns) together with `committed`, in one
  /// transaction. `applied` is where `committed` brings the tables: the end of this batch or of one
  /// before it, or where they are.
  /// REQUIRES: `batch` are the entries of `sealed`, which follows the journal's end (seal() or
  /// open_batch() said so).
  /// Errors: DiskFull: rolled back whole, the same batch may be retried once. Anything else is
  /// OutcomeUnknown: the process must stop.
  virtual Result<void> append(const SealedBatch& sealed, const Batch& batch,
                              const RowChanges& committed, Seq applied) = 0;
  /// Only rows, of entries that the journal has: without an fsync, durable with the next append (a
  /// crash before takes all of it, and the next start applies those entries once more).
  virtual Result<void> flush(const RowChanges& committed, Seq applied) = 0;

  // The journal in pieces, for replication.

  /// Where the tables are, and of every batch behind it: ascending, at least one.
  [[nodiscard]] virtual std::vector<JournalEnd> journal_ends() const = 0;
  /// Of the batch that ends at `seq`; none: it has no such batch (any more). Seq 0 is the end of
  /// nothing: there while the journal begins at entry 1.
  virtual Result<std::optional<JournalEnd>> find_end(Seq seq) = 0;
  /// The batches behind `after`: at least one if there is any, then no more than about `bytes`.
  virtual Result<JournalBatches> read_batches(const JournalEnd& after, std::size_t bytes) = 0;
  /// Takes back what is behind `keep`, durably. Invalid, and nothing is changed, when `keep` is
  /// none of journal_ends(). Other errors as of append().
  virtual Result<void> truncate(Seq keep) = 0;
  /// From now on the journal keeps the batch that ends at `seq` and all behind it, up to another
  /// kJournalBytesKept. There is one hold: a second one takes its place; an end of the process
  /// releases it.
  virtual void hold_journal(Seq seq) = 0;
  virtual void release_journal() = 0;

  /// Between batches: a passive checkpoint when the WAL is large, incremental vacuum, journal trim.
  /// A full disk is no error here: it is tried again at a later call. On an error the process must
  /// stop.
  virtual Result<void> maintain() = 0;
  /// Frees the ballast so that the batch that met DiskFull may be retried. False: there is none
  /// left.
  virtual bool release_ballast() = 0;
  /// Returns some of the database's free pages to the file system: a few ms. False: there are too
  /// few to be worth it. Errors as of maintain().
  virtual Result<bool> give_back() = 0;

  // Point reads for the loop, of committed rows.
  virtual Result<std::optional<RequestRow>> find_request(const Asked& asked) = 0;
  virtual Result<std::optional<TokenRow>> find_token(const std::string& owner,
                                                     const std::string& token) = 0;
  /// The chunk that holds input `ordinal` (0-based) of a submission: its first ordinal and the
  /// inputs.
  struct InputChunk {
    std::uint64_t first = 0;
    std::vector<Bytes> inputs;
  };
  virtual Result<InputChunk> read_inputs(SubmissionId submission, std::uint64_t ordinal) = 0;
  /// Owner of a job, live or finished.
  virtual Result<std::optional<std::string>> find_owner(JobId job) = 0;
  /// Owner and state of a job, live or finished.
  struct JobOutline {
    std::string owner;
    JobState state = JobState::Queued;
  };
  virtual Result<std::optional<JobOutline>> find_outline(JobId job) = 0;
  /// A finished job as JobsDeleted carries it; none when it does not exist or is not finished.
  virtual Result<std::optional<cmd::JobsDeleted::One>> find_deletable(JobId job) = 0;
  /// The newest job of an owner (for `last`).
  virtual Result<std::optional<JobId>> last_job_of(const std::string& owner) = 0;

  [[nodiscard]] virtual std::uint64_t database_bytes() const = 0;
};

/// `chunk` of cmd::InputsStaged and back: a msgpack array of bin.
std::string encode_inputs(const std::vector<Bytes>& inputs);
Result<std::vector<Bytes>> decode_inputs(std::string_view chunk);

/// Wide reads, on a thread of their own.
class Tables {
 public:
  virtual ~Tables() = default;
  /// The entry that the tables are at.
  virtual Result<Seq> applied_seq() = 0;

  struct JobFilter {
    std::optional<std::string> owner{};  ///< None: everybody's.
    JobId before{};                      ///< Newest first, below this id; 0: from the newest.
    std::uint32_t limit = 100;
    bool live_only = false;
    std::uint32_t states = 0;    ///< A bit for each JobState; 0: all.
    std::string name{};          ///< Glob (common/model/glob.h); "": any.
    std::string tag{};           ///< "": any.
    WallTime submitted_since{};  ///< 0: any.
  };
  virtual Result<std::vector<JobRow>> list_jobs(const JobFilter& filter) = 0;
  virtual Result<std::optional<JobRow>> get_job(JobId job) = 0;

  struct TaskFilter {
    JobId job{};
    std::uint32_t states = 0;  ///< A bit for each TaskState; 0: all.
    bool from_start = true;
    TaskIndex after{};               ///< Exclusive.
    std::vector<IndexRange> only{};  ///< Empty: all.
    std::uint32_t limit = 1000;
  };
  struct TaskEntry {
    TaskIndex task;
    TaskRow row;
  };
  struct TaskPage {
    std::vector<TaskEntry> tasks;
    bool more = false;
  };
  /// Ascending index; untouched tasks are listed too (state Ready, no attempt; Cancelled or Skipped
  /// when the job ended without touching them). Output tails are left out: get_task has them.
  virtual Result<TaskPage> list_tasks(const TaskFilter& filter) = 0;
  /// Touched tasks that finished at an entry in (from, to], by ascending index after `after`.
  struct EndedFilter {
    JobId job{};
    Seq from{}, to{};
    bool from_start = true;
    TaskIndex after{};
    std::uint32_t limit = 256;
  };
  virtual Result<TaskPage> list_ended(const EndedFilter& filter) = 0;
  virtual Result<std::optional<TaskEntry>> get_task(JobId job, TaskIndex task) = 0;
  /// Earlier attempts of a task, ascending.
  virtual Result<std::vector<std::pair<AttemptKey, AttemptRow>>> list_attempts(JobId job,
                                                                               TaskIndex task) = 0;

  /// A piece of the journal up to where the tables are: behind `end`, or `backward` before it (0:
  /// its end). For people: an entry whose request was refused reads as RequestAnswered.
  struct JournalAsk {
    Seq end{};
    bool backward = false;
    std::size_t bytes = 0;  ///< At least one batch, then no more than about this.
  };
  struct JournalPiece {
    std::vector<Entry> entries;  ///< Ascending.
    bool more = false;           ///< There is more in this direction.
    bool gap = false;            ///< The journal begins behind what was asked for.
  };
  virtual Result<JournalPiece> read_journal(const JournalAsk& ask) = 0;

  /// Which finished jobs may go: any of the bounds is enough.
  struct Expiry {
    std::optional<std::string> owner{};  ///< None: everybody's.
    WallTime finished_before{};          ///< 0: no bound.
    std::uint64_t jobs_kept = 0;         ///< All but the newest so many; 0: no bound.
    /// The oldest ones while jobs and their output take more than this; 0: no bound. Some at a
    /// time: what is freed by them is not known before they are swept.
    std::uint64_t bytes_kept = 0;
    WallTime after_at{};  ///< Those behind this one (exclusive): the last one of an earlier page.
    JobId after{};
    std::uint32_t limit = 500;
  };
  struct ExpiredPage {
    std::vector<cmd::JobsDeleted::One> jobs;  ///< The oldest end first.
    WallTime last_at;                         ///< When the last of them finished.
    bool more = false;
  };
  virtual Result<ExpiredPage> list_expired(const Expiry& expiry) = 0;

  /// Of these the ones that were jobs once and of which nothing is left here, no deletion either.
  virtual Result<std::vector<JobId>> list_gone(const std::vector<JobId>& jobs) = 0;

  /// The next steps that sweep deleted jobs (Queue::deletions()), and the rows of each.
  struct SweepAsk {
    std::vector<std::pair<JobId, SubmissionId>> deletions;
    std::uint32_t rows_per_step = 1000;
    std::uint64_t rows = 100'000;  ///< About so many, in all.
  };
  struct SweepStep {
    cmd::DeletionsSwept::Step step;
    std::uint64_t rows = 0;
  };
  virtual Result<std::vector<SweepStep>> plan_sweep(const SweepAsk& ask) = 0;
  /// Where to cut the answers of requests from before `before` so that about `limit` of them go;
  /// 0: there is none.
  virtual Result<TimePoint> find_old_requests(TimePoint before, std::uint32_t limit) = 0;

  /// A finished job as JobReopened carries it. NotFound; Invalid when it is too fragmented for one
  /// entry (the message says what to do).
  virtual Result<cmd::JobReopened> read_finished_job(JobId job) = 0;
};

}  // namespace capstan::store
