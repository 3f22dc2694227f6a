// SPDX-License-Identifier: MIT
//
// The journal in pieces: a row for each batch, its ends, what of it is shipped, taken back, and
// trimmed. Part of SqliteStore.
#include <algorithm>

#include "common/model/limits.h"
#include "master/store/row_reader.h"
#include "master/store/sqlite_store.h"

namespace capstan::store {
namespace {

constexpr int kBatchesTrimmed = 128;  // In one step: a few ms.
constexpr int kBatchesKept = 64;      // Always: a start checks the chain over the last ones.
constexpr std::int64_t kJournalKeptUs = 24LL * 3600 * 1'000'000;

}  // namespace

Result<void> SqliteStore::prepare_journal() {
  Connection& db = connection_;
  put_journal_ = TRY(db.prepare("INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?)"));
  oldest_ = TRY(db.prepare("SELECT wall_us, bytes_before FROM journal ORDER BY first_seq LIMIT 1"));
  trim_ = TRY(db.prepare(
      "DELETE FROM journal WHERE first_seq IN (SELECT first_seq FROM"
      " (SELECT * FROM journal ORDER BY first_seq LIMIT ?)"
      " WHERE last_seq < min(?, ifnull((SELECT first_seq FROM journal ORDER BY first_seq DESC"
      " LIMIT 1 OFFSET ?), 0)) AND (bytes_before < ? OR wall_us < ?))"));
  find_end_ = TRY(db.prepare(
      "SELECT last_seq, epoch, chain FROM journal WHERE first_seq <= ? ORDER BY first_seq DESC"
      " LIMIT 1"));
  read_batches_ = TRY(db.prepare(
      "SELECT first_seq, last_seq, epoch, chain, wall_us, rows_chain, entries FROM journal"
      " WHERE first_seq > ? ORDER BY first_seq"));
  return {};
}

Result<void> SqliteStore::write_journal(const SealedBatch& sealed, const Position& p) {
  Statement& s = put_journal_;
  s.put(sealed.first.value).put(sealed.end.seq.value).put(sealed.end.epoch.value);
  s.put(sealed.wall.us).put(p.journal_bytes - sealed.entries.size()).put(p.applied.value);
  s.blob(blob_of(sealed.end.chain)).blob(blob_of(sealed.rows_chain));
  return s.blob(sealed.entries).run();
}

std::vector<JournalEnd> SqliteStore::journal_ends() const {
  std::vector<JournalEnd> ends;
  ends.reserve(marks_.size());
  for (const Mark& mark : marks_) ends.push_back(mark.end);
  return ends;
}

Result<std::optional<JournalEnd>> SqliteStore::find_end(Seq seq) {
  if (seq > position_.last) return std::optional<JournalEnd>();
  if (!seq) {
    const Rewind rewind(find_end_);
    find_end_.put(1);
    const bool is_whole = !position_.last || TRY(find_end_.next());
    return is_whole ? std::optional(JournalEnd{}) : std::nullopt;
  }
  const Rewind rewind(find_end_);
  find_end_.put(seq.value);
  if (!TRY(find_end_.next())) return std::optional<JournalEnd>();
  const JournalEnd end = read_end(find_end_);
  return end.seq == seq ? std::optional(end) : std::nullopt;
}

Result<JournalBatches> SqliteStore::read_batches(const JournalEnd& after, std::size_t bytes) {
  JournalBatches read;
  const std::optional<JournalEnd> end = TRY(find_end(after.seq));
  read.gone = end != after;
  if (read.gone) return read;
  const Rewind rewind(read_batches_);
  read_batches_.put(after.seq.value);
  for (std::size_t taken = 0; taken == 0 || taken < bytes;) {
    if (!TRY(read_batches_.next())) break;
    SealedBatch batch;
    batch.first = Seq(read_batches_.u64());
    batch.end = read_end(read_batches_);
    batch.wall.us = read_batches_.i64();
    batch.rows_chain = read_digest(read_batches_);
    batch.entries = read_batches_.str();
    taken += batch.entries.size();
    read.batches.push_back(std::move(batch));
  }
  return read;
}

Result<void> SqliteStore::truncate(Seq keep) {
  const auto mark = std::find_if(marks_.begin(), marks_.end(),
                                 [keep](const Mark& each) { return each.end.seq == keep; });
  if (mark == marks_.end()) {
    return fail(Errc::Invalid, "the journal cannot be taken back to entry " +
                                   std::to_string(keep.value) +
                                   ": no batch that is not in the tables ends there");
  }
  if (keep == position_.last) return {};
  TRY(transaction([&] { return cut_journal(connection_, *mark); }));
  position_.last = keep;
  position_.last_epoch = mark->end.epoch;
  position_.journal_chain = mark->end.chain;
  position_.journal_bytes = mark->journal_bytes;
  position_.rows_chain = mark->rows_chain;
  marks_.erase(std::next(mark), marks_.end());
  return {};
}

/// Batches that are too old or too many, but never one behind the tables or the hold.
Result<void> SqliteStore::trim_journal() {
  const std::uint64_t bytes_kept = limits::kJournalBytesKept;
  // Who has not taken its snapshot by then needs a newer one: the journal would fill this disk.
  if (position_.journal_bytes > held_at_bytes_ + bytes_kept) held_.reset();
  const std::uint64_t bytes_end =
      position_.journal_bytes > bytes_kept ? position_.journal_bytes - bytes_kept : 0;
  const std::int64_t newest_wall = TRY(connection_.read_int(
      "SELECT ifnull((SELECT wall_us FROM journal ORDER BY first_seq DESC LIMIT 1), 0)"));
  const std::int64_t wall_end = newest_wall - kJournalKeptUs;
  {
    const Rewind rewind(oldest_);
    if (!TRY(oldest_.next())) return {};
    const bool too_old = oldest_.i64() < wall_end;
    if (!too_old && oldest_.u64() >= bytes_end) {
      commits_ = 0;
      return {};
    }
  }
  TRY(transaction([&] {
    const Seq kept = std::min(position_.applied, held_.value_or(position_.applied));
    trim_.put(kBatchesTrimmed).put(kept.value).put(kBatchesKept);
    return trim_.put(bytes_end).put(wall_end).run();
  }));
  if (connection_.changes() < kBatchesTrimmed) commits_ = 0;
  return {};
}

}  // namespace capstan::store
