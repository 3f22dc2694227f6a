// SPDX-License-Identifier: MIT
#include "common/base/lookup_map.h"

#include <doctest/doctest.h>

#include "common/base/ids.h"

namespace capstan {
namespace {

TEST_CASE("a lookup map has what was put in until it is taken out") {
  LookupMap<AttemptKey, int> map;
  const AttemptKey key{JobId(1), TaskIndex(2), AttemptNo(3)};
  CHECK(map.find(key) == nullptr);
  CHECK(map.insert(key, 4));
  CHECK_FALSE(map.insert(key, 5));
  REQUIRE(map.find(key) != nullptr);
  CHECK(*map.find(key) == 4);
  map.set(key, 6);
  CHECK(*map.find(key) == 6);
  CHECK_FALSE(map.contains({JobId(1), TaskIndex(3), AttemptNo(2)}));
  CHECK(map.take(key) == 6);
  CHECK(map.take(key) == std::nullopt);
  map.set(key, 6);
  map.erase(key);
  CHECK_FALSE(map.contains(key));
  map.set(key, 7);
  map.clear();
  CHECK_FALSE(map.contains(key));
}

}  // namespace
}  // namespace capstan
