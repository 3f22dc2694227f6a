// SPDX-License-Identifier: MIT
//
// capstan-sim --pair: walks whole clusters through their faults, says what happened how often, and
// shows that deliberate mistakes are found.
#pragma once

#include <cstdint>

#include "tests/sim/run.h"

namespace capstan::sim {

/// The exit code.
int run_pair(const Run& run);
/// `percent` of each mistake's budget of seeds.
int run_pair_mutants(std::uint64_t percent);

}  // namespace capstan::sim
