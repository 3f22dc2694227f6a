// SPDX-License-Identifier: MIT
#include "cli/when.h"

#include <ctime>
#include <string>

#include "common/base/bytes.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

/// Errors of a date and of a duration are told apart by how they begin.
bool looks_like_date(std::string_view text) {
  return text.find('-') != std::string_view::npos || text.find(':') != std::string_view::npos;
}

/// Has a day that the calendar has: mktime would make the 31st of a short month the 1st.
bool is_same_day(const std::tm& asked, const std::tm& made) {
  return asked.tm_mday == made.tm_mday && asked.tm_mon == made.tm_mon;
}

}  // namespace

Result<WallTime> parse_date(std::string_view text) {
  std::string words(text);
  const bool is_utc = words.ends_with('Z');
  if (is_utc) words.pop_back();
  for (const char* form :
       {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"}) {
    std::tm parts{};
    const char* end = ::strptime(words.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    parts.tm_isdst = -1;
    std::tm made = parts;
    const std::time_t at = is_utc ? ::timegm(&made) : std::mktime(&made);
    if (at == -1 || !is_same_day(parts, made)) break;
    return WallTime{std::int64_t{at} * 1'000'000};
  }
  return fail(Errc::Invalid, "bad date '" + printable(text) +
                                 "': use 2026-11-21, 2026-11-21T10:30 or 2026-11-21T10:30:00Z");
}

Result<WallTime> parse_since(std::string_view text, WallTime now) {
  if (looks_like_date(text)) return parse_date(text);
  const auto span = parse_duration(text);
  if (span) return WallTime{now.us - span->count()};
  return fail(Errc::Invalid, "'" + printable(text) +
                                 "' is no time: use a duration (2h, 1d) or a date (2026-11-21)");
}

}  // namespace capstan::cli
