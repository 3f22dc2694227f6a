// SPDX-License-Identifier: MIT
//
// The failover machines (master/ha) through random faults: crashes with lost writes, lost and
// rolled back databases, lost votes, pauses, cuts in one or both ways, late and doubled messages,
// switch-overs, overrides, reseeds, snapshots. The invariants are tests/support/ha_world.h's; at
// the end the faults stop, and the cluster must be whole again within a bound.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/run.h"
#include "tests/support/ha_world.h"

namespace capstan::sim {

struct HaOutcome {
  std::string error;  ///< "": clean.
  std::uint64_t trace_hash = 0;
  std::uint64_t acknowledged = 0;
  test::HaWorld::Hits hits{};
};

[[nodiscard]] HaOutcome walk_ha(std::uint64_t seed, ha::Mutant mutant, bool trace);

/// The exit code of `capstan-sim --ha`. One seed is run twice and must give the same trace; for the
/// coverage each transition and each kind of happening must have been seen.
int run_ha(const Run& run);
/// Of `--ha --mutants`: each must be found within its budget of seeds.
int run_ha_mutants();

}  // namespace capstan::sim
