// SPDX-License-Identifier: MIT
#include "worker/exec/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/little_endian.h"
#include "common/model/limits.h"
#include "common/model/parse.h"
#include "common/wire/codec.h"
#include "worker/core/pair_codec.h"

namespace capstan {

namespace {

constexpr std::string_view kSpoolMagic = "CAPSPL2\n";
constexpr std::size_t kNumberBytes = 4;
constexpr std::size_t kRecordHeader = 2 * kNumberBytes;  // Length and CRC.
constexpr std::size_t kRecordBytesMax = 64 * 1024;       // A result with both tails is 9 KiB.

constexpr std::size_t kAckedTogether = 1000;  // Keys in one record: 17 KB at most.
constexpr std::uint64_t kGrowth = 4;  // Rewriting costs a third of what was appended meanwhile.

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
  compact_at_ = limits::kSpoolCompactBytes;
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
    std::string_view rest = std::string_view(bytes).substr(at);
    const std::size_t length = take_int(rest, kNumberBytes);
    const std::uint64_t crc = take_int(rest, kNumberBytes);
    if (length > kRecordBytesMax || rest.size() < length) break;
    const std::string_view payload = rest.substr(0, length);
    if (crc32c(payload) != crc) break;
    apply(contents, index, payload);
    at += kRecordHeader + length;
  }
  const auto is_last = [&](const pair::SpoolItem& item) {
    return &contents.items[index.at(item.result.key)] == &item;
  };
  for (pair::SpoolItem& item : contents.items) {  // Told once more: the later one counts.
    if (!is_last(item)) item.acked = item.delivered[0] = item.delivered[1] = true;
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
    std::vector<AttemptKey> keys;
    wire::get(reader, keys);
    reader.u64();
    if (!reader.finished()) return;
    for (const AttemptKey& key : keys) {
      const auto at = index.find(key);
      if (at != index.end()) contents.items[at->second].acked = true;
    }
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
  const std::span<char> header = std::span(pending_).subspan(begin, kRecordHeader);
  set_int(header.first(kNumberBytes), payload.size());
  set_int(header.last(kNumberBytes), crc32c(payload));
}

template <class Write>
void Spool::add_item(const pair::SpoolItem& item, Write write) {
  add_record(kItem, [&](wire::Writer& writer) {
    writer.i64(steady_began_us_ + item.ended_at.us);
    write(writer);
  });
}

void Spool::append(const pair::SpoolItem& item, std::string_view written) {
  add_item(item, [&](wire::Writer& writer) { writer.written(written); });
}

void Spool::acked(const std::vector<AttemptKey>& keys) {
  for (std::size_t at = 0; at < keys.size(); at += kAckedTogether) {
    const std::span some =
        std::span(keys).subspan(at).first(std::min(kAckedTogether, keys.size() - at));
    add_record(kAcked, [&](wire::Writer& writer) {
      wire::put(writer, std::vector(some.begin(), some.end()));
      writer.u64(0);
    });
  }
}

void Spool::delivered(const AttemptKey& key, Stream stream) {
  add_record(kDelivered, [&](wire::Writer& writer) {
    wire::put(writer, key);
    writer.u64(static_cast<std::uint64_t>(stream));
  });
}

void Spool::generation(const Generation& generation) {
  generation_ = generation;
  add_record(kGeneration, [&](wire::Writer& writer) {
    wire::put(writer, generation);
    writer.u64(0);
  });
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
  return {};
}

Result<void> Spool::sync() {
  TRY(flush());
  if (::fdatasync(file_.get()) != 0) return io_error("syncing", path_);
  return {};
}

void Spool::compact(const std::vector<const pair::SpoolItem*>& items) {
  CHECK(pending_.empty());
  // The old file is whole until the new one has its name: a failure only postpones it.
  if (rewrite(items)) {
    compact_at_ = std::max<std::uint64_t>(limits::kSpoolCompactBytes, kGrowth * size_);
  } else {
    pending_.clear();
    ::unlink(fresh_path().c_str());  // A full disk needs the room.
    compact_at_ = 2 * size_;
  }
}

/// A new file, then renamed over the old one.
Result<void> Spool::rewrite(const std::vector<const pair::SpoolItem*>& items) {
  generation(generation_);
  for (const pair::SpoolItem* item : items) {
    add_item(*item, [&](wire::Writer& writer) { pair::put(writer, *item); });
  }
  const std::string fresh_file = fresh_path();
  UniqueFd fresh(::open(fresh_file.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
  if (!fresh) return io_error("making", fresh_file);
  TRY(write_at(fresh.get(), 0, kSpoolMagic, fresh_file));
  TRY(write_at(fresh.get(), kSpoolMagic.size(), pending_, fresh_file));
  if (!items.empty() && ::fdatasync(fresh.get()) != 0) return io_error("syncing", fresh_file);
  if (::rename(fresh_file.c_str(), path_.c_str()) != 0) return io_error("renaming", fresh_file);
  file_ = std::move(fresh);
  size_ = kSpoolMagic.size() + pending_.size();
  std::string().swap(pending_);
  return {};
}

Result<void> Spool::set_aside() {
  TRY(flush());
  const std::string aside = path_ + "." + rfc3339(clock_->wall());
  if (::rename(path_.c_str(), aside.c_str()) != 0) return io_error("setting aside", path_);
  UniqueFd fresh(::open(path_.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
  if (!fresh) return io_error("making", path_);
  file_ = std::move(fresh);
  return begin();
}

}  // namespace capstan
