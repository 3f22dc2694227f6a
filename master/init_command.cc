// SPDX-License-Identifier: MIT
#include "master/init_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <string>

#include "common/base/config.h"
#include "common/base/print_error.h"
#include "common/net/addresses.h"
#include "master/complain.h"
#include "master/init.h"

namespace capstan {
namespace {

struct CommandLine {
  InitOptions init;
  bool help = false;
};

config::po::options_description describe(CommandLine& line) {
  namespace po = config::po;
  po::options_description options;
  // clang-format off
  options.add_options()
      ("masters", config::parsed("masters", &line.init.masters, parse_places)
           ->value_name("a=HOST:PORT,b=HOST:PORT"),
       "The two masters: a name for each, and where the other nodes, workers and users dial it. "
       "One more HOST:PORT behind a comma is a second address of the same node.")
      ("witness", config::parsed("witness", &line.init.witnesses, parse_places)
           ->value_name("w=HOST:PORT"),
       "The third voter, without a queue: it decides who leads when the masters do not see each "
       "other. On a third machine.")
      ("adopt", po::value(&line.init.adopt)->value_name("OLD_DIR"),
       "The directory of a stopped single master: the first node gets a copy of its queue, its "
       "output and its keys, and its users and workers need no new files. OLD_DIR stays, and does "
       "not start any more.")
      ("help", po::bool_switch(&line.help), "Print this and leave.");
  // clang-format on
  return options;
}

config::Page manual() {
  config::Page page;
  page.name = "capstan-master init";
  page.summary = "make the directories of a master, its standby and their witness";
  page.synopsis = {"capstan-master init --masters a=HOST:PORT,b=HOST:PORT",
                   "    --witness w=HOST:PORT [--adopt OLD_DIR] DIR"};
  page.description =
      "Makes DIR, which must be missing or empty, with a directory for each node (DIR/a, DIR/b and "
      "DIR/w) and two files for the others: DIR/admin.access for you, DIR/worker.access for the "
      "workers. It is made whole or not at all.\n\n"
      "Copy each node's directory to a local disk of its machine, once and nowhere else, and start "
      "it there with 'capstan-master --dir ...': it listens at its own address of those given "
      "here. All of it is secret: whoever has a copy of a node's directory can be that node.";
  page.sections = {{"EXIT STATUS",
                    " 0   made\n"
                    " 2   a wrong option, or nothing to adopt there\n"
                    " 3   DIR is not empty, or the master to adopt runs\n"
                    " 70  the machine refused something"},
                   {"EXAMPLES",
                    " capstan-master init --masters a=node1:7741,b=node2:7741 \\\n"
                    "     --witness w=node3:7741 capstan-cluster\n"
                    " capstan-master init --masters a=node1:7741,b=node2:7741 \\\n"
                    "     --witness w=node3:7741 --adopt /var/lib/capstan capstan-cluster"}};
  return page;
}

void say_what_is_next(const InitOptions& options) {
  fmt::print("made {}: copy each node's directory to its machine and start it there:\n",
             options.dir);
  const auto host_of = [](const NodePlace& node) {
    return net::parse_address(node.addresses.front()).value_or(net::HostPort{}).host;
  };
  std::map<std::string, int> nodes_on;
  for (const NodePlace& node : options.masters) ++nodes_on[host_of(node)];
  for (const NodePlace& node : options.witnesses) ++nodes_on[host_of(node)];
  const auto say = [&](const NodePlace& node) {
    const std::string host = host_of(node);
    // Each has a page of its own, and only one can have the usual port.
    const char* page = nodes_on[host] > 1 ? " --http 127.0.0.1:0" : "";
    fmt::print("  {:<24} {}/{}: capstan-master --dir {}{}\n", host, options.dir, node.name,
               node.name, page);
  };
  for (const NodePlace& node : options.masters) say(node);
  for (const NodePlace& node : options.witnesses) say(node);
  fmt::print("users need {0}/admin.access, new workers {0}/worker.access\n", options.dir);
}

}  // namespace

int run_init(const std::vector<std::string>& args) {
  CommandLine line;
  const config::po::options_description options = describe(line);
  const auto parsed = config::parse(options, args, config::Positional::Allowed);
  if (line.help) {
    fmt::print("{}", config::help_text(manual(), options));
    return 0;
  }
  if (!parsed) return complain(parsed.error());
  if (parsed->positional.size() != 1)
    return complain({Errc::Invalid, "init needs one directory to make (see init --help)"});
  line.init.dir = parsed->positional.front();
  const auto made = init_cluster(line.init);
  if (!made) return complain(made.error());
  for (const std::string& warning : *made) print_error("capstan-master: warning: {}\n", warning);
  say_what_is_next(line.init);
  return 0;
}

}  // namespace capstan
