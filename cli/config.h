// SPDX-License-Identifier: MIT
//
// `config show`: what every option is set to when it is not typed, and where that was said.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_config_verb();

/// What an option's text says that its default is: "30s" of "Give up after … (default 30s).", or
/// of "Default: 30s."; "" when it says nothing.
std::string default_in(std::string_view description);

}  // namespace capstan::cli
