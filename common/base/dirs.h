// SPDX-License-Identifier: MIT
//
// Where a program keeps its state, and that it is alone there. Locks and fsync cannot be trusted on
// network file systems, so a directory on one is refused before anything is made in it.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/unique_fd.h"

namespace capstan {

/// The machine's name, fit for a file name; "localhost" when it has none.
std::string host_name();

/// `$XDG_STATE_HOME/capstan/HOSTNAME/leaf`, else `~/.local/state/capstan/HOSTNAME/leaf`: homes are
/// shared between machines, states are not.
Result<std::string> default_state_dir(std::string_view leaf);

/// `$XDG_STATE_HOME/capstan`, else `~/.local/state/capstan`: what belongs to the user, not to a
/// machine.
Result<std::string> default_state_home();

/// `$XDG_CONFIG_HOME/capstan`, else `~/.config/capstan`.
Result<std::string> default_config_dir();

/// Makes `path` with all above it that is missing, each 0700, and checks that it is local and can
/// be written to. What was there before keeps its mode.
Result<void> prepare_state_dir(const std::string& path);

/// The name of a network file system by its statfs magic ("NFS", "SMB", "FUSE"), "" for others.
std::string_view network_file_system(long magic);

/// One process at a time: an flock on a file that holds the pid of its holder.
class DirLock {
 public:
  /// Takes `file`, which is made when missing and never removed. Errc::Locked names the holder.
  static Result<DirLock> take(const std::string& file);

 private:
  explicit DirLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;  // The lock ends with it.
};

}  // namespace capstan
