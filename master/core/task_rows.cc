// SPDX-License-Identifier: MIT
#include "master/core/task_rows.h"

#include <algorithm>
#include <iterator>

#include "common/base/check.h"

namespace capstan {
namespace {

/// Rows in a block: the first ones are small, for the many batches of a row or two.
constexpr std::size_t kBlockMin = 4, kBlockMax = 32;

bool is_before(const TaskRows::Entry& a, const TaskRows::Entry& b) {
  return a.key < b.key;
}

bool is_same(const TaskRows::Entry& a, const TaskRows::Entry& b) {
  return a.key == b.key;
}

}  // namespace

TaskRows::TaskRows(const TaskRows& other) {
  for (const Entry& entry : other.entries_) put(entry.key, TaskRow(*entry.row));
}

TaskRows& TaskRows::operator=(const TaskRows& other) {
  return *this = TaskRows(other);
}

void TaskRows::put(TaskKey key, TaskRow&& row) {
  if (blocks_.empty() || blocks_.back().size() == blocks_.back().capacity()) {
    const std::size_t rows = blocks_.empty() ? kBlockMin : 2 * blocks_.back().capacity();
    blocks_.emplace_back().reserve(std::min(rows, kBlockMax));
  }
  const bool ascends = is_sorted() && (entries_.empty() || entries_.back().key < key);
  sorted_ = std::min(sorted_, entries_.size()) + (ascends ? 1 : 0);
  entries_.push_back({key, &blocks_.back().emplace_back(std::move(row))});
}

void TaskRows::append(TaskRows&& later) {
  if (entries_.empty()) {
    *this = std::move(later);
    return;
  }
  sorted_ = std::min(sorted_, entries_.size());
  blocks_.insert(blocks_.end(), std::make_move_iterator(later.blocks_.begin()),
                 std::make_move_iterator(later.blocks_.end()));
  entries_.insert(entries_.end(), later.entries_.begin(), later.entries_.end());
  later.clear();
}

void TaskRows::erase(TaskKey key) {
  sort();
  const auto place = lower_bound(key);
  if (place != entries_.end() && place->key == key) entries_.erase(place);
}

void TaskRows::clear() {
  blocks_.clear();
  entries_.clear();
}

void TaskRows::sort() {
  if (is_sorted()) return;
  const auto added = entries_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  std::stable_sort(added, entries_.end(), is_before);
  const auto first = std::lower_bound(entries_.begin(), added, *added, is_before);
  std::inplace_merge(first, added, entries_.end(), is_before);
  // Of one task's the last one counts: the first from behind.
  const auto changed = std::make_reverse_iterator(first);
  const auto kept = std::unique(entries_.rbegin(), changed, is_same);
  entries_.erase(first, kept.base());
  sorted_ = entries_.size();
}

const std::vector<TaskRows::Entry>& TaskRows::sorted() const {
  CHECK(is_sorted());
  return entries_;
}

TaskRows::const_iterator TaskRows::lower_bound(TaskKey key) const {
  return std::lower_bound(sorted().begin(), sorted().end(), Entry{key}, is_before);
}

TaskRow* TaskRows::find(TaskKey key) const {
  const const_iterator place = lower_bound(key);
  return place != entries_.end() && place->key == key ? place->row : nullptr;
}

}  // namespace capstan
