// SPDX-License-Identifier: MIT
#include "tests/sim/run.h"

#include <cstdio>

namespace capstan::sim {

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
