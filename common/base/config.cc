// SPDX-License-Identifier: MIT
#include "common/base/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/variables_map.hpp>
#include <charconv>
#include <sstream>

#include "common/base/bytes.h"

namespace capstan::config {
namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kIndent = 4;

/// unix_style without allow_guessing: an abbreviation that works today is API tomorrow.
constexpr int kStyle = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;

tl::unexpected<Error> bad(const std::string& problem) {
  return fail(Errc::Invalid, printable(problem) + " (see --help)");
}

/// "--arr" -> "--array" when only one option begins like that.
std::string meant(const po::options_description& options, std::string_view unknown) {
  const std::size_t dashes = unknown.find_first_not_of('-');
  if (dashes == std::string_view::npos) return "";
  const std::string_view stem = unknown.substr(dashes);
  std::string found;
  for (const auto& option : options.options()) {
    if (stem.empty() || option->long_name().compare(0, stem.size(), stem) != 0) continue;
    if (!found.empty()) return "";
    found = option->long_name();
  }
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

std::string indented(std::string_view line) {
  return line.empty() ? "\n" : fmt::format("{:{}}{}\n", "", kIndent, line);
}

/// Paragraphs filled to the width; lines that begin with a space as they are.
std::string filled(std::string_view text) {
  std::string out, line;
  const auto end_line = [&] {
    if (!line.empty()) out += indented(line);
    line.clear();
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string source(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (source.empty() || source[0] == ' ') {
      end_line();
      out += indented(source);
      continue;
    }
    std::istringstream words(source);
    for (std::string word; words >> word;) {
      if (!line.empty() && kIndent + line.size() + 1 + word.size() > kColumns) end_line();
      line += (line.empty() ? "" : " ") + word;
    }
  }
  end_line();
  return out;
}

std::string section(std::string_view title, const std::string& body) {
  return body.empty() ? "" : fmt::format("\n{}\n{}", title, body);
}

}  // namespace

Result<Parsed> parse(const po::options_description& options, const std::vector<std::string>& args,
                     Positional positional) {
  try {
    const po::parsed_options found =
        po::command_line_parser(args).options(options).style(kStyle).run();
    Parsed parsed = TRY(collect(found, positional));
    po::variables_map values;
    po::store(found, values);
    po::notify(values);
    return parsed;
  } catch (const Rejected& rejected) {
    return fail(Errc::Invalid, printable(rejected.what()));
  } catch (const po::error& error) {
    return bad(problem_of(error, options));
  } catch (const std::exception& error) { return bad(error.what()); }
}

void reject(const char* option, const Error& error) {
  throw Rejected(fmt::format("--{}: {}", option, error.message));
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

std::string help_text(const Page& page, const po::options_description& options) {
  std::string synopsis;
  for (const std::string& line : page.synopsis) synopsis += indented(line);
  std::ostringstream listed;
  listed << options;
  std::string out = fmt::format("NAME\n{}", indented(page.name + " - " + page.summary));
  out += section("SYNOPSIS", synopsis);
  out += section("DESCRIPTION", filled(page.description));
  out += section("OPTIONS", listed.str());
  for (const Page::Section& extra : page.sections) out += section(extra.title, filled(extra.text));
  return out;
}

}  // namespace capstan::config
