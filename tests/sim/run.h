// SPDX-License-Identifier: MIT
//
// What a run of many seeds is asked for, and what it says of what happened in them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/clock.h"

namespace capstan::ha {
struct Transition;
}

namespace capstan::sim {

struct Run {
  std::uint64_t first = 1;
  std::uint64_t seeds = 1;
  bool trace = false;
  bool coverage = false;  ///< Says what happened how often, and fails when something never did.
};

/// Of one seed.
struct Outcome {
  std::string error;  ///< "" when every promise held.
  std::uint64_t trace_hash = 0;
  std::uint64_t entries = 0;
  std::uint64_t executions = 0;
  std::uint64_t faults = 0;
  Micros settled_after{0};  ///< From the end of the faults.
};

/// How often each thing happened.
using Hits = std::map<std::string, std::uint64_t, std::less<>>;

/// Two stand at once, and one wins unheard before the other gives up: seen once in some thousand
/// seeds, so it is asked of very many only.
[[nodiscard]] bool is_expected(const ha::Transition& row, const Run& run);

/// Prints all of it, and what of `expected` is missing. True: nothing is.
[[nodiscard]] bool report_coverage(const Hits& hits, const std::vector<std::string>& expected);

}  // namespace capstan::sim
