// SPDX-License-Identifier: MIT
#include "cli/settings.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "cli/verb_table.h"
#include "common/base/bytes.h"
#include "common/base/dirs.h"

namespace capstan::cli {
namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> configurable(const Verb& verb) {
  std::vector<std::string> names = config::names_of(verb.options());
  std::erase(names, "help");
  return names;
}

/// Every name must be one that something listens to: a misspelt one would do nothing, silently.
Outcome<void> check(const std::vector<config::Line>& lines) {
  if (lines.empty()) return {};
  const auto verbs = make_all_verbs();
  std::vector<std::string> all, verb_names;
  for (const auto& verb : verbs) {
    verb_names.push_back(verb->name());
    for (std::string& name : configurable(*verb)) {
      if (!has(all, name)) all.push_back(std::move(name));
    }
  }
  for (const config::Line& line : lines) {
    const auto verb = std::find_if(verbs.begin(), verbs.end(), [&](const auto& candidate) {
      return candidate->name() == line.section;
    });
    if (!line.section.empty() && verb == verbs.end()) {
      const std::string meant = config::nearest(verb_names, line.section);
      return usage_error(printable(line.setting.origin + ": there is no verb '" + line.section +
                                   "'" + (meant.empty() ? "" : ": did you mean '" + meant + "'?")));
    }
    const auto names = line.section.empty() ? all : configurable(**verb);
    if (!has(names, line.setting.name)) {
      return usage_error(config::unknown_name(line.setting, names).value().message);
    }
  }
  return {};
}

std::string variable_prefix(const std::string& verb) {
  std::string prefix = "CAPSTAN_";
  for (const char c : verb) {
    prefix += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return prefix + "_";
}

}  // namespace

bool is_common_option(const std::string& name) {
  return name == "access" || name == "timeout";
}

Outcome<Settings> Settings::read() {
  Settings settings;
  const auto dir = default_config_dir();
  if (!dir) return settings;  // No home: nothing is configured.
  settings.path_ = *dir + "/config";
  settings.lines_ = TRY(as_usage(config::read_file(settings.path_)));
  TRY(check(settings.lines_));
  return settings;
}

std::vector<config::Layer> Settings::layers(const Verb& verb) const {
  const std::vector<std::string> names = configurable(verb);
  config::Layer own_section, top;
  for (const config::Line& line : lines_) {
    if (line.section == verb.name()) own_section.push_back(line.setting);
    if (!line.section.empty() || !has(names, line.setting.name)) continue;
    top.push_back(line.setting);
    top.back().is_general = is_common_option(line.setting.name);
  }
  po::options_description common;
  CommonOptions unused;
  add_common_options(common, unused);
  config::Layer general = config::environment(common, "CAPSTAN_");
  for (config::Setting& setting : general) setting.is_general = true;
  return {config::environment(verb.options(), variable_prefix(verb.name())), std::move(general),
          std::move(own_section), std::move(top)};
}

}  // namespace capstan::cli
