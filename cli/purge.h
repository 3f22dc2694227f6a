// SPDX-License-Identifier: MIT
//
// The verbs that delete: `purge`, and `job delete` behind `job`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_purge_verb();

struct DeleteOptions {
  std::vector<std::string> ids;
  bool json = false;
};
/// `capstan job delete ID…`, said by `verb`.
Outcome<int> delete_jobs(const Verb& verb, const DeleteOptions& options);

}  // namespace capstan::cli
