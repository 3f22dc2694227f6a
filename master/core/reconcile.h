// SPDX-License-Identifier: MIT
//
// The rules of a HELLO, as one pure function: what the worker says that it holds against what the
// queue granted it. Granted there and unknown here -> start again (cancelled now when it is being
// cancelled); running there and not granted -> kill; a lost attempt that still runs -> adopted
// again if no newer one was dispatched, else killed; granted to another instance -> lost.
// docs/architecture.md section 6; walked at random by tests/sim.
#pragma once

#include <vector>

#include "common/base/ids.h"
#include "master/core/command.h"

namespace capstan {

class Queue;
struct Worker;

/// What is to be done, in this order. Each list ascends.
struct Reconciliation {
  std::vector<AttemptKey> lose;   ///< Granted to an earlier instance.
  std::vector<AttemptKey> adopt;  ///< Lost here, still held there, no newer one: Running again.
  std::vector<AttemptKey> cancelled_now;  ///< Being cancelled, and the worker never had it.
  std::vector<AttemptKey> start;          ///< Granted, unknown there.
  std::vector<AttemptKey> cancel;         ///< Being cancelled and held there: say it again.
  std::vector<AttemptKey> recall;         ///< Wanted back and held there: say it again.
  std::vector<AttemptKey> kill;           ///< Held there, not granted.
};

/// REQUIRES: the attempts in hello.held and hello.spooled are of any job, known or not.
[[nodiscard]] Reconciliation reconcile(const Queue& queue, const Worker& worker,
                                       const cmd::WorkerJoined& hello);

}  // namespace capstan
