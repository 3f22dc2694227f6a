// SPDX-License-Identifier: MIT
#include "common/model/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "common/model/limits.h"

namespace capstan {
namespace {

tl::unexpected<Error> invalid(std::string message) {
  return fail(Errc::Invalid, std::move(message));
}

std::string quoted(std::string_view text) {
  return "'" + printable(text) + "'";
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The digits at the beginning of `text`, taken off. More than 2^64-1 counts as 2^64-1. None:
/// nothing is taken and nullopt returned.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[digits])) ++digits;
  if (digits == 0) return std::nullopt;
  std::uint64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + digits, value);
  if (read.ec == std::errc::result_out_of_range) value = UINT64_MAX;
  text.remove_prefix(digits);
  return value;
}

/// True when `text` began with `c`, which is taken off.
bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

struct Unit {
  std::string_view name;
  std::int64_t us;
};
constexpr Unit kUnits[] = {{"ms", 1000},
                           {"s", 1'000'000},
                           {"m", 60'000'000},
                           {"h", 3'600'000'000LL},
                           {"d", 86'400'000'000LL}};
constexpr std::size_t kFractionDigits = 8;  // A 10^8th of a day is 864 µs: enough, and it fits.

std::optional<std::int64_t> unit_us(std::string_view name) {
  if (name.empty()) return 1'000'000;
  for (const Unit& unit : kUnits) {
    if (name == unit.name) return unit.us;
  }
  return std::nullopt;
}

/// Of "25": the µs that a quarter of the unit has. At most kFractionDigits, so it cannot overflow.
std::int64_t fraction_us(std::string_view digits, std::int64_t unit) {
  std::int64_t value = 0;
  std::int64_t parts = 1;
  for (const char c : digits) {
    value = 10 * value + (c - '0');
    parts *= 10;
  }
  return value * unit / parts;
}

/// `d` in one unit as an exact decimal, "" when it has none or too many digits.
std::string exactly_in(const Unit& unit, std::int64_t us) {
  std::string text = std::to_string(us / unit.us);
  std::int64_t rest = us % unit.us;
  std::int64_t place = unit.us;
  if (rest != 0) text += '.';
  while (rest != 0) {
    if (place % 10 != 0) return "";
    place /= 10;
    text += static_cast<char>('0' + rest / place);
    rest %= place;
  }
  return text.append(unit.name);
}

/// FIRST, FIRST-LAST or FIRST-LAST:STEP; the last is pulled down to an index that is hit.
Result<IndexRange> parse_range(std::string_view text) {
  const auto bad = [&] {
    return invalid(fmt::format("bad range {}: use 7, 1-100 or 1-99:2", quoted(text)));
  };
  std::string_view rest = text;
  const auto first = take_number(rest);
  if (!first) return bad();
  auto last = first;
  std::optional<std::uint64_t> step = 1;
  if (take(rest, '-')) {
    last = take_number(rest);
    if (take(rest, ':')) step = take_number(rest);
  }
  if (!last || !step || !rest.empty()) return bad();
  if (*step == 0) return invalid(fmt::format("bad range {}: a step is 1 or more", quoted(text)));
  if (*first > *last) {
    return invalid(
        fmt::format("bad range {}: it runs backwards, use {}-{}", quoted(text), *last, *first));
  }
  if (*last > limits::kIndexMax) {
    return invalid(fmt::format("range {} is too large: an index is at most {}", quoted(text),
                               limits::kIndexMax));
  }
  const std::uint64_t hit = *first + (*last - *first) / *step * *step;
  return IndexRange{static_cast<std::uint32_t>(*first), static_cast<std::uint32_t>(hit),
                    *first == hit ? 1 : static_cast<std::uint32_t>(*step)};
}

/// Ranges with commas between, in any order; sorted. Not empty.
Result<std::vector<IndexRange>> parse_ranges(std::string_view text) {
  std::vector<IndexRange> ranges;
  for (;;) {
    const std::size_t comma = text.find(',');
    ranges.push_back(TRY(parse_range(text.substr(0, comma))));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t count = ranges.front().count();
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first <= ranges[i - 1].last) {
      return invalid(fmt::format("ranges overlap at {}: name each index once", ranges[i].first));
    }
    count += ranges[i].count();
  }
  if (count > limits::kTasksPerJob) {
    return invalid(fmt::format("{} tasks are too many for one job: use at most {}", count,
                               limits::kTasksPerJob));
  }
  return ranges;
}

/// What stands behind the dot of a selector.
Result<std::vector<IndexRange>> parse_tasks(std::string_view selector, std::string_view tasks) {
  if (tasks.find('.') != std::string_view::npos) {
    return invalid(fmt::format(
        "{} is one attempt: name the task, as in 17.42 (logs takes attempts)", quoted(selector)));
  }
  auto ranges = parse_ranges(tasks);
  if (!ranges) return fail(std::move(ranges).error(), "tasks of " + quoted(selector));
  return ranges;
}

}  // namespace

Result<Micros> parse_duration(std::string_view text) {
  std::string_view rest = text;
  const auto whole = take_number(rest);
  std::string_view fraction;
  if (whole && take(rest, '.')) {
    fraction = rest.substr(0, rest.find_first_not_of("0123456789"));
    rest.remove_prefix(fraction.size());
    if (fraction.empty() || fraction.size() > kFractionDigits) rest = "?";
  }
  const auto unit = unit_us(rest);
  if (!whole || !unit) {
    return invalid(
        fmt::format("bad duration {}: use 90 (seconds), 250ms, 1.5s, 10m, 2h or 1d", quoted(text)));
  }
  constexpr std::int64_t kMaxUs = 36'500 * 86'400'000'000LL;
  if (*whole > static_cast<std::uint64_t>(kMaxUs / *unit)) {
    return invalid(fmt::format("duration {} is too long: use at most 36500d", quoted(text)));
  }
  return Micros(static_cast<std::int64_t>(*whole) * *unit + fraction_us(fraction, *unit));
}

std::string duration_text(Micros d) {
  if (d.count() < 0) return "-" + duration_text(-d);
  if (d.count() == 0) return "0s";
  std::string best = exactly_in(kUnits[0], d.count());
  for (const Unit& unit : kUnits) {
    const std::string text = exactly_in(unit, d.count());
    if (text.empty() || text.size() > best.size()) continue;
    // 250ms rather than 0.25s, 1h rather than 60m.
    const bool is_whole = text.find('.') == std::string::npos;
    if (text.size() < best.size() || is_whole) best = text;
  }
  return best;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::string_view kSuffixes = "KMGT";
  std::string_view rest = text;
  const auto number = take_number(rest);
  const std::size_t suffix = rest.size() == 1 ? kSuffixes.find(rest[0]) : std::string_view::npos;
  if (!number || (!rest.empty() && suffix == std::string_view::npos)) {
    return invalid(fmt::format("bad size {}: use 512 (bytes), 512K, 512M, 2G or 1T", quoted(text)));
  }
  const unsigned shift = rest.empty() ? 0 : 10 * (static_cast<unsigned>(suffix) + 1);
  if (*number > (static_cast<std::uint64_t>(INT64_MAX) >> shift)) {
    return invalid(fmt::format("size {} is too large: use less than 8388608T", quoted(text)));
  }
  return *number << shift;
}

Result<ArraySpec> parse_array(std::string_view text) {
  ArraySpec array;
  const std::size_t percent = text.find('%');
  array.indices = TRY(parse_ranges(text.substr(0, percent)));
  if (percent == std::string_view::npos) return array;
  std::string_view rest = text.substr(percent + 1);
  const auto limit = take_number(rest);
  if (!limit || !rest.empty() || *limit == 0 || *limit > limits::kTasksPerJob) {
    return invalid(fmt::format("bad limit in {}: use 1-100%8 for at most 8 at once", quoted(text)));
  }
  array.max_running = static_cast<std::uint32_t>(*limit);
  return array;
}

Result<Selector> parse_selector(std::string_view text) {
  if (text == "last") return Selector{Selector::Kind::Last, {}, {}};
  if (text.starts_with("last.")) {
    return Selector{Selector::Kind::Last, {}, TRY(parse_tasks(text, text.substr(5)))};
  }
  if (text == "all") return Selector{Selector::Kind::All, {}, {}};
  Selector selector;
  std::string_view rest = text;
  const auto job = take_number(rest);
  const bool has_tasks = take(rest, '.');
  if (!job || *job == 0 || *job == UINT64_MAX || (!has_tasks && !rest.empty())) {
    return invalid(fmt::format("bad job {}: use 17, 17.42, 17.1-100, last or all", quoted(text)));
  }
  selector.job = JobId(*job);
  if (has_tasks) selector.tasks = TRY(parse_tasks(text, rest));
  return selector;
}

std::string rfc3339(WallTime t) {
  using namespace std::chrono;
  const sys_time<milliseconds> at{floor<milliseconds>(microseconds(t.us))};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss of_day{at - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     of_day.hours().count(), of_day.minutes().count(), of_day.seconds().count(),
                     of_day.subseconds().count());
}

}  // namespace capstan
