// SPDX-License-Identifier: MIT
#include "master/store/snapshot.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "common/model/limits.h"
#include "master/store/backup.h"
#include "master/store/files.h"
#include "master/store/schema.h"
#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;
using store::Connection;
using store::Opened;

namespace {

RowChanges a_job_numbered(std::uint64_t id, const std::string& owner = "ann") {
  RowChanges rows;
  rows.jobs[JobId(id)] = a_job_row(id, a_job().spec(), owner);
  return rows;
}

/// Entries 1 … 20 with a job each in the tables, 21 … 25 in the journal alone.
void fill(SqliteDisk& leader) {
  leader.open();
  for (std::uint64_t seq = 1; seq <= 25; ++seq) {
    const Seq applied(std::min<std::uint64_t>(seq, 20));
    const RowChanges rows = a_job_numbered(seq);
    const store::Batch batch = a_batch(seq, seq);
    const SealedBatch sealed = leader.store().seal(batch, rows);
    RowChanges written;
    if (seq <= 20) written = rows;
    if (seq == 25)  // Ahead of the tables.
      written.tasks.put({JobId(1), TaskIndex(0)},
                        an_ended_row(TaskState::Succeeded, EndClass::Success, 25));
    REQUIRE(leader.store().append(sealed, batch, written, applied));
  }
}

/// A standby with entries of its own, that nobody else has.
void fill_other(SqliteDisk& standby) {
  standby.open();
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    REQUIRE(append_to(standby.store(), a_batch(seq, seq, Epoch(514)), a_job_numbered(seq, "bob"),
                      Seq(seq)));
  }
}

store::InstallAsk to_install(const SqliteDisk& disk, const store::Snapshot& snapshot) {
  store::InstallAsk ask;
  ask.dir = disk.dir().path();
  ask.file = disk.dir().file("snapshot");
  ask.digest = snapshot.file.digest;
  ask.cluster = an_id(1);
  ask.generation = {1234, 0xFFFF'FFFF'FFFF'FFFFULL};
  ask.db_uuid = an_id(77);
  ask.nonce = 4711;
  return ask;
}

std::uint64_t jobs_of(SqliteDisk& disk, const std::string& owner) {
  store::Tables::JobFilter filter;
  filter.owner = owner;
  return disk.tables().list_jobs(filter).value().size();
}

/// A standby, and a snapshot that something is wrong with.
struct Attempt {
  SqliteDisk leader, standby;
  store::InstallAsk ask;
  std::uint64_t bytes = 0;
  Errc expected = Errc::Corrupt;

  Attempt() {
    fill(leader);
    fill_other(standby);
    standby.close();
    const auto snapshot =
        store::make_snapshot({leader.dir().path(), standby.dir().file("snapshot"), nullptr});
    REQUIRE(snapshot.has_value());
    ask = to_install(standby, *snapshot);
    bytes = snapshot->file.bytes;
  }
  void measure() { ask.digest = store::measure(ask.file).value().digest; }
  void change(const std::string& sql) {
    {
      Connection connection = Connection::open(ask.file, store::Access::ReadWrite).value();
      REQUIRE(connection.exec(sql).has_value());
    }
    measure();
  }
  void check_refused() {
    const auto installed = store::install_snapshot(ask);
    REQUIRE_FALSE(installed.has_value());
    CHECK(installed.error().code == expected);
    CHECK(installed.error().message.find(ask.file) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(store::database_path(ask.dir) + ".aside"));
    CHECK(standby.open().meta.last_epoch == Epoch(514));
    CHECK(jobs_of(standby, "bob") == 3);
  }
};

}  // namespace

