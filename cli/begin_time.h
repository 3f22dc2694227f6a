// SPDX-License-Identifier: MIT
//
// `--begin`: when a job may begin, as people say it.
#pragma once

#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace capstan::cli {

/// `now`, `10m`, `now+10m` from `now` on; `22:30`, `22:30:05`: the next time that a clock here
/// shows it; `2026-11-21`, `2026-11-21T22:30`, `2026-11-21T22:30:05` by the clock here; RFC 3339
/// with `Z` or `+01:00` at the end.
Result<WallTime> parse_begin(std::string_view text, WallTime now);

}  // namespace capstan::cli
