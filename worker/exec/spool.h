// SPDX-License-Identifier: MIT
//
// The results that no master has confirmed yet, as a file: what a shepherd's death leaves to the
// next one. Append-only; each record stands behind its length and its CRC-32, so that a torn end is
// noticed and cut off. Appends are buffered and leave as one write with flush(). Rewritten when it
// is mostly about things that are over. docs/storage.md has the format. Shepherd thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/keyed_list.h"
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
  /// Renames the file (the name gets the time) and begins an empty one.
  Result<void> set_aside();

  [[nodiscard]] std::uint64_t file_bytes() const { return size_; }

 private:
  struct Live {
    std::uint64_t at = 0;     // Where its record begins in the file.
    std::uint64_t bytes = 0;  // Of the record, header included.
    bool acked = false;
    bool delivered[2]{};
  };
  Spool(std::string path, const Clock& clock) : path_(std::move(path)), clock_(&clock) {}
  Result<void> begin();
  Result<Contents> load();
  Result<void> compact();
  [[nodiscard]] std::string fresh_path() const { return path_ + ".new"; }
  using Index = std::map<AttemptKey, std::size_t>;  // Where in Contents::items.
  void apply(Contents& contents, Index& index, std::string_view payload) const;
  enum Kind : std::uint64_t { kItem = 1, kAcked = 2, kDelivered = 3, kGeneration = 4 };
  template <class Write>
  void add_record(Kind kind, Write write);
  void add_acked(const AttemptKey* keys, std::size_t count);
  void add_delivered(const AttemptKey& key, Stream stream);
  void put_live(const AttemptKey& key, Live live);
  void forget_if_done(const AttemptKey& key);

  std::string path_;
  const Clock* clock_;
  UniqueFd file_;
  std::uint64_t size_ = 0;  // Of the file, whole records only.
  std::uint64_t compact_at_ = limits::kSpoolCompactBytes;
  std::string pending_;
  std::int64_t steady_began_us_ = 0;  // By the wall clock, when pending_ began.
  KeyedList<AttemptKey, Live> live_;  // As they stand in the file.
  std::uint64_t live_bytes_ = 0;
  Generation generation_;
};

/// CRC-32 (IEEE 802.3), as in gzip.
std::uint32_t crc32_of(std::string_view bytes);

}  // namespace capstan
