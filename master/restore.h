// SPDX-License-Identifier: MIT
//
// A master's directory out of a backup: a new generation of the cluster, which never mixes with the
// old one. And the check of a backup, as `capstan backup` has it done.
#pragma once

#include <string>

#include "common/base/error.h"

namespace capstan {

struct RestoreOptions {
  std::string file;
  std::string dir;  ///< Missing, or empty.
};
/// ENSURES: on an error `dir` is as it was. Errors: NotAllowed (`dir` has something), Corrupt,
/// TooNew, Invalid, Io.
[[nodiscard]] Result<void> restore(const RestoreOptions& options);

/// "a backup of cluster … made …".
[[nodiscard]] Result<std::string> describe_backup(const std::string& file);

}  // namespace capstan
