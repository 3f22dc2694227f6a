// SPDX-License-Identifier: MIT
#include "master/core/interval_set.h"

#include <algorithm>
#include <utility>

namespace capstan {

void IntervalSet::insert(std::uint32_t first, std::uint32_t last) {
  // The first span that could overlap or touch [first, last].
  auto it = spans_.upper_bound(first);
  if (it != spans_.begin()) {
    auto before = std::prev(it);
    if (std::uint64_t{before->second} + 1 >= first) it = before;
  }
  std::uint32_t low = first;
  std::uint32_t high = last;
  while (it != spans_.end() && it->first <= std::uint64_t{last} + 1) {
    low = std::min(low, it->first);
    high = std::max(high, it->second);
    count_ -= std::uint64_t{it->second} - it->first + 1;
    it = spans_.erase(it);
  }
  spans_.emplace_hint(it, low, high);
  count_ += std::uint64_t{high} - low + 1;
}

bool IntervalSet::erase(std::uint32_t value) {
  auto it = spans_.upper_bound(value);
  if (it == spans_.begin()) return false;
  --it;
  if (it->second < value) return false;
  --count_;
  if (it->first == value && it->second == value) {
    spans_.erase(it);
  } else if (it->first == value) {
    // The usual case (tasks are taken from the front): re-key the node instead of making one.
    auto node = spans_.extract(it);
    node.key() = value + 1;
    spans_.insert(std::move(node));
  } else {
    const std::uint32_t last = it->second;
    it->second = value - 1;
    if (value < last) spans_.emplace_hint(std::next(it), value + 1, last);
  }
  return true;
}

void IntervalSet::erase(std::uint32_t first, std::uint32_t last) {
  auto it = spans_.upper_bound(first);
  if (it != spans_.begin() && std::prev(it)->second >= first) --it;
  while (it != spans_.end() && it->first <= last) {
    const auto [low, high] = *it;
    it = spans_.erase(it);
    count_ -= std::uint64_t{std::min(high, last)} - std::max(low, first) + 1;
    if (low < first) spans_.emplace_hint(it, low, first - 1);
    if (high > last) spans_.emplace_hint(it, last + 1, high);
  }
}

bool IntervalSet::contains(std::uint32_t value) const {
  auto it = spans_.upper_bound(value);
  return it != spans_.begin() && std::prev(it)->second >= value;
}

std::optional<std::uint32_t> IntervalSet::next(std::uint32_t from) const {
  auto it = spans_.upper_bound(from);
  if (it != spans_.begin() && std::prev(it)->second >= from) return from;
  if (it == spans_.end()) return std::nullopt;
  return it->first;
}

}  // namespace capstan
