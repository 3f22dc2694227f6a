// SPDX-License-Identifier: MIT
#include "worker/exec/cgroup.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "worker/exec/process_mark.h"

namespace capstan {

namespace {

std::vector<std::string> words_of(std::string_view line, char separator) {
  std::vector<std::string> words;
  std::istringstream stream{std::string(line)};
  for (std::string word; std::getline(stream, word, separator);) words.push_back(word);
  return words;
}

bool has_word(const std::string& list, std::string_view word) {
  const std::vector<std::string> words = words_of(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Where a hierarchy is mounted, and what of it.
struct Mount {
  std::string root;
  std::string point;
};

/// "36 35 98:0 ROOT POINT OPTIONS … - TYPE SOURCE SUPER"
Mount find_mount(std::string_view mountinfo, std::string_view controller) {
  for (const std::string& line : words_of(mountinfo, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> left = words_of(line.substr(0, dash), ' ');
    const std::vector<std::string> right = words_of(line.substr(dash + 3), ' ');
    constexpr std::size_t kRoot = 3, kPoint = 4, kSuper = 2;
    if (left.size() <= kPoint || right.size() <= kSuper) continue;
    const bool is_it = controller.empty()
                           ? right[0] == "cgroup2"
                           : right[0] == "cgroup" && has_word(right[kSuper], controller);
    if (is_it) return {left[kRoot], left[kPoint]};
  }
  return {};
}

/// "4:memory,cpu:/path", and for version 2 "0::/path"
std::string find_path(std::string_view groups, std::string_view controller) {
  for (const std::string& line : words_of(groups, '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool is_it = controller.empty() ? controllers.empty() : has_word(controllers, controller);
    if (is_it) return line.substr(second + 1);
  }
  return {};
}

/// The lowest number in `file` of the group and the groups around it. "max" is no number.
std::uint64_t lowest_limit(std::string dir, const std::string& mount, const char* file) {
  std::uint64_t lowest = UINT64_MAX;
  while (dir.size() >= mount.size() && !dir.empty()) {
    std::ifstream stream(dir + "/" + file);
    std::uint64_t limit = 0;
    if (stream >> limit) lowest = std::min(lowest, limit);
    dir.resize(std::min(dir.rfind('/'), dir.size()));
    if (dir.find('/') == std::string::npos) break;
  }
  return lowest;
}

}  // namespace

std::string cgroup_dir(std::string_view mountinfo, std::string_view groups,
                       std::string_view controller) {
  const Mount mount = find_mount(mountinfo, controller);
  std::string path = find_path(groups, controller);
  if (mount.point.empty() || path.empty()) return {};
  const std::string root = mount.root == "/" ? "" : mount.root;
  if (path.compare(0, root.size(), root) != 0) return {};
  path.erase(0, root.size());
  while (!path.empty() && path.back() == '/') path.pop_back();
  return mount.point + path;
}

std::string own_cgroup() {
  return cgroup_dir(read_proc(::getpid(), "mountinfo"), read_proc(::getpid(), "cgroup"), "");
}

std::uint64_t usable_memory() {
  const auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::uint64_t bytes = pages * page_bytes;
  const std::string mountinfo = read_proc(::getpid(), "mountinfo");
  const std::string groups = read_proc(::getpid(), "cgroup");
  for (const auto& [controller, file] :
       {std::pair("", "memory.max"), std::pair("memory", "memory.limit_in_bytes")}) {
    const std::string dir = cgroup_dir(mountinfo, groups, controller);
    const std::string mount = find_mount(mountinfo, controller).point;
    if (!dir.empty()) bytes = std::min(bytes, lowest_limit(dir, mount, file));
  }
  return bytes;
}

}  // namespace capstan
