// SPDX-License-Identifier: MIT
#include "common/base/dirs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "common/base/bytes.h"

namespace capstan {
namespace {

Result<std::string> home_dir() {
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') return home;
  const passwd* entry = ::getpwuid(::getuid());
  if (entry != nullptr && entry->pw_dir != nullptr && entry->pw_dir[0] == '/') return entry->pw_dir;
  return fail(Errc::Invalid, "no home directory: set HOME, or give --dir and --access");
}

/// `$variable/capstan`, else `~/fallback/capstan`. A relative path in the variable is ignored, as
/// the XDG specification asks for.
Result<std::string> base_dir(const char* variable, const char* fallback) {
  if (const char* dir = std::getenv(variable); dir != nullptr && dir[0] == '/') {
    return std::string(dir) + "/capstan";
  }
  return TRY(home_dir()) + "/" + fallback + "/capstan";
}

std::string parent_of(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  const std::size_t slash = path.find_last_of('/', end);
  if (end == std::string::npos || slash == 0) return "/";
  if (slash == std::string::npos) return ".";
  return path.substr(0, slash);
}

/// `path`, or the nearest directory above it that is there.
std::string nearest_existing(std::string path) {
  struct stat status {};
  while (path != "/" && path != "." && ::stat(path.c_str(), &status) != 0) path = parent_of(path);
  return path;
}

Result<void> require_local(const std::string& path) {
  const std::string existing = nearest_existing(path);
  struct statfs status {};
  if (::statfs(existing.c_str(), &status) != 0) {
    return fail(Errc::Io,
                fmt::format("cannot look at {}: {}", printable(existing), errno_text(errno)));
  }
  const std::string_view kind = network_file_system(static_cast<long>(status.f_type));
  if (kind.empty()) return {};
  return fail(Errc::Invalid,
              fmt::format("{} is on {}, where locks and fsync cannot be trusted: give a directory "
                          "on a local disk with --dir",
                          printable(path), kind));
}

Result<void> make_dirs(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  if (errno == ENOENT && parent_of(path) != path) {
    TRY(make_dirs(parent_of(path)));
    if (::mkdir(path.c_str(), 0700) == 0) return {};
  }
  const int why = errno;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return {};
    return fail(Errc::Io, fmt::format("{} is not a directory", printable(path)));
  }
  return fail(Errc::Io,
              fmt::format("cannot make the directory {}: {}", printable(path), errno_text(why)));
}

std::string read_holder(int fd) {
  char text[32] = "";
  const ssize_t got = ::pread(fd, text, sizeof text - 1, 0);
  const std::string_view read(text, got < 0 ? 0 : static_cast<std::size_t>(got));
  const std::string_view digits = read.substr(0, read.find_first_not_of("0123456789"));
  return digits.empty() ? "another process" : fmt::format("process {}", digits);
}

}  // namespace

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  std::string out = printable(name);
  std::replace(out.begin(), out.end(), '/', '_');
  return out == "." || out == ".." ? "localhost" : out;
}

Result<std::string> default_state_home() {
  return base_dir("XDG_STATE_HOME", ".local/state");
}

Result<std::string> default_state_dir(std::string_view leaf) {
  return fmt::format("{}/{}/{}", TRY(default_state_home()), host_name(), leaf);
}

Result<std::string> default_config_dir() {
  return base_dir("XDG_CONFIG_HOME", ".config");
}

Result<void> prepare_state_dir(const std::string& path) {
  if (path.empty()) return fail(Errc::Invalid, "empty directory name: give a path with --dir");
  TRY(require_local(path));
  TRY(make_dirs(path));
  TRY(require_local(path));  // A mount below what was there first.
  if (::access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    return fail(Errc::Io,
                fmt::format("cannot write to {}: {}", printable(path), errno_text(errno)));
  }
  return {};
}

std::string_view network_file_system(long magic) {
  switch (static_cast<unsigned long>(magic) & 0xFFFFFFFFUL) {  // f_type is signed on some machines.
    case 0x6969:
      return "NFS";
    case 0x517B:
    case 0xFF534D42:
    case 0xFE534D42:
      return "SMB";
    case 0x65735546:
      return "FUSE";
    default:
      return "";
  }
}

Result<DirLock> DirLock::take(const std::string& file) {
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) {
    return fail(Errc::Io, fmt::format("cannot open the lock file {}: {}", printable(file),
                                      errno_text(errno)));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return fail(Errc::Io, fmt::format("cannot lock {}: {}", printable(file), errno_text(errno)));
    }
    return fail(Errc::Locked, fmt::format("{} is held by {}: stop that one, or use another --dir",
                                          printable(file), read_holder(fd.get())));
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return fail(Errc::Io, fmt::format("cannot write {}: {}", printable(file), errno_text(errno)));
  }
  return DirLock(std::move(fd));
}

}  // namespace capstan
