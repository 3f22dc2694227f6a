// SPDX-License-Identifier: MIT
//
// A store without a disk, for the simulator and for tests: Store and Tables over plain maps, held
// to the same contract suite as SqliteStore. It outlives the master that uses it, as a disk does:
// crash() ends that master's life, open() begins the next. Deterministic; one thread.
//
// What a crash takes: with `manual_sync` an append is durable only after sync(), and a crash keeps
// a seeded prefix of what was not synced (a transaction is there whole or not at all, and never
// without the ones before it: that is what a write-ahead log gives). Failures can be ordered for
// the next write.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "master/store/row_writer.h"
#include "master/store/store.h"
#include "master/store/vote_file.h"

namespace capstan::test {

class MemoryStore : public store::Store, public store::Tables {
 public:
  /// What the next append or flush comes to.
  enum class Fault : std::uint8_t {
    None,
    DiskFull,     ///< Rolled back whole. Goes on until release_ballast() freed some room, once.
    UnknownLost,  ///< OutcomeUnknown, and after the crash it is not there.
    UnknownKept,  ///< OutcomeUnknown, and after the crash it is there.
  };

  struct Options {
    std::uint64_t seed = 1;    ///< Of what a crash takes.
    bool manual_sync = false;  ///< Else every append is durable when it returns.
    Generation generation{1, 1};
  };
  MemoryStore() : MemoryStore(Options{}) {}
  explicit MemoryStore(Options options);

  /// A start: what SqliteStore::open would load.
  /// REQUIRES: the first, or after crash() or close().
  Result<store::Opened> open(std::uint64_t nonce = 1, const std::optional<Vote>& vote = {});
  /// A clean end: everything is durable.
  void close();
  /// A kill or power cut at this moment.
  void crash();
  /// The same; of what was not synced the first `kept` writes are there.
  void crash(std::size_t kept);

  /// manual_sync: everything up to here is durable now.
  void sync();
  /// manual_sync: the oldest write is durable now.
  void sync_first();
  [[nodiscard]] std::size_t unsynced() const { return unsynced_.size(); }
  /// The last entry that no crash can take any more.
  [[nodiscard]] Seq durable_seq() const { return disk_.last; }
  void fail_next(Fault fault) { fault_ = fault; }
  /// All entries that a start would find, for checkers.
  [[nodiscard]] const std::deque<Entry>& journal() const { return now().journal; }

  [[nodiscard]] SealedBatch seal(const store::Batch& batch, const RowChanges& rows) const override;
  [[nodiscard]] SealedBatch seal_alone(const store::Batch& batch) const override;
  Result<void> append(const SealedBatch& sealed, const store::Batch& batch,
                      const RowChanges& committed, Seq applied) override;
  Result<void> flush(const RowChanges& committed, Seq applied) override;
  [[nodiscard]] std::vector<JournalEnd> journal_ends() const override { return now().ends(); }
  Result<std::optional<JournalEnd>> find_end(Seq seq) override;
  Result<store::JournalBatches> read_batches(const JournalEnd& after, std::size_t bytes) override;
  Result<void> truncate(Seq keep) override;
  void hold_journal(Seq seq) override { held_ = seq; }
  void release_journal() override { held_.reset(); }
  Result<void> maintain() override;
  bool release_ballast() override;
  Result<bool> give_back() override { return false; }
  Result<std::optional<RequestRow>> find_request(const Asked& asked) override;
  Result<std::optional<TokenRow>> find_token(const std::string& owner,
                                             const std::string& token) override;
  Result<InputChunk> read_inputs(SubmissionId submission, std::uint64_t ordinal) override;
  Result<cmd::JobReopened> read_finished_job(JobId job) override;
  Result<std::optional<std::string>> find_owner(JobId job) override;
  Result<std::optional<JobOutline>> find_outline(JobId job) override;
  Result<std::optional<cmd::JobsDeleted::One>> find_deletable(JobId job) override;
  Result<std::optional<JobId>> last_job_of(const std::string& owner) override;
  [[nodiscard]] std::uint64_t database_bytes() const override { return 0; }

