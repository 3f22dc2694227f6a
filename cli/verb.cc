// SPDX-License-Identifier: MIT
#include "cli/verb.h"

#include <algorithm>
#include <utility>

namespace capstan::cli {
namespace {

std::string wanted(const Verb::Shape& shape) {
  if (shape.max == 0) return "no argument";
  if (shape.min == 1 && shape.max == 1) return "one " + shape.word;
  if (shape.word.find(' ') != std::string::npos) return shape.word;  // It says all of it.
  if (shape.min == 0) return "at most " + std::to_string(shape.max) + " " + shape.word;
  return "at least one " + shape.word;
}

}  // namespace

Verb::Verb(std::string name, std::string summary, Shape shape)
    : name_(std::move(name)), shape_(std::move(shape)) {
  page_.name = "capstan " + name_;
  page_.summary = std::move(summary);
}

void Verb::set_examples(std::string text) {
  page_.sections.push_back({"EXAMPLES", std::move(text)});
}

void Verb::set_exits(std::string text) {
  add_common_options(options_, common_);
  page_.sections.push_back({"EXIT STATUS", std::move(text)});
}

Outcome<void> Verb::settle(const std::vector<config::Layer>& layers) {
  TRY(as_usage(config::parse(options_, {}, config::Positional::Allowed, layers)));
  return {};
}

Outcome<Words> Verb::parse(const CutLine& line, const std::vector<config::Layer>& layers) {
  const std::string look = " (see capstan help " + name_ + ")";
  std::vector<std::string> own = line.own;
  Words words;
  words.command = line.command;
  words.has_command = line.has_command;
  words.sources = line.sources;
  const bool anywhere = shape_.command == Shape::Command::Anywhere;
  if (anywhere && !line.has_command) {
    const std::size_t cut = std::min(first_plain_word(options_, own), own.size());
    words.command.assign(own.begin() + static_cast<std::ptrdiff_t>(cut), own.end());
    own.resize(cut);
  }
  config::Parsed parsed =
      TRY(as_usage(config::parse(options_, own, config::Positional::Allowed, layers)));
  words.given = std::move(parsed.given);
  const auto access = parsed.settings.find("access");
  common_.access_origin = access == parsed.settings.end() ? "" : access->second.origin;
  if (common_.help) return words;
  if (anywhere && !parsed.positional.empty()) {
    return usage_error("unexpected '" + printable(parsed.positional.front()) +
                       "' before '--': the command stands behind it");
  }
  words.positionals = std::move(parsed.positional);
  if (shape_.command == Shape::Command::None) {
    words.positionals.insert(words.positionals.end(), line.command.begin(), line.command.end());
    words.command.clear();
  }
  if (!anywhere) {
    if (words.positionals.size() < shape_.min) {
      return usage_error("needs " + wanted(shape_) + look);
    }
    if (words.positionals.size() > shape_.max) {
      return usage_error("unexpected '" + printable(words.positionals[shape_.max]) + "': takes " +
                         wanted(shape_) + look);
    }
  }
  if (!shape_.takes_inputs && !line.sources.empty()) {
    return usage_error("':::' has no meaning here" + look);
  }
  return words;
}

}  // namespace capstan::cli
