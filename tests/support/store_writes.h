// SPDX-License-Identifier: MIT
//
// What most tests want of a store: this batch, with what it changes.
#pragma once

#include "master/store/store.h"

namespace capstan::test {

/// Seals and appends. `rows` are what the batch changes and what goes into the tables.
inline Result<void> append_to(store::Store& store, const store::Batch& batch,
                              const RowChanges& rows, Seq applied) {
  return store.append(store.seal(batch, rows), batch, rows, applied);
}

}  // namespace capstan::test
