// SPDX-License-Identifier: MIT
#include "common/base/keyed_list.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/base/ids.h"

namespace capstan {
namespace {

using List = KeyedList<AttemptKey, std::string>;

AttemptKey key_of(std::uint32_t task) {
  return {JobId(1), TaskIndex(task), AttemptNo(1)};
}

std::vector<std::uint32_t> tasks_of(const List& list) {
  std::vector<std::uint32_t> tasks;
  for (const auto& [key, value] : list) tasks.push_back(key.task.value);
  return tasks;
}

TEST_CASE("entries stay in the order in which they came, and are found by their keys") {
  List list;
  for (const std::uint32_t task : {5U, 1U, 9U}) {
    const auto [entry, is_new] = list.try_emplace(key_of(task));
    CHECK(is_new);
    CHECK(entry->second.empty());
    entry->second = std::to_string(task);
  }
  CHECK(tasks_of(list) == std::vector<std::uint32_t>{5, 1, 9});
  const auto [known, is_new] = list.try_emplace(key_of(5));
  CHECK_FALSE(is_new);
  CHECK(known->second == "5");
  REQUIRE(list.find(key_of(1)) != list.end());
  CHECK(list.find(key_of(1))->second == "1");
  list.erase(key_of(1));
  list.erase(key_of(2));
  CHECK(list.find(key_of(1)) == list.end());
  CHECK_FALSE(list.contains(key_of(1)));
  CHECK(tasks_of(list) == std::vector<std::uint32_t>{5, 9});
}

TEST_CASE("what comes again comes last, and has nothing of what it was") {
  List list;
  list.try_emplace(key_of(1)).first->second = "before";
  list.try_emplace(key_of(2));
  list.erase(list.find(key_of(1)));
  CHECK(list.try_emplace(key_of(1)).first->second.empty());
  CHECK(tasks_of(list) == std::vector<std::uint32_t>{2, 1});
  list.clear();
  CHECK(list.empty());
  CHECK_FALSE(list.contains(key_of(2)));
}

TEST_CASE("a list that moved knows its entries") {
  List list;
  for (std::uint32_t task = 0; task < 5000; ++task) list.try_emplace(key_of(task));
  for (std::uint32_t task = 0; task < 5000; task += 2) list.erase(key_of(task));
  List moved = std::move(list);
  CHECK(moved.size() == 2500);
  CHECK(moved.find(key_of(4999))->first == key_of(4999));
  CHECK_FALSE(moved.contains(key_of(4998)));
  CHECK(tasks_of(moved).front() == 1);
}

}  // namespace
}  // namespace capstan
