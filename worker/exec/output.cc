// SPDX-License-Identifier: MIT
#include "worker/exec/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/little_endian.h"
#include "common/model/limits.h"

namespace capstan {

namespace {

constexpr std::string_view kMagic = "CAPOUT1\n";
constexpr std::size_t kTotalAt = 8;
constexpr std::size_t kTotalBytes = 8;
constexpr std::size_t kHeaderBytes = kTotalAt + kTotalBytes;
constexpr std::uint64_t kHead = limits::kCaptureHeadBytes;
constexpr std::uint64_t kRing = limits::kCaptureRingBytes;

/// Where a byte of the stream is in the file, and how many follow it there in one piece.
struct Place {
  std::uint64_t position;
  std::uint64_t run;
};
Place place_of(std::uint64_t offset) {
  if (offset < kHead) return {kHeaderBytes + offset, kHead - offset};
  const std::uint64_t in_ring = (offset - kHead) % kRing;
  return {kHeaderBytes + kHead + in_ring, kRing - in_ring};
}

/// The first byte from `offset` on that a stream of `total` bytes still has.
std::uint64_t first_kept(std::uint64_t offset, std::uint64_t total) {
  if (offset < kHead || total <= kHead + kRing) return offset;
  return std::max(offset, total - kRing);
}

bool read_whole(int fd, std::uint64_t position, char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::pread(fd, data, size, static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    data += got;
    position += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

Result<std::uint64_t> read_total(int fd, const std::string& path) {
  char header[kHeaderBytes];
  if (!read_whole(fd, 0, header, sizeof header) ||
      std::string_view(header, kMagic.size()) != kMagic) {
    return fail(Errc::Corrupt, path + ": not an output file");
  }
  return get_int({header + kTotalAt, kTotalBytes});
}

}  // namespace

std::string output_path(const std::string& dir, const AttemptKey& key, Stream stream) {
  return dir + "/" + std::to_string(key.job.value) + "/" + std::to_string(key.task.value) + "." +
         std::to_string(key.attempt.value) + (stream == Stream::Stdout ? ".out" : ".err");
}

void drop_output(const std::string& dir, const AttemptKey& key, Stream stream) {
  if (::unlink(output_path(dir, key, stream).c_str()) != 0) return;
  ::rmdir((dir + "/" + std::to_string(key.job.value)).c_str());
}

Result<void> OutputWriter::refuse(const char* doing) {
  const int error = errno;
  broken_ = true;
  file_.reset();
  ::unlink(path_.c_str());
  return fail(error == ENOSPC || error == EDQUOT ? Errc::DiskFull : Errc::Io,
              std::string(doing) + " " + path_ + ": " + errno_text(error));
}

Result<void> OutputWriter::put(std::uint64_t position, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return refuse("writing");
    position += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> OutputWriter::store(std::uint64_t offset, std::string_view bytes) {
  char total[kTotalBytes];
  set_int(total, offset + bytes.size());
  TRY(put(kTotalAt, {total, kTotalBytes}));
  while (!bytes.empty()) {
    const Place place = place_of(offset);
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(place.run, bytes.size()));
    TRY(put(place.position, bytes.substr(0, size)));
    offset += size;
    bytes.remove_prefix(size);
  }
  return {};
}

Result<void> OutputWriter::spill() {
  const int flags = O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC;
  file_.reset(::open(path_.c_str(), flags, 0600));
  if (!file_ && errno == ENOENT) {  // The job's first output here.
    const std::string job_dir = path_.substr(0, path_.rfind('/'));
    ::mkdir(job_dir.substr(0, job_dir.rfind('/')).c_str(), 0700);
    ::mkdir(job_dir.c_str(), 0700);
    file_.reset(::open(path_.c_str(), flags, 0600));
  }
  if (!file_) return refuse("making");
  TRY(put(0, kMagic));
  return store(0, tail_);
}

Result<void> OutputWriter::write(std::string_view bytes) {
  const std::uint64_t offset = total_;
  total_ += bytes.size();
  Result<void> written;
  if (file_) {
    written = store(offset, bytes);
  } else if (!broken_ && (followed_ || total_ > limits::kTailBytes)) {
    tail_.append(bytes);
    written = spill();
    bytes = {};
  }
  if (bytes.size() >= limits::kTailBytes) tail_.clear();
  tail_.append(bytes);
  if (tail_.size() > 4 * limits::kTailBytes) tail_.erase(0, tail_.size() - limits::kTailBytes);
  return written;
}

Result<void> OutputWriter::follow() {
  if (followed_) return {};
  followed_ = true;
  if (file_ || broken_ || total_ == 0) return {};
  return spill();
}

Bytes OutputWriter::tail() const {
  if (tail_.size() <= limits::kTailBytes) return tail_;
  return tail_.substr(tail_.size() - limits::kTailBytes);
}

Result<OutputSlice> read_output(const std::string& path, const OutputRange& range) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail(Errc::NotFound, path + ": " + errno_text(errno));
  std::uint64_t written = TRY(read_total(file.get(), path));
  constexpr int kTries = 3;  // A task that overwrites faster than we read loses these bytes.
  for (int i = 0; i < kTries; ++i) {
    OutputSlice slice{first_kept(range.offset, written), {}};
    if (slice.offset != range.offset && !range.ended) slice.offset += kRing / 2;
    const std::uint64_t end = std::min(range.total, written);
    if (slice.offset >= end) return slice;
    const Place place = place_of(slice.offset);
    const std::uint64_t size = std::min({std::uint64_t{range.max}, end - slice.offset, place.run});
    slice.data.resize(static_cast<std::size_t>(size));
    if (!read_whole(file.get(), place.position, slice.data.data(), slice.data.size())) {
      return fail(Errc::Io, path + ": it is shorter than it says");
    }
    written = TRY(read_total(file.get(), path));
    if (first_kept(slice.offset, written) == slice.offset) return slice;
  }
  return OutputSlice{std::max(range.offset, range.total), {}};
}

}  // namespace capstan
