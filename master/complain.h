// SPDX-License-Identifier: MIT
//
// How capstan-master ends when it cannot do what it was told: one line on stderr, and the exit code
// that docs/operating.md promises.
#pragma once

#include "common/base/error.h"

namespace capstan {

inline constexpr int kExitUsage = 2;  ///< The command line, or the directory, is wrong.
inline constexpr int kExitRefused =
    3;  ///< Another master has the directory, or something is there.
inline constexpr int kExitFailed = 70;  ///< A write failed or is in doubt; the machine refused.

/// Prints the error and returns its exit code.
int complain(const Error& error);

}  // namespace capstan
