// SPDX-License-Identifier: MIT
//
// The command line as it is typed: cut at the verb, at the first `--`, and at `:::` or `::::`.
// What stands in front of `--` is for the verb's options_description (verb.h). No I/O here.
//
//   capstan [OPTIONS] VERB [OPTIONS] [ARGUMENTS] [-- COMMAND…] [::: INPUT… | :::: FILE…]
#pragma once

#include <boost/program_options/options_description.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/outcome.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/model/limits.h"

namespace capstan::cli {

namespace po = boost::program_options;

/// Where the inputs of a job come from.
enum class InputSource : std::uint8_t {
  None,
  Words,  ///< ::: a b c
  Files,  ///< :::: FILE…
};

/// argv, cut and not yet understood.
struct CutLine {
  std::vector<std::string> globals;  ///< Before the verb.
  std::string verb;                  ///< "" when there is none.
  std::vector<std::string> own;      ///< Behind the verb, before `--` and `:::`.
  bool has_command = false;          ///< A `--` was there.
  std::vector<Bytes> command;        ///< Between `--` and `:::`.
  InputSource source = InputSource::None;
  std::vector<Bytes> inputs;  ///< Behind `:::` (words) or `::::` (file names).
};
/// `args` without the program's name. Fails when `:::` stands there twice.
Outcome<CutLine> cut_line(const std::vector<std::string>& args);

/// The index of the first word that is neither an option nor the value of one.
std::size_t first_plain_word(const po::options_description& options,
                             const std::vector<std::string>& words);

/// What may stand before the verb and behind it.
struct CommonOptions {
  std::string access;         ///< "" when not given.
  std::string access_origin;  ///< Where it was said; "": it was typed.
  Micros timeout{limits::kClientTimeout};
  bool help = false;
};
/// --access, --timeout, --help, bound to `common`.
void add_common_options(po::options_description& options, CommonOptions& common);

}  // namespace capstan::cli
