// SPDX-License-Identifier: MIT
//
// A set of task ordinals kept as intervals: a million waiting tasks are one of them. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace capstan {

class IntervalSet {
 public:
  void insert(std::uint32_t value) { insert(value, value); }
  /// Both ends belong to it. Overlap with what is there is allowed.
  void insert(std::uint32_t first, std::uint32_t last);
  /// True when it was there.
  bool erase(std::uint32_t value);
  void erase(std::uint32_t first, std::uint32_t last);
  void clear() {
    spans_.clear();
    count_ = 0;
  }
  [[nodiscard]] bool contains(std::uint32_t value) const;
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] bool empty() const { return spans_.empty(); }
  /// The smallest element not below `from`.
  [[nodiscard]] std::optional<std::uint32_t> next(std::uint32_t from) const;
  /// first -> last, ascending, neither overlapping nor touching.
  [[nodiscard]] const std::map<std::uint32_t, std::uint32_t>& spans() const { return spans_; }
  bool operator==(const IntervalSet&) const = default;

 private:
  std::map<std::uint32_t, std::uint32_t> spans_;
  std::uint64_t count_ = 0;
};

}  // namespace capstan
