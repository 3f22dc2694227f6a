// SPDX-License-Identifier: MIT
//
// capstan, the command line: one table of verbs.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/program_options/options_description.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "cli/verb.h"
#include "cli/verb_table.h"
#include "common/base/config.h"
#include "common/base/descriptors.h"
#include "common/base/log.h"
#include "common/base/print_error.h"
#include "common/model/parse.h"
#include "common/wire/version.h"

namespace capstan::cli {
namespace {

Outcome<int> print(const std::string& text) {
  Output out(STDOUT_FILENO);
  out.write(text);
  TRY(out.flush());
  return kExitOk;
}

struct Globals {
  CommonOptions common;
  bool version = false;
  po::options_description options;
  Globals() {
    add_common_options(options, common);
    options.add_options()("version", po::bool_switch(&version), "Print the version.");
  }
};

std::string overview(const Globals& globals) {
  config::Page page;
  page.name = "capstan";
  page.summary = "run batches of commands on every machine you have";
  page.synopsis = {"capstan [--access FILE] [--timeout DURATION] VERB [OPTIONS] [ARGUMENTS]",
                   "capstan help VERB", "capstan --version"};
  std::string verbs;
  for (const auto& verb : make_all_verbs()) {
    verbs += fmt::format("  {:<10} {}\n", verb->name(), verb->summary());
  }
  page.description = verbs + "\nOptions are never abbreviated. Those below may also follow a verb.";
  page.sections = {
      {"SELECTORS",
       "  17         the job 17\n"
       "  17.42      its task 42\n"
       "  17.1-100   its tasks 1 to 100\n"
       "  last       your newest job\n"
       "  all        your live jobs\n"},
      {"EXIT STATUS",
       "  0    done; with run, wait and submit --wait: every task succeeded\n"
       "  1    a task did not succeed, or the output could not be written\n"
       "  2    the command line cannot be meant; nothing was sent\n"
       "  3    refused by the master: no such job, not yours, not this cluster's key\n"
       "  75   no answer in time; try again\n"
       "  124  the time of wait --timeout has passed\n"
       "  130  interrupted\n"},
      {"EXAMPLES",
       "  capstan dev -- capstan run -- echo {} ::: hello world\n"
       "  capstan submit --array 1-1000 -- ./simulate\n"
       "  capstan wait last; capstan tasks last --state failed\n"},
  };
  return config::help_text(page, globals.options);
}

Outcome<int> help(const Globals& globals, const std::vector<std::string>& verbs) {
  if (verbs.empty()) return print(overview(globals));
  const auto verb = find_verb(verbs.front());
  if (verb == nullptr) return no_such_verb(verbs.front());
  return print(verb->help());
}

/// What stands before the verb, then the user's settings.
Outcome<std::vector<config::Layer>> layers_of(const Verb& verb, const Globals& globals,
                                              const config::Parsed& given) {
  config::Layer before;
  if (given.has("access")) before.push_back({"access", globals.common.access, "", true});
  if (given.has("timeout")) {
    before.push_back({"timeout", duration_text(globals.common.timeout), "", true});
  }
  std::vector<config::Layer> layers = TRY(Settings::read()).layers(verb);
  layers.insert(layers.begin(), std::move(before));
  return layers;
}

Outcome<int> dispatch(const CutLine& line, std::string& name) {
  Globals globals;
  const config::Parsed given =
      TRY(as_usage(config::parse(globals.options, line.globals, config::Positional::Allowed)));
  if (globals.version) return print(fmt::format("capstan {}\n", kVersion));
  if (globals.common.help) return print(overview(globals));
  if (line.verb.empty()) { return usage_error("a verb is missing: capstan --help lists them"); }
  if (line.verb == "help") return help(globals, line.own);
  const auto verb = find_verb(line.verb);
  if (verb == nullptr) return no_such_verb(line.verb);
  name += " " + verb->name();
  const auto layers = layers_of(*verb, globals, given);
  if (!layers) {  // A broken file must not keep anybody from the manual.
    const auto alone = verb->parse(line);
    if (alone && verb->common().help) return print(verb->help());
    return tl::unexpected<Failure>(layers.error());
  }
  const Words words = TRY(verb->parse(line, *layers));
  if (verb->common().help) return print(verb->help());
  return verb->run(words);
}

int run(const std::vector<std::string>& args) {
  std::string name = "capstan";
  const auto line = cut_line(args);
  const Outcome<int> ended =
      line ? dispatch(*line, name) : Outcome<int>(tl::unexpected<Failure>(line.error()));
  if (ended) return *ended;
  if (!ended.error().message.empty()) { print_error("{}: {}\n", name, ended.error().message); }
  return ended.error().exit_code;
}

}  // namespace
}  // namespace capstan::cli

int main(int argc, char** argv) {
  capstan::fill_standard_descriptors();
  // What the libraries below have to say is for the logs of programs that stay.
  capstan::log::configure(capstan::log::Level::Error, capstan::log::Format::Text);
  return capstan::cli::run({argv + 1, argv + argc});
}
