// SPDX-License-Identifier: MIT
//
// Who runs what next, on the primary only: a pure function from the queue and what is known of
// silence to commands. Runs when something changed, never by a tick, and says when it must run
// again if nothing does. Its decisions are entries; replay never asks it. Loop thread only.
//
// Order: priority, then the owner with the fewest cpus assigned gets the next slot (round-robin in
// effect, without a pointer to remember), then age of the job, then task order. The first in that
// order that could run on a worker which is up, and finds no room, has the worker reserved that
// lacks the least: nobody else gets work there until it fits. So nothing wide waits for ever behind
// what is narrow, and nothing long behind what is sent ahead.
// Cost per call: (jobs with something ready x workers with room), not queued tasks.
#pragma once

#include <map>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "master/core/command.h"
#include "master/core/queue.h"

namespace capstan::planner {

/// How a worker's silence looks, from master/api's sessions. Times are those of entries (`at`).
struct Presence {
  bool has_session = false;  ///< Of its present instance. Without one it gets no work.
  TimePoint last_heard;      ///< After a start: the start.
  bool closed = false;       ///< Its connection was seen to close…
  TimePoint closed_at;       ///< …then, and nothing was heard since.
};

struct Limits {
  Micros suspect_after{0};
  Micros lost_after{0};
  Micros closed_grace{0};
};

/// Both clocks. `wall` is asked for --begin alone: set back, it delays one, at most.
struct Now {
  TimePoint at;
  WallTime wall;
};

struct Plan {
  std::vector<Command> commands;
  TimePoint deadline = TimePoint::never();  ///< Call again then, at the latest.
};

/// Silent or closed: it gets no new work.
[[nodiscard]] bool is_suspect(const Presence& presence, const Limits& limits, TimePoint now);

/// Commands are to be applied in order before plan() is called again. At most kEntriesPerBatch of
/// them; `deadline` is now when there is more to do.
[[nodiscard]] Plan plan(const Queue& queue, const std::map<WorkerId, Presence>& presence,
                        const Limits& limits, Now now);

}  // namespace capstan::planner
