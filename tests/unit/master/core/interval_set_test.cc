// SPDX-License-Identifier: MIT
#include "master/core/interval_set.h"

#include <doctest/doctest.h>

#include <set>

#include "common/base/rng.h"

namespace capstan {
namespace {

TEST_SUITE_BEGIN("master/core/interval_set");

TEST_CASE("a million values are one interval") {
  IntervalSet set;
  set.insert(0, 999'999);
  CHECK(set.count() == 1'000'000);
  CHECK(set.spans().size() == 1);
  CHECK(set.erase(0));
  CHECK(set.erase(500));
  CHECK_FALSE(set.erase(500));
  CHECK(set.spans().size() == 2);
  CHECK(set.next(500) == 501);
  set.insert(500);
  CHECK(set.spans().size() == 1);
  CHECK(set.count() == 999'999);
}

TEST_CASE("the ends of the range of values work") {
  IntervalSet set;
  set.insert(UINT32_MAX);
  set.insert(0);
  CHECK(set.count() == 2);
  CHECK(set.contains(UINT32_MAX));
  CHECK(set.next(1) == UINT32_MAX);
  set.insert(1, UINT32_MAX - 1);
  CHECK(set.spans().size() == 1);
  CHECK(set.erase(UINT32_MAX));
  CHECK_FALSE(set.next(UINT32_MAX).has_value());
}

TEST_CASE("it agrees with a plain set on random changes") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    IntervalSet set;
    std::set<std::uint32_t> plain;
    for (int step = 0; step < 2000; ++step) {
      const auto first = static_cast<std::uint32_t>(rng.below(64));
      const auto last = first + static_cast<std::uint32_t>(rng.below(8));
      switch (rng.below(4)) {
        case 0:
          set.insert(first, last);
          for (auto v = first; v <= last; ++v) plain.insert(v);
          break;
        case 1:
          set.erase(first, last);
          for (auto v = first; v <= last; ++v) plain.erase(v);
          break;
        case 2:
          set.insert(first), plain.insert(first);
          break;
        default:
          REQUIRE(set.erase(first) == (plain.erase(first) > 0));
      }
      REQUIRE(set.count() == plain.size());
      std::uint64_t listed = 0;
      std::int64_t before = -2;
      for (const auto& [low, high] : set.spans()) {
        REQUIRE(std::int64_t{low} > before + 1);  // Neither overlapping nor touching.
        for (auto v = low; v <= high; ++v) REQUIRE(plain.contains(v));
        listed += high - low + 1;
        before = high;
      }
      REQUIRE(listed == plain.size());
      const auto at = plain.lower_bound(first);
      REQUIRE(set.next(first) ==
              (at == plain.end() ? std::optional<std::uint32_t>() : std::optional(*at)));
      REQUIRE(set.contains(first) == plain.contains(first));
    }
  }
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
