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

/// The whole of an open file, from its beginning.
std::string slurp(int fd) {
  std::string bytes;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    bytes.append(buffer, static_cast<std::size_t>(got));
  }
  return bytes;
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
  const std::string stat = read_proc(pid, "stat");
  const std::size_t name_end = stat.rfind(')');
  constexpr std::size_t kStateField = 4;  // ") S "
  if (name_end == std::string::npos || name_end + kStateField > stat.size()) return 0;
  pid_t parent = 0;
  std::from_chars(stat.data() + name_end + kStateField, stat.data() + stat.size(), parent);
  return parent;
}

/// Kills one process if it bears the mark, and waits for its end.
bool kill_one(pid_t pid, const ProcessMark& mark) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process || !mark.is_on(pid)) return false;
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, 0) != 0) return false;  // Its parent has not looked at its end yet.
  if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) != 0) return false;
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
  const std::string text = slurp(file_.get());
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

std::size_t kill_marked(const ProcessMark& mark) {
  std::size_t killed = 0;
  constexpr int kRounds = 20;   // A fork bomb would have us at it for ever.
  constexpr int kPauseMs = 10;  // It may have forked behind our back: look again.
  for (int round = 0, empty = 0; round < kRounds && empty < 2; ++round) {
    std::size_t found = 0;
    for (const pid_t pid : all_processes()) {
      if (pid != ::getpid() && kill_one(pid, mark)) ++found;
    }
    killed += found;
    empty = found == 0 ? empty + 1 : 0;
    if (found == 0) ::poll(nullptr, 0, kPauseMs);
  }
  return killed;
}

}  // namespace capstan
