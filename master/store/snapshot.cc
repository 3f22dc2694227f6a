// SPDX-License-Identifier: MIT
#include "master/store/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "common/base/unique_fd.h"
#include "master/store/backup.h"
#include "master/store/files.h"
#include "master/store/loader.h"
#include "master/store/schema.h"
#include "master/store/sqlite_store.h"

namespace capstan::store {
namespace {

/// Takes the journal back to the tables: what is behind them may never have been committed.
Result<JournalEnd> cut_to_tables(const std::string& path) {
  Connection copy = TRY(Connection::open(path, Access::ReadWrite));
  const LoadedMeta loaded = TRY(load_meta(copy));
  const Tail tail = TRY(load_tail(copy, loaded.position));
  TRY(copy.exec("BEGIN IMMEDIATE"));
  TRY(cut_journal(copy, tail.marks.front()));
  TRY(drop_rows_ahead(copy, loaded.position.applied));  // They were written meanwhile.
  TRY(copy.exec("COMMIT"));
  return tail.marks.front().end;
}

Result<Snapshot> copy_and_cut(const CopyAsk& ask) {
  TRY(copy_database(ask));
  Snapshot made;
  made.end = TRY(cut_to_tables(ask.to));
  made.file = TRY(measure(ask.to));
  return made;
}

/// An earlier installation that ended in the middle of name(): the first read takes it back.
Result<void> undo_name(const InstallAsk& ask) {
  if (::access(ask.file.c_str(), F_OK) != 0) return fail(Errc::Io, errno_text(errno));
  Connection connection = TRY(Connection::open(ask.file, Access::ReadWrite));
  TRY(connection.read_int("PRAGMA user_version"));
  return {};
}

/// Reads all of it, and changes nothing more.
Result<JournalEnd> verify(const InstallAsk& ask) {
  TRY(undo_name(ask));
  if (TRY(measure(ask.file)).digest != ask.digest) {
    return fail(Errc::Corrupt, "it is not what the leader made (its hash differs)");
  }
  Connection connection = TRY(Connection::open(ask.file, Access::ReadWrite));
  if (TRY(schema_version(connection)) == 0) return fail(Errc::Corrupt, "it is empty");
  TRY(refuse_backup(connection));
  TRY(check_integrity(connection));
  const LoadedMeta loaded = TRY(load_meta(connection));
  if (loaded.meta.cluster != ask.cluster || loaded.meta.generation != ask.generation) {
    return fail(Errc::Conflict, "it is of another cluster, or from before a restore");
  }
  const Tail tail = TRY(load_tail(connection, loaded.position));
  if (!tail.entries.empty()) return fail(Errc::Corrupt, "its journal goes on behind its tables");
  return tail.marks.front().end;
}

/// What makes it a database of this node. Durable, with all of the file, when it returns.
Result<void> name(const InstallAsk& ask) {
  {
    Connection connection = TRY(Connection::open(ask.file, Access::ReadWrite));
    Statement meta = TRY(connection.prepare("UPDATE meta SET db_uuid = ?, nonce = ?, clean = 1"));
    const std::string db_uuid = ask.db_uuid.hex();
    TRY(meta.text(db_uuid).put(ask.nonce).run());
  }
  ::chmod(ask.file.c_str(), 0600);
  const UniqueFd fd(::open(ask.file.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return fail(Errc::Io, "opening: " + errno_text(errno));
  return sync_data(fd.get());
}

/// Nothing of it is left in a WAL.
Result<void> make_one_file(const std::string& path) {
  Connection connection = TRY(Connection::open(path, Access::ReadWrite));
  const std::string mode = TRY(connection.read_text("PRAGMA journal_mode=DELETE"));
  if (mode != "delete") return fail(Errc::Io, "its WAL cannot be copied back");
  return {};
}

Result<void> move_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  return fail(Errc::Io, "renaming " + from + ": " + errno_text(errno));
}

/// Gives the database a second name, so that the new one can take its place in one step. A WAL that
/// cannot be copied back must not be found behind the new one: then the database itself goes first,
/// because SQLite throws away the WAL of a database that is not there.
Result<std::string> set_aside(const std::string& dir) {
  const std::string path = database_path(dir);
  const std::string aside = path + ".aside";
  for (const char* end : {"", "-wal", "-shm"}) ::unlink((aside + end).c_str());
  if (::access(path.c_str(), F_OK) != 0) return std::string();
  if (make_one_file(path)) {
    if (::link(path.c_str(), aside.c_str()) != 0) {
      return fail(Errc::Io, "linking " + aside + ": " + errno_text(errno));
    }
  } else {
    for (const char* end : {"", "-wal", "-shm"}) {
      if (::access((path + end).c_str(), F_OK) != 0) continue;
      TRY(move_file(path + end, aside + end));
      TRY(sync_dir(dir));
    }
  }
  return aside;
}

}  // namespace

Result<Snapshot> make_snapshot(const CopyAsk& ask) {
  Result<Snapshot> made = copy_and_cut(ask);
  if (made) return made;
  drop_copy(ask.to);
  return fail(std::move(made).error(), "copying the database");
}

Result<Installed> install_snapshot(const InstallAsk& ask) {
  const auto named = [&ask](Error error) { return fail(std::move(error), ask.file); };
  Result<JournalEnd> end = verify(ask);
  if (!end) return named(std::move(end).error());
  Result<void> done = name(ask);
  if (!done) return named(std::move(done).error());
  Installed installed{*end, TRY(set_aside(ask.dir))};
  TRY(move_file(ask.file, database_path(ask.dir)));
  TRY(sync_dir(ask.dir));
  return installed;
}

}  // namespace capstan::store
