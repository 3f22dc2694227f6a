// SPDX-License-Identifier: MIT
//
// `top`: the cluster as it is, again and again. What is shown is in top_frame.h, the terminal in
// screen.h; here it is asked for.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_top_verb();

}  // namespace capstan::cli
