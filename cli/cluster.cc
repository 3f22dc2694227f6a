// SPDX-License-Identifier: MIT
#include "cli/cluster.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <string>

#include "cli/access_lookup.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/base/print_error.h"
#include "common/json/json.h"

namespace capstan::cli {
namespace {

/// While a failover is under way the nodes are asked this often.
constexpr Micros kLookAgain = std::chrono::milliseconds(100);

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) words.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return words;
}

/// "a leads in epoch 257, b stands by in sync: a failover loses nothing and takes 5.0s"
std::string headline(const SeenCluster& seen) {
  const msg::ClusterView& view = seen.view;
  if (view.primary.empty()) return "nobody leads, as " + printable(view.name) + " sees it";
  std::string text =
      fmt::format("{} leads in epoch {}, ", printable(view.primary), seen.epoch.value);
  if (!seen.is_of_primary()) return text + "as " + printable(view.name) + " sees it";
  text += view.in_sync ? "in sync" : view.solo ? "alone" : "not in sync yet";
  if (view.failover >= Micros(0)) text += "; a failover takes up to " + span_text(view.failover);
  return text;
}

/// How a verb of this file reaches the nodes.
struct Reach {
  net::EventLoop loop;
  Interrupts interrupts;
  std::unique_ptr<ClusterAsker> asker;
  std::vector<SeenCluster> seen;

  Outcome<void> open(const CommonOptions& common) {
    TRY(interrupts.install(loop));
    net::Access access = TRY(load_access(common));
    asker = TRY(ClusterAsker::open(loop, {std::move(access), common.timeout, &interrupts}));
    seen = TRY(asker->look());
    return {};
  }
  /// Who leads by its own word.
  Outcome<std::string> primary() const {
    const SeenCluster all = merged(seen);
    if (all.is_of_primary()) return all.view.name;
    return fail_with(kExitUnavailable,
                     "nobody that answers leads: see capstan cluster; when the old primary is off "
                     "for good, capstan failover --allow-data-loss");
  }
};

class ClusterVerb final : public Verb {
 public:
  ClusterVerb() : Verb("cluster", "show who leads and who stands by", {"ACTION", 0, 3}) {
    page_.synopsis = {"capstan cluster [--json]", "capstan cluster reseed NODE",
                      "capstan cluster set min_copies 1|2"};
    page_.description =
        "Asks every master how it sees the cluster, also while nobody leads: who is primary, "
        "standby and witness, whether they are in sync, how long a failover would take and what "
        "it would lose.\n\n"
        "reseed lets a node vote again that lost its vote file, or came back as init made it: say "
        "so only when you know why it lost it. It must run, and the others must agree.\n\n"
        "set min_copies 2 forbids the primary to go on alone when its standby is away: nothing is "
        "acknowledged then that is not on two disks. The default is 1.";
    options_.add_options()("json", po::bool_switch(&json_), "One JSON object.");
    set_examples(
        "  capstan cluster\n  capstan cluster reseed b\n  capstan cluster set min_copies "
        "2\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    msg::ClusterControl order;
    const auto& said = words.positionals;
    if (said.empty()) return show();
    if (said[0] == "reseed") {
      if (said.size() != 2) return usage_error("reseed needs the node that lost its votes");
      order.verb = msg::ClusterVerb::Reseed;
      order.node = said[1];
    } else if (said[0] == "set") {
      if (said.size() != 3 || said[1] != "min_copies" || (said[2] != "1" && said[2] != "2"))
        return usage_error("what can be set is: min_copies 1, or min_copies 2");
      order.verb = msg::ClusterVerb::SetMinCopies;
      order.value = said[2] == "1" ? 1 : 2;
    } else {
      return usage_error("'" + printable(said[0]) + "' is no action: reseed or set");
    }
    if (json_) return usage_error("--json shows the cluster: it goes with no action");
    Reach reach;
    TRY(reach.open(common()));
    const std::string primary = TRY(reach.primary());
    TRY(reach.asker->control(primary, order));
    return kExitOk;
  }

 private:
  Outcome<int> show() {
    Reach reach;
    TRY(reach.open(common()));
    const SeenCluster all = merged(reach.seen);
    Output out(STDOUT_FILENO);
    out.write(json_ ? json::line(all.view, all.epoch) + "\n"
                    : cluster_text(all, Terminal::of_process().colours_stdout()));
    TRY(out.flush());
    return kExitOk;
  }

  bool json_ = false;
};

class FailoverVerb final : public Verb {
 public:
  FailoverVerb() : Verb("failover", "let the standby lead", {}) {
    page_.synopsis = {"capstan failover [--to NODE]",
                      "capstan failover --allow-data-loss [--to NODE] [--lost-voters NAMES]"};
    page_.description =
        "Hands the lead over as planned: the primary takes nothing new, the standby gets "
        "everything, then it leads. Nothing is lost and tasks run on. A failover after a fault "
        "happens by itself and needs no command.\n\n"
        "--allow-data-loss is for the case that no failover may happen by itself: the primary is "
        "gone while its standby was not in sync, or too few voters are left. The node leads then "
        "with what it has, and what was acknowledged since it was in sync is lost. First make "
        "sure that the old primary is off and stays off: if it still runs, there are two of "
        "them. It asks before it does anything; what was done is recorded in the journal.\n\n"
        "A node named by --lost-voters must not come back with its votes, also when this command "
        "failed: delete capstan.vote in its directory before you start it, and give it votes with "
        "capstan cluster reseed.";
    // clang-format off
    options_.add_options()
        ("to", po::value(&to_)->value_name("NODE"),
         "Who is to lead (default: the other master).")
        ("allow-data-loss", po::bool_switch(&allow_loss_),
         "The old primary is off for good; go on without what only it has.")
        ("lost-voters", po::value(&lost_)->value_name("NAMES"),
         "With --allow-data-loss: the nodes that are off for good, as a,w, when no majority is "
         "left without them.")
        ("yes,y", po::bool_switch(&yes_),
         "Do not ask.");
    // clang-format on
    set_examples(
        "  capstan failover\n  capstan failover --to a\n"
        "  capstan failover --allow-data-loss --lost-voters a,w\n");
    set_exits(
        "  0    done: it leads\n"
        "  1    not confirmed\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused: no such node, not in sync, not an admin's key\n"
        "  75   no answer in time, or nobody leads; try again\n");
  }

