// SPDX-License-Identifier: MIT
//
// Who is below us, and who belongs to whom. The shepherd is the subreaper of everything that its
// tasks start: what loses its parent becomes its child, and shows in its children list (3.7 µs).
// /proc is scanned, by the mark, only at a start after an unclean end and when a shepherd died:
// never for a task.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "common/base/unique_fd.h"
#include "worker/exec/process_mark.h"

namespace capstan {

/// The children of this process's only thread, zombies included.
class ChildrenList {
 public:
  ChildrenList();
  [[nodiscard]] std::vector<pid_t> read() const;

 private:
  UniqueFd file_;  // Without it (CONFIG_PROC_CHILDREN is off): by a scan of /proc.
};

/// Bytes of memory that these processes and all below them use. What they share is counted once
/// for each, or, when that comes to more than `limit`, in fair parts: a lower and better number
/// that takes the kernel longer.
std::uint64_t memory_of(const std::vector<pid_t>& roots, std::uint64_t limit);

/// SIGKILL to every process that bears the mark, but not to this one, until none is left (or some
/// resist for a second each). How many were killed.
std::size_t kill_marked(const ProcessMark& mark);

}  // namespace capstan
