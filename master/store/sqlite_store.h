// SPDX-License-Identifier: MIT
//
// The store in a directory: capstan.db (SQLite, WAL), and a ballast file that is given up when the
// disk is full. One connection does every write and every checkpoint (a bug of the WAL in SQLite
// before 3.51.3 can meet two checkpointing connections). Loop thread only; wide reads have their
// own connection (sqlite_tables.h).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/store/loader.h"
#include "master/store/row_writer.h"
#include "master/store/sqlite.h"
#include "master/store/store.h"
#include "master/store/vote_file.h"

namespace capstan::store {

/// The one *.db file of a directory.
std::string database_path(const std::string& dir);

/// PRAGMA quick_check. Corrupt with what it found.
Result<void> quick_check(Connection& connection);
Result<void> quick_check(const std::string& dir);

/// What a start needs of the clock and of randomness, which the store has none of.
struct StoreOptions {
  std::string dir;             ///< Exists; nobody else has it open for writing.
  std::uint64_t nonce = 0;     ///< Random. Of this start, unless `vote` says another.
  std::optional<Vote> vote{};  ///< The vote file's. None: a single master, which has what it has.
  // For a directory without a database, where one is made:
  Uuid cluster;
  Uuid db_uuid;
  Generation generation;
};

/// At a start, before anything is written: the ballast goes where there is less room than it takes.
/// True: it went.
bool make_room(const std::string& dir);

class SqliteStore final : public Store {
 public:
  /// Opens or creates, checks the end of the journal's hash chain, and loads.
  /// Errors: TooNew; Corrupt; Io, OutcomeUnknown or DiskFull with the system's words.
  static Result<std::unique_ptr<SqliteStore>> open(const StoreOptions& options, Opened& out);

  [[nodiscard]] SealedBatch seal(const Batch& batch, const RowChanges& rows) const override;
  [[nodiscard]] SealedBatch seal_alone(const Batch& batch) const override;
  Result<void> append(const SealedBatch& sealed, const Batch& batch, const RowChanges& committed,
                      Seq applied) override;
  Result<void> flush(const RowChanges& committed, Seq applied) override;
  [[nodiscard]] std::vector<JournalEnd> journal_ends() const override;
  Result<std::optional<JournalEnd>> find_end(Seq seq) override;
  Result<JournalBatches> read_batches(const JournalEnd& after, std::size_t bytes) override;
  Result<void> truncate(Seq keep) override;
  void hold_journal(Seq seq) override {
    held_ = seq;
    held_at_bytes_ = position_.journal_bytes;
  }
  void release_journal() override { held_.reset(); }
  Result<void> maintain() override;
  bool release_ballast() override;
  Result<bool> give_back() override;
  Result<std::optional<RequestRow>> find_request(const Asked& asked) override;
  Result<std::optional<TokenRow>> find_token(const std::string& owner,
                                             const std::string& token) override;
  Result<InputChunk> read_inputs(SubmissionId submission, std::uint64_t ordinal) override;
  Result<std::optional<std::string>> find_owner(JobId job) override;
  Result<std::optional<JobOutline>> find_outline(JobId job) override;
  Result<std::optional<cmd::JobsDeleted::One>> find_deletable(JobId job) override;
  Result<std::optional<JobId>> last_job_of(const std::string& owner) override;
  [[nodiscard]] std::uint64_t database_bytes() const override;

  /// Marks a clean end. REQUIRES: only destruction follows. Without it the next start says unclean.
  Result<void> close();

  /// Where the tables and the journal are, with their hashes.
  [[nodiscard]] const Position& position() const { return position_; }
  /// At most so many pages of 4 KiB: a full disk for tests.
  Result<void> limit_pages(std::uint64_t pages);

 private:
  struct CachedChunk {
    SubmissionId submission;
    InputChunk chunk;
    std::size_t bytes = 0;
  };

  SqliteStore(std::string dir, Connection connection)
      : dir_(std::move(dir)), connection_(std::move(connection)) {}
  Result<void> create(const StoreOptions& options);
  Result<void> begin_start(const StoreOptions& options, Opened& out);
  Result<void> prepare();
  Result<void> prepare_journal();
  Result<void> transaction(const std::function<Result<void>()>& body);
  Result<void> write_meta(const Position& position);
  Result<void> write_journal(const SealedBatch& sealed, const Position& position);
  void pass_rows(const RowChanges& committed, Seq applied, Position& position) const;
  void drop_marks();
  Result<void> tidy_up();
  Result<void> checkpoint_if_due();
  Result<void> trim_journal();
  void keep_chunk(SubmissionId submission, const InputChunk& chunk);

  std::string dir_;
  Connection connection_;
  std::unique_ptr<RowWriter> rows_;
  Statement put_meta_, put_journal_, trim_, oldest_, find_end_, read_batches_;
  Statement find_request_, find_token_, read_inputs_, find_owner_, find_outline_, find_deletable_;
  Statement last_job_;
  Position position_;
  std::deque<Mark> marks_;           ///< Of position_.applied, and of every batch behind it.
  std::optional<Seq> held_;          ///< The journal is not trimmed past this batch end.
  std::uint64_t held_at_bytes_ = 0;  ///< The journal's end when that began.
  std::list<CachedChunk> chunks_;    ///< Newest use first.
  std::size_t chunks_bytes_ = 0;
  std::uint64_t checkpoint_at_pages_ = 0;
  std::uint64_t commits_ = 0;  ///< Since the last trim that found nothing to do.
};

}  // namespace capstan::store
