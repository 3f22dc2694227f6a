// SPDX-License-Identifier: MIT
#include "cli/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "cli/access_lookup.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "cli/verb_table.h"
#include "common/json/json.h"

namespace capstan::cli {
namespace {

/// One value, or that there is none.
struct Row {
  std::string verb;  ///< "" for what holds for every verb.
  std::string name;
  std::string value;
  std::string where;        ///< "" for a default.
  bool is_general = false;  ///< Said for every verb.
};

std::string origin_of(const Row& row) {
  if (row.where.empty()) return "default";
  return row.where.starts_with('$') ? "environment" : "file";
}

/// What `name` is set to, by the first layer that says it.
void add_set(const std::string& name, const std::vector<config::Layer>& layers,
             std::vector<Row>& rows) {
  const std::size_t before = rows.size();
  for (const config::Layer& layer : layers) {
    for (const config::Setting& setting : layer) {
      if (setting.name == name) {
        rows.push_back({"", name, setting.value, setting.origin, setting.is_general});
      }
    }
    if (rows.size() != before) return;
  }
}

Row default_row(const po::option_description& option) {
  Row row{"", option.long_name(), default_in(option.description()), "", false};
  if (option.semantic()->min_tokens() == 0) row.value = "no";
  if (row.name == "access") row.value = find_access({}).value_or("");
  return row;
}

/// Every option of a verb. Its values are held against what they may be.
Outcome<std::vector<Row>> rows_of(Verb& verb, const Settings& settings) {
  const auto layers = settings.layers(verb);
  TRY(verb.settle(layers));
  std::vector<Row> rows;
  for (const auto& option : verb.options().options()) {
    if (option->long_name() == "help") continue;
    const std::size_t before = rows.size();
    add_set(option->long_name(), layers, rows);
    if (rows.size() == before) rows.push_back(default_row(*option));
  }
  for (Row& row : rows) row.verb = verb.name();
  return rows;
}

/// What holds for every verb, and all that is set for one.
Outcome<std::vector<Row>> all_rows(const Settings& settings) {
  std::vector<Row> common, own;
  for (const auto& verb : make_all_verbs()) {
    const bool is_first = common.empty();
    for (Row& row : TRY(rows_of(*verb, settings))) {
      if (is_common_option(row.name) && (row.where.empty() || row.is_general)) {
        row.verb.clear();
        if (is_first) common.push_back(std::move(row));
      } else if (!row.where.empty()) {
        own.push_back(std::move(row));
      }
    }
  }
  std::move(own.begin(), own.end(), std::back_inserter(common));
  return common;
}

std::string json_of(const Row& row) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? std::string("null") : json::quoted(text);
  };
  return fmt::format("{{\"verb\":{},\"name\":{},\"value\":{},\"origin\":\"{}\",\"where\":{}}}\n",
                     text_or_null(row.verb), json::quoted(row.name), text_or_null(row.value),
                     origin_of(row), text_or_null(row.where));
}

class ConfigVerb final : public Verb {
 public:
  ConfigVerb() : Verb("config", "show what options are set to", {"ACTION", 1, 2}) {
    page_.synopsis = {"capstan config show [OPTIONS] [VERB]"};
    page_.description =
        "Shows what every option of VERB is when it is not typed, and where that was said: in the "
        "environment, in the configuration file (with the line), or nowhere. Without VERB: what "
        "holds for every verb, and all that is set for one.\n\n"
        "The file is $XDG_CONFIG_HOME/capstan/config, else ~/.config/capstan/config. Its names "
        "are those of the options; a line at its top holds for every verb that has the option, "
        "one behind [submit] for that verb alone:\n\n"
        "  # my defaults\n"
        "  access = /home/me/render.access\n"
        "  cpus = 2\n"
        "  [submit]\n"
        "  retries = 5\n\n"
        "The environment goes before the file: CAPSTAN_ACCESS, CAPSTAN_TIMEOUT, and for an option "
        "of one verb CAPSTAN_SUBMIT_RETRIES. The command line goes before both. A name that "
        "nothing listens to is an error of every verb. The programs capstan-master and "
        "capstan-worker read a file 'config' in their own directory, and CAPSTAN_MASTER_HTTP, "
        "CAPSTAN_WORKER_CPUS and the like.";
    options_.add_options()("json", po::bool_switch(&json_), "One JSON object for each value.");
    set_examples("  capstan config show\n  capstan config show submit\n");
    set_exits(
        "  0    done\n"
        "  2    the file says something that cannot be meant\n");
  }

  Outcome<int> run(const Words& words) override {
    if (words.positionals.front() != "show") {
      return usage_error("'" + printable(words.positionals.front()) +
                         "' is no action: say config show [VERB]");
    }
    const Settings settings = TRY(Settings::read());
    std::vector<Row> rows;
    if (words.positionals.size() == 1) {
      rows = TRY(all_rows(settings));
    } else {
      const auto verb = find_verb(words.positionals[1]);
      if (verb == nullptr) return no_such_verb(words.positionals[1]);
      rows = TRY(rows_of(*verb, settings));
    }
    Output out(STDOUT_FILENO);
    Table table({{"NAME"}, {"VALUE"}, {"FROM"}}, false);
    for (const Row& row : rows) {
      if (json_) {
        out.write(json_of(row));
        continue;
      }
      const bool is_one_verb = words.positionals.size() > 1 || row.verb.empty();
      table.add({{is_one_verb ? row.name : row.verb + "." + row.name},
                 {row.value.empty() ? "-" : printable(row.value)},
                 {row.where.empty() ? "default" : printable(row.where)}});
    }
    out.write(table.page());
    TRY(out.flush());
    return kExitOk;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::string default_in(std::string_view description) {
  std::size_t begin = description.find("(default");
  std::string_view end_mark = ")";
  if (begin == std::string_view::npos) {
    begin = description.find("Default: ");
    end_mark = ". ";
  }
  if (begin == std::string_view::npos) return "";
  begin = description.find_first_not_of(" :", description.find_first_of(" :", begin));
  if (begin == std::string_view::npos) return "";
  std::string_view text = description.substr(begin);
  text = text.substr(0, std::min(text.find(end_mark), text.find(';')));
  if (text.ends_with('.')) text.remove_suffix(1);
  return std::string(text);
}

std::unique_ptr<Verb> make_config_verb() {
  return std::make_unique<ConfigVerb>();
}

}  // namespace capstan::cli
