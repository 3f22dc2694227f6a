// SPDX-License-Identifier: MIT
//
// `submit`: a job enters the queue; with --wait it is waited for.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

/// What a command and its inputs are, for the pages of submit and run.
extern const char* const kCommandText;

std::unique_ptr<Verb> make_submit_verb();

}  // namespace capstan::cli
