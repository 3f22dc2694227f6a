// SPDX-License-Identifier: MIT
//
// What a person means by the names of workers: w1, node[1-50], node[01-50,60], gpu*; and in which
// order they read them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/outcome.h"

namespace capstan::cli {

/// Every name that the brackets stand for; numbers as wide as the first of their range is written.
Outcome<std::vector<std::string>> expand_brackets(std::string_view text);

/// The workers of `known` that `words` name, each once, in the order of the words. Fails when a
/// word names none.
Outcome<std::vector<std::string>> chosen_workers(const std::vector<std::string>& words,
                                                 const std::vector<std::string>& known);

/// "w2" before "w10".
bool comes_before(std::string_view a, std::string_view b);

}  // namespace capstan::cli
