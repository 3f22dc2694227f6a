// SPDX-License-Identifier: MIT
//
// `worker drain|resume|remove NAME...` and `worker wait N`: steering of workers, for an admin.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_worker_verb();

}  // namespace capstan::cli
