// SPDX-License-Identifier: MIT
//
// Points in time as people type them. Local, unless a Z stands behind.
#pragma once

#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace capstan::cli {

/// `2026-11-21`, `2026-11-21 10:30`, `2026-11-21T10:30:00`, with `Z` behind it in UTC.
Result<WallTime> parse_date(std::string_view text);
/// A date, or a duration: so long before `now`.
Result<WallTime> parse_since(std::string_view text, WallTime now);

}  // namespace capstan::cli
