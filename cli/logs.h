// SPDX-License-Identifier: MIT
//
// `logs`: what tasks printed, from the master, from anywhere. A finished task's output is printed
// to its end, also when the rest of it is still on its way from its worker.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_logs_verb();

}  // namespace capstan::cli
