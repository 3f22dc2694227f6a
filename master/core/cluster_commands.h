// SPDX-License-Identifier: MIT
//
// Commands that say something of the cluster itself; the rule for changing them is in command.h.
#pragma once

#include <cstdint>
#include <string>

namespace capstan::cmd {

/// The first entry of every reign: a primary in `epoch` begins.
struct ReignBegan {
  std::string node;
  std::string note{};  ///< After an override: what was given up.
  /// After an override: job ids that may have been given in what was given up.
  std::uint64_t jobs_skipped = 0;
};

/// What an admin wants from now on: nothing is acknowledged before so many nodes have it.
struct MinCopiesSet {
  std::uint32_t copies = 1;
};

}  // namespace capstan::cmd
