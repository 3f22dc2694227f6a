// SPDX-License-Identifier: MIT
//
// What must hold of a queue after every entry. For tests and the simulator: O(state).
#pragma once

#include <string>

#include "master/core/queue.h"

namespace capstan {

/// "" or the first broken rule in words: counts agree with states; every Running task is granted to
/// exactly one worker and the other way round; ready, backoffs and live agree; attempts dense.
[[nodiscard]] std::string broken_invariant(const Queue& queue);

}  // namespace capstan
