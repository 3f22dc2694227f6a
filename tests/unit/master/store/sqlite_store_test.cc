// SPDX-License-Identifier: MIT
//
// What only the real store has: files, versions, hashes, checkpoints.
#include "master/store/sqlite_store.h"
#include "common/wire/version.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "common/model/limits.h"
#include "master/store/files.h"
#include "master/store/row_hash.h"
#include "master/store/schema.h"
#include "master/store/sqlite.h"
#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;
using store::Access;
using store::Connection;
using store::Opened;

namespace {

void append(SqliteDisk& disk, std::uint64_t first, std::uint64_t last,
            const RowChanges& rows = {}) {
  REQUIRE(append_to(disk.store(), a_batch(first, last), rows, Seq(last)).has_value());
}

Connection raw(const SqliteDisk& disk, Access access = Access::ReadWrite) {
  return Connection::open(store::database_path(disk.dir().path()), access).value();
}

void change(const SqliteDisk& disk, const std::string& sql) {
  const Result<void> changed = raw(disk).exec(sql);
  if (!changed) FAIL(changed.error().message);
}

Errc code_of_open(SqliteDisk& disk) {
  Opened out;
  const auto opened = disk.try_open(out, 1);
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().message.find("capstan.db") != std::string::npos);
  return opened.error().code;
}

RowChanges a_thousand_tasks() {
  RowChanges rows;
  rows.jobs[JobId(1)] = a_job_row(1, a_job().with_tasks(1000).spec());
  for (std::uint32_t task = 1; task <= 1000; ++task) {
    rows.tasks.put({JobId(1), TaskIndex(task)},
                   an_ended_row(TaskState::Failed, EndClass::Exit, task));
  }
  return rows;
}

}  // namespace

