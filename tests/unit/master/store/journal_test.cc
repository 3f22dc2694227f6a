// SPDX-License-Identifier: MIT
//
// The journal in pieces, on both stores: what a leader ships, what a follower takes, and what it
// takes back.
#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "common/wire/version.h"
#include "master/store/row_hash.h"
#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;
using store::JournalBatches;
using store::Opened;

namespace {

RowChanges a_job_numbered(std::uint64_t id) {
  RowChanges rows;
  rows.jobs[JobId(id)] = a_job_row(id, a_job().spec());
  return rows;
}

/// Batch `number` of three entries, which makes the job of that number.
store::Batch a_turn(std::uint64_t number, Epoch epoch = Epoch(257)) {
  return a_batch(3 * number - 2, 3 * number, epoch);
}

/// Turns first … last, each in the tables at once.
template <class Disk>
void write_turns(Disk& disk, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t n = first; n <= last; ++n) {
    REQUIRE(append_to(disk.store(), a_turn(n), a_job_numbered(n), Seq(3 * n)).has_value());
  }
}

/// As a follower does: what was shipped goes into the journal, and its rows into the tables later.
template <class Disk>
void follow(Disk& disk, const std::vector<SealedBatch>& batches) {
  for (const SealedBatch& sealed : batches) {
    const std::vector<JournalEnd> ends = disk.store().journal_ends();
    const auto batch = store::open_batch(ends.back(), sealed);
    REQUIRE(batch.has_value());
    REQUIRE(disk.store().append(sealed, *batch, {}, ends.front().seq).has_value());
  }
}

template <class Disk>
std::vector<SealedBatch> shipped(Disk& disk, const JournalEnd& after) {
  const JournalBatches read = disk.store().read_batches(after, SIZE_MAX).value();
  CHECK_FALSE(read.gone);
  return read.batches;
}

template <class Disk>
JournalEnd last_end(Disk& disk) {
  return disk.store().journal_ends().back();
}

}  // namespace

