// SPDX-License-Identifier: MIT
#include "master/store/log_pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include "common/base/crc32c.h"
#include "common/base/little_endian.h"
#include "common/model/limits.h"
#include "master/store/files.h"

namespace capstan::store {
namespace {

constexpr std::string_view kMagic = "CPL1";
constexpr std::size_t kHeaderBytes = 40;
constexpr std::size_t kLengthMax = limits::kFrameBytes;  // Nobody sends more in one piece.
// A sync is due after so many bytes: less than this and one record can be torn at the end.
constexpr std::size_t kSyncBytes = 2 << 20;
// At an opening the data of so many bytes at the end are checked, not only the headers.
constexpr std::uint64_t kCheckedBytes = 2 * kSyncBytes + kLengthMax;
constexpr std::size_t kPacksOpen = 64;
constexpr std::size_t kIndexBytes = 16 << 20;  // Of all packs in use.
/// Of a stream without any extent: the nodes of a million empty ones are memory too.
constexpr std::size_t kStreamBytes = 128;
// Headers are read in blocks: of small records many at once, of large ones little in vain.
constexpr std::size_t kBlockBytes = 8 * 1024;
constexpr std::size_t kSearchBytes = 64 * 1024;

struct Header {
  std::uint32_t task = 0;
  std::uint32_t attempt = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t data_crc = 0;
  std::uint8_t stream = 0;
  bool last = false;
};

template <class T>
T take(std::string_view& in) {
  return static_cast<T>(take_int(in, sizeof(T)));
}

/// A header counts only at its place in its job's file: output that looks like one does not.
std::uint32_t header_crc(std::string_view body, JobId job, std::uint64_t at) {
  std::string place;
  put_int(place, job.value, 8);
  put_int(place, at, 8);
  return crc32c(place, crc32c(body));
}

std::string encode(const Header& h, JobId job, std::uint64_t at) {
  std::string body;
  put_int(body, h.task, 4);
  put_int(body, h.attempt, 4);
  put_int(body, h.offset, 8);
  put_int(body, h.length, 4);
  put_int(body, h.data_crc, 4);
  put_int(body, h.stream, 1);
  put_int(body, h.last ? 1 : 0, 1);
  body.resize(kHeaderBytes - 8, '\0');
  std::string header(kMagic);
  put_int(header, header_crc(body, job, at), 4);
  return header + body;
}

std::optional<Header> decode(std::string_view bytes, JobId job, std::uint64_t at) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) return std::nullopt;
  bytes = bytes.substr(kMagic.size(), kHeaderBytes - kMagic.size());
  const auto crc = take<std::uint32_t>(bytes);
  if (crc != header_crc(bytes, job, at)) return std::nullopt;
  Header h;
  h.task = take<std::uint32_t>(bytes);
  h.attempt = take<std::uint32_t>(bytes);
  h.offset = take<std::uint64_t>(bytes);
  h.length = take<std::uint32_t>(bytes);
  h.data_crc = take<std::uint32_t>(bytes);
  h.stream = take<std::uint8_t>(bytes);
  h.last = take<std::uint8_t>(bytes) != 0;
  if (h.length > kLengthMax || h.stream > 1) return std::nullopt;
  return h;
}

/// Bytes of a file in ascending places, read in blocks.
class BlockReader {
 public:
  BlockReader(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  /// kHeaderBytes from `at` on, fewer at the end of the file. Valid until the next call.
  Result<std::string_view> header_at(std::uint64_t at) {
    const std::uint64_t end = std::min<std::uint64_t>(at + kHeaderBytes, size_);
    if (at < begin_ || end > begin_ + block_.size()) {
      block_ = TRY(read_at(fd_, kBlockBytes, at));
      begin_ = at;
    }
    return std::string_view(block_).substr(at - begin_, kHeaderBytes);
  }

 private:
  int fd_;
  std::uint64_t size_;
  std::uint64_t begin_ = 0;
  std::string block_;
};

/// The next header behind damaged bytes.
Result<std::optional<std::uint64_t>> find_header(int fd, JobId job, std::uint64_t from) {
  while (true) {
    const std::string block = TRY(read_at(fd, kSearchBytes, from));
    for (std::size_t i = block.find(kMagic); i != std::string::npos;
         i = block.find(kMagic, i + 1)) {
      if (i + kHeaderBytes > block.size()) break;
      if (decode(std::string_view(block).substr(i), job, from + i)) {
        return std::optional<std::uint64_t>(from + i);
      }
    }
    if (block.size() < kSearchBytes) return std::optional<std::uint64_t>();
    from += block.size() - kHeaderBytes;
  }
}

}  // namespace

std::string LogPacks::path_of(JobId job) const {
  return dir_ + "/" + std::to_string(job.value) + ".pack";
}

