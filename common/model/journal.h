// SPDX-License-Identifier: MIT
//
// The journal in pieces, as it is stored and shipped: entries as opaque bytes, with what proves
// that two journals are the same up to here.
#pragma once

#include <string>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/ids.h"

namespace capstan {

/// The end of a batch: two journals that have it are equal up to it.
struct JournalEnd {
  Seq seq;
  Epoch epoch;   ///< Of the entry at `seq`.
  Digest chain;  ///< Over every batch up to it; all zero at seq 0.
  bool operator==(const JournalEnd&) const = default;
};

/// One batch of entries (first … end.seq, one epoch), as the journal's row has it.
struct SealedBatch {
  Seq first;
  JournalEnd end;
  WallTime wall;      ///< Of its last entry.
  /// Over the row changes of every entry up to end.seq: equal on two replicas. All zero: a master
  /// without others wrote it and counted none; the count begins anew behind it.
  Digest rows_chain;
  Bytes entries;  ///< master/store/entry_codec.h
};

}  // namespace capstan
