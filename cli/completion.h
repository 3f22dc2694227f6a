// SPDX-License-Identifier: MIT
//
// `completion`: scripts for shells, made from the verbs and their options themselves, so that they
// know exactly what this program knows. Pure but for the verb's print.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace capstan::cli {

/// What an option's value may be completed with.
struct ValueHint {
  enum class Kind : unsigned char { None, File, Directory, Words };
  Kind kind = Kind::None;
  std::vector<std::string> words;
};
/// By the name of its value: FILE, DIR, STATE, "text|json".
ValueHint hint_of(const Verb& verb, const po::option_description& option);
/// The words that may stand right behind the verb, from its synopsis: "drain" of "capstan worker
/// drain NAME".
std::vector<std::string> actions_of(const Verb& verb);

using Verbs = std::vector<std::unique_ptr<Verb>>;
std::string bash_completion(const Verbs& verbs);
std::string zsh_completion(const Verbs& verbs);
std::string fish_completion(const Verbs& verbs);

std::unique_ptr<Verb> make_completion_verb();

}  // namespace capstan::cli