Result<LogPacks::Pack*> LogPacks::use(JobId job, bool create) {
  if (auto it = packs_.find(job); it != packs_.end()) {
    it->second.used = ++uses_;
    return &it->second;
  }
  const std::string path = path_of(job);
  Pack pack;
  pack.fd.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!pack.fd && errno == ENOENT && !create) return static_cast<Pack*>(nullptr);
  if (!pack.fd && errno == ENOENT) {
    ::mkdir(dir_.c_str(), 0700);
    pack.fd.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (pack.fd) TRY(sync_dir(dir_));
  }
  if (!pack.fd) return fail(Errc::Io, "opening " + path + ": " + errno_text(errno));
  Result<void> loaded = load(job, pack);
  if (!loaded) return fail(std::move(loaded).error(), path);
  pack.used = ++uses_;
  Pack* kept = &packs_.emplace(job, std::move(pack)).first->second;
  evict(job);
  return kept;
}

Result<void> LogPacks::load(JobId job, Pack& pack) {
  struct stat status {};
  if (::fstat(pack.fd.get(), &status) != 0) return fail(Errc::Io, errno_text(errno));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::uint64_t at = 0;
  BlockReader blocks(pack.fd.get(), size);
  while (at < size) {
    const std::optional<Header> header = decode(TRY(blocks.header_at(at)), job, at);
    const std::uint64_t data_at = at + kHeaderBytes;
    if (!header || data_at + header->length > size) {
      const auto next = TRY(find_header(pack.fd.get(), job, at + 1));
      if (!next) break;
      at = *next;
      continue;
    }
    at = data_at + header->length;
    if (size - data_at <= kCheckedBytes) {
      const std::string data = TRY(read_at(pack.fd.get(), header->length, data_at));
      if (data.size() != header->length || crc32c(data) != header->data_crc) continue;
    }
    const auto stream = static_cast<Stream>(header->stream);
    StreamIndex& index =
        pack.streams[{TaskIndex(header->task), AttemptNo(header->attempt), stream}];
    if (header->length > 0) {
      index.extents.push_back({header->offset, data_at, header->length, header->data_crc});
      ++pack.extents;
    }
    index.upto = std::max(index.upto, header->offset + header->length);
    index.last = index.last || header->last;
    pack.end = at;
  }
  if (pack.end == size) return {};
  // A torn tail: nobody was told that it is here.
  if (::ftruncate(pack.fd.get(), static_cast<off_t>(pack.end)) != 0) {
    return fail(Errc::Io, "cutting off a torn tail: " + errno_text(errno));
  }
  return sync_data(pack.fd.get());
}

void LogPacks::evict(JobId except) {
  const auto too_many = [this] {
    std::size_t bytes = 0;
    for (const auto& [job, pack] : packs_)
      bytes += pack.extents * sizeof(Extent) + pack.streams.size() * kStreamBytes;
    return packs_.size() > kPacksOpen || bytes > kIndexBytes;
  };
  while (packs_.size() > 1 && too_many()) {
    auto oldest = packs_.end();
    for (auto it = packs_.begin(); it != packs_.end(); ++it) {
      if (it->first == except || !it->second.pending.empty()) continue;
      if (oldest == packs_.end() || it->second.used < oldest->second.used) oldest = it;
    }
    if (oldest == packs_.end()) return;
    packs_.erase(oldest);
  }
}

Result<void> LogPacks::append(const std::vector<msg::LogChunk>& chunks) {
  std::set<JobId> jobs;
  const auto store_all = [&]() -> Result<void> {
    for (const msg::LogChunk& chunk : chunks) {
      jobs.insert(chunk.key.job);
      Pack* pack = TRY(use(chunk.key.job, true));
      TRY(add(chunk.key.job, *pack, chunk));
      if (pack->pending.size() >= kSyncBytes) TRY(write_pending(*pack));
    }
    for (const JobId job : jobs) {
      const auto pack = packs_.find(job);  // Gone when it had nothing to write.
      if (pack != packs_.end()) TRY(write_pending(pack->second));
    }
    return {};
  };
  Result<void> stored = store_all();
  // An index that is ahead of its file is read anew when it is next needed.
  if (!stored) {
    for (const JobId job : jobs) packs_.erase(job);
  }
  return stored;
}