TEST_SUITE("master/store/sqlite_store") {
  TEST_CASE("the database is set up as field notes demand") {
    SqliteDisk disk;
    disk.open();
    Connection db = raw(disk);
    CHECK(db.read_text("PRAGMA journal_mode").value() == "wal");
    CHECK(db.read_int("PRAGMA auto_vacuum").value() == 2);
    CHECK(db.read_int("PRAGMA user_version").value() == limits::kSchemaVersion);
    CHECK(db.read_int("PRAGMA application_id").value() != 0);
    CHECK(db.read_int("PRAGMA page_size").value() == std::int64_t{store::kPageBytes});
    CHECK(db.read_int("SELECT count(*) FROM pragma_table_list"
                      " WHERE type = 'table' AND NOT strict AND schema = 'main'"
                      " AND name NOT LIKE 'sqlite_%'")
              .value() == 0);
  }

  TEST_CASE("the tables are for people") {
    SqliteDisk disk;
    disk.open();
    JobSpec spec = a_job().with_tasks(4).spec();
    spec.argv = {"convert", "a b.jpg", Bytes("\xFF", 1)};
    RowChanges rows;
    rows.jobs[JobId(17)] = a_job_row(17, spec);
    rows.tasks.put({JobId(17), TaskIndex(1)},
                   an_ended_row(TaskState::Succeeded, EndClass::Success, 1));
    rows.tasks.put({JobId(17), TaskIndex(2)}, a_running_row());
    rows.attempts[a_key(17, 2, 1)] = an_attempt_row(EndClass::WorkerLost);
    rows.tasks.find({JobId(17), TaskIndex(2)})->attempt = AttemptNo(2);
    append(disk, 1, 1, rows);
    Connection db = raw(disk, Access::ReadOnly);
    CHECK(db.read_text("SELECT state FROM jobs WHERE id = 17").value() == "queued");
    CHECK(db.read_text("SELECT command FROM jobs").value() == "convert 'a b.jpg' '\\xff'");
    CHECK(db.read_text("SELECT group_concat(state) FROM tasks").value() == "succeeded,running");
    CHECK(db.read_text("SELECT end_class FROM tasks WHERE task = 1").value() == "success");
    CHECK(db.read_int("SELECT end_class IS NULL FROM tasks WHERE task = 2").value() == 1);
    CHECK(db.read_text("SELECT date(finished_at_us / 1000000, 'unixepoch') FROM tasks").value() ==
          "2023-11-14");
    CHECK(db.read_text("SELECT group_concat(job || '.' || task || ' ' || (history->>'losses'))"
                       " FROM tasks WHERE job = 17")
              .value() == "17.1 2");
    CHECK(db.read_int("SELECT count(*) FROM tasks WHERE job = 16").value() == 0);
    CHECK(db.read_text("SELECT group_concat(task || '.' || attempt || ' ' || end_class) FROM"
                       " (SELECT * FROM all_attempts WHERE end_class IS NOT NULL"
                       " ORDER BY task, attempt)")
              .value() == "1.1 success,2.1 worker_lost");
  }

  TEST_CASE("the names in the tables never change") {
    const std::vector<std::string> states = {"waiting",   "ready",  "running",   "backoff",
                                             "succeeded", "failed", "cancelled", "skipped"};
    for (std::size_t i = 0; i < states.size(); ++i) {
      CHECK(to_string(static_cast<TaskState>(i)) == states[i]);
    }
    const std::vector<std::string> jobs = {"queued", "running",   "paused", "succeeded",
                                           "failed", "cancelled", "skipped"};
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      CHECK(to_string(static_cast<JobState>(i)) == jobs[i]);
    }
    const std::vector<std::string> ends = {"success",   "exit",      "signal",       "timeout",
                                           "stall",     "oom",       "launch_error", "worker_lost",
                                           "cancelled", "superseded"};
    for (std::size_t i = 0; i < ends.size(); ++i) {
      CHECK(to_string(static_cast<EndClass>(i)) == ends[i]);
    }
  }

  TEST_CASE("another program's database, and a newer one, are refused and left alone") {
    SqliteDisk disk;
    disk.open();
    disk.close();
    change(disk, "PRAGMA user_version=" + std::to_string(limits::kSchemaVersion + 1));
    CHECK(code_of_open(disk) == Errc::TooNew);
    change(disk, "PRAGMA user_version=1; PRAGMA application_id=1");
    CHECK(code_of_open(disk) == Errc::Corrupt);
    CHECK(raw(disk).read_int("SELECT clean FROM meta").value() == 1);
    std::ofstream(store::database_path(disk.dir().path())) << std::string(8192, 'x');
    CHECK(code_of_open(disk) == Errc::Corrupt);
  }

  TEST_CASE("a journal that is not what was written is refused") {
    SqliteDisk disk;
    disk.open();
    for (std::uint64_t seq = 1; seq <= 40; ++seq) append(disk, seq, seq);
    append(disk, 41, 41);
    REQUIRE(append_to(disk.store(), a_batch(42, 43), {}, Seq(41)).has_value());
    disk.close();
    SUBCASE("a changed entry") {
      change(disk,
             "UPDATE journal SET entries = CAST(replace(entries, 'entry', 'Entry') AS BLOB)"
             " WHERE first_seq = 30");
      CHECK(code_of_open(disk) == Errc::Corrupt);
    }
    SUBCASE("a missing batch") {
      change(disk, "DELETE FROM journal WHERE first_seq = 39");
      CHECK(code_of_open(disk) == Errc::Corrupt);
    }
    SUBCASE("a missing end") {
      change(disk, "DELETE FROM journal WHERE first_seq = 42");
      CHECK(code_of_open(disk) == Errc::Corrupt);
    }
    SUBCASE("an entry of the future") {
      store::Batch batch = a_batch(44, 44);
      batch[0].level = kEntryLevel + 1;
      disk.open();
      REQUIRE(append_to(disk.store(), batch, {}, Seq(43)).has_value());
      disk.crash();
      CHECK(code_of_open(disk) == Errc::TooNew);
    }
    SUBCASE("as it was written") {
      CHECK(disk.open().tail.size() == 2);
    }
  }

  TEST_CASE("the hash of row changes is the same however often it is made") {
    RowChanges rows = a_thousand_tasks();
    const Digest none;
    store::Batch batch = a_batch(1, 1);
    const Digest hash = store::hash_rows(none, batch, rows);
    CHECK(store::hash_rows(none, batch, rows) == hash);
    CHECK(store::hash_rows(none, batch, {}) == none);
    CHECK(store::hash_rows(hash, batch, rows) != hash);
    batch[0].command = cmd::JobSubmitted{{"ann", an_id(1)}, SubmissionId(1), JobId(1), 0};
    CHECK(store::hash_rows(none, batch, rows) != hash);  // With its template.
    batch = a_batch(1, 1);
    rows.tasks.find({JobId(1), TaskIndex(500)})->exit_code ^= 1;
    CHECK(store::hash_rows(none, batch, rows) != hash);
    SqliteDisk a;
    SqliteDisk b;
    a.open();
    b.open();
    append(a, 1, 1, a_thousand_tasks());
    append(b, 1, 1, a_thousand_tasks());
    CHECK(a.store().position().rows_chain == b.store().position().rows_chain);
    CHECK(a.store().position().journal_chain == b.store().position().journal_chain);
    const Digest before = a.store().position().rows_chain;
    a.crash();
    a.open();
    CHECK(a.store().position().rows_chain == before);
  }

  TEST_CASE("a start that was not closed is unclean until it is") {
    SqliteDisk disk;
    CHECK(disk.open().clean);
    disk.crash();
    CHECK_FALSE(disk.open().clean);
    disk.close();
    CHECK(disk.open().clean);
  }

  TEST_CASE("jobs expire by the size of the file") {
    SqliteDisk disk;
    disk.open();
    RowChanges rows = a_thousand_tasks();
    rows.jobs[JobId(1)].state = JobState::Succeeded;
    rows.jobs[JobId(1)].finished_at.us = 7;
    append(disk, 1, 1, rows);
    disk.close();
    const std::uint64_t bytes = store::file_bytes(store::database_path(disk.dir().path()));
    disk.open();
    store::Tables::Expiry by_size;
    by_size.bytes_kept = bytes;
    CHECK(disk.tables().list_expired(by_size).value().jobs.empty());
    by_size.bytes_kept = bytes * 3 / 4;
    CHECK(disk.tables().list_expired(by_size).value().jobs.size() == 1);
  }

  TEST_CASE("quick_check finds damage") {
    SqliteDisk disk;
    disk.open();
    append(disk, 1, 1, a_thousand_tasks());
    CHECK(store::quick_check(disk.dir().path()).has_value());
    disk.close();
    CHECK(store::quick_check(disk.dir().path()).has_value());
    const std::string path = store::database_path(disk.dir().path());
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(store::file_bytes(path) / 2 / store::kPageBytes *
                                           store::kPageBytes));
    file << std::string(store::kPageBytes, '\x5A');
    file.close();
    const Result<void> checked = store::quick_check(disk.dir().path());
    REQUIRE_FALSE(checked.has_value());
    CHECK(checked.error().code == Errc::Corrupt);
  }

  TEST_CASE("the ballast lies in the directory and comes back with the next start") {
    SqliteDisk disk;
    disk.open();
    const std::string ballast = disk.dir().file("ballast");
    CHECK(store::file_bytes(ballast) == limits::kBallastBytes);
    CHECK(disk.store().release_ballast());
    CHECK(store::file_bytes(ballast) == 0);
    disk.close();
    disk.open();
    CHECK(store::file_bytes(ballast) == limits::kBallastBytes);
    CHECK(disk.store().database_bytes() > 0);
  }

  TEST_CASE("one *.db, and files that only we may read") {
    SqliteDisk disk;
    disk.open();
    append(disk, 1, 1);
    std::set<std::string> databases;
    for (const auto& entry : std::filesystem::directory_iterator(disk.dir().path())) {
      const auto others = std::filesystem::perms::group_all | std::filesystem::perms::others_all;
      CAPTURE(entry.path().string());
      CHECK((entry.status().permissions() & others) == std::filesystem::perms::none);
      if (entry.path().extension() == ".db") databases.insert(entry.path().filename());
    }
    CHECK(databases == std::set<std::string>{"capstan.db"});
  }

  TEST_CASE("a large WAL is copied back between batches, and begins anew") {
    SqliteDisk disk;
    disk.open();
    store::Batch batch;
    const std::string wal = store::database_path(disk.dir().path()) + "-wal";
    const std::string path = store::database_path(disk.dir().path());
    for (std::uint64_t seq = 1; store::file_bytes(wal) < limits::kWalCheckpointBytes; ++seq) {
      batch = a_batch(seq, seq);
      batch[0].command = cmd::ReignBegan{std::string(900'000, 'x')};
      REQUIRE(append_to(disk.store(), batch, {}, Seq(seq)).has_value());
    }
    CHECK(store::file_bytes(path) < limits::kWalCheckpointBytes / 2);
    REQUIRE(disk.store().maintain().has_value());
    CHECK(store::file_bytes(path) > limits::kWalCheckpointBytes / 2);
    const std::uint64_t size = store::file_bytes(wal);
    const std::uint64_t next = batch[0].seq.value + 1;
    append(disk, next, next);
    CHECK(store::file_bytes(wal) == size);
  }

  TEST_CASE("the journal loses what is older than a day, in steps, and a start still verifies") {
    SqliteDisk disk;
    disk.open();
    constexpr std::int64_t kDayUs = 24LL * 3600 * 1'000'000;
    std::uint64_t seq = 1;
    for (; seq <= 600; ++seq) append(disk, seq, seq);
    store::Batch late = a_batch(seq, seq);
    late[0].wall.us += 2 * kDayUs;
    REQUIRE(append_to(disk.store(), late, {}, Seq(seq)).has_value());
    const auto rows = [&disk] {
      return raw(disk).read_int("SELECT count(*) FROM journal").value();
    };
    CHECK(rows() == 601);
    REQUIRE(disk.store().maintain().has_value());
    CHECK(rows() == 601 - 128);
    for (int step = 0; step < 10; ++step) REQUIRE(disk.store().maintain().has_value());
    CHECK(rows() == 65);
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.state.last_seq == Seq(601));
    append(disk, 602, 602);
  }

  TEST_CASE("a batch that is not yet in the tables is never trimmed") {
    SqliteDisk disk;
    disk.open();
    std::uint64_t seq = 1;
    for (; seq <= 400; ++seq) {
      REQUIRE(append_to(disk.store(), a_batch(seq, seq), {}, Seq(seq < 10 ? seq : 9)).has_value());
    }
    store::Batch late = a_batch(seq, seq);
    late[0].wall.us += 1'000'000'000'000;
    REQUIRE(append_to(disk.store(), late, {}, Seq(9)).has_value());
    for (int step = 0; step < 10; ++step) REQUIRE(disk.store().maintain().has_value());
    disk.crash();
    CHECK(disk.open().tail.size() == 392);
  }

  TEST_CASE("a database that was never finished is made again") {
    SqliteDisk disk;
    change(disk, "PRAGMA journal_mode=WAL");  // Its file is there, and no table.
    CHECK(disk.open().meta.cluster == an_id(1));
    append(disk, 1, 1);
  }

  TEST_CASE("a failing write is not known to have happened") {
    SqliteDisk disk;
    disk.open();
    append(disk, 1, 1);
    change(disk, "CREATE TRIGGER t BEFORE INSERT ON journal BEGIN SELECT raise(ABORT, 'no'); END");
    const Result<void> failed = append_to(disk.store(), a_batch(2, 2), {}, Seq(2));
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == Errc::OutcomeUnknown);
  }

}  // TEST_SUITE
