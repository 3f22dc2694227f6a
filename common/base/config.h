// SPDX-License-Identifier: MIT
//
// A thin layer over boost::program_options that all three programs use: options are bound to
// variables, abbreviations are refused, no exception leaves, and every error is one line that names
// the problem and the fix. The help is printed from the very description that parses.
//
//   po::options_description options;
//   options.add_options()
//       ("dir", po::value(&dir)->value_name("DIR"), "where the state is kept")
//       ("cpus", config::parsed("cpus", &cpus, config::whole(1u, 4096u))->value_name("N"), "…")
//       ("hold", po::bool_switch(&hold), "submit it paused");
//   TRY(config::parse(options, args));
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace capstan::config {

namespace po = boost::program_options;

/// A value of an option that does not stand on the command line.
struct Setting {
  std::string name;      ///< Of the option, without dashes.
  std::string value;     ///< As it was written.
  std::string origin{};  ///< Where: "/home/me/.config/capstan/config:3" or "$CAPSTAN_TIMEOUT".
  /// Holds for every program or verb that has the option: it does not count as given.
  bool is_general = false;
};
/// One source of settings. A name may stand there several times when its option may.
using Layer = std::vector<Setting>;

/// What was given beside the bound variables.
struct Parsed {
  std::vector<std::string> positional;
  std::set<std::string> given;  ///< Long names of the options that were there; defaults are not.
  std::map<std::string, Setting> settings;  ///< Those that a layer has set, by name.
  [[nodiscard]] bool has(const std::string& option) const { return given.count(option) != 0; }
};

/// Words that are no options: whether they are expected.
enum class Positional { Refused, Allowed };

/// Parses `args` (without the program's name) and sets the bound variables. Everything behind `--`
/// is positional. Errc::Invalid: "unknown option '--foo' (see --help)".
Result<Parsed> parse(const po::options_description& options, const std::vector<std::string>& args,
                     Positional positional = Positional::Refused);
/// The same; what `args` do not say is taken from the first of `layers` that says it. Its errors
/// begin with the origin. REQUIRES: every setting names one of `options`.
Result<Parsed> parse(const po::options_description& options, const std::vector<std::string>& args,
                     Positional positional, const std::vector<Layer>& layers);

/// Thrown by the value of an option, caught by parse(). Never leaves it.
class Rejected : public std::runtime_error {
 public:
  Rejected(std::string the_option, const std::string& why)
      : std::runtime_error(why), option(std::move(the_option)) {}
  std::string option;
};
[[noreturn]] void reject(const char* option, const Error& error);

/// An option with a small language of its own: `read` makes a Result<T> from a string_view, e.g.
/// parse_duration. Its errors get the option's name in front.
template <class T, class Read>
po::typed_value<std::string>* parsed(const char* option, T* target, Read read) {
  return po::value<std::string>()->notifier([option, target, read](const std::string& text) {
    auto result = read(std::string_view(text));
    if (!result) reject(option, result.error());
    *target = *std::move(result);
  });
}

/// A whole number in decimal, within [min, max]. (Of boost's own, "-1" is a fine unsigned.)
Result<std::int64_t> parse_whole(std::string_view text, std::int64_t min, std::int64_t max);

/// For parsed(): whole(1u, 4096u).
template <class Int>
auto whole(Int min, Int max) {
  return [min, max](std::string_view text) -> Result<Int> {
    return static_cast<Int>(
        TRY(parse_whole(text, static_cast<std::int64_t>(min), static_cast<std::int64_t>(max))));
  };
}

/// The one of `names` that somebody who typed `word` meant: it begins like that, or differs in a
/// letter or two. "" when there is none, or several.
std::string nearest(const std::vector<std::string>& names, std::string_view word);
/// Long names, in their order.
std::vector<std::string> names_of(const po::options_description& options);

/// A page of a manual around an options_description.
struct Page {
  struct Section {
    std::string title;  ///< "EXAMPLES"
    std::string text;
  };
  std::string name;                   ///< "capstan submit"
  std::string summary;                ///< "submit a batch of commands", no full stop.
  std::vector<std::string> synopsis;  ///< A line each.
  std::string description;            ///< Paragraphs, filled to the width; see below.
  std::vector<Section> sections;      ///< Behind the options.
};

/// NAME, SYNOPSIS, DESCRIPTION, OPTIONS and the page's sections, at most 80 columns. In texts an
/// empty line parts paragraphs, and a line that begins with a space stays as it is. No word is cut.
std::string help_text(const Page& page, const po::options_description& options);

}  // namespace capstan::config
