// SPDX-License-Identifier: MIT
//
// The rules of docs/failover.md as a model, and a walker that looks for a way to break them. It is
// a specification: two data nodes and one or three witnesses, what each has on its disk, and a bag
// of messages that arrive in any order, twice, late, or never. There is no clock: what the product
// does when a timer runs out may happen here at any time. It shares no code with the product, whose
// machines are walked by tests/sim.
//
//   failover_model [--walks N] [--seed S] [--steps N]     walks, with 3 and with 5 voters
//   failover_model --mutants                              deliberate mistakes: each must be found
//   failover_model --seed S --walks 1 --trace             one of them again, step by step
//
// What must hold after every step:
//   I1  epochs of reigns only go up; none begins beside a primary that serves alone
//   I2  what was acknowledged is in the journal of whoever leads later, at the same place
//   I3  never two entries acknowledged at one place
//   I4  acknowledged without the other data node only once a majority recorded the isr without it
//   I5  promises and registers never go back, unless the votes are lost
//   I6  the epochs in a journal never decrease
// An operator's override (R12) loses by word what its node lacks: from then on the truth is what
// that node has, and everything is held against that.
//
// The operator speaks the truth: the old primary is off until the override came through or failed;
// one override at a time; and who is given up never comes back with its votes. Left out: what only
// liveness needs (timers, pre-votes), min_copies, the planned switch-over, and how a journal is
// sent piece by piece (here an append has all of it).
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/model/cluster.h"

namespace capstan::model {
namespace {

struct Options {
  std::uint64_t seed = 1;
  int walks = 20'000;
  int steps = 1'500;
  bool are_mutants = false;
  bool is_traced = false;
};

class Walk {
 public:
  Walk(int voters, Mutant mutant, std::uint64_t seed)
      : rng_(seed * 8 + static_cast<std::uint64_t>(voters)), cluster_(voters, mutant, rng_) {
    for (const Move& move : moves()) {
      weights_.push_back(rng_.one_of(move.weights));
      weight_ += weights_.back();
    }
  }

  /// The step that broke something; 0: none did.
  int run(const Options& options) {
    is_traced_ = options.is_traced;
    for (int step = 1; step <= options.steps; ++step) {
      make_a_move();
      cluster_.checker().after_step();
      if (is_traced_) trace(step);
      if (error() != nullptr) return step;
    }
    return 0;
  }
  const char* error() { return cluster_.checker().error(); }
  const Counts& counts() const { return cluster_.counts(); }

 private:
  struct Move {
    void (Walk::*make)();
    std::array<int, 4> weights;  ///< One is drawn for each walk.
  };
  static const std::vector<Move>& moves() {
    static const std::vector<Move> all{
        {&Walk::deliver, {300, 500, 500, 800}},   {&Walk::echo, {0, 5, 10, 40}},
        {&Walk::stand, {25, 50, 100, 150}},       {&Walk::time_out, {2, 5, 10, 20}},
        {&Walk::write, {10, 20, 40, 80}},         {&Walk::beat, {15, 30, 50, 70}},
        {&Walk::shrink, {5, 10, 25, 60}},         {&Walk::join, {20, 40, 80, 160}},
        {&Walk::check_quorum, {1, 2, 5, 10}},     {&Walk::crash, {0, 2, 5, 15}},
        {&Walk::start, {20, 40, 60, 100}},        {&Walk::cut, {0, 5, 10, 25}},
        {&Walk::heal, {10, 20, 40, 60}},          {&Walk::lose_database, {0, 1, 2, 4}},
        {&Walk::lose_votes, {0, 1, 2, 8}},        {&Walk::reseed, {30, 60, 120, 120}},
        {&Walk::override_primary, {0, 1, 4, 12}},
    };
    return all;
  }

  void make_a_move() {
    int drawn = rng_.below(weight_);
    std::size_t move = 0;
    while (drawn >= weights_[move]) drawn -= weights_[move++];
    (this->*moves()[move].make)();
  }

  /// Whatever changed.
  void trace(int step) {
    static constexpr std::array kRoles{"follows", "stands", "claims", "leads"};
    for (int id = 0; id < cluster_.voters(); ++id) {
      const Node& node = cluster_.node(id);
      std::array<char, 200> line{};
      std::snprintf(line.data(), line.size(),
                    "%d %s%s%s in %d, promised %d, register {%d, %d, %d, isr %u}, journal %zu%s",
                    id, node.is_up ? kRoles[static_cast<std::size_t>(node.role)] : "is off",
                    node.abstains ? ", abstains" : "", node.is_override ? ", overrides" : "",
                    node.epoch, node.promised, node.reg.epoch, node.reg.ver, node.reg.leader,
                    node.reg.isr, node.journal.size(), node.is_complete ? "" : ", incomplete");
      if (std::exchange(traced_[id], line.data()) == line.data()) continue;
      std::printf("%4d: %s\n", step, line.data());
    }
  }

