// SPDX-License-Identifier: MIT
//
// What hinders a worker from running a task. The planner places by these, and `why` names them
// (explain.h): one set of rules, so that the two cannot say different things. Pure.
#pragma once

#include <cstdint>

#include "common/base/clock.h"
#include "master/core/planner.h"
#include "master/core/queue.h"

namespace capstan::planner {

enum class Obstacle : std::uint8_t {
  None,
  // Of the worker, whatever the task.
  Gone,      ///< Lost, left, or never said HELLO.
  Drained,   ///< By an admin.
  Leaving,   ///< It was told to stop.
  DiskFull,  ///< It has no room for output.
  Away,      ///< Without a session since this master began, or since it broke.
  Suspect,   ///< Silent, or its connection closed.
  // Of the worker and the job, for as long as both stay as they are.
  Excluded,         ///< It could not launch the job.
  TooFewCpus,       ///< Even when it is empty.
  MemoryUnknown,    ///< The task says how much it needs, the worker not how much it has.
  TooLittleMemory,  ///< Even when it is empty.
  // Of this moment.
  CpusBusy,
  MemoryBusy,
  HoldsTooMany,  ///< Attempts: a HELLO must be able to list them.
  Reserved,      ///< For what is first in line.
  FailedThere,   ///< The task did, and there is another worker to try first.
};

/// `presence`: null when nothing is known of it.
[[nodiscard]] Obstacle obstacle_at(const Worker& worker, const Presence* presence,
                                   const Limits& limits, TimePoint now);
[[nodiscard]] Obstacle obstacle_between(const Worker& worker, const Job& job);

}  // namespace capstan::planner
