// SPDX-License-Identifier: MIT
#include "worker/core/delivery.h"

#include <doctest/doctest.h>

#include "common/model/limits.h"

namespace capstan {
namespace {

OutputKey output(std::uint32_t task) {
  return {{JobId(1), TaskIndex(task), AttemptNo(1)}, Stream::Stdout};
}

/// Reads as a file with all bytes would answer.
std::vector<Deliveries::Chunk> read_all(Deliveries& deliveries) {
  std::vector<Deliveries::Chunk> chunks;
  for (const auto& read : deliveries.next_reads()) {
    const std::uint64_t size =
        std::min<std::uint64_t>(limits::kLogChunkBytes, read.total - read.offset);
    auto chunk =
        deliveries.on_read(read.output, read.offset, Bytes(static_cast<std::size_t>(size), 'x'));
    if (chunk) chunks.push_back(std::move(*chunk));
  }
  return chunks;
}

TEST_SUITE("worker/core/delivery") {
  TEST_CASE("a stream is delivered whole, never more than the credit on its way") {
    Deliveries deliveries;
    const std::uint64_t total = 5 * limits::kLogChunkBytes + 7;
    deliveries.ended(output(1), total, "");
    std::uint64_t upto = 0;
    std::deque<Deliveries::Chunk> on_the_way;
    for (bool done = false; !done;) {
      for (auto& chunk : read_all(deliveries)) {
        CHECK(chunk.offset == upto);
        upto += chunk.data.size();
        CHECK(chunk.last == (upto == total));
        on_the_way.push_back(chunk);
      }
      REQUIRE(!on_the_way.empty());
      REQUIRE(on_the_way.size() <= limits::kLogChunksInFlight);
      const auto chunk = on_the_way.front();
      on_the_way.pop_front();
      done = deliveries.on_ack(chunk.output, chunk.offset + chunk.data.size(), chunk.last);
    }
    CHECK(upto == total);
    CHECK(deliveries.empty());
  }

  TEST_CASE("streams take turns") {
    Deliveries deliveries;
    deliveries.ended(output(1), 10 * limits::kLogChunkBytes, "");
    deliveries.ended(output(2), 10, "");
    const auto chunks = read_all(deliveries);
    REQUIRE(chunks.size() == 2);
    CHECK(chunks[0].output == output(1));
    CHECK(chunks[1].output == output(2));
    CHECK(chunks[1].last);
  }

  TEST_CASE("a live stream ends with an empty last chunk when all was sent before") {
    Deliveries deliveries;
    deliveries.grew(output(1), 10);
    auto chunks = read_all(deliveries);
    REQUIRE(chunks.size() == 1);
    CHECK_FALSE(chunks[0].last);
    CHECK(read_all(deliveries).empty());
    deliveries.ended(output(1), 10, "");
    chunks = read_all(deliveries);
    REQUIRE(chunks.size() == 1);
    CHECK(chunks[0].offset == 10);
    CHECK(chunks[0].data.empty());
    CHECK(chunks[0].last);
    CHECK_FALSE(deliveries.on_ack(output(1), 10, false));
    CHECK(deliveries.on_ack(output(1), 10, true));
  }

  TEST_CASE("a new session sends again what was not confirmed") {
    Deliveries deliveries;
    const std::uint64_t chunk = limits::kLogChunkBytes;
    deliveries.ended(output(1), 3 * chunk, "");
    CHECK(read_all(deliveries).size() == 1);
    CHECK(read_all(deliveries).size() == 1);
    deliveries.on_ack(output(1), chunk, false);
    deliveries.restart();
    const auto chunks = read_all(deliveries);
    REQUIRE(chunks.size() == 1);
    CHECK(chunks[0].offset == chunk);
  }

  TEST_CASE("dropped bytes are jumped over, and a lost file ends its stream") {
    Deliveries deliveries;
    deliveries.ended(output(1), 1000, "");
    REQUIRE(deliveries.next_reads().size() == 1);
    auto chunk = deliveries.on_read(output(1), 600, Bytes(100, 'x'));
    REQUIRE(chunk);
    CHECK(chunk->offset == 600);
    CHECK_FALSE(chunk->last);
    REQUIRE(deliveries.next_reads().size() == 1);
    chunk = deliveries.on_read(output(1), 700, "");
    REQUIRE(chunk);
    CHECK(chunk->offset == 1000);
    CHECK(chunk->last);
  }

  TEST_CASE("of a file that was lost the tail is delivered; while it grows, it is asked again") {
    Deliveries deliveries;
    deliveries.grew(output(1), 500);
    REQUIRE(deliveries.next_reads().size() == 1);
    CHECK_FALSE(deliveries.on_read(output(1), 0, ""));
    CHECK(deliveries.next_reads().empty());
    deliveries.ended(output(1), 1000, "the end");
    REQUIRE(deliveries.next_reads().size() == 1);
    const auto chunk = deliveries.on_read(output(1), 0, "");
    REQUIRE(chunk);
    CHECK(chunk->offset == 993);
    CHECK(chunk->data == "the end");
    CHECK(chunk->last);
  }
}

}  // namespace
}  // namespace capstan
