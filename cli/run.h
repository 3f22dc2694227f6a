// SPDX-License-Identifier: MIT
//
// `run`: submit, stream the output of the tasks, and end with what became of them.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_run_verb();

}  // namespace capstan::cli
