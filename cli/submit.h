// SPDX-License-Identifier: MIT
//
// `submit`: a job enters the queue; with --wait it is waited for.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_submit_verb();

}  // namespace capstan::cli
