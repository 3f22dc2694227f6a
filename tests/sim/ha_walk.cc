// SPDX-License-Identifier: MIT
#include "tests/sim/ha_walk.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <initializer_list>
#include <vector>

namespace capstan::sim {

namespace {

using msg::ClusterVerb;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::HaOptions;
using test::HaWorld;
using test::VirtualNode;

template <class T>
T one_of(Rng& rng, std::initializer_list<T> choices) {
  return *(choices.begin() + rng.below(choices.size()));
}

HaOptions drawn_options(std::uint64_t seed, ha::Mutant mutant) {
  Rng rng(mix64(seed));
  HaOptions options{.mutant = mutant, .seed = rng.next()};
  options.witnesses = one_of<std::size_t>(rng, {1, 1, 1, 3});
  options.min_copies = rng.chance(8) ? 2 : 1;
  if (rng.chance(60)) options.timers.grow_after = milliseconds(500);
  options.latency = one_of(rng, {milliseconds(1), milliseconds(1), milliseconds(30)});
  options.latency_spread =
      one_of(rng, {milliseconds(0), milliseconds(5), milliseconds(50), milliseconds(400)});
  options.sync_spread =
      one_of(rng, {milliseconds(0), milliseconds(10), milliseconds(50), milliseconds(500)});
  options.lost_percent = one_of(rng, {0U, 0U, 0U, 3U, 20U});
  options.doubled_percent = one_of(rng, {0U, 0U, 5U, 20U});
  options.late_percent = one_of(rng, {0U, 50U, 90U});
  options.clocks_apart = one_of(rng, {Micros(0), Micros(0), Micros(seconds(3600))});
  options.torn_permille = one_of(rng, {0U, 0U, 2U, 10U});
  return options;
}

/// One walk of one seed.
class Walk {
 public:
  Walk(std::uint64_t seed, ha::Mutant mutant)
      : world_(drawn_options(seed, mutant)), rng_(world_.rng()) {
    pace_ = one_of(rng_, {milliseconds(20), milliseconds(150), milliseconds(700)});
    for (unsigned& weight : weights_) weight = one_of(rng_, {0U, 1U, 1U, 4U});
  }

  HaWorld& world() { return world_; }

  void run() {
    world_.start_all();
    world_.run_for(seconds(2));
    const std::uint64_t steps = 60 + rng_.below(200);
    for (std::uint64_t step = 0; step < steps && world_.error().empty(); ++step) {
      world_.run_for(Micros(static_cast<std::int64_t>(
          rng_.below(static_cast<std::uint64_t>(Micros(pace_).count()) * 2))));
      for (std::uint64_t writes = rng_.below(3); writes > 0; --writes) world_.submit();
      if (rng_.chance(60)) do_something();
    }
    become_whole();
  }

 private:
  // How often each fault comes in this walk.
  enum Fault : std::uint8_t {
    Crash,
    Start,
    Pause,
    Resume,
    Cut,
    Heal,
    Close,
    LoseDatabase,
    RollBack,
    LoseVote,
    Reseed,
    FailOver,
    Override,
    Diverge,
    Trim,
    MinCopies,
    Echo,
    SlowDisk,
    kFaults
  };

  NodeId any_node() { return static_cast<NodeId>(1 + rng_.below(world_.size())); }
  NodeId any_data_node() { return static_cast<NodeId>(1 + rng_.below(world_.data_nodes())); }
  NodeId other_data_node(NodeId id) { return static_cast<NodeId>(3 - id); }
  VirtualNode& node(NodeId id) { return world_.node(id); }
  bool has_votes(NodeId id) {
    const VirtualNode& it = node(id);
    return it.has_vote && !it.vote.fresh && !(it.is_up() && it.machine->abstains());
  }

  void do_something();
  void crash(NodeId id);
  void cut_something();
  void lose_database(bool rolls_back);
  void lose_vote();
  void reseed_one();
  void fail_over();
  void override_primary();
  void diverge();
  void echo();
  void echo_to_empty(NodeId leader);
  void lose_a_write(NodeId leader);
  void become_whole();
  void give_votes_back();
  bool is_whole();
  void help_if_stuck(Micros without_leader);