TEST_SUITE("master/store/journal") {
  TEST_CASE_TEMPLATE("to seal changes nothing, and the row is what was sealed", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    CHECK(disk.open().ends == std::vector<JournalEnd>{JournalEnd{}});
    const store::Batch batch = a_turn(1);
    const SealedBatch sealed = disk.store().seal(batch, a_job_numbered(1));
    CHECK(sealed.first == Seq(1));
    CHECK(sealed.end.seq == Seq(3));
    CHECK(sealed.end.epoch == Epoch(257));
    CHECK(sealed.end.chain == chained_digest({}, sealed.entries));
    CHECK(sealed.wall == batch.back().wall);
    CHECK(sealed.rows_chain == store::hash_rows({}, batch, a_job_numbered(1)));
    CHECK(disk.store().seal(batch, a_job_numbered(1)).end == sealed.end);
    REQUIRE(disk.store().append(sealed, batch, a_job_numbered(1), Seq(3)).has_value());
    CHECK(last_end(disk) == sealed.end);
    const SealedBatch next = disk.store().seal(a_turn(2), a_job_numbered(2));
    CHECK(next.end.chain == chained_digest(sealed.end.chain, next.entries));
    CHECK(next.rows_chain == store::hash_rows(sealed.rows_chain, a_turn(2), a_job_numbered(2)));
  }

  TEST_CASE_TEMPLATE("rows count with their batch, not with their writing", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk at_once;
    Disk later;
    at_once.open();
    later.open();
    write_turns(at_once, 1, 2);
    for (const std::uint64_t n : {1U, 2U}) {
      const SealedBatch sealed = later.store().seal(a_turn(n), a_job_numbered(n));
      REQUIRE(later.store().append(sealed, a_turn(n), {}, Seq(0)).has_value());
    }
    RowChanges both = a_job_numbered(1);
    both.merge(a_job_numbered(2));
    REQUIRE(later.store().flush(both, Seq(6)).has_value());
    for (Disk* disk : {&at_once, &later}) disk->crash();
    const Opened a = at_once.open();
    const Opened b = later.open();
    CHECK(a.ends == b.ends);
    CHECK(a.rows_chain == b.rows_chain);
    CHECK(a.rows_chain != Digest{});
  }

  TEST_CASE_TEMPLATE("what one store ships another one takes, and is the same in the end", Disk,
                     SqliteDisk, MemoryDisk) {
    Disk leader;
    Disk follower;
    leader.open();
    follower.open();
    write_turns(leader, 1, 20);
    const auto batches = shipped(leader, JournalEnd{});
    REQUIRE(batches.size() == 20);
    follow(follower, batches);
    CHECK(last_end(follower) == last_end(leader));
    CHECK(follower.store().journal_ends().size() == 21);
    // The tables follow by and by, up to what is committed.
    REQUIRE(follower.store().flush(a_job_numbered(1), Seq(3)).has_value());
    CHECK(follower.tables().applied_seq().value() == Seq(3));
    CHECK(follower.tables().list_jobs({}).value().size() == 1);
    follower.crash();
    const Opened opened = follower.open();
    CHECK(opened.state.last_seq == Seq(3));
    CHECK(opened.state.last_at == a_turn(1).back().at);
    CHECK(opened.tail.size() == 57);
    REQUIRE(opened.ends.size() == 20);
    CHECK(opened.ends.front() == batches[0].end);
    CHECK(opened.rows_chain == batches[0].rows_chain);
    // With the next batch come the rows of an earlier one.
    write_turns(leader, 21, 21);
    const auto more = shipped(leader, batches.back().end);
    REQUIRE(more.size() == 1);
    const auto batch = store::open_batch(last_end(follower), more[0]).value();
    RowChanges rows;
    for (std::uint64_t n = 2; n <= 19; ++n) rows.merge(a_job_numbered(n));
    REQUIRE(follower.store().append(more[0], batch, rows, Seq(57)).has_value());
    CHECK(follower.tables().applied_seq().value() == Seq(57));
    CHECK(follower.store().journal_ends().size() == 3);
    // It leads now: its own batches go on behind those.
    const auto own = follower.store().seal(a_turn(22, Epoch(514)), a_job_numbered(22));
    CHECK(own.end.chain == leader.store().seal(a_turn(22, Epoch(514)), {}).end.chain);
    CHECK(own.rows_chain ==
          leader.store().seal(a_turn(22, Epoch(514)), a_job_numbered(22)).rows_chain);
  }

  TEST_CASE_TEMPLATE("pieces have about the size that was asked for, and one batch at least", Disk,
                     SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    CHECK(shipped(disk, JournalEnd{}).empty());
    write_turns(disk, 1, 10);
    const std::size_t size = shipped(disk, JournalEnd{})[0].entries.size();
    std::vector<std::uint64_t> ends;
    JournalEnd after;
    for (;;) {
      const auto batches = disk.store().read_batches(after, 3 * size).value().batches;
      if (batches.empty()) break;
      CHECK(batches.front().first == after.seq.next());
      after = batches.back().end;
      ends.push_back(after.seq.value);
    }
    CHECK(ends == std::vector<std::uint64_t>{9, 18, 27, 30});
    CHECK(disk.store().read_batches(JournalEnd{}, 0).value().batches.size() == 1);
  }

  TEST_CASE_TEMPLATE("only ends that the journal has are found and read from", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    CHECK(disk.store().find_end(Seq(0)).value() == JournalEnd{});
    CHECK_FALSE(disk.store().find_end(Seq(1)).value().has_value());
    write_turns(disk, 1, 4);
    const auto batches = shipped(disk, JournalEnd{});
    CHECK(disk.store().find_end(Seq(0)).value() == JournalEnd{});
    for (const SealedBatch& batch : batches) {
      CHECK(disk.store().find_end(batch.end.seq).value() == batch.end);
    }
    for (const std::uint64_t seq : {1U, 2U, 4U, 11U, 13U, 1000U}) {
      CHECK_FALSE(disk.store().find_end(Seq(seq)).value().has_value());
    }
    JournalEnd other = batches[1].end;
    other.chain.bytes[3] ^= 1;
    CHECK(disk.store().read_batches(other, SIZE_MAX).value().gone);
    other = batches[1].end;
    other.epoch = Epoch(514);
    CHECK(disk.store().read_batches(other, SIZE_MAX).value().gone);
    CHECK(disk.store().read_batches({Seq(99), Epoch(257), {}}, SIZE_MAX).value().gone);
    CHECK(shipped(disk, batches[3].end).empty());
  }

  TEST_CASE_TEMPLATE("a tail that was never committed is taken back", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    write_turns(disk, 1, 3);
    const JournalEnd common = last_end(disk);
    const SealedBatch sealed = disk.store().seal(a_turn(4), a_job_numbered(4));
    const Digest rows_chain = disk.store().seal(a_turn(4), {}).rows_chain;
    REQUIRE(disk.store().append(sealed, a_turn(4), {}, Seq(9)).has_value());
    REQUIRE(append_to(disk.store(), a_turn(5), {}, Seq(9)).has_value());
    for (const std::uint64_t seq : {0U, 6U, 8U, 11U, 14U, 16U}) {
      CHECK(disk.store().truncate(Seq(seq)).error().code == Errc::Invalid);
    }
    REQUIRE(disk.store().truncate(Seq(15)).has_value());  // Nothing is behind it.
    CHECK(disk.store().journal_ends().size() == 3);
    SUBCASE("to the tables") {
      REQUIRE(disk.store().truncate(Seq(9)).has_value());
      CHECK(disk.store().journal_ends() == std::vector<JournalEnd>{common});
    }
    SUBCASE("to a batch behind them, and then to the tables in another life") {
      REQUIRE(disk.store().truncate(Seq(12)).has_value());
      CHECK(last_end(disk) == sealed.end);
      disk.crash();
      const Opened opened = disk.open();
      CHECK(opened.tail.size() == 3);
      CHECK(opened.meta.last_seq == Seq(12));
      REQUIRE(disk.store().truncate(Seq(9)).has_value());
    }
    // Another leader's entries come in their place.
    CHECK(disk.store().seal(a_turn(4), {}).rows_chain == rows_chain);
    const store::Batch other = a_turn(4, Epoch(514));
    REQUIRE(append_to(disk.store(), other, a_job_numbered(4), Seq(12)).has_value());
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.tail.empty());
    CHECK(opened.meta.last_seq == Seq(12));
    CHECK(opened.meta.last_epoch == Epoch(514));
    const auto batches = shipped(disk, common);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].end == opened.ends[0]);
    CHECK(store::open_batch(common, batches[0]).has_value());
  }

  TEST_CASE_TEMPLATE("a journal may be taken back to nothing", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    REQUIRE(append_to(disk.store(), a_turn(1), {}, Seq(0)).has_value());
    REQUIRE(disk.store().truncate(Seq(0)).has_value());
    CHECK(disk.store().journal_ends() == std::vector<JournalEnd>{JournalEnd{}});
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.meta.last_seq == Seq(0));
    CHECK(opened.meta.last_epoch == Epoch(0));
    CHECK(opened.tail.empty());
    write_turns(disk, 1, 1);
  }

  TEST_CASE_TEMPLATE("batches that are not what was sealed are refused", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    write_turns(disk, 1, 1);
    const JournalEnd before = last_end(disk);
    const store::Batch turn = a_turn(2);
    const SealedBatch good = disk.store().seal(turn, {});
    const auto opened = store::open_batch(before, good);
    REQUIRE(opened.has_value());
    REQUIRE(opened->size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(same((*opened)[i], turn[i]));
    // `entries` in place of the good ones, with a chain that fits them.
    const auto refused = [&](SealedBatch batch, const store::Batch& entries) {
      batch.entries = store::encode_entries(entries);
      batch.end.chain = chained_digest(before.chain, batch.entries);
      return store::open_batch(before, batch).error().code == Errc::Corrupt;
    };
    SealedBatch bad = good;
    bad.entries.back() = static_cast<char>(bad.entries.back() ^ 1);
    CHECK(store::open_batch(before, bad).error().code == Errc::Corrupt);
    CHECK(store::open_batch({Seq(3), Epoch(257), {}}, good).error().code == Errc::Corrupt);
    CHECK(store::open_batch({Seq(2), Epoch(257), before.chain}, good).error().code ==
          Errc::Corrupt);
    CHECK(store::open_batch({Seq(3), Epoch(513), before.chain}, good).error().code ==
          Errc::Corrupt);
    CHECK(refused(good, {}));
    CHECK(refused(good, a_batch(4, 5)));
    CHECK(refused(good, a_batch(4, 7)));
    CHECK(refused(good, a_batch(5, 7)));
    CHECK(refused(good, a_turn(2, Epoch(513))));
    store::Batch changed = turn;
    changed[1].seq = Seq(4);
    CHECK(refused(good, changed));
    changed = turn;
    changed[2].epoch = Epoch(513);
    CHECK(refused(good, changed));
    changed = turn;
    changed[2].at = TimePoint{1};
    CHECK(refused(good, changed));
    bad = good;
    bad.wall.us += 1;
    CHECK(refused(bad, turn));
    bad = good;
    bad.end.epoch = Epoch(513);
    CHECK(refused(bad, turn));
    changed = turn;
    changed[0].level = kEntryLevel + 1;
    bad = good;
    bad.entries = store::encode_entries(changed);
    bad.end.chain = chained_digest(before.chain, bad.entries);
    CHECK(store::open_batch(before, bad).error().code == Errc::TooNew);
  }

  TEST_CASE("what is held is not trimmed, and what was trimmed is gone") {
    SqliteDisk disk;
    disk.open();
    for (std::uint64_t n = 1; n <= 400; ++n) {
      REQUIRE(append_to(disk.store(), a_turn(n), {}, Seq(3 * n)).has_value());
    }
    const auto batches = shipped(disk, JournalEnd{});
    const auto write_later = [&disk](std::uint64_t n) {
      store::Batch late = a_turn(n);
      late.back().wall.us += 1'000'000'000'000;
      REQUIRE(append_to(disk.store(), late, {}, Seq(3 * n)).has_value());
    };
    write_later(401);
    const auto maintain = [&disk] {
      for (int step = 0; step < 10; ++step) REQUIRE(disk.store().maintain().has_value());
    };
    disk.store().hold_journal(batches[9].end.seq);
    maintain();
    CHECK(disk.store().read_batches(batches[8].end, 1).value().gone);
    CHECK(disk.store().read_batches(JournalEnd{}, 1).value().gone);
    CHECK_FALSE(disk.store().find_end(Seq(0)).value().has_value());
    REQUIRE(shipped(disk, batches[9].end).size() == 391);
    disk.store().release_journal();
    for (std::uint64_t n = 402; n <= 700; ++n) write_later(n);  // It is looked at now and then.
    maintain();
    CHECK(disk.store().read_batches(batches[9].end, 1).value().gone);
  }

  TEST_CASE_TEMPLATE("a database is complete when its vote file knows it", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    Vote vote;  // As init wrote it.
    vote.nonce = 1000;
    Opened opened = disk.open(5, vote);
    CHECK(opened.is_complete);
    CHECK(opened.meta.nonce == 5);
    vote.nonce = opened.meta.nonce;
    vote.fresh = false;
    write_turns(disk, 1, 1);
    SUBCASE("as it was written, and when a crash came between the two writes") {
      for (const bool saved : {true, false, false}) {
        disk.crash();
        opened = disk.open(6, vote);
        CHECK(opened.is_complete);
        CHECK(opened.meta.nonce == store::next_nonce(vote.nonce));
        if (saved) vote.nonce = opened.meta.nonce;
      }
    }
    SUBCASE("but not an older one, and not after many starts of it either") {
      for (int start = 0; start < 3; ++start) vote.nonce = store::next_nonce(vote.nonce);
      for (std::uint64_t start = 0; start < 10; ++start) {
        disk.crash();
        opened = disk.open(100 + start, vote);
        CHECK_FALSE(opened.is_complete);
        CHECK(opened.meta.nonce == 100 + start);
      }
      // Its leader brought it up: its nonce goes into the vote file.
      vote.nonce = opened.meta.nonce;
      disk.crash();
      CHECK(disk.open(7, vote).is_complete);
    }
    SUBCASE("a new one is not") {
      Disk lost;
      CHECK_FALSE(lost.open(8, vote).is_complete);
      lost.crash();
      CHECK_FALSE(lost.open(9, vote).is_complete);
    }
    SUBCASE("a single master has what it has") {
      disk.crash();
      opened = disk.open(10);
      CHECK(opened.is_complete);
      CHECK(opened.meta.nonce == 10);
    }
  }
}  // TEST_SUITE
