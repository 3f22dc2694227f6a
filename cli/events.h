// SPDX-License-Identifier: MIT
//
// The verb `events`: who decided what, and when.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_events_verb();

}  // namespace capstan::cli
