// SPDX-License-Identifier: MIT
//
// The command line as it is typed: cut at the verb, at the first `--`, and at each `:::` or `::::`.
// What stands in front of `--` is for the verb's options_description (verb.h). No I/O here.
//
//   capstan [OPTIONS] VERB [OPTIONS] [ARGUMENTS] [-- COMMAND…] [::: INPUT… | :::: FILE…]…
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

/// One list of inputs. Several are combined: each value of one with each of the others.
struct InputSource {
  enum class Kind : std::uint8_t { Words, File };
  Kind kind = Kind::Words;
  bool is_linked = false;   ///< `:::+`, `::::+`: goes along with the list before it.
  std::vector<Bytes> from;  ///< ::: a b c, or the one file of :::: FILE.
  bool operator==(const InputSource&) const = default;
};

/// argv, cut and not yet understood.
struct CutLine {
  std::vector<std::string> globals;  ///< Before the verb.
  std::string verb;                  ///< "" when there is none.
  std::vector<std::string> own;      ///< Behind the verb, before `--` and `:::`.
  bool has_command = false;          ///< A `--` was there.
  std::vector<Bytes> command;        ///< Between `--` and `:::`.
  std::vector<InputSource> sources;  ///< Behind `:::` (words) and `::::` (files, a list each).
};
/// `args` without the program's name. Fails when a list links to none, or names no file.
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
