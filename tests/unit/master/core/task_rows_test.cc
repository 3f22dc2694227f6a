// SPDX-License-Identifier: MIT
#include "master/core/task_rows.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>

namespace capstan::test {
namespace {

TaskKey key(std::uint64_t job, std::uint32_t task) {
  return {JobId(job), TaskIndex(task)};
}

TaskRow said(std::uint32_t code) {
  TaskRow row;
  row.exit_code = static_cast<std::int32_t>(code);
  row.reason = "said " + std::to_string(code);
  return row;
}

TEST_SUITE_BEGIN("master/core/task_rows");

TEST_CASE("the last row of each task counts, whatever the order in which they came") {
  TaskRows rows;
  std::map<TaskKey, std::int32_t> expected;
  std::mt19937_64 random(1);
  for (std::uint32_t i = 0; i < 3000; ++i) {
    const TaskKey at = key(1 + random() % 3, static_cast<std::uint32_t>(random() % 200));
    if (i % 100 == 99) rows.sort();
    if (i % 10 == 9) {
      rows.erase(at);
      expected.erase(at);
      continue;
    }
    rows.put(at, said(i));
    expected[at] = static_cast<std::int32_t>(i);
  }
  rows.sort();
  REQUIRE(rows.size() == expected.size());
  auto next = expected.begin();
  for (const auto& [at, row] : rows) {
    CHECK(at == next->first);
    CHECK(row->exit_code == next->second);
    CHECK(row->reason == "said " + std::to_string(next->second));
    ++next;
  }
}

TEST_CASE("what is put behind an erased or a cleared row is sorted as well") {
  TaskRows rows;
  for (const std::uint32_t i : {1U, 2U, 3U}) rows.put(key(1, i), said(i));
  rows.erase(key(1, 3));
  rows.put(key(1, 1), said(7));
  rows.sort();
  CHECK(rows.size() == 2);
  CHECK(rows.find(key(1, 1))->exit_code == 7);
  rows.clear();
  rows.put(key(1, 5), said(5));
  rows.put(key(1, 4), said(4));
  rows.sort();
  CHECK(rows.begin()->key == key(1, 4));
  TaskRows unsorted;
  unsorted.put(key(1, 2), said(2));
  unsorted.put(key(1, 1), said(1));
  const TaskRows taken = std::move(unsorted);
  CHECK(taken.size() == 2);
  CHECK(unsorted.begin() == unsorted.end());  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("appending puts the later rows in place of the earlier ones") {
  TaskRows rows;
  rows.put(key(1, 1), said(1));
  rows.put(key(1, 3), said(1));
  TaskRows later;
  later.put(key(1, 3), said(2));
  later.put(key(1, 2), said(2));
  rows.append(std::move(later));
  rows.append({});
  rows.sort();
  CHECK(rows.size() == 3);
  CHECK(rows.find(key(1, 1))->exit_code == 1);
  CHECK(rows.find(key(1, 3))->exit_code == 2);
  CHECK(rows.find(key(1, 4)) == nullptr);
  CHECK(rows.find(key(2, 1)) == nullptr);
  CHECK(rows.lower_bound(key(1, 2))->key == key(1, 2));
  CHECK(rows.lower_bound(key(2, 0)) == rows.end());
  TaskRows all;
  all.append(std::move(rows));
  CHECK(all.size() == 3);
}

TEST_CASE("rows stay where they are while others come; a copy has its own") {
  TaskRows rows;
  rows.put(key(1, 9), said(9));
  const TaskRow* first = rows.find(key(1, 9));
  for (std::uint32_t i = 0; i < 500; ++i) rows.put(key(2, i), said(i));
  CHECK(rows.find(key(1, 9)) == first);
  TaskRows copy = rows;
  CHECK(copy.size() == 501);
  CHECK(copy.find(key(1, 9)) != first);
  rows.clear();
  CHECK(rows.empty());
  CHECK(rows.begin() == rows.end());
  CHECK(copy.find(key(2, 499))->reason == "said 499");
  rows = copy;
  CHECK(rows.size() == 501);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
