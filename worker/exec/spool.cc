// SPDX-License-Identifier: MIT
#include "worker/exec/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "common/model/limits.h"
#include "common/model/parse.h"
#include "common/wire/codec.h"
#include "worker/core/pair_codec.h"

namespace capstan {

namespace {

constexpr std::string_view kMagic = "CAPSPL1\n";
constexpr std::size_t kRecordHeader = 8;            // Length and CRC, 4 bytes each.
constexpr std::size_t kRecordBytesMax = 64 * 1024;  // A result with both tails is 9 KiB.
enum Kind : std::uint64_t { kItem = 1, kAcked = 2, kDelivered = 3, kGeneration = 4, kKinds = 4 };

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0xEDB88320U : 0U);
    table[i] = value;
  }
  return table;
}();

void put_u32(std::string& out, std::uint32_t value) {
  char bytes[4];
  std::memcpy(bytes, &value, sizeof bytes);
  out.append(bytes, sizeof bytes);
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

Result<std::string> read_all(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error("reading", path);
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t got = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("reading", path);
    if (got == 0) break;
    at += static_cast<std::size_t>(got);
  }
  bytes.resize(at);
  return bytes;
}

}  // namespace

std::uint32_t crc32_of(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

Result<Spool> Spool::open(std::string path, const Clock& clock, Contents& contents) {
  Spool spool(std::move(path), clock);
  spool.file_.reset(::open(spool.path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!spool.file_) return io_error("opening", spool.path_);
  contents = TRY(spool.load());
  spool.generation_ = contents.generation;
  for (const pair::SpoolItem& item : contents.items) {
    const std::uint64_t bytes = spool.item_record(item).size() + kRecordHeader;
    spool.live_[item.result.key] = {bytes, item.acked, {item.delivered[0], item.delivered[1]}};
    spool.live_bytes_ += bytes;
  }
  return spool;
}

Result<void> Spool::begin() {
  size_ = 0;
  if (::ftruncate(file_.get(), 0) != 0) return io_error("emptying", path_);
  TRY(write_at(file_.get(), 0, kMagic, path_));
  size_ = kMagic.size();
  return {};
}

/// Reads the whole file, cuts off a torn end, leaves size_ behind the last good record.
Result<Spool::Contents> Spool::load() {
  Contents contents;
  const std::string bytes = TRY(read_all(file_.get(), path_));
  if (bytes.size() < kMagic.size() && kMagic.starts_with(bytes)) {  // New, or torn at its birth.
    TRY(begin());
    return contents;
  }
  if (!bytes.starts_with(kMagic)) return fail(Errc::Corrupt, path_ + ": not a worker's spool");
  std::size_t at = kMagic.size();
  Index index;
  while (bytes.size() - at >= kRecordHeader) {
    const std::size_t length = get_u32(bytes.data() + at);
    if (length > kRecordBytesMax || bytes.size() - at - kRecordHeader < length) break;
    const std::string_view payload(bytes.data() + at + kRecordHeader, length);
    if (crc32_of(payload) != get_u32(bytes.data() + at + 4)) break;
    apply(contents, index, payload);
    at += kRecordHeader + length;
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
  const std::uint64_t kind = reader.u64(kKinds);
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
  } else if (kind == kAcked || kind == kDelivered) {
    AttemptKey key;
    wire::get(reader, key);
    const std::uint64_t stream = reader.u64(1);
    const auto at = index.find(key);
    if (!reader.finished() || at == index.end()) return;
    pair::SpoolItem& item = contents.items[at->second];
    (kind == kAcked ? item.acked : item.delivered[stream]) = true;
  } else if (kind == kGeneration) {
    Generation generation;
    wire::get(reader, generation);
    reader.u64();
    if (reader.finished()) contents.generation = generation;
  }
}

void Spool::add_record(const std::string& payload) {
  put_u32(pending_, static_cast<std::uint32_t>(payload.size()));
  put_u32(pending_, crc32_of(payload));
  pending_ += payload;
}

std::string Spool::item_record(const pair::SpoolItem& item) const {
  std::string payload;
  wire::Writer writer(payload);
  writer.array(3);
  writer.u64(kItem);
  writer.i64((clock_->wall().us) - (clock_->now() - item.ended_at).count());
  pair::put(writer, item);
  return payload;
}

void Spool::append(const pair::SpoolItem& item) {
  const std::string payload = item_record(item);
  add_record(payload);
  const std::uint64_t bytes = payload.size() + kRecordHeader;
  live_[item.result.key] = {bytes, item.acked, {item.delivered[0], item.delivered[1]}};
  live_bytes_ += bytes;
}

void Spool::acked(const AttemptKey& key) {
  std::string payload;
  wire::Writer writer(payload);
  writer.array(3);
  writer.u64(kAcked);
  wire::put(writer, key);
  writer.u64(0);
  add_record(payload);
  if (const auto it = live_.find(key); it != live_.end()) it->second.acked = true;
  forget_if_done(key);
}

void Spool::delivered(const AttemptKey& key, Stream stream) {
  std::string payload;
  wire::Writer writer(payload);
  writer.array(3);
  writer.u64(kDelivered);
  wire::put(writer, key);
  writer.u64(static_cast<std::uint64_t>(stream));
  add_record(payload);
  const auto it = live_.find(key);
  if (it != live_.end()) it->second.delivered[static_cast<std::size_t>(stream)] = true;
  forget_if_done(key);
}

void Spool::generation(const Generation& generation) {
  generation_ = generation;
  std::string payload;
  wire::Writer writer(payload);
  writer.array(3);
  writer.u64(kGeneration);
  wire::put(writer, generation);
  writer.u64(0);
  add_record(payload);
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
    compact_at_ = compacted ? limits::kSpoolCompactBytes : 2 * size_;
  }
  return {};
}

Result<void> Spool::sync() {
  TRY(flush());
  if (::fdatasync(file_.get()) != 0) return io_error("syncing", path_);
  return {};
}

/// A new file with what is live, then renamed over the old one.
Result<void> Spool::compact() {
  const Contents contents = TRY(load());
  const std::string fresh_path = path_ + ".new";
  UniqueFd fresh(::open(fresh_path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
  if (!fresh) return io_error("making", fresh_path);
  generation(generation_);
  for (const pair::SpoolItem& item : contents.items) add_record(item_record(item));
  const std::string bytes = std::string(kMagic) + pending_;
  pending_.clear();
  TRY(write_at(fresh.get(), 0, bytes, fresh_path));
  if (!contents.items.empty() && ::fdatasync(fresh.get()) != 0) {
    return io_error("syncing", fresh_path);
  }
  if (::rename(fresh_path.c_str(), path_.c_str()) != 0) return io_error("renaming", fresh_path);
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
