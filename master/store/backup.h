// SPDX-License-Identifier: MIT
//
// A backup: the database as it was at one entry, in a file of its own that also has the cluster's
// keys, and a table that says what it is: a master never starts with it. Blocking; the copy is made
// on a thread of its own, with its own connection, while the master writes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"
#include "master/store/database_copy.h"
#include "master/store/sqlite.h"

namespace capstan::store {

/// A file of the master's directory that a backup carries: name without a folder, and contents.
struct CarriedFile {
  std::string name;
  Bytes bytes;
};

struct BackupAsk {
  std::string dir;  ///< Whose database.
  std::string to;   ///< Does not exist.
  std::vector<CarriedFile> files;
  WallTime at;
  const std::atomic<bool>* stop = nullptr;  ///< Set: given up soon. May be null.
};
/// ENSURES: on an error there is no file `to`.
Result<DatabaseCopy> make_backup(const BackupAsk& ask);

struct BackupFacts {
  WallTime at;
  Uuid cluster;
  Seq seq;
  std::uint64_t jobs = 0;
};
/// Opens it and reads all of it: Corrupt when it is damaged or no backup, TooNew.
Result<BackupFacts> check_backup(const std::string& file);

/// Invalid, with the way out, when this database is a backup.
Result<void> refuse_backup(Connection& connection);

struct RestoreAsk {
  std::string file;
  std::string to;  ///< The database to be; does not exist.
  Generation generation;
  Uuid db_uuid;
};
/// A backup as a master's database of a new generation, synced. Returns the files that it carried.
Result<std::vector<CarriedFile>> restore_database(const RestoreAsk& ask);

}  // namespace capstan::store
