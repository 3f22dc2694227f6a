// SPDX-License-Identifier: MIT
//
// Control groups (version 2) for tasks, where our own is delegated to us (systemd's Delegate=yes, a
// container's own hierarchy). A group that gives its controllers to groups below may have no
// processes of its own, so we move one down first, and tasks get groups beside us:
//
//   OWN/                  nobody; its subtree_control has memory
//   OWN/capstan-worker/   we, our agent, and the tasks that say nothing of their memory
//   OWN/17.42.1/          a task with everything that it starts
//
// The kernel holds all of a group to one limit together, and when it cannot, kills all of it at
// once and counts that. A group that still has processes (killed ones that the kernel is not done
// with) cannot be removed: it is tried again later. Shepherd thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "worker/core/shepherd_events.h"

namespace capstan {

/// One task's group, while the task runs.
class TaskCgroup {
 public:
  TaskCgroup(std::string dir, UniqueFd procs);
  /// To write "0" to: who does so is in it from then on, and whatever it starts.
  [[nodiscard]] int procs_fd() const { return procs_.get(); }
  [[nodiscard]] const std::string& dir() const { return dir_; }
  /// SIGKILL to everything in it, also to what is being forked; before Linux 5.14: nothing.
  void kill() const;
  /// Whether, and why, the kernel killed something in it for memory.
  [[nodiscard]] Oom oom() const;

 private:
  struct Events {
    std::uint64_t limit_hits = 0;
    std::uint64_t kills = 0;
  };
  [[nodiscard]] Events events() const;

  std::string dir_;
  UniqueFd procs_;
  Events before_;  // Of an earlier task, where its group could not be removed.
};

class TaskCgroups {
 public:
  /// Takes over `dir`, the group that this process is in and shares with none. Unavailable: it is
  /// not delegated to us. Io: the system refused on the way. Then all is as it was.
  static Result<TaskCgroups> take(std::string dir);

  /// An empty group below ours that may use so much memory.
  [[nodiscard]] Result<TaskCgroup> make(const std::string& name, std::uint64_t mem_bytes) const;
  /// Kills what is left in it and removes it, now or in a sweep.
  void give_back(const TaskCgroup& group);
  /// Tries again what could not be removed. False: something still cannot.
  bool sweep();

 private:
  explicit TaskCgroups(std::string dir) : dir_(std::move(dir)) {}
  void clear_leftovers();

  std::string dir_;
  std::vector<std::string> waiting_;  // To be removed.
};

}  // namespace capstan
