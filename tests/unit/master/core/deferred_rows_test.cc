// SPDX-License-Identifier: MIT
//
// What waits for the tables, and what may be written before the rest of it.
#include "master/core/deferred_rows.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <utility>

#include "common/model/limits.h"
#include "tests/support/builders.h"

namespace capstan::test {
namespace {

constexpr Seq kApplied(10);
constexpr TimePoint kNow{5'000'000};

TaskKey task(std::uint32_t index) {
  return {JobId(1), TaskIndex(index)};
}

TaskRow running(std::uint64_t born) {
  TaskRow row;
  row.state = TaskState::Running;
  row.born = {Seq(born)};
  return row;
}

TaskRow ended(std::uint64_t born, std::uint64_t finished) {
  TaskRow row = running(born);
  row.state = TaskState::Succeeded;
  row.ended = true;
  row.finished_seq = Seq(finished);
  return row;
}

RowChanges rows_of(const std::map<TaskKey, TaskRow>& tasks) {
  RowChanges rows;
  for (const auto& [key, row] : tasks) rows.tasks.put(key, TaskRow(row));
  return rows;
}

TEST_SUITE_BEGIN("master/core/deferred_rows");

TEST_CASE("tasks that began and ended behind the tables go ahead, others wait") {
  DeferredRows deferred;
  CHECK(deferred.empty());
  CHECK(deferred.due() == TimePoint::never());
  deferred.add(rows_of({{task(1), running(11)}, {task(2), running(11)}, {task(3), running(0)}}),
               kApplied, kNow);
  CHECK(deferred.ahead().tasks.empty());
  // 3 has a row in the tables already: it cannot be taken away again.
  deferred.add(
      rows_of({{task(1), ended(11, 12)}, {task(3), ended(0, 12)}, {task(4), ended(12, 12)}}),
      kApplied, kNow);
  CHECK(deferred.ahead().tasks.size() == 2);
  CHECK(deferred.ahead().tasks.find(task(1)) != nullptr);
  CHECK(deferred.ahead().tasks.find(task(4)) != nullptr);
  deferred.written_ahead();
  CHECK(deferred.ahead().tasks.empty());
  const RowChanges& rest = deferred.all();
  CHECK(rest.tasks.size() == 2);
  CHECK(rest.tasks.find(task(2))->state == TaskState::Running);
  CHECK(rest.tasks.find(task(3))->state == TaskState::Succeeded);
  deferred.clear();
  CHECK(deferred.empty());
}

TEST_CASE("what is outdated is written no more, whichever way it was to go") {
  DeferredRows deferred;
  deferred.add(rows_of({{task(1), ended(11, 12)}, {task(2), ended(11, 12)}}), kApplied, kNow);
  deferred.add(rows_of({{task(1), running(11)}, {task(2), ended(11, 14)}}), kApplied, kNow);
  CHECK(deferred.ahead().tasks.size() == 1);
  CHECK(deferred.ahead().tasks.find(task(2))->finished_seq == Seq(14));
  deferred.add(rows_of({{task(1), ended(11, 15)}}), kApplied, kNow);
  CHECK(deferred.ahead().tasks.find(task(1))->finished_seq == Seq(15));
  deferred.written_ahead();
  CHECK(deferred.all().tasks.empty());
}

TEST_CASE("nothing goes ahead of what moves, makes or deletes rows") {
  DeferredRows deferred;
  deferred.add(rows_of({{task(1), ended(11, 12)}}), kApplied, kNow);
  RowChanges retried = rows_of({{task(2), ended(11, 13)}});
  retried.archived.emplace_back(JobId(1), IndexSpan{1, 1});
  deferred.add(std::move(retried), kApplied, kNow);
  CHECK(deferred.ahead().tasks.empty());
  CHECK_FALSE(deferred.is_progress());
  deferred.add(rows_of({{task(3), ended(13, 14)}}), kApplied, kNow);
  CHECK(deferred.ahead().tasks.empty());
  CHECK(deferred.all().tasks.size() == 3);
}

TEST_CASE("the steps of a sweep go ahead, the one that forgets the deletion does not") {
  const auto sweep = [](bool last) {
    RowChanges rows;
    rows.swept.push_back({JobId(7), SubmissionId(), TaskIndex(500), 0, last});
    return rows;
  };
  DeferredRows deferred;
  deferred.add(rows_of({{task(1), running(11)}}), kApplied, kNow);
  deferred.add(sweep(false), kApplied, kNow);
  CHECK(deferred.is_progress());
  REQUIRE(deferred.ahead().swept.size() == 1);
  CHECK(deferred.ahead().tasks.empty());
  deferred.written_ahead();
  CHECK(deferred.ahead().empty());
  deferred.add(sweep(false), kApplied, kNow);
  deferred.add(sweep(true), kApplied, kNow);
  CHECK(deferred.ahead().swept.empty());
  CHECK_FALSE(deferred.is_progress());
  CHECK(deferred.all().swept.size() == 2);
  CHECK(deferred.all().tasks.size() == 1);
}

TEST_CASE("the tables are brought up when it is quiet, after a while, or when much waits") {
  DeferredRows deferred;
  deferred.add(rows_of({{task(1), running(11)}}), kApplied, kNow);
  CHECK(deferred.due() == kNow + Micros(limits::kIdleFlush));
  const TimePoint later = kNow + Micros(limits::kBringUpEvery) - Micros(1);
  deferred.add({}, kApplied, later);
  CHECK(deferred.due() == kNow + Micros(limits::kBringUpEvery));
  deferred.clear();
  for (std::uint32_t i = 0; i < limits::kRowsAhead; ++i) {
    CHECK_FALSE(deferred.is_much());
    deferred.add(rows_of({{task(i), ended(11, 12)}}), kApplied, kNow);
    deferred.written_ahead();
  }
  CHECK(deferred.is_much());
  deferred.add({}, kApplied, kNow);
  CHECK(deferred.due() == kNow);
  const auto is_much_with = [](std::uint64_t born, std::size_t bytes) {
    DeferredRows wordy;
    TaskRow row = ended(born, 12);
    row.stdout_tail = Bytes(bytes, 'x');
    wordy.add(rows_of({{task(1), std::move(row)}}), kApplied, kNow);
    wordy.written_ahead();
    return wordy.is_much();
  };
  CHECK(is_much_with(0, limits::kDeferredBytes));
  CHECK_FALSE(is_much_with(11, limits::kDeferredBytes));
  CHECK(is_much_with(11, limits::kAheadBytes));
}

TEST_CASE("what was not written ahead yet counts as much as what waits") {
  DeferredRows deferred;
  for (std::uint32_t i = 0; i < limits::kDeferredRows; ++i) {
    CHECK_FALSE(deferred.is_much());
    deferred.add(rows_of({{task(i), ended(11, 12)}}), kApplied, kNow);
  }
  CHECK(deferred.is_much());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
