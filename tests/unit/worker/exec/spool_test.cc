// SPDX-License-Identifier: MIT
#include "worker/exec/spool.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "common/model/limits.h"
#include "tests/support/temp_dir.h"
#include "worker/core/pair_codec.h"

namespace capstan {
namespace {

class FixedClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return now_; }
  [[nodiscard]] WallTime wall() const override { return {now_.us + 1'000'000'000}; }
  void advance(Micros d) { now_ = now_ + d; }

 private:
  TimePoint now_{5'000'000};
};

pair::SpoolItem an_item(std::uint32_t task, const Clock& clock) {
  pair::SpoolItem item;
  item.instance.bytes[3] = 9;
  item.result.key = {JobId(1), TaskIndex(task), AttemptNo(1)};
  item.result.end = EndClass::Exit;
  item.result.exit_code = 7;
  item.result.stdout_tail = std::string("bytes\0\xff", 7);
  item.ended_at = clock.now();
  item.delivered = {true, true};
  return item;
}

void append(Spool& spool, const pair::SpoolItem& item) {
  std::string written;
  wire::Writer writer(written);
  pair::put(writer, item);
  writer.finish();
  spool.append(item, written);
}

/// As the shepherd's shell does it: what is to be kept is what it still has.
void flush(Spool& spool, const std::vector<pair::SpoolItem>& kept) {
  REQUIRE(spool.flush());
  if (!spool.is_due()) return;
  std::vector<const pair::SpoolItem*> items;
  for (const pair::SpoolItem& item : kept) items.push_back(&item);
  spool.compact(items);
}

struct Fixture {
  test::TempDir dir;
  FixedClock clock;
  std::string path = dir.path() + "/spool";
  Spool::Contents contents;

  Spool open() {
    contents = {};
    auto spool = Spool::open(path, clock, contents);
    REQUIRE(spool);
    return std::move(*spool);
  }
};

TEST_SUITE("worker/exec/spool") {
  TEST_CASE_FIXTURE(Fixture,
                    "of what was told twice the later one is there, also when it is rewritten") {
    pair::SpoolItem again = an_item(1, clock);
    again.instance.bytes[3] = 10;
    again.delivered = {false, true};
    {
      Spool spool = open();
      append(spool, an_item(1, clock));
      spool.acked({an_item(1, clock).result.key});
      append(spool, again);
      append(spool, an_item(2, clock));
      REQUIRE(spool.flush());
    }
    for (int start = 0; start < 2; ++start) {
      Spool spool = open();
      REQUIRE(contents.items.size() == 2);
      CHECK(contents.items[0] == again);
      CHECK(contents.items[1].result.key.task == TaskIndex(2));
      std::uint64_t before = 0;
      do {  // Until it is rewritten: what nobody needs any more.
        before = spool.file_bytes();
        pair::SpoolItem done = an_item(3, clock);
        append(spool, done);
        spool.acked({done.result.key});
        flush(spool, contents.items);
      } while (spool.file_bytes() > before);
    }
  }

  TEST_CASE_FIXTURE(Fixture, "what was flushed is there at the next start, as it was") {
    pair::SpoolItem first = an_item(1, clock);
    first.delivered = {false, true};
    {
      Spool spool = open();
      CHECK(contents.items.empty());
      spool.generation({123, 456});
      append(spool, first);
      append(spool, an_item(2, clock));
      REQUIRE(spool.flush());
    }
    clock.advance(Micros(1'000'000));
    open();
    REQUIRE(contents.items.size() == 2);
    CHECK(contents.items[0] == first);
    CHECK(contents.items[1].result.key.task == TaskIndex(2));
    CHECK(contents.generation == Generation{123, 456});
    CHECK(contents.torn_bytes == 0);
  }

  TEST_CASE_FIXTURE(Fixture,
                    "a result is forgotten when it is confirmed and its output delivered") {
    {
      Spool spool = open();
      pair::SpoolItem item = an_item(1, clock);
      item.delivered = {false, true};
      append(spool, item);
      append(spool, an_item(2, clock));
      spool.acked({item.result.key});
      spool.acked({an_item(2, clock).result.key});
      REQUIRE(spool.flush());
    }
    {
      Spool spool = open();
      REQUIRE(contents.items.size() == 1);
      CHECK(contents.items[0].acked);
      spool.delivered(contents.items[0].result.key, Stream::Stdout);
      REQUIRE(spool.flush());
    }
    open();
    CHECK(contents.items.empty());
  }

  TEST_CASE_FIXTURE(Fixture, "a torn end is cut off at every length, what is before it is kept") {
    {
      Spool spool = open();
      append(spool, an_item(1, clock));
      REQUIRE(spool.flush());
    }
    const auto whole = std::filesystem::file_size(path);
    {
      Spool spool = open();
      append(spool, an_item(2, clock));
      REQUIRE(spool.flush());
    }
    const auto both = std::filesystem::file_size(path);
    const std::string copy = path + ".copy";
    std::filesystem::copy_file(path, copy);
    for (auto size = whole; size < both; ++size) {
      std::filesystem::copy_file(copy, path, std::filesystem::copy_options::overwrite_existing);
      std::filesystem::resize_file(path, size);
      {
        Spool spool = open();
        REQUIRE(contents.items.size() == 1);
        CHECK(contents.torn_bytes == size - whole);
        append(spool, an_item(3, clock));
        REQUIRE(spool.flush());
      }
      open();
      REQUIRE(contents.items.size() == 2);
      CHECK(contents.items[1].result.key.task == TaskIndex(3));
    }
  }

  TEST_CASE_FIXTURE(Fixture, "a flipped bit ends what is believed") {
    {
      Spool spool = open();
      append(spool, an_item(1, clock));
      append(spool, an_item(2, clock));
      REQUIRE(spool.flush());
    }
    const auto size = std::filesystem::file_size(path);
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(size) - 5);
      file.put('!');
    }
    open();
    CHECK(contents.items.size() == 1);
    CHECK(contents.torn_bytes > 0);
  }

