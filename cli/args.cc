// SPDX-License-Identifier: MIT
#include "cli/args.h"

#include <algorithm>
#include <boost/program_options/cmdline.hpp>

#include "common/base/config.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

bool is_input_mark(const std::string& word) {
  return word == ":::" || word == "::::" || word == ":::+" || word == "::::+";
}

/// True when this option (as typed, "--name" or "-n") takes its value from the next word.
bool takes_next_word(const po::options_description& options, const std::string& word) {
  if (word.find('=') != std::string::npos) return false;
  const bool is_long = word.starts_with("--");
  if (!is_long && word.size() > 2) return false;  // "-n5"
  const int style =
      is_long ? po::command_line_style::allow_long : po::command_line_style::allow_dash_for_short;
  for (const auto& option : options.options()) {
    if (option->canonical_display_name(style) == word) return option->semantic()->min_tokens() > 0;
  }
  return false;
}

std::vector<std::string> slice(const std::vector<std::string>& words, std::size_t begin,
                               std::size_t end) {
  return {words.begin() + static_cast<std::ptrdiff_t>(begin),
          words.begin() + static_cast<std::ptrdiff_t>(end)};
}

/// The lists behind a mark and its words, as GNU parallel has them: each file is a list.
Outcome<void> add_sources(const std::string& mark, const std::vector<std::string>& words,
                          std::vector<InputSource>& sources) {
  const bool is_linked = mark.ends_with('+');
  if (is_linked && sources.empty()) {
    return usage_error("'" + mark +
                       "' links to the list before it, and there is none: begin with "
                       "'" +
                       mark.substr(0, mark.size() - 1) + "'");
  }
  if (mark.starts_with("::::")) {
    if (words.empty()) return usage_error("'" + mark + "' needs a file of inputs behind it");
    for (const std::string& file : words) {
      sources.push_back({InputSource::Kind::File, is_linked, {file}});
    }
  } else {
    sources.push_back({InputSource::Kind::Words, is_linked, words});
  }
  return {};
}

}  // namespace

std::size_t first_plain_word(const po::options_description& options,
                             const std::vector<std::string>& words) {
  std::size_t at = 0;
  while (at < words.size()) {
    const std::string& word = words[at];
    if (word.size() < 2 || word[0] != '-') return at;
    at += takes_next_word(options, word) ? 2 : 1;
  }
  return words.size();
}

Outcome<CutLine> cut_line(const std::vector<std::string>& args) {
  CutLine line;
  CommonOptions unused;
  po::options_description globals;
  add_common_options(globals, unused);
  std::size_t at = first_plain_word(globals, args);
  line.globals = slice(args, 0, at);
  if (at == args.size()) return line;
  line.verb = args[at++];
  const auto is_cut = [](const std::string& word) { return word == "--" || is_input_mark(word); };
  const auto position_of = [&](auto predicate) {
    const auto begin = args.begin() + static_cast<std::ptrdiff_t>(at);
    return static_cast<std::size_t>(std::find_if(begin, args.end(), predicate) - args.begin());
  };
  const std::size_t own_end = position_of(is_cut);
  line.own = slice(args, at, own_end);
  at = own_end;
  if (at < args.size() && args[at] == "--") {
    line.has_command = true;
    ++at;
    // The command of `dev` is a command line of its own.
    const std::size_t end = line.verb == "dev" ? args.size() : position_of(is_input_mark);
    line.command = slice(args, at, end);
    at = end;
  }
  while (at < args.size()) {
    const std::string& mark = args[at++];
    const std::size_t end = position_of(is_input_mark);
    TRY(add_sources(mark, slice(args, at, end), line.sources));
    at = end;
  }
  return line;
}

void add_common_options(po::options_description& options, CommonOptions& common) {
  // clang-format off
  options.add_options()
      ("access", po::value(&common.access)->value_name("FILE"),
       "The file that says where the masters are and holds your key. Default: $CAPSTAN_ACCESS, "
       "then ~/.config/capstan/access, then that of this machine's master.")
      ("timeout",
       config::parsed("timeout", &common.timeout, parse_duration)
           ->value_name("DURATION"),
       "Give up when no answer has come for this long (default 30s).")
      ("help,h", po::bool_switch(&common.help),
       "Print this page.");
  // clang-format on
}

}  // namespace capstan::cli
