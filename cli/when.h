// SPDX-License-Identifier: MIT
//
// Points in the past as people type them.
#pragma once

#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace capstan::cli {

/// `2h`: so long before `now`; or a date as begin_time.h has them.
Result<WallTime> parse_since(std::string_view text, WallTime now);

}  // namespace capstan::cli
