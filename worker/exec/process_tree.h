// SPDX-License-Identifier: MIT
//
// Who is below us, and who belongs to whom. The shepherd is the subreaper of everything that its
// tasks start: what loses its parent becomes its child, and shows in its children list (3.7 µs).
// /proc is scanned, by the cookie in the environment, only at a start after an unclean end and when
// a shepherd died: never for a task.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.h"

namespace capstan {

/// The variable that marks a task's processes: DIRECTORY.LIFE.JOB.TASK.ATTEMPT.
inline constexpr std::string_view kCookieName = "CAPSTAN_COOKIE";

/// The children of this process's only thread, zombies included.
class ChildrenList {
 public:
  ChildrenList();
  [[nodiscard]] std::vector<pid_t> read() const;

 private:
  UniqueFd file_;  // Without it (CONFIG_PROC_CHILDREN is off): by a scan of /proc.
};

/// The cookie in a process's environment, "" when it has none or may not be looked at.
std::string cookie_of(pid_t pid);

/// SIGKILL to every process whose cookie begins with `prefix`, but not to this one, until none is
/// left (or some resist for a second each). How many were killed.
std::size_t kill_by_cookie(std::string_view prefix);

}  // namespace capstan
