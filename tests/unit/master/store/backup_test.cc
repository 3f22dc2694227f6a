// SPDX-License-Identifier: MIT
#include "master/store/backup.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "common/base/blake2b.h"
#include "master/store/schema.h"
#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;

namespace {

store::BackupAsk an_ask(const SqliteDisk& disk, const std::string& to) {
  store::BackupAsk ask;
  ask.dir = disk.dir().path();
  ask.to = to;
  ask.files = {{"master.key", Bytes("key\0\xFF", 5)}, {"admin.access", "admin"}};
  ask.at.us = 1'700'000'000'000'000;
  return ask;
}

void write_some(SqliteDisk& disk) {
  RowChanges rows;
  rows.jobs[JobId(1)] = a_job_row(1, a_job().with_tasks(3).spec());
  rows.tasks.put({JobId(1), TaskIndex(2)}, a_running_row());
  REQUIRE(append_to(disk.store(), a_batch(1, 4), rows, Seq(4)).has_value());
}

}  // namespace

TEST_SUITE("master/store/backup") {
  TEST_CASE("a backup is made while the store is open, and says what it is") {
    SqliteDisk disk;
    const auto opened = disk.open();
    write_some(disk);
    RowChanges ahead;
    ahead.tasks.put({JobId(1), TaskIndex(1)},
                    an_ended_row(TaskState::Succeeded, EndClass::Success, 5));
    REQUIRE(append_to(disk.store(), a_batch(5, 5), ahead, Seq(4)).has_value());
    const TempDir elsewhere;
    const std::string file = elsewhere.path() + "/a.backup";
    const auto made = store::make_backup(an_ask(disk, file));
    REQUIRE_MESSAGE(made.has_value(), made.error().message);
    CHECK(made->bytes > 0);
    CHECK(made->digest.size() == 32);
    CHECK(count_tasks(file) == 1);  // What is ahead of its tables is in its journal.
    REQUIRE(append_to(disk.store(), a_batch(6, 6), {}, Seq(6)).has_value());  // It writes on.
    const auto facts = store::check_backup(file);
    REQUIRE_MESSAGE(facts.has_value(), facts.error().message);
    CHECK(facts->seq == Seq(5));
    CHECK(facts->jobs == 1);
    CHECK(facts->cluster == opened.meta.cluster);
    CHECK(facts->at.us == 1'700'000'000'000'000);
  }

  TEST_CASE("a restored database is of a new generation and has everything else") {
    SqliteDisk disk;
    const auto opened = disk.open();
    write_some(disk);
    const TempDir elsewhere;
    const std::string file = elsewhere.path() + "/a.backup";
    REQUIRE(store::make_backup(an_ask(disk, file)).has_value());
    const TempDir restored;
    const auto files = store::restore_database(
        {file, store::database_path(restored.path()), Generation{5, 6}, an_id(7)});
    REQUIRE_MESSAGE(files.has_value(), files.error().message);
    REQUIRE(files->size() == 2);
    CHECK(files->at(1).name == "master.key");
    CHECK(files->at(1).bytes == Bytes("key\0\xFF", 5));
    store::StoreOptions options;
    options.dir = restored.path();
    store::Opened again;
    const auto store = store::SqliteStore::open(options, again);
    REQUIRE_MESSAGE(store.has_value(), store.error().message);
    CHECK(again.meta.cluster == opened.meta.cluster);
    CHECK(again.meta.generation == Generation{5, 6});
    CHECK(again.meta.db_uuid == an_id(7));
    CHECK(again.meta.last_seq == Seq(4));
    REQUIRE(again.state.jobs.size() == 1);
    CHECK(again.state.jobs[0].tasks.size() == 1);
    CHECK(append_to(**store, a_batch(5, 5), {}, Seq(5)).has_value());
  }

  TEST_CASE("a backup does not start as a master's database") {
    SqliteDisk disk;
    disk.open();
    write_some(disk);
    const TempDir elsewhere;
    REQUIRE(store::make_backup(an_ask(disk, store::database_path(elsewhere.path()))).has_value());
    store::StoreOptions options;
    options.dir = elsewhere.path();
    store::Opened opened;
    const auto store = store::SqliteStore::open(options, opened);
    REQUIRE_FALSE(store.has_value());
    CHECK(store.error().code == Errc::Invalid);
    CHECK(store.error().message.find("capstan restore") != std::string::npos);
  }

  TEST_CASE("what is damaged, or no backup, is refused") {
    SqliteDisk disk;
    disk.open();
    write_some(disk);
    const TempDir elsewhere;
    const std::string file = elsewhere.path() + "/a.backup";
    REQUIRE(store::make_backup(an_ask(disk, file)).has_value());
    CHECK_FALSE(store::check_backup(elsewhere.path() + "/none").has_value());
    const auto living = store::check_backup(store::database_path(disk.dir().path()));
    CHECK(living.error().code == Errc::Corrupt);
    REQUIRE(::truncate(file.c_str(), static_cast<off_t>(8 * store::kPageBytes)) == 0);
    CHECK_FALSE(store::check_backup(file).has_value());
  }

  TEST_CASE("a copy that is given up leaves no file") {
    SqliteDisk disk;
    disk.open();
    write_some(disk);
    store::BackupAsk ask = an_ask(disk, disk.dir().path() + "/no/such/dir");
    CHECK_FALSE(store::make_backup(ask).has_value());
    CHECK(::access(ask.to.c_str(), F_OK) != 0);
  }

  TEST_CASE("the digest of a stream is that of its pieces together") {
    Blake2b whole;
    whole.update("abcdef");
    Blake2b pieces;
    pieces.update("abc");
    pieces.update("def");
    const Bytes digest = whole.final();
    CHECK(digest.size() == 32);
    CHECK(digest == pieces.final());
  }
}
