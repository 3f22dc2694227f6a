// SPDX-License-Identifier: MIT
#include "master/store/sqlite_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/model/limits.h"
#include "master/store/backup.h"
#include "master/store/entry_codec.h"
#include "master/store/files.h"
#include "master/store/job_walk.h"
#include "master/store/row_hash.h"
#include "master/store/row_reader.h"
#include "master/store/schema.h"

namespace capstan::store {
namespace {

// A checkpoint that a reader held up is tried again when the WAL has grown by so much.
constexpr std::uint64_t kCheckpointAgainPages = (16ULL << 20) / kPageBytes;
// Between looks at the journal's age.
constexpr std::uint64_t kCommitsBetweenTrims = 256;
constexpr std::int64_t kFreePagesKept = (16 << 20) / kPageBytes;  // The journal takes them again.
constexpr const char* kVacuumStep = "PRAGMA incremental_vacuum(128)";
constexpr std::size_t kChunksBytes = 4 << 20;  // Decoded inputs: some 40 chunks.
constexpr std::size_t kInputOverhead = sizeof(Bytes);

std::string ballast_path(const std::string& dir) {
  return dir + "/ballast";
}

}  // namespace

std::string database_path(const std::string& dir) {
  return dir + "/capstan.db";
}

bool make_room(const std::string& dir) {
  return space_at(dir).free_bytes < limits::kBallastBytes &&
         ::unlink(ballast_path(dir).c_str()) == 0;
}

Result<void> quick_check(Connection& connection) {
  const std::string said = TRY(connection.read_text("PRAGMA quick_check(1)"));
  if (said != "ok") return fail(Errc::Corrupt, "the database is damaged: " + said);
  return {};
}

Result<void> quick_check(const std::string& dir) {
  Connection connection = TRY(Connection::open(database_path(dir), Access::ReadOnly));
  Result<void> checked = quick_check(connection);
  if (!checked) return fail(std::move(checked.error()), database_path(dir));
  return {};
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const StoreOptions& options, Opened& out) {
  const std::string path = database_path(options.dir);
  const auto named = [&](Error error) {
    error.message = path + ": " + error.message;
    if (error.code == Errc::DiskFull || space_at(options.dir).free_bytes == 0)
      error.message += "; make room on that disk, and start it again";
    return tl::unexpected(std::move(error));
  };
  Result<Connection> connection = Connection::open(path, Access::ReadWrite);
  if (!connection) return tl::unexpected(std::move(connection).error());
  ::chmod(path.c_str(), 0600);
  std::unique_ptr<SqliteStore> store(new SqliteStore(options.dir, std::move(*connection)));
  Result<void> begun = store->begin_start(options, out);
  if (!begun) return named(std::move(begun).error());
  make_ballast(ballast_path(options.dir), limits::kBallastBytes);
  return store;
}

Result<void> SqliteStore::begin_start(const StoreOptions& options, Opened& out) {
  const std::uint32_t version = TRY(schema_version(connection_));
  TRY(refuse_backup(connection_));
  TRY(configure_writer(connection_));
  if (version == 0) {
    TRY(create(options));
  } else if (version < limits::kSchemaVersion) {
    TRY(transaction([&] { return migrate(connection_, version); }));
  }
  LoadedMeta loaded = TRY(load_meta(connection_));
  TRY(transaction([&] { return drop_rows_ahead(connection_, loaded.position.applied); }));
  out.meta = loaded.meta;
  const NonceChoice choice =
      options.vote
          ? choose_nonce(*options.vote, {loaded.meta.nonce, loaded.meta.last_seq, options.nonce})
          : NonceChoice{true, options.nonce};
  out.meta.nonce = choice.nonce;
  out.is_complete = choice.is_complete;
  out.clean = loaded.clean;
  Tail tail = TRY(load_tail(connection_, loaded.position));
  out.tail = std::move(tail.entries);
  marks_ = std::move(tail.marks);
  out.ends = journal_ends();
  out.rows_chain = marks_.front().rows_chain;
  out.state = TRY(load_state(connection_, loaded.position));
  position_ = loaded.position;
  checkpoint_at_pages_ = limits::kWalCheckpointBytes / kPageBytes;
  TRY(prepare());
  TRY(prepare_journal());
  return transaction([&] {
    return connection_.exec("UPDATE meta SET clean = 0, nonce = " +
                            std::to_string(static_cast<std::int64_t>(choice.nonce)));
  });
}

Result<void> SqliteStore::create(const StoreOptions& options) {
  Result<void> made = transaction([&]() -> Result<void> {
    TRY(migrate(connection_, 0));
    Statement insert = TRY(connection_.prepare(
        "INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?, 1, 0, 0, 0, 0, 0, ?, 0, ?, 1, 1, 1, 1)"));
    const std::string cluster = options.cluster.hex();
    const std::string db_uuid = options.db_uuid.hex();
    const Digest none;
    insert.text(cluster).text(db_uuid).put(options.generation.began_us);
    insert.put(options.generation.random).put(options.nonce);
    return insert.blob(blob_of(none)).blob(blob_of(none)).run();
  });
  if (!made) return made;
  return sync_dir(dir_);
}

Result<void> SqliteStore::prepare() {
  Connection& db = connection_;
  rows_ = std::make_unique<RowWriter>(TRY(RowWriter::prepare(db)));
  put_meta_ = TRY(db.prepare(
      "UPDATE meta SET applied_seq = ?, applied_epoch = ?, applied_at_us = ?, last_seq = ?,"
      " last_epoch = ?, journal_chain = ?, journal_bytes = ?, rows_chain = ?, next_job = ?,"
      " next_submission = ?, next_worker = ?, min_copies = ?"));
  find_request_ = TRY(db.prepare(std::string("SELECT ") + kRequestColumns +
                                 " FROM requests WHERE owner = ? AND request = ?"));
  find_token_ = TRY(db.prepare(std::string("SELECT ") + kTokenColumns +
                               " FROM tokens WHERE owner = ? AND token = ?"));
  read_inputs_ =
      TRY(db.prepare("SELECT first, count, chunk FROM inputs WHERE submission = ? AND first <= ?"
                     " ORDER BY first DESC LIMIT 1"));
  find_owner_ = TRY(db.prepare("SELECT owner FROM jobs WHERE id = ?"));
  find_outline_ = TRY(db.prepare("SELECT owner, state FROM jobs WHERE id = ?"));
  find_deletable_ =
      TRY(db.prepare("SELECT id, owner, token, inputs, tasks FROM jobs"
                     " WHERE id = ? AND finished_at_us IS NOT NULL"));
  last_job_ = TRY(db.prepare("SELECT id FROM jobs WHERE owner = ? ORDER BY id DESC LIMIT 1"));
  return {};
}

/// All or nothing. A failure that is not DiskFull leaves it unknown which.
Result<void> SqliteStore::transaction(const std::function<Result<void>()>& body) {
  TRY(connection_.exec("BEGIN IMMEDIATE"));
  Result<void> done = body();
  if (done) done = connection_.exec("COMMIT");
  if (done) return {};
  Result<void> undone = connection_.rollback();
  if (!undone) return fail(Errc::OutcomeUnknown, done.error().message);
  return done;
}

void SqliteStore::pass_rows(const RowChanges& committed, Seq applied, Position& position) const {
  position.next.pass(committed);
  if (committed.min_copies != 0) position.min_copies = committed.min_copies;
  CHECK(applied >= position.applied && applied <= position.last);
  if (applied == position.applied) return;
  const auto mark = std::lower_bound(marks_.begin(), marks_.end(), applied,
                                     [](const Mark& each, Seq seq) { return each.end.seq < seq; });
  CHECK(mark != marks_.end() && mark->end.seq == applied);
  position.applied = applied;
  position.applied_epoch = mark->end.epoch;
  position.applied_at = mark->at;
}

void SqliteStore::drop_marks() {
  while (marks_.front().end.seq < position_.applied) marks_.pop_front();
}

SealedBatch SqliteStore::seal(const Batch& batch, const RowChanges& rows) const {
  SealedBatch sealed = seal_alone(batch);
  sealed.rows_chain = hash_rows(position_.rows_chain, batch, rows);
  return sealed;
}

SealedBatch SqliteStore::seal_alone(const Batch& batch) const {
  SealedBatch sealed;
  sealed.first = batch.front().seq;
  sealed.entries = encode_entries(batch);
  sealed.end = {batch.back().seq, batch.back().epoch,
                chained_digest(position_.journal_chain, sealed.entries)};
  sealed.wall = batch.back().wall;
  return sealed;
}

Result<void> SqliteStore::append(const SealedBatch& sealed, const Batch& batch,
                                 const RowChanges& committed, Seq applied) {
  CHECK(sealed.first == position_.last.next() && batch.back().seq == sealed.end.seq);
  Position next = position_;
  next.last = sealed.end.seq;
  next.last_epoch = sealed.end.epoch;
  next.journal_chain = sealed.end.chain;
  next.journal_bytes += sealed.entries.size();
  next.rows_chain = sealed.rows_chain;
  marks_.push_back({sealed.end, batch.back().at, next.rows_chain, next.journal_bytes});
  pass_rows(committed, applied, next);
  Result<void> written = transaction([&]() -> Result<void> {
    TRY(rows_->write(connection_, committed));
    TRY(write_journal(sealed, next));
    return write_meta(next);
  });
  if (!written) {
    marks_.pop_back();
    return written;
  }
  position_ = next;
  drop_marks();
  ++commits_;
  return {};
}

Result<void> SqliteStore::flush(const RowChanges& committed, Seq applied) {
  Position next = position_;
  pass_rows(committed, applied, next);
  // All of it is in the journal: a power cut may take it, and the fsync of the next append is its
  // own, since the WAL is one file.
  TRY(connection_.exec("PRAGMA synchronous=NORMAL"));
  Result<void> written = transaction([&]() -> Result<void> {
    TRY(rows_->write(connection_, committed));
    return write_meta(next);
  });
  TRY(connection_.exec("PRAGMA synchronous=FULL"));
  if (!written) return written;
  position_ = next;
  drop_marks();
  ++commits_;
  return {};
}

Result<void> SqliteStore::write_meta(const Position& p) {
  Statement& s = put_meta_;
  s.put(p.applied.value).put(p.applied_epoch.value).put(p.applied_at.us);
  s.put(p.last.value).put(p.last_epoch.value).blob(blob_of(p.journal_chain));
  s.put(p.journal_bytes).blob(blob_of(p.rows_chain));
  s.put(p.next.job.value).put(p.next.submission.value).put(p.next.worker.value);
  return s.put(p.min_copies).run();
}

Result<void> SqliteStore::maintain() {
  Result<void> done = tidy_up();
  if (!done && done.error().code == Errc::DiskFull) return {};
  return done;
}

Result<void> SqliteStore::tidy_up() {
  TRY(checkpoint_if_due());
  if (commits_ < kCommitsBetweenTrims) return {};
  return trim_journal();
}

Result<void> SqliteStore::checkpoint_if_due() {
  const std::uint64_t pages = connection_.wal_pages();
  if (pages < checkpoint_at_pages_) {
    // The WAL began anew after a complete checkpoint.
    checkpoint_at_pages_ = std::min(
        checkpoint_at_pages_, std::max<std::uint64_t>(limits::kWalCheckpointBytes / kPageBytes,
                                                      pages + kCheckpointAgainPages));
    return {};
  }
  // Complete or not: the WAL begins anew with the next write, or a reader still needs it, or the
  // disk is full.
  checkpoint_at_pages_ = pages + kCheckpointAgainPages;
  TRY(connection_.checkpoint_passive());
  return {};
}

Result<bool> SqliteStore::give_back() {
  if (TRY(connection_.read_int("PRAGMA freelist_count")) <= kFreePagesKept) return false;
  const Result<void> done = connection_.exec(kVacuumStep);
  if (done) return true;
  if (done.error().code == Errc::DiskFull) return false;
  return tl::unexpected(done.error());
}

bool SqliteStore::release_ballast() {
  return ::unlink(ballast_path(dir_).c_str()) == 0;
}

Result<std::optional<RequestRow>> SqliteStore::find_request(const Asked& asked) {
  const Rewind rewind(find_request_);
  const std::string_view id(reinterpret_cast<const char*>(asked.request.bytes.data()),
                            asked.request.bytes.size());
  find_request_.text(asked.owner).blob(id);
  if (!TRY(find_request_.next())) return std::optional<RequestRow>();
  return std::optional<RequestRow>(TRY(read_request(find_request_)).second);
}

Result<std::optional<TokenRow>> SqliteStore::find_token(const std::string& owner,
                                                        const std::string& token) {
  const Rewind rewind(find_token_);
  find_token_.text(owner).text(token);
  if (!TRY(find_token_.next())) return std::optional<TokenRow>();
  return std::optional<TokenRow>(read_token(find_token_));
}

Result<Store::InputChunk> SqliteStore::read_inputs(SubmissionId submission, std::uint64_t ordinal) {
  for (auto it = chunks_.begin(); it != chunks_.end(); ++it) {
    const InputChunk& chunk = it->chunk;
    if (it->submission != submission || ordinal < chunk.first ||
        ordinal - chunk.first >= chunk.inputs.size()) {
      continue;
    }
    chunks_.splice(chunks_.begin(), chunks_, it);
    return chunks_.front().chunk;
  }
  const Rewind rewind(read_inputs_);
  read_inputs_.put(submission.value).put(ordinal);
  const bool found = TRY(read_inputs_.next());
  InputChunk chunk;
  chunk.first = found ? read_inputs_.u64() : 0;
  const std::uint64_t count = found ? read_inputs_.u64() : 0;
  if (!found || ordinal - chunk.first >= count) {
    return fail(Errc::NotFound, "input " + std::to_string(ordinal) + " of submission " +
                                    std::to_string(submission.value));
  }
  chunk.inputs = TRY(decode_inputs(read_inputs_.bytes()));
  if (chunk.inputs.size() != count) return fail(Errc::Corrupt, "a chunk of inputs is cut off");
  keep_chunk(submission, chunk);
  return chunk;
}

void SqliteStore::keep_chunk(SubmissionId submission, const InputChunk& chunk) {
  std::size_t bytes = 0;
  for (const Bytes& input : chunk.inputs) bytes += input.size() + kInputOverhead;
  chunks_.push_front({submission, chunk, bytes});
  chunks_bytes_ += bytes;
  while (chunks_bytes_ > kChunksBytes && chunks_.size() > 1) {
    chunks_bytes_ -= chunks_.back().bytes;
    chunks_.pop_back();
  }
}

Result<std::optional<std::string>> SqliteStore::find_owner(JobId job) {
  const Rewind rewind(find_owner_);
  find_owner_.put(job.value);
  if (!TRY(find_owner_.next())) return std::optional<std::string>();
  return std::optional<std::string>(find_owner_.str());
}

Result<std::optional<Store::JobOutline>> SqliteStore::find_outline(JobId job) {
  const Rewind rewind(find_outline_);
  find_outline_.put(job.value);
  if (!TRY(find_outline_.next())) return std::optional<JobOutline>();
  JobOutline outline;
  outline.owner = find_outline_.str();
  const Result<JobState> state = parse_job_state(find_outline_.bytes());
  if (!state) return fail(Errc::Corrupt, "in the tables: " + state.error().message);
  outline.state = *state;
  return std::optional<JobOutline>(std::move(outline));
}

Result<std::optional<cmd::JobsDeleted::One>> SqliteStore::find_deletable(JobId job) {
  const Rewind rewind(find_deletable_);
  find_deletable_.put(job.value);
  if (!TRY(find_deletable_.next())) return std::optional<cmd::JobsDeleted::One>();
  return std::optional<cmd::JobsDeleted::One>(read_deletable(find_deletable_));
}

Result<std::optional<JobId>> SqliteStore::last_job_of(const std::string& owner) {
  const Rewind rewind(last_job_);
  last_job_.text(owner);
  if (!TRY(last_job_.next())) return std::optional<JobId>();
  return std::optional<JobId>(JobId(last_job_.u64()));
}

std::uint64_t SqliteStore::database_bytes() const {
  const std::string path = database_path(dir_);
  return file_bytes(path) + file_bytes(path + "-wal");
}

Result<void> SqliteStore::close() {
  TRY(transaction([&] { return connection_.exec("UPDATE meta SET clean = 1"); }));
  TRY(connection_.checkpoint_passive());
  return {};
}

Result<void> SqliteStore::limit_pages(std::uint64_t pages) {
  return connection_.exec("PRAGMA max_page_count=" + std::to_string(pages));
}

}  // namespace capstan::store