  Outcome<int> run(const Words&) override {
    if (!lost_.empty() && !allow_loss_) return usage_error("--lost-voters needs --allow-data-loss");
    Reach reach;
    TRY(reach.open(common()));
    const SeenCluster before = merged(reach.seen);
    const std::string whom = TRY(whom_to_ask(reach.seen, to_, allow_loss_, !lost_.empty()));
    if (allow_loss_) TRY(check_primary_is_off(before, whom));
    if (allow_loss_ && !yes_ && !TRY(is_confirmed(before, whom))) return kExitFailed;
    msg::ClusterControl order;
    order.verb = allow_loss_ ? msg::ClusterVerb::FailOverWithLoss : msg::ClusterVerb::FailOver;
    order.node = allow_loss_ ? whom : to_;
    order.lost = split_commas(lost_);
    if (!lost_.empty()) warn_of_given_up();
    TRY(tell(reach, whom, order));
    return wait_for_leader(reach, before);
  }

 private:
  /// It is no reason to lose anything that its standby is not in sync yet.
  static Outcome<void> check_primary_is_off(const SeenCluster& before, const std::string& whom) {
    if (!before.is_of_primary() || before.view.primary == whom) return {};
    const std::string primary = printable(before.view.primary);
    return fail_with(
        kExitRefused,
        fmt::format("{} is up and leads, in epoch {}: nothing needs to be lost. Start the standby, "
                    "wait until capstan cluster says that it is in sync, then: capstan failover. "
                    "To go on without {} all the same stop it first",
                    primary, before.epoch.value, primary));
  }

  Outcome<bool> is_confirmed(const SeenCluster& before, const std::string& whom) const {
    if (::isatty(STDIN_FILENO) == 0)
      return usage_error(
          "may lose what was acknowledged: say so with --yes (or answer on a "
          "terminal)");
    const std::string& risk = before.view.at_risk;
    print_error(
        "{} will lead with what it has{}.\nIs the old primary off, and will it stay off? "
        "[y/N] ",
        printable(whom), risk.empty() ? "" : "; at risk: " + printable(risk));
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "yes";
  }

  /// With their votes they might let another primary lead that knows nothing of this one.
  void warn_of_given_up() const {
    print_error(
        "capstan failover: {}: given up from now on, whatever comes of this. Before such a node is "
        "started again, delete capstan.vote in its directory; then: capstan cluster reseed NODE\n",
        printable(lost_));
  }

