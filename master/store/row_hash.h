// SPDX-License-Identifier: MIT
//
// The hash of what entries do to the tables. Two replicas that applied the same entries compare it
// batch by batch (O(change), never over all state), and it stands in every journal row. The bytes
// that are hashed are written down in docs/storage.md; they are never stored. Pure.
#pragma once

#include "common/base/bytes.h"
#include "master/core/rows.h"

namespace capstan::store {

/// `before` when `changes` is empty. A job's template counts when its id is at least `first_new`
/// (that is when it is written).
Digest hash_rows(const Digest& before, const RowChanges& changes, JobId first_new);

}  // namespace capstan::store
