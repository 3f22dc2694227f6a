// SPDX-License-Identifier: MIT
#include "worker/exec/output.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "common/model/limits.h"
#include "tests/support/temp_dir.h"

namespace capstan {
namespace {

constexpr AttemptKey kKey{JobId(17), TaskIndex(42), AttemptNo(1)};

/// Byte o of the stream: any piece of it tells where it is from.
char byte_at(std::uint64_t offset) {
  return static_cast<char>((offset * 7 + offset / 251) & 0xFF);
}

std::string piece(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = byte_at(offset + i);
  return bytes;
}

void write_upto(OutputWriter& writer, std::uint64_t total, std::size_t step = 65'536) {
  while (writer.total() < total) {
    const std::uint64_t size = std::min<std::uint64_t>(step, total - writer.total());
    REQUIRE(writer.write(piece(writer.total(), static_cast<std::size_t>(size))));
  }
}

/// Everything that can be read from `offset` on.
std::string read_rest(const std::string& path, std::uint64_t& offset, std::uint64_t total) {
  std::string all;
  bool is_first = true;
  for (;;) {
    const auto slice = read_output(path, {.offset = is_first ? offset : offset + all.size(),
                                          .total = total,
                                          .ended = true,
                                          .max = 65'536});
    REQUIRE(slice);
    if (slice->data.empty()) return all;
    if (is_first) offset = slice->offset;
    is_first = false;
    REQUIRE(slice->offset == offset + all.size());
    all += slice->data;
  }
}

TEST_SUITE("worker/exec/output") {
  TEST_CASE("a short stream makes no file, and its tail is all of it") {
    const test::TempDir dir;
    OutputWriter writer(output_path(dir.path(), kKey, Stream::Stdout));
    write_upto(writer, limits::kTailBytes, 1000);
    CHECK(writer.tail() == piece(0, limits::kTailBytes));
    CHECK(std::filesystem::is_empty(dir.path()));
  }

  TEST_CASE("a followed stream is in the file from its first byte on") {
    const test::TempDir dir;
    const std::string path = output_path(dir.path(), kKey, Stream::Stderr);
    OutputWriter writer(path);
    REQUIRE(writer.write("ab"));
    REQUIRE(writer.follow());
    REQUIRE(writer.write("cd"));
    const auto slice = read_output(path, {.offset = 0, .total = 4, .max = 100});
    REQUIRE(slice);
    CHECK(slice->data == "abcd");
    CHECK(writer.tail() == "abcd");
  }

  TEST_CASE("a long stream is read back byte by byte, in any pieces") {
    const test::TempDir dir;
    const std::string path = output_path(dir.path(), kKey, Stream::Stdout);
    OutputWriter writer(path);
    const std::uint64_t total = limits::kCaptureHeadBytes + 100'000;
    write_upto(writer, total, 9'999);
    std::uint64_t offset = 0;
    const std::string all = read_rest(path, offset, total);
    CHECK(offset == 0);
    CHECK(all == piece(0, static_cast<std::size_t>(total)));
    CHECK(writer.tail() == piece(total - limits::kTailBytes, limits::kTailBytes));
  }

  TEST_CASE("beyond the cap the beginning and the end are kept, and the file does not grow") {
    const test::TempDir dir;
    const std::string path = output_path(dir.path(), kKey, Stream::Stdout);
    OutputWriter writer(path);
    const std::uint64_t total = 3 * limits::kCaptureRingBytes + 12'345;
    write_upto(writer, total);
    CHECK(std::filesystem::file_size(path) <=
          limits::kCaptureHeadBytes + limits::kCaptureRingBytes + 16);
    auto head =
        read_output(path, {.offset = limits::kCaptureHeadBytes - 10, .total = total, .max = 100});
    REQUIRE(head);
    CHECK(head->data == piece(limits::kCaptureHeadBytes - 10, 10));

    std::uint64_t offset = limits::kCaptureHeadBytes;
    const std::string rest = read_rest(path, offset, total);
    CHECK(offset == total - limits::kCaptureRingBytes);
    CHECK(rest == piece(offset, static_cast<std::size_t>(total - offset)));

    // A reader of a stream that still grows does not stay at the edge.
    const auto live = read_output(
        path, {.offset = limits::kCaptureHeadBytes, .total = total, .ended = false, .max = 100});
    REQUIRE(live);
    CHECK(live->offset == total - limits::kCaptureRingBytes / 2);
    CHECK(live->data == piece(live->offset, 100));
  }

  TEST_CASE("a reader is told of no byte beyond what is known to be written") {
    const test::TempDir dir;
    const std::string path = output_path(dir.path(), kKey, Stream::Stdout);
    OutputWriter writer(path);
    write_upto(writer, 10'000);
    const auto slice = read_output(path, {.offset = 4'000, .total = 5'000, .max = 65'536});
    REQUIRE(slice);
    CHECK(slice->data == piece(4'000, 1'000));
  }

  TEST_CASE("when the disk refuses, the tail is kept all the same") {
    OutputWriter writer("/proc/no/such/17.1.out");
    CHECK_FALSE(writer.write(piece(0, 10'000)));
    CHECK(writer.write(piece(10'000, 10'000)));
    CHECK(writer.total() == 20'000);
    CHECK(writer.tail() == piece(20'000 - limits::kTailBytes, limits::kTailBytes));
  }

  TEST_CASE("the last output of a job takes its directory with it") {
    const test::TempDir dir;
    for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
      OutputWriter writer(output_path(dir.path(), kKey, stream));
      write_upto(writer, 5'000);
    }
    drop_output(dir.path(), kKey, Stream::Stdout);
    CHECK_FALSE(std::filesystem::is_empty(dir.path()));
    drop_output(dir.path(), kKey, Stream::Stderr);
    drop_output(dir.path(), kKey, Stream::Stderr);
    CHECK(std::filesystem::is_empty(dir.path()));
  }
}

}  // namespace
}  // namespace capstan
