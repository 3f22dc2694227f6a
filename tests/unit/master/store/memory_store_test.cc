// SPDX-License-Identifier: MIT
//
// What only the store without a disk has: crashes and failures to order.
#include "tests/support/memory_store.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;
using Fault = MemoryStore::Fault;

namespace {

RowChanges a_job_numbered(std::uint64_t id) {
  RowChanges rows;
  rows.jobs[JobId(id)] = a_job_row(id, a_job().spec());
  return rows;
}

/// Ten appends, `synced` of them synced, then a crash: where the store is afterwards.
std::uint64_t seq_after_crash(std::uint64_t seed, std::uint64_t synced) {
  MemoryStore store({.seed = seed, .manual_sync = true});
  static_cast<void>(store.open());
  for (std::uint64_t seq = 1; seq <= 10; ++seq) {
    REQUIRE(append_to(store, a_batch(seq, seq), a_job_numbered(seq), Seq(seq)).has_value());
    if (seq == synced) store.sync();
  }
  CHECK(store.list_jobs({}).value().size() == 10);
  CHECK(store.durable_seq() == Seq(synced));
  store.crash();
  const store::Opened opened = store.open().value();
  CHECK_FALSE(opened.clean);
  CHECK(opened.state.jobs.size() == opened.meta.last_seq.value);  // Whole transactions, in order.
  CHECK(store.list_jobs({}).value().size() == opened.meta.last_seq.value);
  return opened.meta.last_seq.value;
}

}  // namespace

TEST_SUITE("tests/support/memory_store") {
  TEST_CASE("a crash keeps what was synced and some of the rest, as the seed says") {
    std::set<std::uint64_t> seen;
    for (std::uint64_t seed = 0; seed < 64; ++seed) {
      const std::uint64_t kept = seq_after_crash(seed, 6);
      CHECK(kept >= 6);
      CHECK(kept == seq_after_crash(seed, 6));
      seen.insert(kept);
    }
    CHECK(seen == std::set<std::uint64_t>{6, 7, 8, 9, 10});
  }

  TEST_CASE("without manual_sync every append is durable") {
    MemoryStore store;
    static_cast<void>(store.open());
    REQUIRE(append_to(store, a_batch(1, 1), a_job_numbered(1), Seq(1)).has_value());
    CHECK(store.durable_seq() == Seq(1));
    store.crash();
    CHECK(store.open().value().meta.last_seq == Seq(1));
  }

  TEST_CASE("a write of unknown outcome is there after the crash, or not") {
    for (const Fault fault : {Fault::UnknownKept, Fault::UnknownLost}) {
      for (const bool manual : {false, true}) {
        MemoryStore store({.manual_sync = manual});
        static_cast<void>(store.open());
        store.fail_next(fault);
        const auto failed = append_to(store, a_batch(1, 1), a_job_numbered(1), Seq(1));
        CHECK(failed.error().code == Errc::OutcomeUnknown);
        store.crash();
        CHECK(store.open().value().state.jobs.size() == (fault == Fault::UnknownKept ? 1 : 0));
      }
    }
  }

  TEST_CASE("a full disk takes the batch once the ballast is gone") {
    MemoryStore store;
    static_cast<void>(store.open());
    store.fail_next(Fault::DiskFull);
    CHECK(append_to(store, a_batch(1, 1), {}, Seq(1)).error().code == Errc::DiskFull);
    CHECK(store.release_ballast());
    CHECK(append_to(store, a_batch(1, 1), {}, Seq(1)).has_value());
    store.fail_next(Fault::DiskFull);
    CHECK(append_to(store, a_batch(2, 2), {}, Seq(2)).error().code == Errc::DiskFull);
    CHECK_FALSE(store.release_ballast());
    CHECK(append_to(store, a_batch(2, 2), {}, Seq(2)).error().code ==
          Errc::DiskFull);  // And stays so.
  }

}  // TEST_SUITE
