// SPDX-License-Identifier: MIT
//
// One process by vfork + exec, with what posix_spawn cannot set: PDEATHSIG, a control group, its
// cpus, the umask. REQUIRES a single-threaded caller: the child borrows its memory until it
// executes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/model/job.h"
#include "worker/exec/process_mark.h"

namespace capstan {

/// Of which cpus a process shall have some for itself.
struct Pinning {
  std::vector<std::uint32_t> free;    ///< At least as many as `chosen`.
  std::vector<std::uint32_t> chosen;  ///< As many as it shall have; filled in by spawn().
};

/// The control group that a process shall be in from its first instruction on.
struct Joining {
  int procs_fd = -1;    ///< Of its cgroup.procs.
  bool joined = false;  ///< Filled in by spawn(). A process that may not join runs where we are.
};

enum class Apart : std::uint8_t {
  None,     ///< In our process group.
  Group,    ///< A process group of its own, and SIGKILL when we die.
  Session,  ///< And a session of its own: it has no terminal even when we have one.
};

struct SpawnOptions {
  std::vector<Bytes> argv;
  const std::vector<std::string>* shared_env = nullptr;  ///< "NAME=value" each; null: none.
  std::vector<EnvVar> env;                               ///< Behind those.
  Bytes cwd;                                             ///< "": where we are.
  int stdin_fd = -1;  ///< Each becomes 0, 1, 2; -1: stays as it is.
  int stdout_fd = -1;
  int stderr_fd = -1;
  int keep_fd = -1;  ///< Becomes 3; everything else is closed.
  Apart apart = Apart::Session;
  mode_t umask = 022;
  std::vector<int> default_signals;  ///< Ignored here, but not there.
  std::optional<ResourceLimit> mark{};
  std::optional<ResourceLimit> files{};  ///< Of open files; none: ours.
  int nice = 0;                          ///< Unless we run at a higher one, and may not lower it.
  /// Null: it may run wherever we may. The cpu where the child happens to start is chosen first,
  /// if it is free: to move to another it would have to wait there for its turn, and we with it.
  Pinning* pinning = nullptr;
  Joining* joining = nullptr;  ///< Null: it is where we are.
};

/// The pid, after the exec succeeded. An error has the system's words and what they are about. The
/// program is looked for in the PATH that it gets; a script without #! runs by sh, as shells do.
Result<pid_t> spawn(const SpawnOptions& options);

/// Whether we have a controlling terminal, which a process that is not Apart::Session shares.
bool has_terminal();

/// The signals that whoever started us had set to be ignored.
std::vector<int> ignored_signals();

}  // namespace capstan
