// SPDX-License-Identifier: MIT
//
// `capstan-master init`: its command line and its manual.
#pragma once

#include <string>
#include <vector>

namespace capstan {

/// `args` behind the word "init". Returns the exit code.
int run_init(const std::vector<std::string>& args);

}  // namespace capstan
