// SPDX-License-Identifier: MIT
#include "master/node_doors.h"

#include <doctest/doctest.h>

#include <fstream>

#include "common/base/log.h"
#include "common/model/limits.h"
#include "master/store/backup.h"
#include "master/store/files.h"
#include "master/store/snapshot.h"
#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;
using store::Connection;

namespace {

RowChanges a_job_of(const std::string& owner) {
  RowChanges rows;
  rows.jobs[JobId(1)] = a_job_row(1, a_job().spec(), owner);
  return rows;
}

/// A standby with bob's job, and ann's database as the leader sent it, whole and ready.
struct Fetched {
  SqliteDisk leader, standby;
  Installing what;
  Bytes digest;

  Fetched() {
    log::configure(log::Level::Error, log::Format::Text);
    leader.open();
    REQUIRE(append_to(leader.store(), a_batch(1, 1), a_job_of("ann"), Seq(1)));
    standby.open();
    REQUIRE(append_to(standby.store(), a_batch(1, 1, Epoch(514)), a_job_of("bob"), Seq(1)));
    standby.close();
    const auto snapshot = store::make_snapshot({leader.dir().path(), ready(), nullptr});
    REQUIRE(snapshot.has_value());
    digest = snapshot->file.digest;
    what = {standby.dir().path(), an_id(1), {1234, 0xFFFF'FFFF'FFFF'FFFFULL}};
    offer();
  }
  [[nodiscard]] std::string ready() const { return standby.dir().file("snapshot.ready"); }
  [[nodiscard]] std::string refused() const { return standby.dir().file("snapshot.refused"); }
  void offer() const {
    std::ofstream(standby.dir().file("snapshot.offer"))
        << "1 " << store::file_bytes(ready()) << " " << digest;
  }
  void change(const std::string& sql) {
    Connection connection = Connection::open(ready(), store::Access::ReadWrite).value();
    REQUIRE(connection.exec(sql).has_value());
  }
  /// As if it had been made so.
  void offer_as_it_is() {
    digest = store::measure(ready()).value().digest;
    offer();
  }
  std::string owner() {
    standby.open();
    const std::string found = standby.tables().get_job(JobId(1)).value()->owner;
    standby.close();
    return found;
  }
};

}  // namespace

TEST_SUITE("master/node_doors") {
  TEST_CASE("a snapshot that is as the leader made it becomes the database") {
    Fetched f;
    REQUIRE(install_fetched(f.what));
    CHECK(f.owner() == "ann");
    CHECK_FALSE(std::filesystem::exists(f.ready()));
    CHECK_FALSE(std::filesystem::exists(f.standby.dir().file("snapshot.offer")));
    REQUIRE(install_fetched(f.what));  // There is none any more.
  }

  TEST_CASE("one that is not what the leader made is set aside, and the start goes on") {
    Fetched f;
    SUBCASE("changed since, and sound in itself") {
      f.change("UPDATE jobs SET owner = 'eve'");
    }
    SUBCASE("of an offer that nobody knows any more") {
      std::filesystem::remove(f.standby.dir().file("snapshot.offer"));
    }
    SUBCASE("of another cluster") {
      f.what.cluster = an_id(9);
    }
    SUBCASE("a backup") {
      std::filesystem::remove(f.ready());
      REQUIRE(store::make_backup({f.leader.dir().path(), f.ready(), {}, {}, nullptr}));
      f.offer_as_it_is();
    }
    REQUIRE(install_fetched(f.what));
    CHECK_FALSE(std::filesystem::exists(f.ready()));
    CHECK(std::filesystem::exists(f.refused()));
    CHECK(f.owner() == "bob");
  }

  TEST_CASE("a newer program's is said once, and not met again") {
    Fetched f;
    f.change("PRAGMA user_version=" + std::to_string(limits::kSchemaVersion + 1));
    f.offer_as_it_is();
    const auto installed = install_fetched(f.what);
    REQUIRE_FALSE(installed);
    CHECK(installed.error().code == Errc::TooNew);
    CHECK(std::filesystem::exists(f.refused()));
    REQUIRE(install_fetched(f.what));
    CHECK(f.owner() == "bob");
  }
}
