// SPDX-License-Identifier: MIT
//
// What a start reads: where the tables and the journal are, the live part of the queue, and the
// entries behind it. Costs what is live, never what has been: finished jobs stay in the tables.
#pragma once

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
  Digest rows_chain;                ///< Over the row changes up to `applied`.
  NextIds next;
};

struct LoadedMeta {
  Meta meta;
  Position position;
  bool clean = false;
};
Result<LoadedMeta> load_meta(Connection& connection);

/// The live part of the tables.
Result<LoadedState> load_state(Connection& connection, const Position& position);

/// The entries behind `position.applied`, and a check of the end of the hash chain: of these
/// entries and at least the last few batches. Corrupt when anything does not fit.
Result<std::vector<Entry>> load_tail(Connection& connection, const Position& position);

std::string_view blob_of(const Digest& digest);

}  // namespace capstan::store
