// SPDX-License-Identifier: MIT
#include "cli/worker_names.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <set>

#include "common/base/bytes.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

tl::unexpected<Failure> bad_range(std::string_view text) {
  return usage_error("'" + printable(text) +
                     "': in brackets stand numbers, as in node[1-50] or node[01-08,12]");
}

bool read_number(std::string_view digits, std::uint32_t& number) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc{} && end == digits.data() + digits.size();
}

/// `1-50`, `01-08` or `7`, appended to `numbers` as they are to be written.
bool add_range(std::string_view range, std::vector<std::string>& numbers) {
  const auto dash = range.find('-');
  const std::string_view low = range.substr(0, dash);
  const std::string_view high = dash == std::string_view::npos ? low : range.substr(dash + 1);
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  if (!read_number(low, first) || !read_number(high, last) || last < first) return false;
  if (std::uint64_t{last} - first >= limits::kWorkers) return false;
  for (std::uint64_t n = first; n <= last; ++n) {
    std::string number = std::to_string(n);
    if (number.size() < low.size()) number.insert(0, low.size() - number.size(), '0');
    numbers.push_back(std::move(number));
  }
  return true;
}

}  // namespace

Outcome<std::vector<std::string>> expand_brackets(std::string_view text) {
  const auto open = text.find('[');
  if (open == std::string_view::npos) return std::vector<std::string>{std::string(text)};
  const auto close = text.find(']', open);
  if (close == std::string_view::npos) return bad_range(text);
  std::vector<std::string> numbers;
  std::string_view list = text.substr(open + 1, close - open - 1);
  while (true) {
    const auto comma = list.find(',');
    if (!add_range(list.substr(0, comma), numbers)) return bad_range(text);
    if (comma == std::string_view::npos) break;
    list = list.substr(comma + 1);
  }
  const auto rest = TRY(expand_brackets(text.substr(close + 1)));
  if (numbers.size() * rest.size() > limits::kWorkers)
    return usage_error("'" + printable(text) + "': so many workers no master has");
  std::vector<std::string> names;
  for (const std::string& number : numbers) {
    for (const std::string& tail : rest)
      names.push_back(std::string(text.substr(0, open)) + number + tail);
  }
  return names;
}

Outcome<std::vector<std::string>> chosen_workers(const std::vector<std::string>& words,
                                                 const std::vector<std::string>& known) {
  std::vector<std::string> chosen;
  std::set<std::string> seen;
  for (const std::string& word : words) {
    for (const std::string& pattern : TRY(expand_brackets(word))) {
      bool is_matched = false;
      for (const std::string& name : known) {
        if (::fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE) != 0) continue;
        is_matched = true;
        if (seen.insert(name).second) chosen.push_back(name);
      }
      if (!is_matched)
        return fail_with(kExitRefused, "there is no worker " + printable(pattern) +
                                           ": capstan workers lists them");
    }
  }
  return chosen;
}

bool comes_before(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto take_number = [&](std::string_view& rest) {
    std::size_t size = 0;
    while (size < rest.size() && is_digit(rest[size])) ++size;
    std::string_view number = rest.substr(0, size);
    rest.remove_prefix(size);
    while (number.size() > 1 && number.front() == '0') number.remove_prefix(1);
    return number;
  };
  std::string_view left = a;
  std::string_view right = b;
  while (!left.empty() && !right.empty()) {
    if (is_digit(left.front()) && is_digit(right.front())) {
      const std::string_view x = take_number(left);
      const std::string_view y = take_number(right);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else if (left.front() != right.front()) {
      return left.front() < right.front();
    } else {
      left.remove_prefix(1);
      right.remove_prefix(1);
    }
  }
  if (left.empty() != right.empty()) return left.empty();
  return a < b;  // "w01" and "w1" are two.
}

}  // namespace capstan::cli
