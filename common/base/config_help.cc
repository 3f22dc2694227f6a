// SPDX-License-Identifier: MIT
//
// Manual pages: see help_text in config.h.
#include <fmt/format.h>

#include <boost/program_options/cmdline.hpp>
#include <sstream>

#include "common/base/config.h"

namespace capstan::config {
namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kIndent = 4;
constexpr std::size_t kOptionIndent = 2;
constexpr std::size_t kTextColumn = 26;  ///< Where the texts of options begin.

std::string indented(std::string_view line, std::size_t indent = kIndent) {
  return line.empty() ? "\n" : fmt::format("{:{}}{}\n", "", indent, line);
}

/// Paragraphs filled to the width; lines that begin with a space as they are.
std::string filled(std::string_view text, std::size_t indent = kIndent) {
  std::string out, line;
  const auto end_line = [&] {
    if (!line.empty()) out += indented(line, indent);
    line.clear();
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string source(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (source.empty() || source[0] == ' ') {
      end_line();
      out += indented(source, indent);
      continue;
    }
    std::istringstream words(source);
    for (std::string word; words >> word;) {
      if (!line.empty() && indent + line.size() + 1 + word.size() > kColumns) end_line();
      line += (line.empty() ? "" : " ") + word;
    }
  }
  end_line();
  return out;
}

std::string section(std::string_view title, const std::string& body) {
  return body.empty() ? "" : fmt::format("\n{}\n{}", title, body);
}

/// "-f, --follow", "--cpus N".
std::string title_of(const po::option_description& option) {
  using style = po::command_line_style::style_t;
  const std::string brief = option.canonical_display_name(style::allow_dash_for_short);
  std::string title = "--" + option.long_name();
  if (brief.size() == 2 && brief[1] != '-') title = brief + ", " + title;
  if (option.semantic()->min_tokens() > 0) title += " " + option.semantic()->name();
  return title;
}

std::string options_text(const po::options_description& options) {
  std::string out;
  for (const auto& option : options.options()) {
    const std::string title = indented(title_of(*option), kOptionIndent);
    const std::string text = filled(option->description(), kTextColumn);
    // On one line when the title leaves two blanks before its text.
    const bool is_short = title.size() + 1 <= kTextColumn;
    out +=
        is_short ? title.substr(0, title.size() - 1) + text.substr(title.size() - 1) : title + text;
  }
  return out;
}

}  // namespace

std::string help_text(const Page& page, const po::options_description& options) {
  std::string synopsis;
  for (const std::string& line : page.synopsis) synopsis += indented(line);
  std::string out = fmt::format("NAME\n{}", indented(page.name + " - " + page.summary));
  out += section("SYNOPSIS", synopsis);
  out += section("DESCRIPTION", filled(page.description));
  out += section("OPTIONS", options_text(options));
  for (const Page::Section& extra : page.sections) out += section(extra.title, filled(extra.text));
  return out;
}

}  // namespace capstan::config
