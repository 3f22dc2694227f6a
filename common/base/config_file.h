// SPDX-License-Identifier: MIT
//
// Where values of options come from when they are not on the command line: a configuration file and
// the environment, both read through Program_options. The names are those of the options.
//
//   # a comment
//   access = /home/me/work.access
//   [submit]
//   retries = 5
//
// A program's own file is `config` in its directory and has no sections. Its variables are
// CAPSTAN_MASTER_LOST_AFTER and the like. The command line goes before the environment, and that
// before the file.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/config.h"

namespace capstan::config {

/// One line of a file that sets something.
struct Line {
  std::string section;  ///< "" above the first.
  Setting setting;
};
/// No such file: none. Errc::Invalid: "FILE:3: …". Names are not looked at yet.
Result<std::vector<Line>> read_file(const std::string& path);

/// What the environment says: of `options` those whose variable (`prefix` and the name in capitals,
/// with _ for -) is set and not empty. "help" and "version" are not asked for.
Layer environment(const po::options_description& options, std::string_view prefix);

/// "FILE:3: there is no option 'retris': did you mean 'retries'?"
tl::unexpected<Error> unknown_name(const Setting& setting, const std::vector<std::string>& names);

/// A program that keeps a file in its directory.
struct Program {
  const po::options_description& options;
  std::string prefix;  ///< "CAPSTAN_MASTER_"
  /// Where the file is, once the command line and the environment are known.
  std::function<Result<std::string>()> dir;
};
/// Sets the bound variables from the command line, the environment and DIR/config, in this order.
Result<Parsed> parse_program(const Program& program, const std::vector<std::string>& args);

}  // namespace capstan::config
