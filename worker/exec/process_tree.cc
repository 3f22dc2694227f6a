// SPDX-License-Identifier: MIT
#include "worker/exec/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <memory>

namespace capstan {

namespace {

/// The whole of a small file of /proc. "" when it cannot be read.
std::string slurp(int fd, std::size_t max) {
  std::string bytes;
  char buffer[4096];
  while (bytes.size() < max) {
    const ssize_t got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    bytes.append(buffer, static_cast<std::size_t>(got));
  }
  return bytes;
}

std::string slurp(const std::string& path, std::size_t max) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file ? slurp(file.get(), max) : std::string();
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> pids;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc"), &::closedir);
  if (!dir) return pids;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

/// The fourth field of /proc/PID/stat, behind a name that may have anything in it.
pid_t parent_of(pid_t pid) {
  const std::string stat = slurp("/proc/" + std::to_string(pid) + "/stat", 4096);
  const std::size_t name_end = stat.rfind(')');
  constexpr std::size_t kStateField = 4;  // ") S "
  if (name_end == std::string::npos || name_end + kStateField > stat.size()) return 0;
  pid_t parent = 0;
  std::from_chars(stat.data() + name_end + kStateField, stat.data() + stat.size(), parent);
  return parent;
}

/// Kills one process if its cookie still says so, and waits for its end.
bool kill_one(pid_t pid, std::string_view prefix) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process || !cookie_of(pid).starts_with(prefix)) return false;
  if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) != 0) return false;
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  constexpr int kWaitMs = 1000;
  ::poll(&ended, 1, kWaitMs);
  return true;
}

}  // namespace

ChildrenList::ChildrenList() {
  const std::string path = "/proc/self/task/" + std::to_string(::gettid()) + "/children";
  file_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

std::vector<pid_t> ChildrenList::read() const {
  std::vector<pid_t> pids;
  if (!file_) {
    for (const pid_t pid : all_processes()) {
      if (parent_of(pid) == ::getpid()) pids.push_back(pid);
    }
    return pids;
  }
  const std::string text = slurp(file_.get(), SIZE_MAX);
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error == std::errc()) pids.push_back(pid);
    at = next + 1;
  }
  return pids;
}

std::string cookie_of(pid_t pid) {
  constexpr std::size_t kEnvironmentMax = 8 * 1024 * 1024;
  const std::string text = slurp("/proc/" + std::to_string(pid) + "/environ", kEnvironmentMax);
  const std::string wanted = std::string(kCookieName) + "=";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    const std::string_view variable = std::string_view(text).substr(at, end - at);
    if (variable.starts_with(wanted)) return std::string(variable.substr(wanted.size()));
    at = end + 1;
  }
  return {};
}

std::size_t kill_by_cookie(std::string_view prefix) {
  std::size_t killed = 0;
  constexpr int kRounds = 20;  // A fork bomb would have us at it for ever.
  constexpr int kPauseMs =
      10;  // In the middle of an exec a process has no environment: look again.
  for (int round = 0, empty = 0; round < kRounds && empty < 2; ++round) {
    std::size_t found = 0;
    for (const pid_t pid : all_processes()) {
      if (pid != ::getpid() && kill_one(pid, prefix)) ++found;
    }
    killed += found;
    empty = found == 0 ? empty + 1 : 0;
    if (found == 0) ::poll(nullptr, 0, kPauseMs);
  }
  return killed;
}

}  // namespace capstan
