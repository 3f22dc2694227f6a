// SPDX-License-Identifier: MIT
#include "master/core/deferred_rows.h"

#include <algorithm>
#include <iterator>
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
  // Both ascend: the place behind the last one is nearly always that of the next.
  auto waiting = rest_.tasks.begin();
  for (auto row = rows.tasks.begin(); row != rows.tasks.end();) {
    const auto next = std::next(row);
    if (waiting != rest_.tasks.end() && waiting->first < row->first)
      waiting = rest_.tasks.lower_bound(row->first);
    const bool is_known = waiting != rest_.tasks.end() && waiting->first == row->first;
    if (is_known) waiting = rest_.tasks.erase(waiting);
    if (may_go_ahead(row->second, applied)) {
      ahead_bytes_ += text_bytes(row->second);
    } else {
      rest_bytes_ += text_bytes(row->second);
      if (!ahead_.tasks.empty()) ahead_.tasks.erase(row->first);
      rest_.tasks.insert(waiting, rows.tasks.extract(row));
    }
    row = next;
  }
  RowChanges ended;
  ended.tasks.swap(rows.tasks);
  ended.swept.swap(rows.swept);
  ahead_.merge(std::move(ended));  // Costs what is new, however much waits.
}

void DeferredRows::add(RowChanges rows, Seq applied, TimePoint now) {
  // What moves or deletes rows must find them as they were.
  if (rows.is_progress() && is_progress()) {
    split(rows, applied);
  } else {
    gather();
  }
  for (const auto& [key, row] : rows.tasks) rest_bytes_ += text_bytes(row);
  rest_.merge(std::move(rows));
  latest_ = std::min(latest_, now + Micros(limits::kBringUpEvery));
  due_ = is_much() ? now : std::min(latest_, now + Micros(limits::kIdleFlush));
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
  rest_.merge(std::exchange(ahead_, {}));
}

RowChanges& DeferredRows::all() {
  gather();
  return rest_;
}

bool DeferredRows::is_much() const {
  const std::size_t rows =
      std::max({rest_.tasks.size(), rest_.attempts.size(), ahead_.tasks.size()});
  return rows >= limits::kDeferredRows || rest_bytes_ >= limits::kDeferredBytes ||
         written_ahead_ >= limits::kRowsAhead || ahead_bytes_ >= limits::kAheadBytes;
}

}  // namespace capstan
