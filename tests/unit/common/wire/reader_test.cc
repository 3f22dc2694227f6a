// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "common/base/rng.h"
#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "common/wire/session.h"

using namespace capstan;
using namespace std::string_literals;
using wire::Reader;
using wire::Writer;

namespace {

template <class Write>
std::string written(Write write) {
  std::string out;
  Writer w(out);
  write(w);
  w.finish();
  return out;
}

}  // namespace

TEST_SUITE_BEGIN("common/wire/reader");

TEST_CASE("numbers come back at every edge of their encodings") {
  for (int bits = 0; bits < 64; ++bits) {
    for (const std::uint64_t near : {0ULL, 1ULL, ~0ULL}) {
      const std::uint64_t u = (1ULL << bits) + near;
      CHECK(Reader(written([&](Writer& w) { w.u64(u); })).u64() == u);
      for (const auto i : {static_cast<std::int64_t>(u), static_cast<std::int64_t>(~u)}) {
        const std::string bytes = written([&](Writer& w) { w.i64(i); });
        Reader r(bytes);
        CHECK(r.i64() == i);
        CHECK(r.finished());
      }
    }
  }
}

TEST_CASE("a number out of its range, or of another kind, is an error and reads as 0") {
  const auto error_of = [](const std::string& bytes, auto read) {
    Reader r(bytes);
    CHECK(read(r) == 0);
    return r.ok() ? "" : r.error();
  };
  CHECK(error_of("\x08", [](Reader& r) { return r.u64(7); }) == "a number is out of range"s);
  CHECK(error_of("\xFF", [](Reader& r) { return r.u64(); }) == "an unsigned number was expected"s);
  CHECK(error_of("\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", [](Reader& r) { return r.i64(); }) ==
        "a number is out of range"s);
  CHECK(error_of("\xD0\x80", [](Reader& r) { return r.i64(-127, 0); }) ==
        "a number is out of range"s);
  CHECK(error_of("\xC3", [](Reader& r) { return r.i64(); }) == "an unsigned number was expected"s);
  CHECK(error_of("\xCD\x01", [](Reader& r) { return r.u64(); }) == "it is cut off"s);
  CHECK(error_of("", [](Reader& r) { return r.i64(); }) == "it is cut off"s);
}

TEST_CASE("bytes and texts of every length class, and never the one for the other") {
  for (const std::size_t length : {0UL, 1UL, 31UL, 32UL, 255UL, 256UL, 65'535UL, 65'536UL}) {
    const std::string value(length, 'v');
    const std::string bin = written([&](Writer& w) { w.bin(value); });
    const std::string text = written([&](Writer& w) { w.text(value); });
    CHECK(Reader(bin).bin(length) == value);
    CHECK(Reader(text).text(length) == value);
    Reader crossed(bin), too_long(text);
    crossed.text(length);
    CHECK_FALSE(crossed.ok());
    if (length == 0) continue;
    CHECK(too_long.text(length - 1).empty());
    CHECK_FALSE(too_long.ok());
  }
}

TEST_CASE("after the first error nothing is read, and the error stays") {
  const std::string bytes = written([](Writer& w) { w.boolean(true), w.u64(7), w.text("x"); });
  Reader r(bytes);
  r.array(2);
  CHECK_FALSE(r.boolean());
  CHECK(r.u64() == 0);
  CHECK(r.text(9).empty());
  CHECK(r.array_up_to(9) == 0);
  CHECK(r.error() == "an array was expected"s);
  CHECK_FALSE(r.finished());
}

TEST_CASE("a list is at most as long as asked for, and as the bytes that are left") {
  const std::string bytes = written([](Writer& w) { w.array(3), w.u64(1), w.u64(2), w.u64(3); });
  CHECK(Reader(bytes).array_up_to(3) == 3);
  CHECK(Reader(bytes).array_up_to(2) == 0);
  CHECK(Reader(std::string_view(bytes).substr(0, 3)).array_up_to(3) == 0);
}

TEST_CASE("attempts of tasks that follow each other are said together, and come back one by one") {
  const auto key = [](std::uint64_t job, std::uint32_t task, std::uint32_t attempt) {
    return AttemptKey{JobId(job), TaskIndex(task), AttemptNo(attempt)};
  };
  const std::vector<AttemptKey> keys = {key(1, 7, 1),  key(1, 8, 1),  key(1, 9, 2),
                                        key(2, 10, 2), key(2, 10, 2), key(2, UINT32_MAX, 2),
                                        key(2, 0, 2),  key(2, 2, 2),  key(2, 1, 2)};
  const std::string bytes = written([&](Writer& w) { put(w, keys); });
  Reader r(bytes);
  std::vector<AttemptKey> back;
  get(r, back);
  CHECK(r.finished());
  CHECK(back == keys);
  std::vector<AttemptKey> many(4096);
  for (std::uint32_t i = 0; i < many.size(); ++i) many[i] = key(1, i + 1, 1);
  CHECK(written([&](Writer& w) { put(w, many); }).size() < 16);
}

TEST_CASE("a run of attempts that claims more than a list holds is refused") {
  const auto error_of = [](std::uint64_t first, std::uint64_t count, int runs) {
    const std::string bytes = written([&](Writer& w) {
      w.array(static_cast<std::size_t>(runs));
      for (int i = 0; i < runs; ++i) w.array(4), w.u64(1), w.u64(1), w.u64(first), w.u64(count);
    });
    Reader r(bytes);
    std::vector<AttemptKey> keys;
    get(r, keys);
    CHECK(keys.size() <= limits::kKeysPerList);
    return r.ok() ? "" : r.error();
  };
  CHECK(error_of(1, limits::kKeysPerList, 1) == ""s);
  CHECK(error_of(1, limits::kKeysPerList + 1, 1) == "a run of attempts is wrong"s);
  CHECK(error_of(1, limits::kKeysPerList, 2) == "a list is too long"s);
  CHECK(error_of(1, UINT64_MAX, 1) == "a number is out of range"s);
  CHECK(error_of(1, 0, 1) == "a run of attempts is wrong"s);
  CHECK(error_of(UINT32_MAX, 1, 1) == ""s);
  CHECK(error_of(UINT32_MAX, 2, 1) == "a run of attempts is wrong"s);
}

TEST_CASE("a session takes its messages in order and nothing else") {
  wire::SessionEnd end(SessionId(5));
  CHECK(end.next_out() == 1);
  CHECK(end.accept(SessionId(5), 1));
  CHECK_FALSE(end.accept(SessionId(5), 1));
  CHECK_FALSE(end.accept(SessionId(5), 3));
  CHECK_FALSE(end.accept(SessionId(4), 2));
  CHECK(end.accept(SessionId(5), 2));
  CHECK(end.seen() == 2);
  end.close();
  CHECK_FALSE(end.accept(SessionId(5), 3));
  CHECK_FALSE(end.accept(SessionId(), 1));
}

TEST_SUITE_END();
