// SPDX-License-Identifier: MIT
//
// The hash of what entries do to the tables. Two replicas that applied the same entries compare it
// batch by batch (O(change), never over all state), and it stands in every journal row. The bytes
// that are hashed are written down in docs/storage.md; they are never stored. Pure.
#pragma once

#include <vector>

#include "common/base/bytes.h"
#include "master/core/command.h"
#include "master/core/rows.h"

namespace capstan::store {

/// `before` when `changes` is empty. `changes` are what the entries of `batch` do, all of it and
/// nothing else: so it is the same on every replica, whenever its rows reach the tables. A job's
/// template counts in the batch that submits it.
Digest hash_rows(const Digest& before, const std::vector<Entry>& batch, const RowChanges& changes);

}  // namespace capstan::store
