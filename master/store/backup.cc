// SPDX-License-Identifier: MIT
#include "master/store/backup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/blake2b.h"
#include "common/base/unique_fd.h"
#include "common/model/limits.h"
#include "master/store/files.h"
#include "master/store/loader.h"
#include "master/store/schema.h"
#include "master/store/sqlite_store.h"

namespace capstan::store {
namespace {

constexpr std::size_t kPiece = 1 << 20;

constexpr const char* kTables =
    "CREATE TABLE backup (made_at_us INTEGER NOT NULL) STRICT;"
    "CREATE TABLE backup_files (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT";

/// Hands every piece of a file to `take`, in order.
template <class Take>
Result<void> for_pieces(const std::string& path, Take take) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(Errc::Io, "opening " + path + ": " + errno_text(errno));
  for (std::uint64_t at = 0;; at += kPiece) {
    const std::string piece = TRY(read_at(fd.get(), kPiece, at));
    if (!piece.empty()) TRY(take(piece, at));
    if (piece.size() < kPiece) return {};
  }
}

Result<BackupCopy> measure(const std::string& path) {
  BackupCopy copy;
  Blake2b digest;
  TRY(for_pieces(path, [&](const std::string& piece, std::uint64_t) -> Result<void> {
    copy.bytes += piece.size();
    digest.update(piece);
    return {};
  }));
  copy.digest = digest.final();
  return copy;
}

Result<void> carry(Connection& copy, const BackupAsk& ask) {
  TRY(copy.exec("BEGIN IMMEDIATE"));
  TRY(copy.exec(kTables));
  TRY(copy.exec("INSERT INTO backup VALUES (" + std::to_string(ask.at.us) + ")"));
  Statement put = TRY(copy.prepare("INSERT INTO backup_files VALUES (?, ?)"));
  for (const CarriedFile& file : ask.files) TRY(put.text(file.name).blob(file.bytes).run());
  return copy.exec("COMMIT");
}

Result<BackupCopy> copy_and_carry(const BackupAsk& ask) {
  {
    Connection source = TRY(Connection::open(database_path(ask.dir), Access::ReadOnly));
    // It writes nothing here, but into the copy.
    TRY(source.exec("PRAGMA query_only=OFF"));
    if (ask.stop != nullptr) source.stop_when(*ask.stop);
    Statement vacuum = TRY(source.prepare("VACUUM INTO ?"));
    TRY(vacuum.text(ask.to).run());
  }
  {
    Connection copy = TRY(Connection::open(ask.to, Access::ReadWrite));
    TRY(carry(copy, ask));
  }
  return measure(ask.to);
}

Result<bool> is_backup(Connection& connection) {
  return TRY(connection.read_int("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
                                 " AND name = 'backup'")) > 0;
}

Result<void> copy_file(const std::string& from, const std::string& to) {
  const UniqueFd fd(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail(Errc::Io, "making " + to + ": " + errno_text(errno));
  TRY(for_pieces(from, [&](const std::string& piece, std::uint64_t at) {
    return write_at(fd.get(), piece, at);
  }));
  return sync_data(fd.get());
}

/// Its own words for whoever gave us the file.
tl::unexpected<Error> of_file(const std::string& file, Error error) {
  error.message = file + ": " + error.message;
  return tl::unexpected<Error>(std::move(error));
}

Result<BackupFacts> read_facts(const std::string& file) {
  Connection connection = TRY(Connection::open(file, Access::ReadOnly));
  if (TRY(schema_version(connection)) == 0 || !TRY(is_backup(connection)))
    return fail(Errc::Corrupt, "this is no backup of capstan");
  const std::string said = TRY(connection.read_text("PRAGMA integrity_check(1)"));
  if (said != "ok") return fail(Errc::Corrupt, "it is damaged: " + said);
  const LoadedMeta loaded = TRY(load_meta(connection));
  TRY(load_tail(connection, loaded.position));  // Its hash chain.
  BackupFacts facts;
  facts.at.us = TRY(connection.read_int("SELECT made_at_us FROM backup"));
  facts.cluster = loaded.meta.cluster;
  facts.seq = loaded.meta.last_seq;
  facts.jobs = static_cast<std::uint64_t>(TRY(connection.read_int("SELECT count(*) FROM jobs")));
  return facts;
}

}  // namespace

Result<BackupCopy> make_backup(const BackupAsk& ask) {
  Result<BackupCopy> made = copy_and_carry(ask);
  if (made) return made;
  ::unlink(ask.to.c_str());
  ::unlink((ask.to + "-journal").c_str());
  return fail(std::move(made).error(), "copying the database");
}

Result<BackupFacts> check_backup(const std::string& file) {
  if (::access(file.c_str(), R_OK) != 0)
    return fail(Errc::Invalid, "opening " + file + ": " + errno_text(errno));
  Result<BackupFacts> facts = read_facts(file);
  if (!facts) return of_file(file, std::move(facts).error());
  return facts;
}

Result<void> refuse_backup(Connection& connection) {
  if (!TRY(is_backup(connection))) return {};
  return fail(Errc::Invalid,
              "this is a backup and no master's database: `capstan restore FILE DIR` makes a "
              "master's directory of it");
}

Result<std::vector<CarriedFile>> restore_database(const RestoreAsk& ask) {
  TRY(copy_file(ask.file, ask.to));
  Connection connection = TRY(Connection::open(ask.to, Access::ReadWrite));
  std::vector<CarriedFile> files;
  {
    Statement rows = TRY(connection.prepare("SELECT name, bytes FROM backup_files ORDER BY name"));
    while (TRY(rows.next())) {
      std::string name = rows.str();
      files.push_back({std::move(name), Bytes(rows.bytes())});
    }
  }
  TRY(connection.exec("BEGIN IMMEDIATE"));
  Statement meta = TRY(connection.prepare(
      "UPDATE meta SET generation_began_us = ?, generation_random = ?, db_uuid = ?, clean = 1"));
  const std::string db_uuid = ask.db_uuid.hex();
  TRY(meta.put(ask.generation.began_us).put(ask.generation.random).text(db_uuid).run());
  TRY(connection.exec("DROP TABLE backup; DROP TABLE backup_files; COMMIT"));
  return files;
}

}  // namespace capstan::store
