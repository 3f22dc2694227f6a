// SPDX-License-Identifier: MIT
#include "master/core/deferred_rows.h"

#include <algorithm>
#include <utility>

#include "common/model/limits.h"

namespace capstan {
namespace {

std::size_t text_bytes(const TaskRow& row) {
  return row.reason.size() + row.stdout_tail.size() + row.stderr_tail.size();
}

bool may_go_ahead(const TaskRow& row, Seq applied) {
  return row.finished_seq.value != 0 && row.born.seq > applied;
}

}  // namespace

/// Takes tasks and sweeps out of `rows`: to those ahead what may go there, the others to the rest.
/// What waited of these tasks is outdated.
void DeferredRows::split(RowChanges& rows, Seq applied) {
  rows.tasks.erase_if([&](TaskKey key, TaskRow& row) {
    if (!may_go_ahead(row, applied)) {
      keep(key, std::move(row));
      return true;
    }
    ahead_bytes_ += text_bytes(row);
    waiting_.erase(key);
    return false;
  });
  ahead_.tasks.append(std::move(rows.tasks));
  rows.tasks.clear();
  ahead_.swept.insert(ahead_.swept.end(), rows.swept.begin(), rows.swept.end());
  rows.swept.clear();
}

void DeferredRows::keep(TaskKey key, TaskRow&& row) {
  rest_bytes_ += text_bytes(row);
  if (!ahead_.tasks.empty()) ahead_.tasks.erase(key);
  waiting_.try_emplace(key).first->second = std::move(row);
}

void DeferredRows::add(RowChanges rows, Seq applied, TimePoint now) {
  // What moves or deletes rows must find them as they were.
  if (rows.is_progress() && is_progress() && rest_.tasks.empty()) {
    split(rows, applied);
  } else {
    gather();
  }
  for (const auto& [key, row] : rows.tasks) rest_bytes_ += text_bytes(*row);
  rest_.merge(std::move(rows));
  latest_ = std::min(latest_, now + Micros(limits::kBringUpEvery));
  due_ = is_much() ? now : std::min(latest_, now + Micros(limits::kIdleFlush));
}

const RowChanges& DeferredRows::ahead() {
  ahead_.tasks.sort();
  return ahead_;
}

void DeferredRows::written_ahead() {
  written_ahead_ += ahead_.tasks.size();
  ahead_.tasks.clear();
  ahead_.swept.clear();
}

void DeferredRows::clear() {
  *this = DeferredRows();
}

void DeferredRows::gather() {
  // No task has a row that waits and one that goes ahead.
  for (auto& [key, row] : waiting_) rest_.tasks.put(key, std::move(row));
  waiting_.clear();
  rest_.merge(std::exchange(ahead_, {}));
}

RowChanges& DeferredRows::all() {
  gather();
  return rest_;
}

bool DeferredRows::is_much() const {
  const std::size_t rows =
      std::max({rest_.tasks.size() + waiting_.size(), rest_.attempts.size(), ahead_.tasks.size()});
  return rows >= limits::kDeferredRows || rest_bytes_ >= limits::kDeferredBytes ||
         written_ahead_ >= limits::kRowsAhead || ahead_bytes_ >= limits::kAheadBytes;
}

}  // namespace capstan
