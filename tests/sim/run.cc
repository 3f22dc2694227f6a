// SPDX-License-Identifier: MIT
#include "tests/sim/run.h"

#include <cstdio>

#include "master/ha/transitions.h"

namespace capstan::sim {

bool is_expected(const ha::Transition& row, const Run& run) {
  constexpr std::uint64_t kVeryMany = 50'000;
  const bool stood = row.from == ha::Role::Candidate || row.from == ha::Role::Claiming;
  return run.seeds >= kVeryMany || !stood || row.cause != ha::Cause::LeaderHeard;
}

bool report_coverage(const Hits& hits, const std::vector<std::string>& expected) {
  for (const auto& [what, often] : hits) {
    std::printf("%10llu  %s\n", static_cast<unsigned long long>(often), what.c_str());
  }
  bool is_whole = true;
  for (const std::string& what : expected) {
    if (hits.contains(what)) continue;
    std::printf("never happened: %s\n", what.c_str());
    is_whole = false;
  }
  return is_whole;
}

}  // namespace capstan::sim