TEST_SUITE("master/store/snapshot") {
  TEST_CASE("a standby begins with a snapshot, and the leader's journal goes on behind it") {
    SqliteDisk leader;
    fill(leader);
    SqliteDisk standby;
    Vote vote;
    vote.fresh = false;
    vote.nonce = 99;
    SUBCASE("without a database") {}
    SUBCASE("with one that is something else, after a clean end") {
      fill_other(standby);
      standby.close();
    }
    SUBCASE("or a crash") {
      fill_other(standby);
      standby.crash();
    }
    SUBCASE("with a damaged one") {
      fill_other(standby);
      standby.crash();
      std::ofstream(store::database_path(standby.dir().path())) << std::string(8192, 'x');
    }
    const bool had_one = ::access(store::database_path(standby.dir().path()).c_str(), F_OK) == 0;
    leader.store().hold_journal(leader.store().journal_ends().front().seq);
    const auto snapshot =
        store::make_snapshot({leader.dir().path(), standby.dir().file("snapshot"), nullptr});
    REQUIRE(snapshot.has_value());
    CHECK(snapshot->end == leader.store().journal_ends().front());
    CHECK(snapshot->end.seq == Seq(20));
    CHECK(count_tasks(store::database_path(leader.dir().path())) == 1);
    CHECK(count_tasks(standby.dir().file("snapshot")) == 0);
    CHECK(snapshot->file.bytes == store::file_bytes(standby.dir().file("snapshot")));
    const store::InstallAsk ask = to_install(standby, *snapshot);
    const auto installed = store::install_snapshot(ask);
    REQUIRE_MESSAGE(installed.has_value(), installed.error().message);
    CHECK(installed->end == snapshot->end);
    CHECK(installed->aside.empty() == !had_one);
    CHECK_FALSE(std::filesystem::exists(ask.file));
    const Opened opened = standby.open(8, vote);
    CHECK_FALSE(opened.is_complete);
    CHECK(opened.clean);
    CHECK(opened.meta.db_uuid == an_id(77));
    CHECK(opened.meta.cluster == an_id(1));
    CHECK(opened.tail.empty());
    CHECK(opened.ends == std::vector<JournalEnd>{snapshot->end});
    CHECK(jobs_of(standby, "ann") == 20);
    CHECK(jobs_of(standby, "bob") == 0);
    const auto read = leader.store().read_batches(snapshot->end, SIZE_MAX).value();
    REQUIRE(read.batches.size() == 5);
    for (const SealedBatch& sealed : read.batches) {
      const auto batch = store::open_batch(standby.store().journal_ends().back(), sealed);
      REQUIRE(batch.has_value());
      REQUIRE(standby.store().append(sealed, *batch, a_job_numbered(sealed.end.seq.value),
                                     sealed.end.seq));
    }
    CHECK(standby.store().journal_ends().back() == leader.store().journal_ends().back());
    CHECK(standby.store().position().rows_chain == leader.store().position().rows_chain);
    CHECK(standby.store().read_batches({}, 1).value().batches.size() == 1);  // Its history, too.
    standby.crash();
    CHECK(standby.open().meta.last_seq == Seq(25));
    CHECK(jobs_of(standby, "ann") == 25);
  }

  TEST_CASE("one database is set aside, whole, and nobody takes it for another") {
    SqliteDisk leader;
    fill(leader);
    SqliteDisk standby;
    fill_other(standby);
    standby.crash();  // It has a WAL.
    std::string aside;
    for (int twice = 0; twice < 2; ++twice) {
      const auto snapshot =
          store::make_snapshot({leader.dir().path(), standby.dir().file("snapshot"), nullptr});
      REQUIRE(snapshot.has_value());
      const auto installed = store::install_snapshot(to_install(standby, *snapshot));
      REQUIRE(installed.has_value());
      aside = installed->aside;
      if (twice > 0) break;
      // The old one, in a directory of its own.
      SqliteDisk old;
      std::filesystem::copy_file(aside, store::database_path(old.dir().path()));
      CHECK(old.open().meta.last_epoch == Epoch(514));
      CHECK(jobs_of(old, "bob") == 3);
    }
    int databases = 0;
    int others = 0;
    for (const auto& entry : std::filesystem::directory_iterator(standby.dir().path())) {
      struct stat status {};
      REQUIRE(::stat(entry.path().c_str(), &status) == 0);
      CHECK((status.st_mode & 0077) == 0);
      databases += entry.path().extension() == ".db" ? 1 : 0;
      others += entry.path().string().starts_with(aside) ? 1 : 0;
    }
    CHECK(databases == 1);
    CHECK(others == 1);
  }

  TEST_CASE("what is torn or damaged is refused, and nothing changes") {
    Attempt attempt;
    const auto write = [&](std::uint64_t at, const std::string& what) {
      std::fstream bytes(attempt.ask.file, std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekp(static_cast<std::streamoff>(at));
      bytes << what;
    };
    const auto cut = [&](std::uint64_t bytes) {
      REQUIRE(::truncate(attempt.ask.file.c_str(), static_cast<off_t>(bytes)) == 0);
    };
    SUBCASE("torn") {
      cut(attempt.bytes - 1);
    }
    SUBCASE("torn, and its digest as well") {
      cut(attempt.bytes / 2);
      attempt.measure();
    }
    SUBCASE("empty") {
      cut(0);
      attempt.measure();
    }
    SUBCASE("missing") {
      REQUIRE(::unlink(attempt.ask.file.c_str()) == 0);
      attempt.expected = Errc::Io;
    }
    SUBCASE("one byte of it") {
      write(attempt.bytes / 2, "x");
    }
    SUBCASE("a damaged page") {
      write(attempt.bytes / store::kPageBytes / 2 * store::kPageBytes,
            std::string(store::kPageBytes, 'x'));
      attempt.measure();
    }
    SUBCASE("another entry in its journal") {
      attempt.change(
          "UPDATE journal SET entries = CAST(replace(entries, 'entry', 'Entry') AS BLOB)"
          " WHERE first_seq = 18");
    }
    attempt.check_refused();
  }

  TEST_CASE("what is not this cluster's snapshot is refused, and nothing changes") {
    Attempt attempt;
    const std::string& file = attempt.ask.file;
    SUBCASE("another program's") {
      attempt.change("PRAGMA application_id=1");
    }
    SUBCASE("a newer one") {
      attempt.change("PRAGMA user_version=" + std::to_string(limits::kSchemaVersion + 1));
      attempt.expected = Errc::TooNew;
    }
    SUBCASE("another cluster's") {
      attempt.ask.cluster = an_id(2);
      attempt.expected = Errc::Conflict;
    }
    SUBCASE("one from before a restore") {
      attempt.ask.generation.random -= 1;
      attempt.expected = Errc::Conflict;
    }
    SUBCASE("a backup") {
      REQUIRE(::unlink(file.c_str()) == 0);
      const auto backup = store::make_backup({attempt.leader.dir().path(), file, {}, {}, nullptr});
      REQUIRE(backup.has_value());
      attempt.measure();
      attempt.expected = Errc::Invalid;
    }
    SUBCASE("a plain copy, with what was never committed") {
      REQUIRE(::unlink(file.c_str()) == 0);
      REQUIRE(store::copy_database({attempt.leader.dir().path(), file, nullptr}).has_value());
      attempt.measure();
    }
    attempt.check_refused();
  }

  TEST_CASE("whatever an installation was killed behind, the next start finds a whole database") {
    SqliteDisk leader;
    fill(leader);
    SqliteDisk standby;
    fill_other(standby);
    standby.crash();
    const std::string path = store::database_path(standby.dir().path());
    const std::string file = standby.dir().file("snapshot");
    const auto snapshot = store::make_snapshot({leader.dir().path(), file, nullptr});
    REQUIRE(snapshot.has_value());
    bool is_old = true;
    SUBCASE("its WAL was copied back") {
      Connection connection = Connection::open(path, store::Access::ReadWrite).value();
      REQUIRE(connection.read_text("PRAGMA journal_mode=DELETE").value() == "delete");
    }
    SUBCASE("it had a second name") {
      {
        Connection connection = Connection::open(path, store::Access::ReadWrite).value();
        REQUIRE(connection.read_text("PRAGMA journal_mode=DELETE").value() == "delete");
      }
      REQUIRE(::link(path.c_str(), (path + ".aside").c_str()) == 0);
    }
    SUBCASE("a damaged one was moved away, and its WAL was not yet") {
      REQUIRE(std::filesystem::exists(path + "-wal"));
      std::filesystem::rename(path, path + ".aside");
      is_old = false;
    }
    Vote vote;
    vote.fresh = false;
    const Opened opened = standby.open(5, vote);
    CHECK_FALSE(opened.is_complete);
    CHECK(opened.meta.last_seq == Seq(is_old ? 3 : 0));
    CHECK(jobs_of(standby, "bob") == (is_old ? 3 : 0));
    standby.crash();
    std::filesystem::remove(standby.dir().file("snapshot"));
    REQUIRE(store::make_snapshot({leader.dir().path(), standby.dir().file("snapshot"), nullptr})
                .has_value());
    store::InstallAsk ask = to_install(standby, *snapshot);
    ask.digest = store::measure(ask.file).value().digest;
    REQUIRE(store::install_snapshot(ask).has_value());
    CHECK(standby.open().meta.last_seq == Seq(20));
  }

  TEST_CASE("what was killed while it named the file is begun again") {
    SqliteDisk leader;
    fill(leader);
    SqliteDisk standby;
    const std::string file = standby.dir().file("made");
    const auto snapshot = store::make_snapshot({leader.dir().path(), file, nullptr});
    REQUIRE(snapshot.has_value());
    store::InstallAsk ask = to_install(standby, *snapshot);
    {
      // Some of a transaction is in the file, and what was there before is in its journal.
      Connection connection = Connection::open(file, store::Access::ReadWrite).value();
      REQUIRE(connection
                  .exec("PRAGMA cache_size=1; BEGIN IMMEDIATE; UPDATE meta SET nonce = 5;"
                        "UPDATE jobs SET owner = 'bob'; UPDATE specs SET tags = 'x';"
                        "UPDATE journal SET wall_us = 1")
                  .has_value());
      std::filesystem::copy_file(file, ask.file);
      std::filesystem::copy_file(file + "-journal", ask.file + "-journal");
      REQUIRE(connection.rollback().has_value());
    }
    REQUIRE(store::file_bytes(ask.file + "-journal") > 0);
    REQUIRE(ask.digest != store::measure(ask.file).value().digest);
    const auto installed = store::install_snapshot(ask);
    REQUIRE_MESSAGE(installed.has_value(), installed.error().message);
    CHECK_FALSE(std::filesystem::exists(ask.file + "-journal"));
    CHECK(standby.open().ends == std::vector<JournalEnd>{snapshot->end});
    CHECK(jobs_of(standby, "ann") == 20);
  }

  TEST_CASE("one that cannot be made leaves nothing behind") {
    SqliteDisk leader;
    leader.open();
    Connection raw =
        Connection::open(store::database_path(leader.dir().path()), store::Access::ReadWrite)
            .value();
    REQUIRE(raw.exec("UPDATE meta SET last_seq = 7").has_value());  // It has no such entry.
    const std::string file = leader.dir().file("snapshot");
    const auto made = store::make_snapshot({leader.dir().path(), file, nullptr});
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().code == Errc::Corrupt);
    CHECK_FALSE(std::filesystem::exists(file));
  }
}  // TEST_SUITE