  /// A primary whose fellow voters are given up begins anew first, and is told once more.
  Outcome<void> tell(Reach& reach, const std::string& whom,
                     const msg::ClusterControl& order) const {
    SystemClock clock;
    const TimePoint deadline = clock.now() + common_.timeout;
    for (;;) {
      const Outcome<void> told = reach.asker->control(whom, order);
      const bool is_final = told || told.error().exit_code != kExitUnavailable || lost_.empty();
      if (is_final || clock.now() >= deadline) return told;
      (void)reach.asker->look(kLookAgain);  // Takes as long, whoever answers.
    }
  }

  /// It was begun: it is done when somebody leads in a later epoch.
  Outcome<int> wait_for_leader(Reach& reach, const SeenCluster& before) const {
    SystemClock clock;
    const TimePoint deadline = clock.now() + common_.timeout;
    while (clock.now() < deadline) {
      const auto seen = reach.asker->look(kLookAgain);
      if (!seen && seen.error().exit_code != kExitUnavailable)
        return tl::unexpected<Failure>(seen.error());
      const SeenCluster now = seen ? merged(*seen) : SeenCluster{};
      if (now.is_of_primary() && now.epoch > before.epoch) {
        print_error("capstan failover: {} leads now, in epoch {}\n", printable(now.view.primary),
                    now.epoch.value);
        return kExitOk;
      }
    }
    return fail_with(kExitUnavailable, "it was begun, and nobody leads yet: see capstan cluster");
  }

  std::string to_, lost_;
  bool allow_loss_ = false;
  bool yes_ = false;
};

}  // namespace

std::string cluster_text(const SeenCluster& seen, bool with_colour) {
  const msg::ClusterView& view = seen.view;
  std::string text = headline(seen) + "\n";
  Table table({{"NODE"}, {"ROLE"}, {"STATE"}, {"HEARD"}, {"SEQ", true}, {"LAG", true}, {"ADDRESS"}},
              with_colour);
  for (const msg::NodeView& node : view.nodes) {
    const std::string role = json::node_role(node.role);
    const bool has_queue = role != "witness";
    table.add({{printable(node.name)},
               {role},
               {node.reachable ? "up" : "away", node.reachable ? Colour::Green : Colour::Red},
               {node.name == view.name          ? "-"
                : node.last_contact < Micros(0) ? "never"
                                                : span_text(node.last_contact) + " ago"},
               {has_queue ? std::to_string(node.seq.value) : "-"},
               {has_queue ? std::to_string(node.lag) : "-"},
               {list_text(node.addresses)}});
  }
  text += table.page();
  if (!view.primary.empty())
    text += "at risk now: " + (view.at_risk.empty() ? "nothing" : printable(view.at_risk)) + "\n";
  if (view.min_copies > 1) text += "min_copies is 2: nothing is acknowledged by one master alone\n";
  for (const std::string& alarm : view.alarms) text += "ALARM: " + printable(alarm) + "\n";
  return text;
}

Outcome<std::string> whom_to_ask(const std::vector<SeenCluster>& seen, const std::string& to,
                                 bool with_loss, bool gives_up_voters) {
  const SeenCluster all = merged(seen);
  if (!with_loss) {
    if (all.is_of_primary()) return all.view.name;
    return fail_with(
        kExitUnavailable,
        "nobody that answers leads, so nobody can hand over: see capstan cluster; when "
        "the old primary is off for good, --allow-data-loss");
  }
  std::vector<std::string> ready;
  for (const SeenCluster& each : seen) {
    if ((!each.is_of_primary() || gives_up_voters) && (to.empty() || each.view.name == to))
      ready.push_back(each.view.name);
  }
  if (ready.size() == 1) return ready.front();
  if (ready.empty())
    return fail_with(kExitUnavailable,
                     (to.empty() ? "no master that could take over" : printable(to)) +
                         (to.empty() ? " answers" : " does not answer, or leads already"));
  return usage_error("say who is to lead: --to " + list_text(ready));
}

std::unique_ptr<Verb> make_cluster_verb() {
  return std::make_unique<ClusterVerb>();
}

std::unique_ptr<Verb> make_failover_verb() {
  return std::make_unique<FailoverVerb>();
}

}  // namespace capstan::cli
