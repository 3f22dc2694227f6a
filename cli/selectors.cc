// SPDX-License-Identifier: MIT
#include "cli/selectors.h"

#include <cstdint>
#include <string>

#include "common/base/bytes.h"
#include "common/base/config.h"

namespace capstan::cli {

Outcome<AttemptSelector> parse_attempt_selector(std::string_view text) {
  const std::size_t first = text.find('.');
  const std::size_t second = first == text.npos ? text.npos : text.find('.', first + 1);
  AttemptSelector found;
  if (second == text.npos) {
    found.selector = TRY(as_usage(parse_selector(text)));
    return found;
  }
  found.selector = TRY(as_usage(parse_selector(text.substr(0, second))));
  const auto attempt = config::parse_whole(text.substr(second + 1), 1, UINT32_MAX);
  const auto& tasks = found.selector.tasks;
  if (!attempt || tasks.size() != 1 || tasks.front().count() != 1) {
    return usage_error("bad attempt '" + printable(text) +
                       "': name one attempt at one task, as in 17.42.2");
  }
  found.attempt = AttemptNo(static_cast<std::uint32_t>(*attempt));
  return found;
}

}  // namespace capstan::cli
