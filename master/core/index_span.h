// SPDX-License-Identifier: MIT
//
// Tasks from one index to another, as commands and rows name them.
#pragma once

#include <compare>
#include <cstdint>

namespace capstan {

/// Ascending, not touching; both ends belong to it.
struct IndexSpan {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  auto operator<=>(const IndexSpan&) const = default;
};

}  // namespace capstan
