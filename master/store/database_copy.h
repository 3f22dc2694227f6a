// SPDX-License-Identifier: MIT
//
// A copy of a database while its master writes on, and what is common to everything that is made of
// one: backups and snapshots. Blocking: on a thread of its own, with its own connection.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "master/store/sqlite.h"

namespace capstan::store {

/// A file as it is sent.
struct DatabaseCopy {
  std::uint64_t bytes = 0;
  Bytes digest;  ///< BLAKE2b, 32 bytes.
};

struct CopyAsk {
  std::string dir;                          ///< Whose database.
  std::string to;                           ///< Does not exist.
  const std::atomic<bool>* stop = nullptr;  ///< Set: given up soon. May be null.
};
/// The database as it is at one moment, in one file without a WAL. On an error something may be
/// left of it: drop_copy().
Result<void> copy_database(const CopyAsk& ask);
/// Removes a copy that is not to be.
void drop_copy(const std::string& path);

Result<DatabaseCopy> measure(const std::string& path);
/// Synced; `to` does not exist.
Result<void> copy_file(const std::string& from, const std::string& to);
/// Reads all of it. Corrupt with what was found.
Result<void> check_integrity(Connection& connection);

}  // namespace capstan::store
