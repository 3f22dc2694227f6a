// SPDX-License-Identifier: MIT
#include "master/store_check.h"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <future>

#include "master/store/schema.h"
#include "master/store/sqlite_store.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/master/store/store_fixture.h"

namespace capstan::test {
namespace {

TEST_SUITE_BEGIN("master/store_check");

Errc checked(const std::string& dir) {
  std::promise<Result<void>> told;
  const auto check =
      StoreCheck::begin(dir, [&](Result<void> found) { told.set_value(std::move(found)); });
  REQUIRE(check);
  const Result<void> found = told.get_future().get();
  return found ? Errc{} : found.error().code;
}

TEST_CASE("a database is whole, or what is wrong is told") {
  SqliteDisk disk;
  disk.open();
  disk.close();
  CHECK(checked(disk.dir().path()) == Errc{});
  std::fstream file(store::database_path(disk.dir().path()));
  file.seekp(static_cast<std::streamoff>(store::kPageBytes));
  file << std::string(64, 'x');
  file.close();
  CHECK(checked(disk.dir().path()) != Errc{});
}

TEST_CASE("what runs for ever is interrupted") {
  const TempDir dir;
  auto connection = store::Connection::open(dir.file("db"), store::Access::ReadWrite);
  REQUIRE(connection);
  auto ended = std::async(std::launch::async, [&] {
    return connection
        ->read_int(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM "
            "n")
        .has_value();
  });
  while (ended.wait_for(std::chrono::milliseconds(2)) == std::future_status::timeout)
    connection->interrupt();
  CHECK_FALSE(ended.get());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
