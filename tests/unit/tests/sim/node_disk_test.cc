// SPDX-License-Identifier: MIT
#include "tests/sim/node_disk.h"

#include <doctest/doctest.h>

#include "tests/sim/enrolment.h"

using namespace capstan;
using namespace capstan::sim;
using namespace std::chrono_literals;

namespace {

struct Fixture {
  Schedule schedule{1};
  NodeDisk disk{schedule};
  RowChanges rows;
  store::Batch batch = enrolment({}, {Epoch(257), WallTime{1}}, rows);

  Fixture() { REQUIRE(disk.open()); }
  void append() {
    disk.clock().begin_turn();
    REQUIRE(disk.append(disk.seal(batch, rows), batch, rows, batch.back().seq));
  }
};

}  // namespace

TEST_SUITE_BEGIN("tests/sim/node_disk");

TEST_CASE("a write takes time on the node's clock, and is durable only when that has passed") {
  Fixture f;
  f.append();
  CHECK(f.disk.clock().now() > f.schedule.now());
  CHECK(f.disk.durable_seq() == Seq{});
  f.schedule.step(f.disk.clock().now());
  f.disk.settle();
  CHECK(f.disk.durable_seq() == f.batch.back().seq);
}

TEST_CASE("of what was not synced a crash leaves the write under way, or nothing") {
  bool was_kept = false;
  bool was_lost = false;
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    Fixture f;
    for (std::uint64_t i = 0; i < seed; ++i) f.schedule.rng().next();
    f.append();
    f.disk.save(Vote{.promised = Epoch(513), .reg = {}});
    CHECK(f.disk.crash_now());
    CHECK(!f.disk.vote());  // It comes behind the write of the database.
    (f.disk.durable_seq() == Seq{} ? was_lost : was_kept) = true;
  }
  CHECK(was_kept);
  CHECK(was_lost);
}

TEST_CASE("a flush takes no time, and is durable with the next append") {
  for (const bool appends : {false, true}) {
    Fixture f;
    const Seq end = f.batch.back().seq;
    REQUIRE(f.disk.append(f.disk.seal(f.batch, f.rows), f.batch, {}, Seq{}));
    f.disk.finish_all();
    f.disk.clock().begin_turn();
    REQUIRE(f.disk.flush(f.rows, end));
    CHECK_FALSE(f.disk.clock().has_spent());
    store::Batch next{f.batch.back()};
    next.front().seq = end.next();
    if (appends) REQUIRE(f.disk.append(f.disk.seal(next, {}), next, {}, end));
    f.schedule.step(f.disk.clock().now());
    f.disk.settle();
    CHECK((f.disk.unsynced() == 0) == appends);
  }
}

TEST_CASE("a snapshot ends where the tables are, and is the database where it is installed") {
  Fixture f;
  f.append();
  f.disk.finish_all();
  const JournalEnd end = f.disk.journal_ends().back();
  NodeDisk other(f.schedule);
  other.install(f.disk.copy_committed());
  other.set_nonce(7);
  const auto opened = other.open();
  REQUIRE(opened);
  CHECK(opened->ends.back() == end);
  CHECK(other.has_durably(end));
  CHECK(other.has_same_tables(f.disk));
}

TEST_SUITE_END();
