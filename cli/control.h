// SPDX-License-Identifier: MIT
//
// The verbs that steer: cancel, pause, resume, retry. Each is one request that is done once,
// however often it had to be said.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_cancel_verb();
std::unique_ptr<Verb> make_pause_verb();
std::unique_ptr<Verb> make_resume_verb();
std::unique_ptr<Verb> make_retry_verb();

}  // namespace capstan::cli
