// SPDX-License-Identifier: MIT
//
// Selectors that name one attempt too: `17.42.2`. Where tasks or jobs are meant, parse_selector
// refuses them.
#pragma once

#include <string_view>

#include "cli/outcome.h"
#include "common/model/parse.h"

namespace capstan::cli {

struct AttemptSelector {
  Selector selector;
  AttemptNo attempt;  ///< 0: none was named.
};
/// What parse_selector takes, or JOB.TASK.ATTEMPT (also last.TASK.ATTEMPT).
Outcome<AttemptSelector> parse_attempt_selector(std::string_view text);

}  // namespace capstan::cli
