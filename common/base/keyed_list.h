// SPDX-License-Identifier: MIT
//
// Entries in the order in which they came, each found by its key: adding at the end, finding and
// taking out cost the same however many there are, and nothing depends on how keys are hashed.
#pragma once

#include <tsl/robin_set.h>

#include <cstddef>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <utility>

namespace capstan {

/// Of entries that went, up to `kSpare` wait for the next ones: thousands come and go each second,
/// and the allocator would take them apart and put them together again.
template <class Key, class Value, std::size_t kSpare = 4096>
class KeyedList {
  using List = std::list<std::pair<Key, Value>>;

 public:
  /// Valid until its entry goes. Nobody may change an entry's key.
  using iterator = typename List::iterator;
  using const_iterator = typename List::const_iterator;

  KeyedList() { places_.min_load_factor(kMinLoad); }
  KeyedList(const KeyedList&) = delete;  // Its places would be those of the other one's entries.
  KeyedList& operator=(const KeyedList&) = delete;
  KeyedList(KeyedList&&) noexcept = default;
  KeyedList& operator=(KeyedList&&) noexcept = default;
  ~KeyedList() = default;

  [[nodiscard]] iterator begin() { return entries_.begin(); }
  [[nodiscard]] iterator end() { return entries_.end(); }
  [[nodiscard]] const_iterator begin() const { return entries_.begin(); }
  [[nodiscard]] const_iterator end() const { return entries_.end(); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  [[nodiscard]] bool contains(const Key& key) const { return places_.contains(key); }
  [[nodiscard]] iterator find(const Key& key) {
    const auto place = places_.find(key);
    return place == places_.end() ? entries_.end() : *place;
  }
  [[nodiscard]] const_iterator find(const Key& key) const {
    const auto place = places_.find(key);
    return place == places_.end() ? entries_.end() : const_iterator(*place);
  }
  /// REQUIRES: it is there.
  [[nodiscard]] const Value& at(const Key& key) const { return find(key)->second; }
  /// At the end; false: it is there already, where it was.
  std::pair<iterator, bool> try_emplace(const Key& key) {
    if (spare_.empty()) spare_.emplace_front(key, Value{});
    const iterator fresh = spare_.begin();
    fresh->first = key;
    const auto [place, is_new] = places_.insert(fresh);
    if (is_new) entries_.splice(entries_.end(), spare_, fresh);
    return {*place, is_new};
  }
  void erase(iterator entry) {
    places_.erase(entry->first);
    put_by(entry);
  }
  void erase(const Key& key) {
    const auto place = places_.find(key);
    if (place == places_.end()) return;
    const iterator entry = *place;
    places_.erase(place);
    put_by(entry);
  }
  void clear() {
    entries_.clear();
    places_.clear();
  }

 private:
  void put_by(iterator entry) {
    if (spare_.size() >= kSpare) {
      entries_.erase(entry);
      return;
    }
    std::destroy_at(&entry->second);
    std::construct_at(&entry->second);
    spare_.splice(spare_.begin(), entries_, entry);
  }

  static constexpr float kMinLoad = 0.01F;  // Emptier than that, the table shrinks again.

  // The table has places alone, and finds them by the keys that stand there: half as large, it
  // stays in the cache where keys beside them would not.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Key& key) const { return std::hash<Key>{}(key); }
    std::size_t operator()(const iterator& place) const { return std::hash<Key>{}(place->first); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const iterator& a, const iterator& b) const { return a->first == b->first; }
    bool operator()(const iterator& a, const Key& key) const { return a->first == key; }
    bool operator()(const Key& key, const iterator& a) const { return a->first == key; }
  };
  static constexpr bool kKeepsHashes = true;

  List entries_;
  List spare_;
  tsl::robin_set<iterator, Hash, Equal, std::allocator<iterator>, kKeepsHashes> places_;
};

}  // namespace capstan
