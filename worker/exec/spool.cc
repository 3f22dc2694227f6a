// SPDX-License-Identifier: MIT
#include "worker/exec/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "common/model/limits.h"
#include "common/model/parse.h"
#include "common/wire/codec.h"
#include "worker/core/pair_codec.h"

namespace capstan {

namespace {

constexpr std::string_view kSpoolMagic = "CAPSPL1\n";
constexpr std::size_t kRecordHeader = 8;            // Length and CRC, 4 bytes each.
constexpr std::size_t kRecordBytesMax = 64 * 1024;  // A result with both tails is 9 KiB.

constexpr std::size_t kAckedTogether = 1000;  // Keys in one record: 16 KiB at most.

// Eight tables, so that eight bytes are folded in at once: [k][b] is byte b with k zeroes behind
// it.
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;
constexpr CrcTables kCrcTables = [] {
  CrcTables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0xEDB88320U : 0U);
    tables[0][i] = value;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t before = tables[k - 1][i];
      tables[k][i] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}();

void put_u32(char* at, std::uint32_t value) {
  std::memcpy(at, &value, sizeof value);
}
std::uint32_t get_u32(const char* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

tl::unexpected<Error> io_error(const char* doing, const std::string& path) {
  const int error = errno;
  return fail(error == ENOSPC || error == EDQUOT ? Errc::DiskFull : Errc::Io,
              std::string(doing) + " " + path + ": " + errno_text(error));
}

Result<void> write_at(int fd, std::uint64_t at, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error("writing", path);
    at += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> read_at(int fd, std::uint64_t at, std::span<char> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("reading", path);
    if (got == 0) return fail(Errc::Io, "reading " + path + ": it is shorter than it was");
    at += static_cast<std::uint64_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<std::string> read_all(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error("reading", path);
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  TRY(read_at(fd, 0, bytes, path));
  return bytes;
}

}  // namespace

std::uint32_t crc32_of(std::string_view bytes) {
  static_assert(std::endian::native == std::endian::little);
  std::uint32_t crc = 0xFFFFFFFFU;
  while (bytes.size() >= 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes.data(), sizeof eight);
    eight ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kCrcTables[7 - i][(eight >> (8 * i)) & 0xFF];
    bytes.remove_prefix(8);
  }
  for (const char c : bytes)
    crc = (crc >> 8) ^ kCrcTables[0][(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

Result<Spool> Spool::open(std::string path, const Clock& clock, Contents& contents) {
  Spool spool(std::move(path), clock);
  spool.file_.reset(::open(spool.path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!spool.file_) return io_error("opening", spool.path_);
  contents = TRY(spool.load());
  spool.generation_ = contents.generation;
  return spool;
}

Result<void> Spool::begin() {
  size_ = 0;
  if (::ftruncate(file_.get(), 0) != 0) return io_error("emptying", path_);
  TRY(write_at(file_.get(), 0, kSpoolMagic, path_));
  size_ = kSpoolMagic.size();
  return {};
}

/// Reads the whole file, cuts off a torn end, leaves size_ behind the last good record.
Result<Spool::Contents> Spool::load() {
  Contents contents;
  const std::string bytes = TRY(read_all(file_.get(), path_));
  if (bytes.size() < kSpoolMagic.size() &&
      kSpoolMagic.starts_with(bytes)) {  // New, or torn at its birth.
    TRY(begin());
    return contents;
  }
  if (!bytes.starts_with(kSpoolMagic)) return fail(Errc::Corrupt, path_ + ": not a worker's spool");
  std::size_t at = kSpoolMagic.size();
  Index index;
  while (bytes.size() - at >= kRecordHeader) {
    const std::size_t length = get_u32(bytes.data() + at);
    if (length > kRecordBytesMax || bytes.size() - at - kRecordHeader < length) break;
    const std::string_view payload(bytes.data() + at + kRecordHeader, length);
    if (crc32_of(payload) != get_u32(bytes.data() + at + 4)) break;
    const std::size_t items_before = contents.items.size();
    apply(contents, index, payload);
    if (contents.items.size() > items_before) {
      put_live(contents.items.back().result.key, {.at = at, .bytes = kRecordHeader + length});
    }
    at += kRecordHeader + length;
  }
  const auto is_last = [&](const pair::SpoolItem& item) {
    return &contents.items[index.at(item.result.key)] == &item;
  };
  for (pair::SpoolItem& item : contents.items) {
    if (!is_last(item)) {  // Told once more: the later one counts.
      item.acked = item.delivered[0] = item.delivered[1] = true;
      continue;
    }
    Live& live = live_.find(item.result.key)->second;
    live.acked = item.acked;
    std::copy(item.delivered.begin(), item.delivered.end(), live.delivered);
    forget_if_done(item.result.key);
  }
  std::erase_if(contents.items, [](const pair::SpoolItem& item) { return item.is_done(); });
  contents.torn_bytes = bytes.size() - at;
  if (contents.torn_bytes > 0 && ::ftruncate(file_.get(), static_cast<off_t>(at)) != 0) {
    return io_error("cutting off the torn end of", path_);
  }
  size_ = at;
  return contents;
}

void Spool::apply(Contents& contents, Index& index, std::string_view payload) const {
  wire::Reader reader(payload);
  reader.array(3);
  const std::uint64_t kind = reader.u64(kGeneration);
  if (kind == kItem) {
    pair::SpoolItem item;
    const std::int64_t wall_us = reader.i64();
    pair::get(reader, item);
    // Steady time does not outlive a boot; wall time does, more or less.
    const Micros ago{std::max<std::int64_t>(0, clock_->wall().us - wall_us)};
    item.ended_at = clock_->now() - ago;
    if (!reader.finished()) return;
    index[item.result.key] = contents.items.size();
    contents.items.push_back(std::move(item));
  } else if (kind == kAcked) {
    const std::size_t count = reader.array_up_to(kAckedTogether);
    for (std::size_t i = 0; i < count && reader.ok(); ++i) {
      AttemptKey key;
      wire::get(reader, key);
      const auto at = index.find(key);
      if (reader.ok() && at != index.end()) contents.items[at->second].acked = true;
    }
    reader.u64();
  } else if (kind == kDelivered) {
    AttemptKey key;
    wire::get(reader, key);
    const std::uint64_t stream = reader.u64(1);
    const auto at = index.find(key);
    if (reader.finished() && at != index.end()) contents.items[at->second].delivered[stream] = true;
  } else if (kind == kGeneration) {
    Generation generation;
    wire::get(reader, generation);
    reader.u64();
    if (reader.finished()) contents.generation = generation;
  }
}

template <class Write>
void Spool::add_record(Kind kind, Write write) {
  const std::size_t begin = pending_.size();
  if (begin == 0) steady_began_us_ = clock_->wall().us - clock_->now().us;
  pending_.append(kRecordHeader, '\0');
  wire::Writer writer(pending_);
  writer.array(3);
  writer.u64(kind);
  write(writer);
  writer.finish();
  const std::string_view payload = std::string_view(pending_).substr(begin + kRecordHeader);
  put_u32(pending_.data() + begin, static_cast<std::uint32_t>(payload.size()));
  put_u32(pending_.data() + begin + 4, crc32_of(payload));
}

void Spool::append(const pair::SpoolItem& item, std::string_view written) {
  const std::size_t begin = pending_.size();
  add_record(kItem, [&](wire::Writer& writer) {
    writer.i64(steady_began_us_ + item.ended_at.us);
    writer.written(written);
  });
  const std::uint64_t bytes = pending_.size() - begin;
  put_live(item.result.key, {.at = size_ + begin,
                             .bytes = bytes,
                             .acked = item.acked,
                             .delivered = {item.delivered[0], item.delivered[1]}});
}

/// Behind all others. One that is told again stands there anew.
void Spool::put_live(const AttemptKey& key, Live live) {
  if (const auto known = live_.find(key); known != live_.end()) {
    live_bytes_ -= known->second.bytes;
    live_.erase(known);
  }
  live_bytes_ += live.bytes;
  live_.try_emplace(key).first->second = live;
}

void Spool::add_acked(const AttemptKey* keys, std::size_t count) {
  add_record(kAcked, [&](wire::Writer& writer) {
    writer.array(count);
    for (std::size_t i = 0; i < count; ++i) wire::put(writer, keys[i]);
    writer.u64(0);
  });
}

void Spool::acked(const std::vector<AttemptKey>& keys) {
  for (std::size_t at = 0; at < keys.size(); at += kAckedTogether) {
    add_acked(keys.data() + at, std::min(kAckedTogether, keys.size() - at));
  }
  for (const AttemptKey& key : keys) {
    if (const auto it = live_.find(key); it != live_.end()) it->second.acked = true;
    forget_if_done(key);
  }
}

void Spool::add_delivered(const AttemptKey& key, Stream stream) {
  add_record(kDelivered, [&](wire::Writer& writer) {
    wire::put(writer, key);
    writer.u64(static_cast<std::uint64_t>(stream));
  });
}

void Spool::delivered(const AttemptKey& key, Stream stream) {
  add_delivered(key, stream);
  const auto it = live_.find(key);
  if (it != live_.end()) it->second.delivered[static_cast<std::size_t>(stream)] = true;
  forget_if_done(key);
}

void Spool::generation(const Generation& generation) {
  generation_ = generation;
  add_record(kGeneration, [&](wire::Writer& writer) {
    wire::put(writer, generation);
    writer.u64(0);
  });
}

void Spool::forget_if_done(const AttemptKey& key) {
  const auto it = live_.find(key);
  if (it == live_.end()) return;
  const Live& live = it->second;
  if (!live.acked || !live.delivered[0] || !live.delivered[1]) return;
  live_bytes_ -= live.bytes;
  live_.erase(it);
}

Result<void> Spool::flush() {
  if (pending_.empty()) return {};
  const Result<void> written = write_at(file_.get(), size_, pending_, path_);
  if (!written) {
    // A part may be there: off with it, or the next start takes what follows for torn.
    if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) return io_error("writing", path_);
    return written;
  }
  size_ += pending_.size();
  pending_.clear();
  if (size_ > compact_at_ && size_ > 4 * live_bytes_) {
    // The old file is whole until the new one has its name: a failure only postpones it.
    const bool compacted = compact().has_value();
    if (!compacted) ::unlink(fresh_path().c_str());  // A full disk needs the room.
    compact_at_ = compacted ? limits::kSpoolCompactBytes : 2 * size_;
  }
  return {};
}

Result<void> Spool::sync() {
  TRY(flush());
  if (::fdatasync(file_.get()) != 0) return io_error("syncing", path_);
  return {};
}

/// A new file with what is live, record by record as it stands in the old one, then renamed over
/// it. REQUIRES: nothing is pending.
Result<void> Spool::compact() {
  std::string bytes(kSpoolMagic);
  for (const auto& [key, live] : live_) {
    bytes.resize(bytes.size() + live.bytes);
    TRY(read_at(file_.get(), live.at, std::span(bytes).last(live.bytes), path_));
  }
  const std::string fresh_file = fresh_path();
  UniqueFd fresh(::open(fresh_file.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
  if (!fresh) return io_error("making", fresh_file);
  generation(generation_);
  for (const auto& [key, live] : live_) {
    if (live.acked) add_acked(&key, 1);
    if (live.delivered[0]) add_delivered(key, Stream::Stdout);
    if (live.delivered[1]) add_delivered(key, Stream::Stderr);
  }
  bytes += std::exchange(pending_, {});
  TRY(write_at(fresh.get(), 0, bytes, fresh_file));
  if (!live_.empty() && ::fdatasync(fresh.get()) != 0) return io_error("syncing", fresh_file);
  if (::rename(fresh_file.c_str(), path_.c_str()) != 0) return io_error("renaming", fresh_file);
  std::uint64_t at = kSpoolMagic.size();
  for (auto& [key, live] : live_) live.at = std::exchange(at, at + live.bytes);
  file_ = std::move(fresh);
  size_ = bytes.size();
  return {};
}

Result<void> Spool::set_aside() {
  TRY(flush());
  const std::string aside = path_ + "." + rfc3339(clock_->wall());
  if (::rename(path_.c_str(), aside.c_str()) != 0) return io_error("setting aside", path_);
  UniqueFd fresh(::open(path_.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
  if (!fresh) return io_error("making", path_);
  file_ = std::move(fresh);
  live_.clear();
  live_bytes_ = 0;
  return begin();
}

}  // namespace capstan
