// SPDX-License-Identifier: MIT
//
// The user's settings: ~/.config/capstan/config and the environment, as layers below what is typed.
// A line at the top of the file holds for every verb that has the option, one behind [submit] for
// that verb. CAPSTAN_ACCESS and CAPSTAN_TIMEOUT hold for all, CAPSTAN_SUBMIT_RETRIES for one.
#pragma once

#include <string>
#include <vector>

#include "cli/outcome.h"
#include "cli/verb.h"
#include "common/base/config_file.h"

namespace capstan::cli {

class Settings {
 public:
  /// Reads the file, when there is one, and holds every name in it against the verbs.
  static Outcome<Settings> read();

  /// What goes before what, for Verb::parse.
  [[nodiscard]] std::vector<config::Layer> layers(const Verb& verb) const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;  ///< "" when there is no home.
  std::vector<config::Line> lines_;
};

/// An option that every verb has.
bool is_common_option(const std::string& name);

}  // namespace capstan::cli
