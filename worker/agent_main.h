// SPDX-License-Identifier: MIT
//
// The agent's shell: the worker's second role. It holds the key and the sockets, and executes what
// the machine (core/agent.h) says. When its shepherd is gone it kills what escaped, by its mark,
// and ends. Signals of the terminal mean nothing to it: its shepherd decides.
#pragma once

#include "worker/options.h"

namespace capstan {

/// REQUIRES: descriptor 3 is the pair. Returns the exit code.
int run_agent(const WorkerOptions& options);

}  // namespace capstan
