// SPDX-License-Identifier: MIT
#include "worker/exec/task_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace capstan {

namespace {

constexpr const char* kOwnLeaf = "/capstan-worker";

/// One write, as the files of a group want it.
Result<void> put(const std::string& path, const std::string& value) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file && ::write(file.get(), value.data(), value.size()) >= 0) return {};
  const std::string words = errno_text(errno);
  return fail(Errc::Io, "writing " + value + " to " + path + ": " + words);
}

Result<void> make_dir(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return fail(Errc::Io, "making the group " + path + ": " + errno_text(errno));
}

std::vector<std::string> words_in(const std::string& path) {
  std::ifstream file(path);
  return {std::istream_iterator<std::string>(file), {}};
}

bool is_writable(const std::string& path) {
  return ::access(path.c_str(), W_OK) == 0;
}

Result<void> check_delegated(const std::string& dir) {
  if (dir.empty()) return fail(Errc::Unavailable, "there are no control groups of version 2 here");
  const std::vector<std::string> controllers = words_in(dir + "/cgroup.controllers");
  if (std::find(controllers.begin(), controllers.end(), "memory") == controllers.end()) {
    return fail(Errc::Unavailable, "no memory controller in " + dir);
  }
  for (const char* file : {"", "/cgroup.procs", "/cgroup.subtree_control"}) {
    if (is_writable(dir + file)) continue;
    return fail(Errc::Unavailable, "no right to write to " + dir + file);
  }
  if (words_in(dir + "/cgroup.procs") != std::vector{std::to_string(::getpid())}) {
    return fail(Errc::Unavailable, "other processes are in " + dir);
  }
  return {};
}

/// "17.42.1", as a task's group is called.
bool is_task_name(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789.") == std::string::npos;
}

void kill_all_in(const std::string& dir) {
  const Result<void> ignored = put(dir + "/cgroup.kill", "1");
}

/// With the groups that the task made in its own. True: it is gone.
bool remove_group(const std::string& dir) {
  if (::rmdir(dir.c_str()) == 0 || errno == ENOENT) return true;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(dir, ignored)) {
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) remove_group(entry.path());
  }
  return ::rmdir(dir.c_str()) == 0;
}

}  // namespace

// --- TaskCgroup ----------------------------------------------------------------------------------

TaskCgroup::TaskCgroup(std::string dir, UniqueFd procs)
    : dir_(std::move(dir)), procs_(std::move(procs)), before_(events()) {}

void TaskCgroup::kill() const {
  kill_all_in(dir_);
}

TaskCgroup::Events TaskCgroup::events() const {
  std::ifstream file(dir_ + "/memory.events");
  Events events;
  std::string name;
  for (std::uint64_t count = 0; file >> name >> count;) {
    if (name == "oom") events.limit_hits = count;
    if (name == "oom_kill") events.kills = count;
  }
  return events;
}

Oom TaskCgroup::oom() const {
  const Events now = events();
  if (now.kills <= before_.kills) return Oom::None;
  return now.limit_hits > before_.limit_hits ? Oom::OwnLimit : Oom::Around;
}

// --- TaskCgroups ---------------------------------------------------------------------------------

Result<TaskCgroups> TaskCgroups::take(std::string dir) {
  TRY(check_delegated(dir));
  const std::string leaf = dir + kOwnLeaf;
  TRY(make_dir(leaf));
  Result<void> done = put(leaf + "/cgroup.procs", "0");
  if (done) done = put(dir + "/cgroup.subtree_control", "+memory");
  if (!done) {
    const Result<void> back = put(dir + "/cgroup.procs", "0");
    ::rmdir(leaf.c_str());
    return fail(done.error().code, done.error().message + (back ? "" : ", nor may we go back"));
  }
  TaskCgroups groups(std::move(dir));
  groups.clear_leftovers();
  return groups;
}

/// Of an earlier life in the same group: its processes are dead, or bear our mark no more.
void TaskCgroups::clear_leftovers() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(dir_, ignored)) {
    if (!entry.is_directory(ignored) || !is_task_name(entry.path().filename())) continue;
    kill_all_in(entry.path());
    waiting_.push_back(entry.path());
  }
  sweep();
}

Result<TaskCgroup> TaskCgroups::make(const std::string& name, std::uint64_t mem_bytes) const {
  const std::string dir = dir_ + "/" + name;
  TRY(make_dir(dir));
  Result<void> limited = put(dir + "/memory.max", std::to_string(mem_bytes));
  if (limited) limited = put(dir + "/memory.oom.group", "1");
  // Without this it would swap instead of ending. The file is missing where there is no swap.
  const bool may_swap = ::access((dir + "/memory.swap.max").c_str(), F_OK) == 0;
  if (limited && may_swap) limited = put(dir + "/memory.swap.max", "0");
  UniqueFd procs(::open((dir + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (limited && procs) return TaskCgroup(dir, std::move(procs));
  const std::string words = limited ? errno_text(errno) : limited.error().message;
  remove_group(dir);
  return fail(Errc::Io, "making the group " + dir + ": " + words);
}

void TaskCgroups::give_back(const TaskCgroup& group) {
  group.kill();
  if (!remove_group(group.dir())) waiting_.push_back(group.dir());
}

bool TaskCgroups::sweep() {
  std::erase_if(waiting_, remove_group);
  return waiting_.empty();
}

}  // namespace capstan
