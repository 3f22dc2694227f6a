// SPDX-License-Identifier: MIT
//
// `key add|list|revoke`: who may use the cluster, for an admin.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_key_verb();

}  // namespace capstan::cli
