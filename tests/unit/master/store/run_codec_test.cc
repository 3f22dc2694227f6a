// SPDX-License-Identifier: MIT
#include "master/store/run_codec.h"

#include <doctest/doctest.h>

using namespace capstan;
using store::Runs;

namespace {

bool is_same(const cmd::JobReopened::Run& a, const cmd::JobReopened::Run& b) {
  return a.count == b.count && a.state == b.state && a.attempts == b.attempts &&
         a.has_rows == b.has_rows;
}

}  // namespace

TEST_SUITE("master/store/run_codec") {
  TEST_CASE("what is packed is unpacked, in as many bytes as was said") {
    Runs runs;
    for (const std::uint64_t count : {1ULL, 127ULL, 128ULL, 16'384ULL, 100'000'000ULL}) {
      for (const std::uint32_t attempts : {0U, 1U, 14U, 15U, 16U, 4'000'000'000U}) {
        for (const TaskState state : {TaskState::Waiting, TaskState::Failed, TaskState::Skipped}) {
          runs.push_back({count, state, AttemptNo(attempts), attempts % 2 == 0});
        }
      }
    }
    const std::string bytes = store::packed(runs);
    CHECK(bytes.size() == store::packed_size(runs));
    Runs back;
    REQUIRE(store::unpack(bytes, back));
    REQUIRE(back.size() == runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) CHECK(is_same(back[i], runs[i]));
  }

  TEST_CASE("single tasks of few attempts take two bytes") {
    CHECK(store::packed_size({1, TaskState::Failed, AttemptNo(3), true}) == 2);
  }

  TEST_CASE("what is cut off or never ends is refused") {
    const std::string bytes = store::packed({{300, TaskState::Failed, AttemptNo(20), true}});
    for (std::size_t size = 1; size < bytes.size(); ++size) {
      Runs runs;
      CHECK_FALSE(store::unpack(std::string_view(bytes).substr(0, size), runs));
    }
    Runs runs;
    CHECK_FALSE(store::unpack(std::string(1, '\x15') + std::string(20, '\xFF'), runs));
    // Few attempts, told as many: two spellings of one run are one too many.
    CHECK_FALSE(store::unpack("\xF5\x01\x01", runs));
  }
}