  Result<Seq> applied_seq() override { return now().applied; }
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

  // The whole database, for what happens to files. REQUIRES of all but copy_committed: it is
  // closed.

 private:
  struct Image;

 public:
  using Copy = Image;
  /// What a snapshot has: the journal ends where the tables are.
  [[nodiscard]] Copy copy_committed() const;
  [[nodiscard]] Copy copy() const { return disk_; }
  void install(Copy copy) { disk_ = std::move(copy); }
  /// The file is gone: the next open() makes a new one.
  void lose();
  void set_nonce(std::uint64_t nonce) { disk_.nonce = nonce; }
  [[nodiscard]] std::uint64_t nonce() const { return disk_.nonce; }
  /// Every row is the same.
  [[nodiscard]] bool has_same_tables(const MemoryStore& other) const;
  /// Is everything up to this end durable here?
  [[nodiscard]] bool has_durably(const JournalEnd& end) const;

 private:
  /// A transaction.
  struct Write {
    std::optional<SealedBatch> sealed{};
    store::Batch batch{};
    RowChanges rows{};
    Seq applied{};
    std::optional<Seq> keep{};  ///< The journal is taken back; nothing else.
  };
  /// Everything that is on the disk.
  struct Image {
    std::map<JobId, JobRow> jobs;
    std::map<std::pair<JobId, TaskIndex>, TaskRow> tasks;
    std::map<AttemptKey, AttemptRow> attempts;
    std::map<WorkerId, WorkerRow> workers;
    std::map<std::string, KeyRow> keys;
    std::map<Asked, RequestRow> requests;
    std::map<std::pair<std::string, std::string>, TokenRow> tokens;
    std::map<SubmissionId, SubmissionRow> submissions;
    std::map<JobId, SubmissionId> deletions;
    std::map<std::pair<SubmissionId, std::uint64_t>, InputChunkRow> inputs;
    std::deque<Entry> journal;
    std::deque<SealedBatch> batches;  ///< The same.
    JournalEnd before;                ///< The end before the first of them.
    Seq applied, last;
    Epoch applied_epoch, last_epoch;
    TimePoint applied_at;
    Digest journal_chain, rows_chain;  ///< At `last`.
    store::NextIds next;
    std::uint32_t min_copies = 1;
    std::uint64_t nonce = 0;
    bool clean = true;

    void apply_rows(const RowChanges& changes);
    void sweep(const SweptRow& row);
    void drop_rows_ahead();
    [[nodiscard]] std::vector<JournalEnd> ends() const;
    /// The first batch that ends at `seq` or behind it.
    [[nodiscard]] std::deque<SealedBatch>::const_iterator from(Seq seq) const;
    [[nodiscard]] Digest rows_chain_at(Seq seq) const;
    void write(const Write& write);
    void take_back(Seq keep);
    void trim(std::size_t entries, Seq kept);
  };

  [[nodiscard]] const Image& now() const { return options_.manual_sync ? cache_ : disk_; }
  Result<void> write(Write write);
  void keep(const Write& write);
  [[nodiscard]] LoadedState load() const;
  void load_recent_requests(LoadedState& state) const;
  [[nodiscard]] const TaskRow* find_task(JobId job, std::uint32_t index) const;

  Options options_;
  Rng rng_;
  Image disk_;   // What survives.
  Image cache_;  // manual_sync: what the master sees.
  std::vector<Write> unsynced_;
  Uuid cluster_, db_uuid_;
  Fault fault_ = Fault::None;
  std::optional<Seq> held_;
  bool has_ballast_ = true;
  bool is_open_ = false;
  bool is_broken_ = false;  // After OutcomeUnknown nothing is taken any more.
};

}  // namespace capstan::test
