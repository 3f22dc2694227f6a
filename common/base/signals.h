// SPDX-License-Identifier: MIT
//
// How whoever started us had signals set.
#pragma once

#include <csignal>

namespace capstan {

/// As nohup and a shell's background jobs have it.
inline bool is_ignored(int signal) {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

}  // namespace capstan
