// SPDX-License-Identifier: MIT
//
// `dev`: a whole throw-away cluster on this machine, and the hand that plays its faults.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_dev_verb();

/// The directory of the cluster whose admin.access this is: "/d" of "/d/master/admin.access".
std::string dev_dir_of(const std::string& access_file);

}  // namespace capstan::cli
