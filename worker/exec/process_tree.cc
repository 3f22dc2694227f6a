// SPDX-License-Identifier: MIT
#include "worker/exec/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

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

/// The numbers among the names in a directory.
std::vector<pid_t> numbers_in(const std::string& path) {
  std::vector<pid_t> pids;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
  if (!dir) return pids;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

std::vector<pid_t> all_processes() {
  return numbers_in("/proc");
}

void append_numbers(const std::string& text, std::vector<pid_t>& pids) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error == std::errc()) pids.push_back(pid);
    at = next + 1;
  }
}

/// These and all below them; the list grows while it is walked.
std::vector<pid_t> with_descendants(std::vector<pid_t> pids) {
  for (std::size_t i = 0; i < pids.size(); ++i) {
    for (const pid_t thread : numbers_in("/proc/" + std::to_string(pids[i]) + "/task")) {
      const std::string name = "task/" + std::to_string(thread) + "/children";
      append_numbers(read_proc(pids[i], name.c_str()), pids);
    }
  }
  return pids;
}

/// The second number of statm, in pages.
std::uint64_t resident_bytes(pid_t pid) {
  const std::string text = read_proc(pid, "statm");
  const std::size_t space = std::min(text.find(' '), text.size());
  std::uint64_t pages = 0;
  std::from_chars(text.data() + std::min(space + 1, text.size()), text.data() + text.size(), pages);
  static const auto kPageBytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return pages * kPageBytes;
}

/// Each page that several processes share divided by their number. 0: the kernel does not say.
std::uint64_t fair_bytes(pid_t pid) {
  const std::string text = read_proc(pid, "smaps_rollup");
  constexpr std::string_view kLine = "\nPss:";
  const std::size_t line = text.find(kLine);
  if (line == std::string::npos) return 0;
  const std::size_t number = text.find_first_not_of(' ', line + kLine.size());
  std::uint64_t kib = 0;
  if (number != std::string::npos) {
    std::from_chars(text.data() + number, text.data() + text.size(), kib);
  }
  return kib * 1024;
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
  append_numbers(slurp(file_.get()), pids);
  return pids;
}

std::uint64_t memory_of(const std::vector<pid_t>& roots, std::uint64_t limit) {
  const std::vector<pid_t> pids = with_descendants(roots);
  std::uint64_t sum = 0;
  for (const pid_t pid : pids) sum += resident_bytes(pid);
  if (sum <= limit) return sum;
  sum = 0;
  for (const pid_t pid : pids) {
    const std::uint64_t fair = fair_bytes(pid);
    sum += fair > 0 ? fair : resident_bytes(pid);
  }
  return sum;
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
