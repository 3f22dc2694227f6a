// SPDX-License-Identifier: MIT
//
// The verbs `backup` and `restore`. What a database is, capstan-master alone knows: it is started
// to check and to restore one.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_backup_verb();
std::unique_ptr<Verb> make_restore_verb();

}  // namespace capstan::cli
