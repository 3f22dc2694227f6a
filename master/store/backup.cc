// SPDX-License-Identifier: MIT
#include "master/store/backup.h"

#include <unistd.h>

#include <cerrno>

#include "master/store/loader.h"
#include "master/store/schema.h"

namespace capstan::store {
namespace {

constexpr const char* kTables =
    "CREATE TABLE backup (made_at_us INTEGER NOT NULL) STRICT;"
    "CREATE TABLE backup_files (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT";

Result<void> carry(Connection& copy, const BackupAsk& ask) {
  const LoadedMeta loaded = TRY(load_meta(copy));
  TRY(copy.exec("BEGIN IMMEDIATE"));
  TRY(drop_rows_ahead(copy, loaded.position.applied));  // Its journal has their entries.
  TRY(copy.exec(kTables));
  TRY(copy.exec("INSERT INTO backup VALUES (" + std::to_string(ask.at.us) + ")"));
  Statement put = TRY(copy.prepare("INSERT INTO backup_files VALUES (?, ?)"));
  for (const CarriedFile& file : ask.files) TRY(put.text(file.name).blob(file.bytes).run());
  return copy.exec("COMMIT");
}

Result<DatabaseCopy> copy_and_carry(const BackupAsk& ask) {
  TRY(copy_database({ask.dir, ask.to, ask.stop}));
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

/// Its own words for whoever gave us the file.
tl::unexpected<Error> of_file(const std::string& file, Error error) {
  error.message = file + ": " + error.message;
  return tl::unexpected<Error>(std::move(error));
}

Result<BackupFacts> read_facts(const std::string& file) {
  Connection connection = TRY(Connection::open(file, Access::ReadOnly));
  if (TRY(schema_version(connection)) == 0 || !TRY(is_backup(connection)))
    return fail(Errc::Corrupt, "this is no backup of capstan");
  TRY(check_integrity(connection));
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

Result<DatabaseCopy> make_backup(const BackupAsk& ask) {
  Result<DatabaseCopy> made = copy_and_carry(ask);
  if (made) return made;
  drop_copy(ask.to);
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