  HaWorld world_;
  Rng& rng_;
  milliseconds pace_{};
  bool was_overridden_ = false;
  std::array<unsigned, kFaults> weights_{};
};

void Walk::do_something() {
  std::uint64_t sum = 0;
  for (const unsigned weight : weights_) sum += weight;
  // Repairs are as frequent as faults, so that walks do not end in ruins.
  constexpr std::uint64_t kRepairs = 8;
  std::uint64_t drawn = rng_.below(sum + kRepairs);
  if (drawn >= sum) {
    world_.start(any_node());
    world_.resume(any_node());
    if (rng_.chance(30)) world_.heal_all();
    return;
  }
  std::size_t fault = 0;
  while (drawn >= weights_[fault]) drawn -= weights_[fault++];
  switch (static_cast<Fault>(fault)) {
    case Crash:
      return crash(rng_.chance(50) ? std::max<NodeId>(world_.leader(), 1) : any_node());
    case Start:
      return world_.start(any_node());
    case Pause:
      return world_.pause(rng_.chance(50) ? any_data_node() : any_node());
    case Resume:
      return world_.resume(any_node());
    case Cut:
      return cut_something();
    case Heal:
      return rng_.chance(50) ? world_.heal_all() : world_.heal(any_node(), any_node());
    case Close:
      return world_.close(any_node(), any_node());
    case LoseDatabase:
      return lose_database(false);
    case RollBack:
      return lose_database(true);
    case LoseVote:
      return lose_vote();
    case Reseed:
      return reseed_one();
    case FailOver:
      return fail_over();
    case Override:
      return override_primary();
    case Diverge:
      return diverge();
    case Trim:
      return world_.trim(any_data_node());
    case MinCopies:
      if (world_.leader() != 0 && rng_.chance(20)) {
        world_.control(world_.leader(), {.verb = ClusterVerb::SetMinCopies,
                                         .value = static_cast<std::uint32_t>(rng_.below(4))});
      }
      return;
    case Echo:
      return echo();
    case SlowDisk:
      return world_.slow_disk(any_data_node(),
                              rng_.chance(50) ? milliseconds(300) : milliseconds(0));
    case kFaults:
      return;
  }
}

void Walk::crash(NodeId id) {
  if (rng_.chance(30)) world_.keep_copy(id);
  if (rng_.chance(30)) world_.submit();  // What it loses.
  world_.crash(id);
  if (rng_.chance(40)) world_.start(id);
}

void Walk::cut_something() {
  const NodeId from = rng_.chance(40) ? std::max<NodeId>(world_.leader(), 1) : any_node();
  if (rng_.chance(30)) return world_.silence(from);
  const NodeId to = any_node();
  if (from == to) return;
  world_.cut(from, to);
  if (rng_.chance(50)) world_.cut(to, from);
  if (rng_.chance(30)) world_.close(from, to);
  if (rng_.chance(30)) world_.close(to, from);
}

/// One disk at a time: the other data node has everything, its votes and its right rows.
void Walk::lose_database(bool rolls_back) {
  const NodeId id = any_data_node();
  const VirtualNode& other = node(other_data_node(id));
  if (other.is_suspect || !has_votes(other.id()) || other.database.is_diverged) return;
  if (!world_.has_everything(other.id())) return;
  world_.crash(id);
  if (rolls_back) {
    world_.put_copy_back(id);
  } else {
    world_.lose_database(id);
    if (rng_.chance(20) && has_votes(id)) lose_vote();
  }
  if (rng_.chance(60)) world_.start(id);
}

void Walk::lose_vote() {
  for (NodeId id = 1; id <= world_.size(); ++id) {
    if (!has_votes(id)) return;
  }
  const NodeId id = any_node();
  world_.crash(id);
  world_.lose_vote(id, rng_.chance(50));
  if (!node(id).is_witness) node(id).is_suspect = true;
  if (rng_.chance(70)) world_.start(id);
}

void Walk::reseed_one() {
  const NodeId leader = world_.leader();
  if (leader == 0 || !node(leader).runs()) return;
  for (NodeId id = 1; id <= world_.size(); ++id) {
    if (!has_votes(id)) return world_.control(leader, {.verb = ClusterVerb::Reseed, .node = id});
  }
  world_.control(leader, {.verb = ClusterVerb::Reseed, .node = any_node()});
}

void Walk::fail_over() {
  const NodeId leader = world_.leader();
  if (leader == 0 || !node(leader).runs()) return;
  const NodeId to = rng_.chance(50) ? NodeId{0} : any_node();
  world_.control(leader, {.verb = ClusterVerb::FailOver, .node = to});
}

/// R12, when the old primary is known to be off; it comes back only when it is decided. Voters
/// that are given up as lost come back without their votes.
void Walk::override_primary() {
  if (!rng_.chance(30)) return;
  const NodeId id = any_data_node();
  const NodeId old = other_data_node(id);
  if (!node(id).runs()) return;
  world_.crash(old);
  ha::event::Control control{.verb = ClusterVerb::FailOverWithLoss};
  if (has_votes(id) && rng_.chance(30)) {
    control.lost.push_back(old);
    for (NodeId lost = 1; lost <= world_.size(); ++lost) {
      if (node(lost).is_witness && rng_.chance(70)) control.lost.push_back(lost);
    }
    for (const NodeId lost : control.lost) {
      world_.crash(lost);
      world_.lose_vote(lost, rng_.chance(50));
      if (!node(lost).is_witness) world_.lose_database(lost);
    }
  }
  world_.run_for(Micros(static_cast<std::int64_t>(rng_.below(600'000))));
  if (!node(id).runs()) return;
  const std::size_t before = world_.answers().size();
  was_overridden_ = true;
  world_.control(id, control);
  (void)world_.run_until([&] { return world_.answers().size() > before; }, seconds(3));
}

void Walk::diverge() {
  const NodeId leader = world_.leader();
  if (leader == 0 || !rng_.chance(20)) return;
  const NodeId id = other_data_node(leader);
  if (!node(id).runs() || node(id).machine->leader() != leader) return;
  if (!world_.has_everything(leader) || node(leader).is_suspect) return;
  world_.diverge(id);
}

/// What is acknowledged must not make way for what an earlier life of the leader had to say.
void Walk::echo() {
  const NodeId leader = world_.leader();
  if (leader == 0) return;
  if (rng_.chance(30)) return echo_to_empty(leader);
  if (rng_.chance(50)) {
    lose_a_write(leader);  // And the standby does not know yet what is committed since.
  } else {
    const std::size_t before = world_.acknowledged();
    if (!world_.submit()) return;
    (void)world_.run_until([&] { return world_.acknowledged() > before; }, seconds(1));
  }
  if (world_.echo(leader, other_data_node(leader)) && rng_.chance(50)) world_.crash(leader);
}

/// A standby in sync begins anew without its database, and hears what its earlier life was told
/// when nothing was committed yet. The witnesses, beginning anew as well, know no better.
void Walk::echo_to_empty(NodeId leader) {
  const NodeId other = other_data_node(leader);
  if (!node(leader).machine->is_in_sync() || !world_.has_everything(leader)) return;
  if (node(leader).is_suspect || node(leader).database.is_diverged) return;
  if (!has_votes(leader) || !has_votes(other)) return;
  world_.crash(other);
  world_.lose_database(other);
  for (NodeId id = 1; id <= world_.size(); ++id) {
    if (!node(id).is_witness) continue;
    world_.crash(id);
    world_.start(id);
  }
  world_.start(other);
  world_.run_for(milliseconds(20));
  if (world_.echo_first(leader, other)) world_.crash(leader);
}

/// A primary that serves alone says an entry to the standby that follows again, and crashes before
/// the entry is there or on its disk. Nobody else may lead: it does, and the standby joins.
void Walk::lose_a_write(NodeId leader) {
  const NodeId other = other_data_node(leader);
  const auto is_solo = [&] { return world_.leader() == leader && node(leader).machine->is_solo(); };
  world_.cut(leader, other);
  world_.cut(other, leader);
  (void)world_.run_until(is_solo, seconds(3));
  world_.heal(leader, other);
  world_.heal(other, leader);
  const auto is_streaming = [&] {
    const auto peers = node(leader).machine->peers();
    return std::any_of(peers.begin(), peers.end(), [&](const ha::Machine::PeerView& peer) {
      return peer.id == other && peer.is_streaming;
    });
  };
  (void)world_.run_until([&] { return is_solo() && is_streaming(); }, milliseconds(600));
  if (!is_solo() || !world_.submit()) return;
  world_.crash(leader);
  world_.slow_disk(leader, milliseconds(100));
  world_.start(leader);
  (void)world_.run_until(
      [&] { return world_.leader() == leader && node(leader).machine->is_in_sync(); }, seconds(5));
  world_.slow_disk(leader, milliseconds(0));
}

// --- The end: no more faults ---------------------------------------------------------------------

bool Walk::is_whole() {
  const NodeId leader = world_.leader();
  if (leader == 0 || !node(leader).machine->is_in_sync()) return false;
  for (NodeId id = 1; id <= world_.size(); ++id) {
    if (!node(id).is_up()) return false;  // It asked for a new life.
    const ha::Machine& machine = *node(id).machine;
    if (machine.abstains() || !machine.is_complete() || machine.leader() != leader) return false;
  }
  return true;
}

/// What an operator does when nobody can lead because disks were lost: the node with the most is
/// told to lead. Without such a loss it is an error of the machines.
void Walk::help_if_stuck(Micros without_leader) {
  if (without_leader < seconds(20)) return;
  std::vector<NodeId> voteless;
  // An override that failed half-way may have told a majority that only its node may lead.
  bool was_anything_lost = was_overridden_;
  for (NodeId id = 1; id <= world_.size(); ++id) {
    if (!has_votes(id)) voteless.push_back(id);
    was_anything_lost =
        was_anything_lost || !has_votes(id) || node(id).is_suspect || node(id).database.is_diverged;
  }
  if (!was_anything_lost) return world_.fail("liveness: nobody leads, though no disk was lost");
  const NodeId id = world_.has_everything(1) ? 1 : 2;
  ha::event::Control control{.verb = ClusterVerb::FailOverWithLoss};
  const bool has_majority = world_.size() - voteless.size() > world_.size() / 2;
  if (!has_majority) control.lost = voteless;
  world_.control(id, control);
}

/// What an operator does about lost votes while somebody leads.
void Walk::give_votes_back() {
  std::vector<NodeId> voteless;
  for (NodeId id = 1; id <= world_.size(); ++id) {
    if (!has_votes(id)) voteless.push_back(id);
  }
  if (voteless.empty()) return;
  const bool has_majority = world_.size() - voteless.size() > world_.size() / 2;
  if (!has_majority && rng_.chance(30)) {
    return world_.control(world_.leader(),
                          {.verb = ClusterVerb::FailOverWithLoss, .lost = voteless});
  }
  world_.control(world_.leader(),
                 {.verb = ClusterVerb::Reseed, .node = voteless[rng_.below(voteless.size())]});
}

void Walk::become_whole() {
  HaOptions calm = world_.options();
  calm.latency = milliseconds(1);
  calm.latency_spread = calm.sync_spread = milliseconds(1);
  calm.lost_percent = calm.doubled_percent = calm.late_percent = calm.torn_permille = 0;
  world_.set_options(calm);
  for (NodeId id = 1; id <= world_.data_nodes(); ++id) world_.slow_disk(id, milliseconds(0));
  world_.heal_all();
  for (NodeId id = 1; id <= world_.size(); ++id) {
    world_.resume(id);
    world_.start(id);
    for (NodeId to = 1; to <= world_.size(); ++to) world_.close(id, to);
  }
  TimePoint led_at = world_.now();
  const TimePoint end = world_.now() + seconds(120);
  while (world_.error().empty() && !is_whole()) {
    if (world_.now() >= end) return world_.fail("liveness: not whole two minutes after the faults");
    world_.run_for(milliseconds(500));
    world_.submit();
    if (world_.leader() != 0) {
      led_at = world_.now();
      give_votes_back();
    } else {
      help_if_stuck(world_.now() - led_at);
    }
  }
  if (!world_.error().empty()) return;
  const std::size_t before = world_.acknowledged();
  // A switch-over may have begun and not come about (3 s); each late hello of an earlier life may
  // cost the time of a shrink.
  const bool commits = world_.run_until([&] { return world_.submit(); }, seconds(5)) &&
                       world_.run_until([&] { return world_.acknowledged() > before; }, seconds(5));
  if (!commits) return world_.fail("liveness: a new entry is not acknowledged");
  const auto are_equal = [&] { return node(1).database.last() == node(2).database.last(); };
  if (!world_.run_until(are_equal, seconds(10))) {
    world_.fail("liveness: two journals differ at rest");
  }
}

// --- Reports -------------------------------------------------------------------------------------

struct NamedMutant {
  const char* name;
  ha::Mutant mutant;
  std::uint64_t budget;  ///< Seeds; about ten times what it took when this was written.
  bool may_survive = false;
};

constexpr std::array kMutants{
    NamedMutant{"acknowledges alone before the shrink is recorded", ha::Mutant::AckBeforeShrink,
                500},
    NamedMutant{"a voter forgets its promises", ha::Mutant::ForgetPromises, 5000},
    NamedMutant{"the expanded isr is published before the standby is required",
                ha::Mutant::ExpandFirst, 500},
    NamedMutant{"a standby acknowledges appends below its promise", ha::Mutant::AckBelowPromise,
                15'000},
    NamedMutant{"a rejoining node keeps its diverged tail", ha::Mutant::KeepDivergedTail, 500},
    NamedMutant{"a candidate ignores eligibility", ha::Mutant::IgnoreEligibility, 500},
    NamedMutant{"a leader resumes its old epoch after a crash", ha::Mutant::ResumeEpoch, 500},
    NamedMutant{"local durability is enough", ha::Mutant::AckLocally, 500},
    NamedMutant{"a voter is re-seeded on one leader's word", ha::Mutant::ReseedOnOneWord, 5000,
                true},
    NamedMutant{"a node whose database was lost may lead", ha::Mutant::LeadWithLostDatabase, 500},
    NamedMutant{"an append for an earlier life counts", ha::Mutant::IgnoreLives, 500},
};

/// What should happen in many seeds.
std::vector<std::string> expected_of_many(const Run& run) {
  std::vector<std::string> expected;
  for (const ha::Transition& row : ha::transitions()) {
    if (is_expected(row, run)) expected.emplace_back(row.sentence);
  }
  for (const char* what : {"SaveVote",
                           "Send",
                           "Lead",
                           "Restart",
                           "Commit",
                           "Store",
                           "ReadJournal",
                           "FindCommon",
                           "MakeSnapshot",
                           "DropSnapshot",
                           "FetchSnapshot",
                           "Intake",
                           "KeepMinCopies",
                           "Answer",
                           "isr.shrunk",
                           "isr.grown",
                           "votes.lost",
                           "votes.begun",
                           "votes.reseeded",
                           "failover.overridden",
                           "journal.truncated",
                           "database.complete",
                           "rows.diverged",
                           "peer.diverged",
                           "snapshot.needed"}) {
    expected.emplace_back(what);
  }
  return expected;
}

}  // namespace

HaOutcome walk_ha(std::uint64_t seed, ha::Mutant mutant, bool trace) {
  Walk walk(seed, mutant);
  if (trace) walk.world().print_trace();
  walk.run();
  const HaWorld& world = walk.world();
  return {world.error(), world.trace_hash(), world.acknowledged(), world.hits()};
}

int run_ha(const Run& run) {
  Hits hits;
  std::uint64_t acknowledged = 0;
  for (std::uint64_t seed = run.first; seed < run.first + run.seeds; ++seed) {
    const HaOutcome outcome = walk_ha(seed, ha::Mutant::None, run.trace);
    const bool is_same =
        run.seeds > 1 || walk_ha(seed, ha::Mutant::None, false).trace_hash == outcome.trace_hash;
    if (!outcome.error.empty() || !is_same) {
      std::printf("seed %llu: %s\nreplay: capstan-sim --ha --seed %llu --trace\n",
                  static_cast<unsigned long long>(seed),
                  is_same ? outcome.error.c_str() : "NOT DETERMINISTIC",
                  static_cast<unsigned long long>(seed));
      return 1;
    }
    acknowledged += outcome.acknowledged;
    for (const auto& [what, times] : outcome.hits) hits[what] += times;
  }
  const auto times = [&](const char* what) {
    return static_cast<unsigned long long>(hits.contains(what) ? hits[what] : 0);
  };
  std::printf(
      "%llu seeds clean: %llu batches acknowledged, %llu reigns, %llu shrinks, %llu overrides, "
      "%llu reseeds, %llu snapshots\n",
      static_cast<unsigned long long>(run.seeds), static_cast<unsigned long long>(acknowledged),
      times("Lead"), times("isr.shrunk"), times("failover.overridden"), times("votes.reseeded"),
      times("FetchSnapshot"));
  return !run.coverage || report_coverage(hits, expected_of_many(run)) ? 0 : 1;
}

int run_ha_mutants() {
  int missed = 0;
  for (const NamedMutant& mutant : kMutants) {
    std::uint64_t seed = 1;
    std::string error;
    for (; seed <= mutant.budget && error.empty(); ++seed) {
      error = walk_ha(seed, mutant.mutant, false).error;
      // Being stuck is no proof: only a broken promise is.
      if (error.starts_with("liveness")) error.clear();
    }
    const bool is_found = !error.empty();
    if (is_found) {
      std::printf("found   %-62s seed %llu: %s\n", mutant.name,
                  static_cast<unsigned long long>(seed - 1), error.c_str());
    } else {
      std::printf("%s %-62s in %llu seeds\n", mutant.may_survive ? "lives  " : "MISSED ",
                  mutant.name, static_cast<unsigned long long>(mutant.budget));
      if (!mutant.may_survive) ++missed;
    }
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

}  // namespace capstan::sim
