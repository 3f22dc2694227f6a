// SPDX-License-Identifier: MIT
//
// How long a simulated run is, in virtual time, and how large its steps are.
#pragma once

#include <cstdint>

#include "common/base/clock.h"

namespace capstan::sim {

inline constexpr Micros kWork{90'000'000};     ///< Submissions and faults are spread over this.
inline constexpr Micros kSettle{900'000'000};  ///< After the faults all is at rest within this.
inline constexpr std::uint32_t kSweptAtOnce =
    2;                                    ///< Rows of a deleted job: most take several steps.
inline constexpr Micros kReadMax{5'000};  ///< A read of the tables takes this at most.

}  // namespace capstan::sim