  Node& any_voter() { return cluster_.node(rng_.below(cluster_.voters())); }
  Node& any_data_node() { return cluster_.node(rng_.below(kDataNodes)); }
  Node& other_of(const Node& node) { return cluster_.node(other(node.id)); }
  /// Who leads, if anybody does.
  Node& leader() {
    Node& drawn = any_data_node();
    return drawn.role == Role::Leader ? drawn : other_of(drawn);
  }

  void stand() { cluster_.stand(any_data_node()); }
  void time_out() { cluster_.time_out(any_data_node()); }
  void write() { cluster_.write(leader()); }
  void beat() { cluster_.beat(leader()); }
  void shrink() { cluster_.shrink(leader()); }
  void join() { cluster_.join(leader()); }
  void check_quorum() { cluster_.check_quorum(leader()); }
  void reseed() { cluster_.reseed(leader(), any_voter().id); }
  void crash() { cluster_.crash(any_voter()); }
  void heal() { cluster_.heal(); }
  void lose_votes() { cluster_.lose_votes(any_voter()); }

  void deliver() {
    std::vector<Message>& bag = cluster_.bag();
    if (bag.empty()) return;
    const int size = static_cast<int>(bag.size());
    const auto drawn = bag.begin() + (rng_.chance(in_order_percent_) ? 0 : rng_.below(size));
    const Message message = *drawn;
    if (!rng_.chance(doubled_percent_)) bag.erase(drawn);
    Message& kept = kept_[static_cast<std::size_t>(message.kind)];
    if (kept.to == kNobody || rng_.chance(10)) kept = message;
    if (!cluster_.is_cut(message.from, message.to) && !rng_.chance(lost_percent_)) hear(message);
  }
  /// What was said long ago arrives once more.
  void hear_again(Kind kind) {
    const Message& kept = kept_[static_cast<std::size_t>(kind)];
    if (kept.to != kNobody) hear(kept);
  }
  void echo() { hear_again(static_cast<Kind>(rng_.below(static_cast<int>(kept_.size())))); }
  void hear(const Message& message) {
    if (is_traced_) {
      std::printf("      %d -> %d %s of %d\n", message.from, message.to,
                  kKindNames[static_cast<std::size_t>(message.kind)], message.epoch);
    }
    cluster_.deliver(message);
  }

  /// A primary that is being overridden stays off.
  void start() {
    Node& node = any_voter();
    if (!is_data(node.id) || !other_of(node).is_override) cluster_.start(node);
  }

  void cut() {
    const int from = any_voter().id;
    const int drawn = any_voter().id;
    const bool is_from_all = rng_.chance(30);
    const bool is_both_ways = rng_.chance(70);
    for (int to = 0; to < cluster_.voters(); ++to) {
      if (to == from || (to != drawn && !is_from_all)) continue;
      cluster_.cut(from, to);
      if (is_both_ways) cluster_.cut(to, from);
    }
  }

  /// One disk at a time: the other data node has everything. What the earlier life was told may
  /// arrive in the next one.
  void lose_database() {
    Node& node = any_data_node();
    const Node& keeper = other_of(node);
    const bool is_whole = keeper.is_complete && !keeper.abstains;
    if (!is_whole || !cluster_.checker().has_everything(keeper)) return;
    cluster_.lose_database(node);
    if (rng_.chance(50)) return;
    cluster_.start(node);
    hear_again(Kind::Append);
  }

  /// R12. A primary that is told to give voters up while it hears no majority begins anew first.
  void override_primary() {
    Node& node = any_data_node();
    Node& old = other_of(node);
    if (node.role == Role::Leader && !cluster_.hears_majority(node)) cluster_.begin_life(node);
    if (!node.is_up || node.role != Role::Follower) return;
    const bool is_harmless = old.abstains && old.role == Role::Follower;
    if (!is_harmless && !cluster_.is_mutant(Mutant::OverrideWhileOn)) cluster_.crash(old);
    cluster_.override_primary(node, rng_.chance(40) ? give_up_all_but(node) : 0);
  }

