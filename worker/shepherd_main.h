// SPDX-License-Identifier: MIT
//
// The shepherd's shell, which is the process that people start: one thread, no network, no key. It
// forks, watches and kills tasks, writes their output and the spool, and keeps an agent alive.
// A turn: signals, ends, output, the agent's words -> the machine (core/shepherd.h) -> its actions;
// then one write to the spool, and only then one to the agent.
#pragma once

#include "worker/options.h"

namespace capstan {

/// Returns the exit code; what went wrong was said on stderr.
int run_shepherd(const WorkerOptions& options);

}  // namespace capstan
