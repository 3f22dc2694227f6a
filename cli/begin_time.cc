// SPDX-License-Identifier: MIT
#include "cli/begin_time.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <string>

#include "common/base/bytes.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr int kYearFirst = 1970;

/// Reads a text from its beginning.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  [[nodiscard]] bool is_at_end() const { return rest_.empty(); }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// Exactly so many digits, from `low` to `high`.
  bool number(std::size_t digits, int low, int high, int& value) {
    if (rest_.size() < digits) return false;
    value = 0;
    for (const char c : rest_.substr(0, digits)) {
      if (c < '0' || c > '9') return false;
      value = 10 * value + (c - '0');
    }
    rest_.remove_prefix(digits);
    return value >= low && value <= high;
  }
  /// .5, .250: dropped but for its form.
  bool fraction() {
    const std::size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    rest_.remove_prefix(digits);
    return digits > 0;
  }

 private:
  std::string_view rest_;
};

bool scan_date(Scanner& text, std::tm& at) {
  if (!text.number(4, kYearFirst, 9999, at.tm_year) || !text.take('-') ||
      !text.number(2, 1, 12, at.tm_mon) || !text.take('-') || !text.number(2, 1, 31, at.tm_mday)) {
    return false;
  }
  at.tm_year -= 1900;
  at.tm_mon -= 1;
  return true;
}

/// HH:MM or HH:MM:SS
bool scan_time(Scanner& text, std::tm& at) {
  if (!text.number(2, 0, 23, at.tm_hour) || !text.take(':') || !text.number(2, 0, 59, at.tm_min)) {
    return false;
  }
  return !text.take(':') ||
         (text.number(2, 0, 59, at.tm_sec) && (!text.take('.') || text.fraction()));
}

/// Z or +01:00: seconds east of Greenwich.
std::optional<int> scan_zone(Scanner& text) {
  if (text.take('Z') || text.take('z')) return 0;
  const int sign = text.take('-') ? -1 : 1;
  if (sign > 0 && !text.take('+')) return std::nullopt;
  int hours = 0;
  int minutes = 0;
  if (!text.number(2, 0, 23, hours) || !text.take(':') || !text.number(2, 0, 59, minutes)) {
    return std::nullopt;
  }
  return sign * (3600 * hours + 60 * minutes);
}

bool is_same_day(const std::tm& a, const std::tm& b) {
  return a.tm_year == b.tm_year && a.tm_mon == b.tm_mon && a.tm_mday == b.tm_mday;
}

/// By the clock here. None when there is no such day.
std::optional<WallTime> local_time(std::tm at) {
  const std::tm asked = at;
  at.tm_isdst = -1;
  const std::time_t seconds = std::mktime(&at);
  if (!is_same_day(at, asked)) return std::nullopt;
  return WallTime{seconds * kSecond};
}

std::optional<WallTime> utc_time(std::tm at, int east) {
  const std::tm asked = at;
  const std::time_t seconds = ::timegm(&at);
  if (!is_same_day(at, asked)) return std::nullopt;
  return WallTime{(seconds - east) * kSecond};
}

/// Today's, or tomorrow's when that has passed.
std::optional<WallTime> next_time(const std::tm& of_day, WallTime now) {
  const std::time_t seconds = now.us / kSecond;
  std::tm at{};
  ::localtime_r(&seconds, &at);
  at.tm_hour = of_day.tm_hour;
  at.tm_min = of_day.tm_min;
  at.tm_sec = of_day.tm_sec;
  at.tm_isdst = -1;
  std::tm today = at;
  if (const std::time_t then = std::mktime(&today); then * kSecond >= now.us) {
    return WallTime{then * kSecond};
  }
  ++at.tm_mday;
  return WallTime{std::mktime(&at) * kSecond};
}

std::optional<WallTime> parse_date(std::string_view text) {
  Scanner scanner(text);
  std::tm at{};
  if (!scan_date(scanner, at)) return std::nullopt;
  if (scanner.is_at_end()) return local_time(at);
  if ((!scanner.take('T') && !scanner.take(' ')) || !scan_time(scanner, at)) return std::nullopt;
  if (scanner.is_at_end()) return local_time(at);
  const auto east = scan_zone(scanner);
  return east && scanner.is_at_end() ? utc_time(at, *east) : std::nullopt;
}

}  // namespace

Result<WallTime> parse_begin(std::string_view text, WallTime now) {
  constexpr std::string_view kNow = "now";
  if (text == kNow) return now;
  const bool is_from_now = text.starts_with("now+");
  if (const auto delay = parse_duration(text.substr(is_from_now ? kNow.size() + 1 : 0))) {
    return WallTime{now.us + delay->count()};
  }
  Scanner scanner(text);
  std::tm of_day{};
  std::optional<WallTime> at;
  if (scan_time(scanner, of_day) && scanner.is_at_end()) {
    at = next_time(of_day, now);
  } else {
    at = parse_date(text);
  }
  if (at && at->us >= 0) return *at;
  return fail(Errc::Invalid, fmt::format("bad time '{}': use now+10m, 22:30, 2026-11-21, "
                                         "2026-11-21T22:30 or 2026-11-21T22:30:00Z",
                                         printable(text)));
}

}  // namespace capstan::cli
