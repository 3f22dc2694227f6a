// SPDX-License-Identifier: MIT
//
// What is said to workers, held against a queue (I10, I11).
#pragma once

#include <set>
#include <string>

#include "common/wire/message.h"
#include "master/core/queue.h"

namespace capstan::sim {

/// What is dispatched is granted to this worker, and neither finished nor cancelled: unless its
/// cancellation, of the same turn, follows (`doomed`). "" or what is wrong.
[[nodiscard]] std::string check_start(const Queue& queue, const std::string& worker,
                                      const msg::Start& start, std::set<AttemptKey>& doomed);

}  // namespace capstan::sim
