// SPDX-License-Identifier: MIT
#include "common/base/config_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "common/base/bytes.h"

namespace capstan::config {
namespace {

/// A line that is longer was not written by a person.
constexpr std::size_t kLineBytes = 64 * 1024;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

tl::unexpected<Error> bad_line(const std::string& origin, const std::string& problem) {
  return fail(Errc::Invalid, printable(origin + ": " + problem));
}

/// The one option of a line, as Program_options reads it: comments and blanks taken off.
Result<void> read_line(const std::string& text, Line& line) {
  try {
    std::istringstream stream(text);
    const po::options_description any;
    const auto found = po::parse_config_file(stream, any, true);
    if (found.options.empty()) return {};
    line.setting.name = found.options.front().string_key;
    line.setting.value = found.options.front().value.front();
  } catch (const std::exception&) {
    return bad_line(line.setting.origin,
                    "'" + text + "' says nothing: use NAME = VALUE, or [VERB] for a section");
  }
  if (line.setting.name.empty() || line.setting.value.empty()) {
    return bad_line(line.setting.origin,
                    "'" + text + "' lacks a " + (line.setting.name.empty() ? "name" : "value"));
  }
  return {};
}

bool is_configurable(const std::string& name) {
  return name != "help" && name != "version" && name != "agent";
}

}  // namespace

Result<std::vector<Line>> read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return std::vector<Line>();
    return fail(Errc::Invalid, "cannot read " + printable(path) + ": " + errno_text(errno));
  }
  std::vector<Line> lines;
  std::string section;
  std::size_t number = 0;
  for (std::string text; std::getline(file, text);) {
    Line line{section, {"", "", fmt::format("{}:{}", path, ++number)}};
    if (text.size() > kLineBytes || text.find('\0') != std::string::npos) {
      return bad_line(line.setting.origin, "this is no text");
    }
    const std::string_view words = trimmed(std::string_view(text).substr(0, text.find('#')));
    if (words.starts_with('[') && words.ends_with(']')) {
      section = trimmed(words.substr(1, words.size() - 2));
      continue;
    }
    TRY(read_line(std::string(words), line));
    if (!line.setting.name.empty()) lines.push_back(std::move(line));
  }
  if (file.bad()) return fail(Errc::Invalid, "cannot read " + printable(path));
  return lines;
}

Layer environment(const po::options_description& options, std::string_view prefix) {
  Layer layer;
  const std::vector<std::string> names = names_of(options);
  const auto name_of = [&](std::string variable) -> std::string {
    if (!variable.starts_with(prefix)) return "";
    std::string name = variable.substr(prefix.size());
    for (char& c : name) {
      c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    const bool is_ours = std::find(names.begin(), names.end(), name) != names.end();
    return is_ours && is_configurable(name) ? name : "";
  };
  for (const auto& option : po::parse_environment(options, name_of).options) {
    if (option.value.front().empty()) continue;
    std::string variable = std::string(prefix) + option.string_key;
    for (char& c : variable) {
      c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    layer.push_back({option.string_key, option.value.front(), "$" + variable});
  }
  return layer;
}

tl::unexpected<Error> unknown_name(const Setting& setting, const std::vector<std::string>& names) {
  const std::string meant = nearest(names, setting.name);
  return bad_line(setting.origin, "there is no option '" + setting.name + "'" +
                                      (meant.empty() ? "" : ": did you mean '" + meant + "'?"));
}

Result<Parsed> parse_program(const Program& program, const std::vector<std::string>& args) {
  const Layer variables = environment(program.options, program.prefix);
  TRY(parse(program.options, args, Positional::Refused, {variables}));
  std::vector<std::string> names = names_of(program.options);
  // `dir` says where the file is.
  std::erase_if(names, [](const auto& name) { return name == "dir" || !is_configurable(name); });
  Layer own;
  const std::string dir = TRY(program.dir());
  for (Line& line : TRY(read_file(dir + "/config"))) {
    Setting& setting = line.setting;
    if (!line.section.empty()) {
      return bad_line(setting.origin, "[" + line.section + "]: this file has no sections");
    }
    if (std::find(names.begin(), names.end(), setting.name) == names.end()) {
      return unknown_name(setting, names);
    }
    own.push_back(std::move(setting));
  }
  return parse(program.options, args, Positional::Refused, {variables, own});
}

}  // namespace capstan::config
