// SPDX-License-Identifier: MIT
#include "master/store/vote_file.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "common/base/crc32c.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

using namespace capstan;
using store::VoteFile;

namespace {

constexpr std::uint64_t kSlotStride = 4096;

Vote a_vote(std::uint64_t n) {
  Vote vote;
  vote.promised = Epoch(n * 256 + 2);
  vote.reg = {Epoch(n * 256 + 1), n, 1, {1, 2}};
  vote.nonce = ~n;
  vote.fresh = false;
  return vote;
}

}  // namespace

TEST_SUITE("master/store/vote_file") {
  TEST_CASE("CRC-32C of RFC 3720, appendix B.4") {
    CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
    CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
    CHECK(crc32c("123456789") == 0xE3069283);
    CHECK(crc32c("6789", crc32c("12345")) == 0xE3069283);
  }

  TEST_CASE("a vote is read back, the newest always") {
    const test::TempDir dir;
    const std::string path = dir.file("vote");
    CHECK(VoteFile::open(path).error().code == Errc::NotFound);
    CHECK(VoteFile::create(path, Vote{}).value().vote().fresh);
    CHECK(VoteFile::create(path, Vote{}).error().code == Errc::Conflict);
    CHECK(VoteFile::open(path).value().vote() == Vote{});
    for (std::uint64_t n = 1; n <= 5; ++n) {
      VoteFile file = VoteFile::open(path).value();
      REQUIRE(file.write(a_vote(n)).has_value());
      CHECK(file.vote() == a_vote(n));
      CHECK(VoteFile::open(path).value().vote() == a_vote(n));
    }
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path()),
                        std::filesystem::directory_iterator()) == 1);
  }

  TEST_CASE("a torn write leaves the vote before it") {
    for (const std::size_t torn : {1U, 7U, 20U, 60U}) {
      for (const std::uint64_t votes : {2U, 3U}) {
        const test::TempDir dir;
        const std::string path = dir.file("vote");
        VoteFile file = VoteFile::create(path, Vote{}).value();
        for (std::uint64_t n = 1; n <= votes; ++n) REQUIRE(file.write(a_vote(n)).has_value());
        // Counter 1 was the creation, so vote n has counter n + 1 and lies in slot (n + 1) % 2.
        const std::uint64_t slot = votes % 2 == 1 ? 0 : kSlotStride;
        test::overwrite(path, slot + 8, std::string(torn, '\x77'));
        CHECK(VoteFile::open(path).value().vote() == a_vote(votes - 1));
      }
    }
  }

  TEST_CASE("two damaged slots are refused, not guessed") {
    const test::TempDir dir;
    const std::string path = dir.file("vote");
    VoteFile file = VoteFile::create(path, Vote{}).value();
    REQUIRE(file.write(a_vote(1)).has_value());
    test::overwrite(path, 9, "x");
    test::overwrite(path, kSlotStride + 9, "x");
    const auto opened = VoteFile::open(path);
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == Errc::Corrupt);
    std::filesystem::resize_file(path, 0);
    CHECK(VoteFile::open(path).error().code == Errc::Corrupt);
  }

}  // TEST_SUITE
