// SPDX-License-Identifier: MIT
//
// What a run of many seeds is asked for, and what it says of what happened in them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace capstan::sim {

struct Run {
  std::uint64_t first = 1;
  std::uint64_t seeds = 1;
  bool trace = false;
  bool coverage = false;  ///< Says what happened how often, and fails when something never did.
};

/// How often each thing happened.
using Hits = std::map<std::string, std::uint64_t, std::less<>>;

/// Prints all of it, and what of `expected` is missing. True: nothing is.
[[nodiscard]] bool report_coverage(const Hits& hits, const std::vector<std::string>& expected);

}  // namespace capstan::sim
