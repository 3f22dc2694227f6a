// SPDX-License-Identifier: MIT
#include "master/store/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

namespace capstan::store {

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::uint64_t file_bytes(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.st_size);
}

Result<void> sync_dir(const std::string& dir) {
  const UniqueFd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) {
    return fail(Errc::OutcomeUnknown, "syncing " + dir + ": " + errno_text(errno));
  }
  return {};
}

Result<void> write_at(int fd, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const bool full = errno == ENOSPC || errno == EDQUOT;
      return fail(full ? Errc::DiskFull : Errc::Io, "writing: " + errno_text(errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<std::string> read_at(int fd, std::size_t bytes, std::uint64_t offset) {
  std::string data(bytes, '\0');
  std::size_t have = 0;
  while (have < bytes) {
    const ssize_t n =
        ::pread(fd, data.data() + have, bytes - have, static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Errc::Io, "reading: " + errno_text(errno));
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  data.resize(have);
  return data;
}

Result<void> sync_data(int fd) {
  if (::fdatasync(fd) != 0) return fail(Errc::OutcomeUnknown, "syncing: " + errno_text(errno));
  return {};
}

Space space_at(const std::string& dir) {
  struct statvfs status {};
  if (::statvfs(dir.c_str(), &status) != 0) return {};
  const std::uint64_t block = status.f_frsize;
  return {block * status.f_bavail, block * status.f_blocks};
}

void make_ballast(const std::string& path, std::uint64_t bytes) {
  if (file_bytes(path) == bytes) return;
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return;
  if (::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)) != 0) ::unlink(path.c_str());
}

}  // namespace capstan::store
