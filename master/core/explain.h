// SPDX-License-Identifier: MIT
//
// Why a task does not run (yet), or where it does: of the task itself, and worker by worker. Asks
// the planner's own placement what it would say (obstacle.h), so that an explanation cannot differ
// from what is done. Pure; for a person, so it may look at everything once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/task.h"
#include "master/core/planner.h"
#include "master/core/queue.h"

namespace capstan {

struct Explanation {
  struct OfWorker {
    std::string worker;
    bool fits = false;
    std::string reason;
  };
  std::string reason;  ///< Of the task or its job; "": there is nothing to say.
  std::vector<OfWorker> workers;
};

/// What an explanation is made from.
struct Circumstances {
  const Queue& queue;
  const std::map<WorkerId, planner::Presence>& presence;
  planner::Limits limits;
  TimePoint now;
  WallTime wall;
  std::string viewer;  ///< Whose jobs may be named; "": everybody's.
  /// What workers said that could not launch the job, as far as it is known.
  std::map<WorkerId, std::string> launch_errors;
};

/// REQUIRES: the task is one of `job` and not finished.
[[nodiscard]] Explanation explain(const Circumstances& now, const Job& job, std::uint32_t ordinal);

}  // namespace capstan
