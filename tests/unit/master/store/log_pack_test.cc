// SPDX-License-Identifier: MIT
#include "master/store/log_pack.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "master/store/files.h"
#include "master/store/log_writer.h"
#include "tests/support/builders.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace capstan;
using namespace capstan::test;
using store::LogAsk;
using store::LogPacks;
using store::LogSlice;
using store::LogWriter;

namespace {

msg::LogChunk a_chunk(std::uint64_t offset, Bytes data, bool last = false) {
  return {a_key(17, 42, 1), Stream::Stdout, offset, std::move(data), last};
}

LogAsk from(std::uint64_t offset, std::size_t max = 1 << 20) {
  return {a_key(17, 42, 1), Stream::Stdout, offset, max};
}

constexpr std::size_t kHeaderBytes = 40;

}  // namespace

TEST_SUITE("master/store/log_pack") {
  TEST_CASE("streams are listed job by job, with how far they are") {
    const TempDir dir;
    LogPacks first(dir.file("logs"));
    CHECK(first.list(std::nullopt, 10).value().empty());
    msg::LogChunk err = a_chunk(0, "oops", true);
    err.stream = Stream::Stderr;
    msg::LogChunk second_task = a_chunk(0, "two");
    second_task.key = a_key(17, 43, 1);
    msg::LogChunk later_job = a_chunk(0, "other");
    later_job.key = a_key(118, 1, 1);
    REQUIRE(first.append({a_chunk(0, "hello"), err, second_task, later_job}).has_value());
    LogPacks packs(dir.file("logs"));  // As after a restart.
    std::vector<std::string> seen;
    std::optional<store::LogStreamId> after;
    for (auto some = packs.list(after, 2).value(); !some.empty();
         some = packs.list(after, 2).value()) {
      CHECK(some.size() <= 2);
      for (const store::LogStream& one : some)
        seen.push_back(to_string(one.id.key) + (one.id.stream == Stream::Stderr ? " err " : " ") +
                       std::to_string(one.upto) + (one.last ? " last" : ""));
      after = some.back().id;
    }
    CHECK(seen ==
          std::vector<std::string>{"17.42.1 5", "17.42.1 err 4 last", "17.43.1 3", "118.1.1 5"});
  }

  TEST_CASE("many small packs are listed together; what comes during a walk is not looked for") {
    const TempDir dir;
    LogPacks packs(dir.file("logs"));
    const auto add = [&](std::uint64_t job) {
      msg::LogChunk chunk = a_chunk(0, "x");
      chunk.key = a_key(job, 1, 1);
      REQUIRE(packs.append({chunk}).has_value());
    };
    for (std::uint64_t job = 1; job <= 10; ++job) add(job);
    CHECK(packs.jobs().size() == 10);
    const auto first = packs.list(std::nullopt, 4).value();
    CHECK(first.size() == 4);
    CHECK(first.back().id.key.job == JobId(4));
    REQUIRE(packs.remove(JobId(6)).has_value());
    add(11);
    const auto rest = packs.list(first.back().id, 100).value();
    CHECK(rest.size() == 5);
    CHECK(rest.back().id.key.job == JobId(10));
    CHECK(packs.list(std::nullopt, 100).value().size() == 10);
  }

  TEST_CASE("output is read back by offset, before and after a restart") {
    const TempDir dir;
    LogPacks first(dir.file("logs"));
    CHECK_FALSE(first.read(from(0)).value().end);
    CHECK_FALSE(std::filesystem::exists(dir.file("logs")));
    msg::LogChunk err = a_chunk(0, "oops", true);
    err.stream = Stream::Stderr;
    msg::LogChunk other = a_chunk(0, "other");
    other.key = a_key(18, 42, 1);
    REQUIRE(first.append({a_chunk(0, "hello "), err, a_chunk(6, "world"), other}).has_value());
    LogPacks second(dir.file("logs"));
    for (LogPacks* packs : {&first, &second}) {
      LogSlice slice = packs->read(from(0)).value();
      CHECK(slice.data == "hello world");
      CHECK(slice.offset == 0);
      CHECK(slice.total == 11);
      CHECK_FALSE(slice.end);
      slice = packs->read(from(3, 5)).value();
      CHECK(slice.data == "lo wo");
      CHECK(slice.offset == 3);
      slice = packs->read(from(11)).value();
      CHECK(slice.data.empty());
      CHECK_FALSE(slice.end);
      slice = packs->read({a_key(17, 42, 1), Stream::Stderr, 1, 100}).value();
      CHECK(slice.data == "ops");
      CHECK(slice.end);
      CHECK(packs->read({a_key(18, 42, 1), Stream::Stdout, 0, 100}).value().data == "other");
      CHECK(packs->read({a_key(17, 42, 2), Stream::Stdout, 0, 100}).value().total == 0);
    }
  }

  TEST_CASE("the end is known once it was delivered, with bytes or without") {
    const TempDir dir;
    LogPacks packs(dir.path());
    REQUIRE(packs.append({a_chunk(0, "abc")}).has_value());
    CHECK_FALSE(packs.read(from(0)).value().end);
    REQUIRE(packs.append({a_chunk(3, "", true)}).has_value());
    CHECK(packs.read(from(0)).value().end);
    CHECK_FALSE(packs.read(from(0, 2)).value().end);
    CHECK(packs.read(from(3)).value().end);
    CHECK(packs.read(from(99)).value().end);
    CHECK(LogPacks(dir.path()).read(from(1)).value().end);
  }

  TEST_CASE("what is delivered again is stored once") {
    const TempDir dir;
    LogPacks packs(dir.path());
    REQUIRE(
        packs.append({a_chunk(0, "abcdef"), a_chunk(0, "abcdef"), a_chunk(2, "cd")}).has_value());
    const std::uint64_t size = store::file_bytes(dir.file("17.pack"));
    CHECK(size == kHeaderBytes + 6);
    REQUIRE(packs.append({a_chunk(0, "abcdef")}).has_value());
    CHECK(store::file_bytes(dir.file("17.pack")) == size);
    REQUIRE(packs.append({a_chunk(4, "efgh", true)}).has_value());
    REQUIRE(packs.append({a_chunk(4, "efgh", true), a_chunk(8, "x")}).has_value());
    LogPacks again(dir.path());
    REQUIRE(again.append({a_chunk(0, "abcdef")}).has_value());
    for (LogPacks* reader : {&packs, &again}) {
      CHECK(reader->read(from(0)).value().data == "abcdefgh");
      CHECK(reader->read(from(0)).value().end);
    }
    CHECK(store::file_bytes(dir.file("17.pack")) == 2 * kHeaderBytes + 8);
  }

  TEST_CASE("a hole where bytes were dropped is jumped, and told") {
    const TempDir dir;
    LogPacks packs(dir.path());
    REQUIRE(packs.append({a_chunk(0, "head"), a_chunk(1000, "tail", true)}).has_value());
    LogSlice slice = packs.read(from(0)).value();
    CHECK(slice.data == "head");
    CHECK_FALSE(slice.end);
    CHECK(slice.total == 1004);
    slice = packs.read(from(4)).value();
    CHECK(slice.offset == 1000);
    CHECK(slice.data == "tail");
    CHECK(slice.end);
  }

  TEST_CASE("a torn tail is cut off, at whatever byte it was torn") {
    const TempDir dir;
    const std::string path = dir.file("17.pack");
    REQUIRE(LogPacks(dir.path()).append({a_chunk(0, "first")}).has_value());
    const std::uint64_t whole = store::file_bytes(path);
    REQUIRE(LogPacks(dir.path()).append({a_chunk(5, "second", true)}).has_value());
    const std::uint64_t size = store::file_bytes(path);
    const std::string saved = dir.file("saved");
    std::filesystem::copy_file(path, saved);
    for (std::uint64_t torn = whole; torn < size; ++torn) {
      CAPTURE(torn);
      std::filesystem::copy_file(saved, path, std::filesystem::copy_options::overwrite_existing);
      std::filesystem::resize_file(path, torn);
      LogPacks packs(dir.path());
      CHECK(packs.read(from(0)).value().data == "first");
      CHECK_FALSE(packs.read(from(0)).value().end);
      CHECK(store::file_bytes(path) == whole);
      REQUIRE(packs.append({a_chunk(5, "second", true)}).has_value());
      CHECK(packs.read(from(0)).value().data == "firstsecond");
    }
    // A length that was made durable before its data.
    overwrite(path, whole + kHeaderBytes, std::string("\0\0", 2));
    CHECK(LogPacks(dir.path()).read(from(0)).value().data == "first");
  }

  TEST_CASE("damage in the middle costs the damaged record, not those behind it") {
    const TempDir dir;
    const std::string path = dir.file("17.pack");
    msg::LogChunk liar = a_chunk(0, "");
    liar.key = a_key(17, 43, 1);
    REQUIRE(LogPacks(dir.path()).append({a_chunk(0, "one")}).has_value());
    // Output that contains a record is no record.
    std::ifstream file(path, std::ios::binary);
    liar.data = std::string(std::istreambuf_iterator<char>(file), {});
    REQUIRE(LogPacks(dir.path()).append({liar, a_chunk(3, "two", true)}).has_value());
    overwrite(path, kHeaderBytes + 3 + 10, "\x77");
    LogPacks packs(dir.path());
    CHECK(packs.read(from(0)).value().data == "onetwo");
    CHECK(packs.read(from(0)).value().end);
    CHECK(packs.read({liar.key, Stream::Stdout, 0, 100}).value().total == 0);
  }

  TEST_CASE("bytes that went bad are an error, not output") {
    const TempDir dir;
    LogPacks packs(dir.path());
    REQUIRE(packs.append({a_chunk(0, "one"), a_chunk(3, "two")}).has_value());
    overwrite(dir.file("17.pack"), kHeaderBytes + 1, "X");
    CHECK(packs.read(from(0)).error().code == Errc::Corrupt);
    CHECK(packs.read(from(3)).value().data == "two");
  }

  TEST_CASE("many packs and large ones") {
    const TempDir dir;
    LogPacks packs(dir.path());
    const Bytes piece(64 * 1024, 'x');
    std::vector<msg::LogChunk> chunks;
    for (std::uint64_t i = 0; i < 100; ++i) {
      chunks.push_back(a_chunk(i * piece.size(), piece));
      chunks.push_back({a_key(1000 + i, 1, 1), Stream::Stderr, 0, "err", true});
    }
    REQUIRE(packs.append(chunks).has_value());
    REQUIRE(packs.append(chunks).has_value());
    CHECK(packs.read(from(0, 200'000)).value().data.size() == 200'000);
    CHECK(packs.read(from(0)).value().total == 100 * piece.size());
    for (std::uint64_t i = 0; i < 100; ++i) {
      const LogSlice slice = packs.read({a_key(1000 + i, 1, 1), Stream::Stderr, 0, 9}).value();
      CHECK(slice.data == "err");
      CHECK(slice.end);
    }
    REQUIRE(packs.remove(JobId(17)).has_value());
    REQUIRE(packs.remove(JobId(17)).has_value());
    CHECK(packs.read(from(0)).value().total == 0);
  }

  TEST_CASE("a directory that cannot be written is an error, and the next try goes on") {
    const TempDir dir;
    std::ofstream(dir.file("logs")) << "a file in its place";
    LogPacks packs(dir.file("logs"));
    CHECK_FALSE(packs.append({a_chunk(0, "abc")}).has_value());
    std::filesystem::remove(dir.file("logs"));
    REQUIRE(packs.append({a_chunk(0, "abc")}).has_value());
    CHECK(packs.read(from(0)).value().data == "abc");
  }

  TEST_CASE("the writer's thread does what was posted, in order, before it ends") {
    const TempDir dir;
    std::vector<std::string> done;
    {
      LogWriter writer(dir.path());
      for (std::uint64_t i = 0; i < 20; ++i) {
        REQUIRE(writer.post(a_chunk(i, "x", i == 19), [&done, i](const Result<void>& stored) {
          done.push_back((stored ? "stored " : "failed ") + std::to_string(i));
        }));
      }
      REQUIRE(writer.post_read(
          from(0), [&done](const Result<LogSlice>& slice) { done.push_back(slice.value().data); }));
      REQUIRE(writer.post_remove(JobId(17), [&done](const Result<void>& removed) {
        done.push_back(removed ? "removed" : "failed");
      }));
    }
    REQUIRE(done.size() == 22);
    CHECK(done[0] == "stored 0");
    CHECK(done[19] == "stored 19");
    CHECK(done[20] == std::string(20, 'x'));
    CHECK(done[21] == "removed");
  }

  TEST_CASE("a writer that cannot keep up says so") {
    const TempDir dir;
    std::promise<void> release;
    std::atomic<int> taken = 0;
    int posted = 0;
    {
      LogWriter writer(dir.path());
      std::promise<void> held;
      REQUIRE(writer.post(a_chunk(0, "x"), [&](const Result<void>&) {
        held.set_value();
        release.get_future().wait();
      }));
      held.get_future().wait();
      const Bytes piece(64 * 1024, 'x');
      while (posted < 10'000 &&
             writer.post(a_chunk(0, piece), [&taken](const Result<void>&) { ++taken; })) {
        ++posted;
      }
      release.set_value();
    }
    CHECK(posted > 100);
    CHECK(posted < 10'000);
    CHECK(taken == posted);
  }

  TEST_CASE("packs of many empty streams are put away as well") {
    const TempDir dir;
    LogPacks packs(dir.file("logs"));
    const auto open_packs = [] {
      std::size_t count = 0;
      for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code error;
        count += std::filesystem::read_symlink(fd.path(), error).extension() == ".pack" ? 1 : 0;
      }
      return count;
    };
    for (std::uint64_t job = 1; job <= 3; ++job) {
      std::vector<msg::LogChunk> chunks;
      for (std::uint32_t task = 1; task <= 70'000; ++task)
        chunks.push_back({a_key(job, task, 1), Stream::Stdout, 0, "", true});
      REQUIRE(packs.append(chunks).has_value());
      CHECK(packs.read({a_key(job, 70'000, 1), Stream::Stdout, 0, 10}).value().end);
    }
    // An index is counted when the next pack is opened: never more than two of these.
    CHECK(open_packs() <= 2);
    CHECK(packs.read({a_key(1, 1, 1), Stream::Stdout, 0, 10}).value().end);
  }
}
