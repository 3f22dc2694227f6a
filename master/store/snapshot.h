// SPDX-License-Identifier: MIT
//
// A snapshot: the leader's database with its journal up to where the tables are, and nothing behind
// that, because only what is committed is never taken back. A standby whose own database is
// missing, damaged or another one begins with it, and the leader's journal goes on right behind.
// Blocking. It is made on a thread of its own while the leader writes on, and installed before the
// store is opened.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "common/model/member.h"
#include "master/store/database_copy.h"

namespace capstan::store {

struct Snapshot {
  JournalEnd end;  ///< Where its tables and its journal are.
  DatabaseCopy file;
};
/// REQUIRES: Store::hold_journal() at where the tables are, or before, since before this; and until
/// whoever gets it has what is behind it.
/// ENSURES: on an error there is no file `to`.
Result<Snapshot> make_snapshot(const CopyAsk& ask);

struct InstallAsk {
  std::string dir;   ///< Nobody has its database open.
  std::string file;  ///< Within the same file system. It is moved.
  Bytes digest;      ///< As make_snapshot() told it.
  Uuid cluster;
  Generation generation;
  Uuid db_uuid;             ///< What the database will be called here.
  std::uint64_t nonce = 0;  ///< Random: no vote file knows it.
};
struct Installed {
  JournalEnd end;
  std::string aside;  ///< Where the database is that was here before; "": there was none.
};
/// Makes `file` the database of `dir`. All of it is verified first: Corrupt when it is torn or
/// damaged or no snapshot, Conflict when it is another cluster's or generation's, TooNew; then
/// nothing has changed. The database that was there is set aside, in place of an earlier one.
/// ENSURES: whenever the process ends, the database in `dir` is the old one or the new one, whole.
/// (An old one that SQLite itself cannot open may be gone from there: then there is none.)
Result<Installed> install_snapshot(const InstallAsk& ask);

}  // namespace capstan::store
