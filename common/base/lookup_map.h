// SPDX-License-Identifier: MIT
//
// A hash map that nobody can walk through, so that nothing ever depends on its order: what pure
// machines may use where only single keys are looked up.
#pragma once

#include <tsl/robin_map.h>

#include <optional>
#include <utility>

namespace capstan {

template <class Key, class Value>
class LookupMap {
 public:
  LookupMap() { map_.min_load_factor(kMinLoad); }

  /// Null: it has none. Valid until the next change.
  [[nodiscard]] const Value* find(const Key& key) const {
    const auto it = map_.find(key);
    return it == map_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] bool contains(const Key& key) const { return map_.contains(key); }
  /// False: there is one already, which stays.
  bool insert(const Key& key, Value value) { return map_.emplace(key, std::move(value)).second; }
  void set(const Key& key, Value value) { map_.insert_or_assign(key, std::move(value)); }
  void erase(const Key& key) { map_.erase(key); }
  /// What it had, which goes.
  std::optional<Value> take(const Key& key) {
    const auto it = map_.find(key);
    if (it == map_.end()) return std::nullopt;
    std::optional<Value> taken(std::move(it.value()));
    map_.erase(it);
    return taken;
  }
  void clear() { map_.clear(); }

 private:
  static constexpr float kMinLoad = 0.05F;  // Emptier than that, it shrinks with what comes next.

  tsl::robin_map<Key, Value> map_;
};

}  // namespace capstan
