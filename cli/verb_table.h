// SPDX-License-Identifier: MIT
//
// The one table of verbs: what `capstan --help` lists, what a line is dispatched to, what the
// completion and the configuration file know.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace capstan::cli {

/// A new object of each verb, in the order of the help.
std::vector<std::unique_ptr<Verb>> make_all_verbs();
/// Null when there is none of that name.
std::unique_ptr<Verb> find_verb(const std::string& name);
/// The usage error for a word that is none: with the nearest that is.
tl::unexpected<Failure> no_such_verb(const std::string& name);

}  // namespace capstan::cli