Result<void> LogPacks::add(JobId job, Pack& pack, const msg::LogChunk& chunk) {
  if (chunk.data.size() > kLengthMax) return fail(Errc::Invalid, "a piece of output is too long");
  StreamIndex& index = pack.streams[{chunk.key.task, chunk.key.attempt, chunk.stream}];
  const std::uint64_t end = chunk.offset + chunk.data.size();
  if (index.last || (end <= index.upto && !chunk.last)) return {};
  const std::uint64_t from = std::max(chunk.offset, index.upto);
  const std::string_view data =
      end <= from ? std::string_view{} : std::string_view(chunk.data).substr(from - chunk.offset);
  Header header;
  header.task = chunk.key.task.value;
  header.attempt = chunk.key.attempt.value;
  header.offset = from;
  header.length = static_cast<std::uint32_t>(data.size());
  header.data_crc = crc32c(data);
  header.stream = static_cast<std::uint8_t>(chunk.stream);
  header.last = chunk.last;
  const std::uint64_t at = pack.end + pack.pending.size();
  pack.pending += encode(header, job, at);
  pack.pending += data;
  if (!data.empty()) {
    index.extents.push_back({from, at + kHeaderBytes, header.length, header.data_crc});
    ++pack.extents;
  }
  index.upto = from + data.size();
  index.last = chunk.last;
  return {};
}

Result<void> LogPacks::write_pending(Pack& pack) {
  if (pack.pending.empty()) return {};
  Result<void> written = write_at(pack.fd.get(), pack.pending, pack.end);
  if (written) written = sync_data(pack.fd.get());
  if (!written) {
    // Best effort: what stays is a torn tail, and cut off when the pack is next opened.
    static_cast<void>(::ftruncate(pack.fd.get(), static_cast<off_t>(pack.end)) == 0);
    return written;
  }
  pack.end += pack.pending.size();
  pack.pending.clear();
  return {};
}

Result<LogSlice> LogPacks::read(const LogAsk& ask) {
  LogSlice slice;
  slice.offset = ask.offset;
  Pack* pack = TRY(use(ask.key.job, false));
  if (pack == nullptr) return slice;
  const auto stream = pack->streams.find({ask.key.task, ask.key.attempt, ask.stream});
  if (stream == pack->streams.end()) return slice;
  const StreamIndex& index = stream->second;
  auto extent = std::upper_bound(
      index.extents.begin(), index.extents.end(), ask.offset,
      [](std::uint64_t offset, const Extent& e) { return offset < e.offset + e.length; });
  if (extent != index.extents.end()) slice.offset = std::max(ask.offset, extent->offset);
  for (; extent != index.extents.end() && slice.data.size() < ask.max; ++extent) {
    const std::uint64_t next = slice.offset + slice.data.size();
    if (extent->offset > next) break;  // A hole: the next read tells of it.
    const std::string data = TRY(read_at(pack->fd.get(), extent->length, extent->at));
    if (data.size() != extent->length || crc32c(data) != extent->crc) {
      return fail(Errc::Corrupt, path_of(ask.key.job) + ": output of " + to_string(ask.key) +
                                     " is damaged at byte " + std::to_string(extent->offset));
    }
    slice.data.append(data, next - extent->offset, ask.max - slice.data.size());
  }
  slice.total = index.upto;
  slice.end = index.last && slice.offset + slice.data.size() >= index.upto;
  return slice;
}

std::vector<JobId> LogPacks::jobs() const {
  std::vector<JobId> jobs;
  std::error_code error;
  for (std::filesystem::directory_iterator it(dir_, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".pack") continue;
    const std::string name = it->path().stem().string();
    std::uint64_t number = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), number);
    if (read.ec != std::errc() || read.ptr != name.data() + name.size()) continue;
    jobs.emplace_back(number);
  }
  std::sort(jobs.begin(), jobs.end());
  return jobs;
}

Result<std::vector<LogStream>> LogPacks::list(const std::optional<LogStreamId>& after,
                                              std::size_t max) {
  // The directory is read once a walk: what gets its first output later is not looked for.
  if (!after) listed_ = jobs();
  std::vector<LogStream> found;
  auto job = std::lower_bound(listed_.begin(), listed_.end(), after ? after->key.job : JobId{});
  for (; job != listed_.end() && found.size() < max; ++job) {
    Pack* pack = TRY(use(*job, false));
    if (pack == nullptr) continue;
    auto stream = pack->streams.begin();
    if (after && after->key.job == *job)
      stream = pack->streams.upper_bound({after->key.task, after->key.attempt, after->stream});
    for (; stream != pack->streams.end() && found.size() < max; ++stream) {
      const auto& [task, attempt, which] = stream->first;
      found.push_back({{{*job, task, attempt}, which}, stream->second.upto, stream->second.last});
    }
  }
  return found;
}

Result<void> LogPacks::remove(JobId job) {
  packs_.erase(job);
  if (::unlink(path_of(job).c_str()) != 0 && errno != ENOENT) {
    return fail(Errc::Io, "removing " + path_of(job) + ": " + errno_text(errno));
  }
  return {};
}

}  // namespace capstan::store