  /// The other data node, and some witnesses: off for good, whatever their disks still have.
  VoterSet give_up_all_but(const Node& node) {
    VoterSet given_up = 0;
    for (int id = 0; id < cluster_.voters(); ++id) {
      Node& voter = cluster_.node(id);
      if (id == node.id || (!is_data(id) && rng_.chance(30))) continue;
      given_up |= only(id);
      if (cluster_.is_mutant(Mutant::GivenUpVoteOn)) {
        cluster_.crash(voter);
      } else if (!voter.abstains) {
        cluster_.lose_votes(voter);
      }
      if (is_data(id) && rng_.chance(30)) cluster_.lose_database(voter);
    }
    return given_up;
  }

  Rng rng_;
  Cluster cluster_;
  std::vector<int> weights_;
  int weight_ = 0;
  int lost_percent_ = rng_.one_of({0, 0, 5, 20});
  int doubled_percent_ = rng_.one_of({0, 5, 20, 20});
  int in_order_percent_ = rng_.one_of({0, 50, 90, 90});
  std::array<Message, kKindNames.size()> kept_{};  ///< One of each kind, for echo().
  bool is_traced_ = false;
  std::array<std::string, kVotersMax> traced_;
};

// --- Reports -------------------------------------------------------------------------------------

/// False: it should have been found.
bool find(Mutant mutant, const Options& options) {
  constexpr int kBudget = 60'000;  ///< Of walks; the slowest took half when this was written.
  const bool may_survive = mutant == Mutant::ReseedOnOneWord;
  const char* name = kMutantNames[static_cast<std::size_t>(mutant)];
  for (int walked = 0; walked < kBudget; ++walked) {
    const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(walked);
    const int voters = walked % 4 == 3 ? 5 : 3;
    Walk walk(voters, mutant, seed);
    if (walk.run(options) == 0) continue;
    std::printf("found   %-60s %d voters, seed %5llu: %s\n", name, voters,
                static_cast<unsigned long long>(seed), walk.error());
    return true;
  }
  std::printf("%-7s %-60s in %d walks\n", may_survive ? "lives" : "MISSED", name, kBudget);
  return may_survive;
}

/// False: some were not found.
bool find_mutants(const Options& options) {
  bool are_found = true;
  for (int at = 1; at < static_cast<int>(Mutant::kCount); ++at) {
    are_found = find(static_cast<Mutant>(at), options) && are_found;
  }
  return are_found;
}

/// False: a rule is broken, or something never happened.
bool run_walks(int voters, const Options& options) {
  Counts sum;
  for (int walked = 0; walked < options.walks; ++walked) {
    const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(walked);
    Walk walk(voters, Mutant::None, seed);
    if (const int broken_at = walk.run(options); broken_at != 0) {
      std::printf("%d voters, step %d: %s\nreplay: --seed %llu --walks 1 --steps %d --trace\n",
                  voters, broken_at, walk.error(), static_cast<unsigned long long>(seed),
                  options.steps);
      return false;
    }
    for (const auto& [what, times] : walk.counts()) sum[what] += times;
  }
  std::printf("%d voters: %d walks", voters, options.walks);
  bool is_covered = true;
  for (const char* what : kCounted) {
    std::printf(", %ld %s", sum[what], what);
    is_covered = is_covered && sum[what] > 0;
  }
  std::printf("\n");
  constexpr int kWalksToCoverAll = 1000;
  return is_covered || options.walks < kWalksToCoverAll;
}

}  // namespace
}  // namespace capstan::model

int main(int argc, char** argv) {
  using namespace capstan::model;
  Options options;
  for (int at = 1; at < argc; ++at) {
    const std::string_view flag = argv[at];
    const bool has_value = at + 1 < argc;
    if (flag == "--mutants") {
      options.are_mutants = true;
    } else if (flag == "--trace") {
      options.is_traced = true;
    } else if (flag == "--walks" && has_value) {
      options.walks = std::atoi(argv[++at]);
    } else if (flag == "--steps" && has_value) {
      options.steps = std::atoi(argv[++at]);
    } else if (flag == "--seed" && has_value) {
      options.seed = std::strtoull(argv[++at], nullptr, 10);
    } else {
      std::fprintf(stderr,
                   "usage: failover_model [--mutants] [--walks N] [--seed S] [--steps N] "
                   "[--trace]\n");
      return 2;
    }
  }
  if (options.are_mutants) return find_mutants(options) ? 0 : 1;
  const bool is_clean_with_3 = run_walks(3, options);
  return run_walks(5, options) && is_clean_with_3 ? 0 : 1;
}