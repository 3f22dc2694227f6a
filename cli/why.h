// SPDX-License-Identifier: MIT
//
// One task looked at closely: `why ID.TASK` and `attempts ID.TASK`.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_why_verb();
std::unique_ptr<Verb> make_attempts_verb();

}  // namespace capstan::cli
