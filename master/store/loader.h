// SPDX-License-Identifier: MIT
//
// What a start reads: where the tables and the journal are, the live part of the queue, and the
// entries behind it. Costs what is live, never what has been: finished jobs stay in the tables.
#pragma once

#include <deque>
#include <vector>

#include "common/base/bytes.h"
#include "master/store/row_writer.h"
#include "master/store/sqlite.h"
#include "master/store/store.h"

namespace capstan::store {

/// Where the tables and the journal are; one row of `meta`, written with every transaction.
struct Position {
  Seq applied;
  Epoch applied_epoch;
  TimePoint applied_at;
  Seq last;
  Epoch last_epoch;
  Digest journal_chain;             ///< Over the entries of every batch.
  std::uint64_t journal_bytes = 0;  ///< Ever written.
  Digest rows_chain;                ///< Over the row changes of every batch, in the tables or not.
  NextIds next;
  std::uint32_t min_copies = 1;
};

struct LoadedMeta {
  Meta meta;
  Position position;
  bool clean = false;
};
Result<LoadedMeta> load_meta(Connection& connection);

/// Takes away the rows that were written ahead of `applied` (master/core/deferred_rows.h): the
/// entries behind it bring them again, or were never what became of these tasks.
Result<void> drop_rows_ahead(Connection& connection, Seq applied);
/// The live part of the tables.
Result<LoadedState> load_state(Connection& connection, const Position& position);

/// The end of a batch, with what the position needs of it when the tables get there, or when the
/// journal is taken back to it.
struct Mark {
  JournalEnd end;
  TimePoint at;  ///< Of the entry there.
  Digest rows_chain;
  std::uint64_t journal_bytes = 0;
};

struct Tail {
  std::vector<Entry> entries;  ///< Behind `position.applied`.
  std::deque<Mark> marks;      ///< From `position.applied` on: at least one.
};
/// What is behind the tables, and a check of the end of the hash chain: of these entries and at
/// least the last few batches. Corrupt when anything does not fit.
Result<Tail> load_tail(Connection& connection, const Position& position);

/// Takes back what is behind `keep`, and says so in meta.
/// REQUIRES: a transaction is open; the tables are not behind `keep`.
Result<void> cut_journal(Connection& connection, const Mark& keep);

std::string_view blob_of(const Digest& digest);
Digest read_digest(Statement& row);
/// Of last_seq, epoch and chain in a journal's row.
JournalEnd read_end(Statement& row);

}  // namespace capstan::store