  TEST_CASE_FIXTURE(Fixture, "another program's file is refused") {
    std::ofstream(path) << "something else entirely";
    const auto spool = Spool::open(path, clock, contents);
    REQUIRE_FALSE(spool);
    CHECK(spool.error().code == Errc::Corrupt);
  }

  TEST_CASE_FIXTURE(Fixture, "the file stays small while results come and go") {
    Spool spool = open();
    spool.generation({7, 8});
    pair::SpoolItem kept = an_item(1, clock);
    append(spool, kept);
    for (std::uint32_t task = 2; spool.file_bytes() == 0 || task < 100'000; ++task) {
      const pair::SpoolItem item = an_item(task, clock);
      append(spool, item);
      spool.acked({item.result.key});
      if (task % 64 == 0) flush(spool, {kept});
      REQUIRE(spool.file_bytes() < 2 * limits::kSpoolCompactBytes);
    }
    REQUIRE(spool.sync());
    open();
    REQUIRE(contents.items.size() == 1);
    CHECK(contents.items[0] == kept);
    CHECK(contents.generation == Generation{7, 8});
  }

  TEST_CASE_FIXTURE(Fixture, "rewritten, it knows what was confirmed and what was delivered") {
    {
      Spool spool = open();
      pair::SpoolItem confirmed = an_item(1, clock);
      confirmed.delivered = {false, false};
      append(spool, confirmed);
      spool.acked({confirmed.result.key});
      spool.delivered(confirmed.result.key, Stream::Stderr);
      confirmed.acked = confirmed.delivered[1] = true;
      std::uint32_t task = 2;
      for (auto before = spool.file_bytes(); spool.file_bytes() >= before; ++task) {
        before = spool.file_bytes();
        const pair::SpoolItem item = an_item(task, clock);
        append(spool, item);
        spool.acked({item.result.key});
        flush(spool, {confirmed});
      }
      append(spool, an_item(task, clock));
      REQUIRE(spool.flush());
    }
    open();
    REQUIRE(contents.items.size() == 2);
    CHECK(contents.items[0].result.key.task == TaskIndex(1));
    CHECK(contents.items[0].acked);
    CHECK(contents.items[0].delivered == std::array<bool, 2>{false, true});
    CHECK_FALSE(contents.items[1].acked);
  }

  TEST_CASE_FIXTURE(Fixture, "set aside, the old file is kept and the new one is empty") {
    {
      Spool spool = open();
      append(spool, an_item(1, clock));
      REQUIRE(spool.set_aside());
      append(spool, an_item(2, clock));
      REQUIRE(spool.flush());
    }
    open();
    REQUIRE(contents.items.size() == 1);
    CHECK(contents.items[0].result.key.task == TaskIndex(2));
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
      files += entry.is_regular_file() ? 1 : 0;
    }
    CHECK(files == 2);
  }
}

}  // namespace
}  // namespace capstan
