// SPDX-License-Identifier: MIT
//
// The results that no master has confirmed yet, as a file: what a shepherd's death leaves to the
// next one. Eight bytes say what it is; then records, each behind its length and its CRC-32C (four
// bytes each, little-endian), so that a torn end is noticed and cut off: msgpack [1, wall_us,
// item], [2, keys, 0] (acknowledged), [3, key, stream] (delivered), [4, generation, 0]. Appends are
// buffered and leave as one write with flush(). Its owner knows what of it still counts, and has it
// rewritten with that. Shepherd thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "common/model/limits.h"
#include "common/model/member.h"
#include "worker/core/pair.h"

namespace capstan {

class Spool {
 public:
  struct Contents {
    std::vector<pair::SpoolItem> items;  ///< In the order in which they were appended.
    Generation generation;
    std::uint64_t torn_bytes = 0;  ///< Cut off: a record that was not written whole.
  };
  /// Opens or makes the file. Errc::Corrupt: it is not a spool.
  static Result<Spool> open(std::string path, const Clock& clock, Contents& contents);

  /// `written`: the item in bytes (pair_codec.h), which are wanted elsewhere as well.
  void append(const pair::SpoolItem& item, std::string_view written);
  void acked(const std::vector<AttemptKey>& keys);
  void delivered(const AttemptKey& key, Stream stream);
  void generation(const Generation& generation);

  /// Writes what was appended. An error leaves the file as it was, and what was appended waits for
  /// the next flush.
  Result<void> flush();
  /// flush, and on the disk when it returns.
  Result<void> sync();
  /// It grew to a multiple of what it was: to be rewritten behind a flush.
  [[nodiscard]] bool is_due() const { return size_ > compact_at_; }
  /// Rewritten with these items alone; a failure leaves it as it was, for later. REQUIRES: nothing
  /// waits for a flush.
  void compact(const std::vector<const pair::SpoolItem*>& items);
  /// Renames the file (the name gets the time) and begins an empty one.
  Result<void> set_aside();

  [[nodiscard]] std::uint64_t file_bytes() const { return size_; }

 private:
  Spool(std::string path, const Clock& clock) : path_(std::move(path)), clock_(&clock) {}
  Result<void> begin();
  Result<Contents> load();
  Result<void> rewrite(const std::vector<const pair::SpoolItem*>& items);
  [[nodiscard]] std::string fresh_path() const { return path_ + ".new"; }
  using Index = std::map<AttemptKey, std::size_t>;  // Where in Contents::items.
  void apply(Contents& contents, Index& index, std::string_view payload) const;
  enum Kind : std::uint64_t { kItem = 1, kAcked = 2, kDelivered = 3, kGeneration = 4 };
  template <class Write>
  void add_record(Kind kind, Write write);
  template <class Write>
  void add_item(const pair::SpoolItem& item, Write write);

  std::string path_;
  const Clock* clock_;
  UniqueFd file_;
  std::uint64_t size_ = 0;  // Of the file, whole records only.
  std::uint64_t compact_at_ = limits::kSpoolCompactBytes;
  std::string pending_;
  std::int64_t steady_began_us_ = 0;  // By the wall clock, when pending_ began.
  Generation generation_;
};

}  // namespace capstan
