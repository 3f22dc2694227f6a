// SPDX-License-Identifier: MIT
#include "cli/when.h"

#include "cli/begin_time.h"
#include "common/base/bytes.h"
#include "common/model/parse.h"

namespace capstan::cli {

Result<WallTime> parse_since(std::string_view text, WallTime now) {
  if (text.find('-') != std::string_view::npos) return parse_begin(text, now);
  const auto span = parse_duration(text);
  if (span) return WallTime{now.us - span->count()};
  return fail(Errc::Invalid, "'" + printable(text) +
                                 "' is no time: use a duration (2h, 1d) or a date (2026-11-21)");
}

}  // namespace capstan::cli
