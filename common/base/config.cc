// SPDX-License-Identifier: MIT
#include "common/base/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/variables_map.hpp>
#include <charconv>
#include <numeric>
#include <utility>

#include "common/base/bytes.h"

namespace capstan::config {
namespace {

/// unix_style without allow_guessing: an abbreviation that works today is API tomorrow.
constexpr int kStyle = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;

tl::unexpected<Error> bad(const std::string& problem) {
  return fail(Errc::Invalid, printable(problem) + " (see --help)");
}

/// "--arr" -> ": did you mean '--array'?"
std::string meant(const po::options_description& options, std::string_view unknown) {
  const std::size_t dashes = std::min(unknown.find_first_not_of('-'), unknown.size());
  const std::string found = nearest(names_of(options), unknown.substr(dashes));
  return found.empty() ? "" : fmt::format(": did you mean '--{}'?", found);
}

/// Of every exception that boost throws here.
std::string problem_of(const po::error& error, const po::options_description& options) {
  if (const auto* unknown = dynamic_cast<const po::unknown_option*>(&error)) {
    std::string name = unknown->get_option_name();
    name.resize(std::min(name.find('='), name.size()));
    return fmt::format("unknown option '{}'{}", name, meant(options, name));
  }
  if (const auto* twice = dynamic_cast<const po::multiple_occurrences*>(&error)) {
    return fmt::format("option '{}' is given more than once: give it once",
                       twice->get_option_name());
  }
  if (const auto* syntax = dynamic_cast<const po::invalid_command_line_syntax*>(&error)) {
    const std::string name = syntax->get_option_name();
    switch (syntax->kind()) {
      case po::invalid_syntax::missing_parameter:
      case po::invalid_syntax::empty_adjacent_parameter:
        return fmt::format("option '{}' needs a value", name);
      case po::invalid_syntax::extra_parameter:
        return fmt::format("option '{}' takes no value", name);
      default:
        break;
    }
  }
  return error.what();
}

Result<Parsed> collect(const po::parsed_options& found, Positional positional) {
  Parsed parsed;
  for (const auto& option : found.options) {
    if (option.position_key < 0) {
      parsed.given.insert(option.string_key);
      continue;
    }
    for (const std::string& word : option.value) {
      if (positional == Positional::Refused) return bad(fmt::format("unexpected '{}'", word));
      parsed.positional.push_back(word);
    }
  }
  return parsed;
}

/// What `layer` says and nobody before it did, noted in `parsed`.
po::parsed_options settings_of(const po::options_description& options, const Layer& layer,
                               const std::set<std::string>& said, Parsed& parsed) {
  po::parsed_options found(&options);
  for (const Setting& setting : layer) {
    if (said.count(setting.name) != 0) continue;
    found.options.emplace_back(setting.name, std::vector<std::string>{setting.value});
    parsed.settings.insert_or_assign(setting.name, setting);
    if (!setting.is_general) parsed.given.insert(setting.name);
  }
  return found;
}

/// "--cpus" -> "cpus".
std::string bare(const std::string& option) {
  return option.substr(std::min(option.find_first_not_of('-'), option.size()));
}

/// "FILE:3: " when the option's value comes from there.
std::string whence(const Parsed& parsed, const std::string& option) {
  const auto found = parsed.settings.find(option);
  const bool has_origin = found != parsed.settings.end() && !found->second.origin.empty();
  return has_origin ? found->second.origin + ": " : "";
}

/// Changes of one letter (another, one more, one less, two swapped) between two words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t other = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + other});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::vector<std::string> names_of(const po::options_description& options) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back(option->long_name());
  return names;
}

std::string nearest(const std::vector<std::string>& names, std::string_view word) {
  if (word.empty()) return "";
  std::string found;
  std::size_t best = word.size() < 4 ? 1 : 2;
  bool is_begun = false, is_unique = false;
  for (const std::string& name : names) {
    const bool begins = name.starts_with(word);
    const std::size_t away = begins ? 0 : distance(name, word);
    if (away > best || (is_begun && !begins)) continue;
    is_unique = found.empty() || away < best || (begins && !is_begun);
    is_begun = is_begun || begins;
    best = away;
    found = name;
  }
  return is_unique ? found : "";
}

Result<Parsed> parse(const po::options_description& options, const std::vector<std::string>& args,
                     Positional positional) {
  return parse(options, args, positional, {});
}

Result<Parsed> parse(const po::options_description& options, const std::vector<std::string>& args,
                     Positional positional, const std::vector<Layer>& layers) {
  Parsed parsed;
  try {
    const po::parsed_options found =
        po::command_line_parser(args).options(options).style(kStyle).run();
    parsed = TRY(collect(found, positional));
    po::variables_map values;
    po::store(found, values);
    std::set<std::string> said = parsed.given;
    for (const Layer& layer : layers) {
      const po::parsed_options more = settings_of(options, layer, said, parsed);
      for (const auto& option : more.options) said.insert(option.string_key);
      po::store(more, values);
    }
    po::notify(values);
    return parsed;
  } catch (const Rejected& rejected) {
    return fail(Errc::Invalid, printable(whence(parsed, rejected.option) + rejected.what()));
  } catch (const po::error_with_option_name& error) {
    const std::string from = whence(parsed, bare(error.get_option_name()));
    return from.empty() ? bad(problem_of(error, options))
                        : fail(Errc::Invalid, printable(from + error.what()));
  } catch (const po::error& error) {
    return bad(problem_of(error, options));
  } catch (const std::exception& error) { return bad(error.what()); }
}

void reject(const char* option, const Error& error) {
  throw Rejected(option, fmt::format("--{}: {}", option, error.message));
}

Result<std::int64_t> parse_whole(std::string_view text, std::int64_t min, std::int64_t max) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, why] = std::from_chars(text.data(), end, value);
  const bool is_number = stop == end && !text.empty() && why != std::errc::invalid_argument;
  if (is_number && why == std::errc{} && value >= min && value <= max) return value;
  return fail(Errc::Invalid,
              fmt::format("'{}' is {}: use a whole number from {} to {}", printable(text),
                          is_number ? "out of range" : "no whole number", min, max));
}

}  // namespace capstan::config
