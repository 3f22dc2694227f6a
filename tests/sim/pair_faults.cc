// SPDX-License-Identifier: MIT
//
// What goes wrong in a simulated cluster, and what an operator does about it.
#include <algorithm>
#include <array>
#include <optional>

#include "tests/sim/pair_world.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;
using msg::ClusterVerb;

constexpr Micros kStuck{20s};          // Nobody leads: an operator looks at it.
constexpr Micros kOverrideAtMost{8s};  // Until it is decided.
constexpr Micros kLook{5s};

}  // namespace

void PairWorld::schedule_faults() {
  Rng& rng = schedule_.rng();
  const std::array loss{0U, 0U, 1U, 5U, 30U};
  const std::array slow{Micros(500us), Micros(500us), Micros(20ms), Micros(300ms)};
  const std::array twice{0U, 0U, 1U, 5U, 20U};
  NetworkFaults faults{.lose = loss[rng.below(loss.size())],
                       .repeat = twice[rng.below(twice.size())],
                       .delay_max = schedule_.between(100us, 20ms)};
  // A session hardly lives then, and begins anew at every answer: not a thousand times a second.
  if (faults.lose + faults.repeat > 20) faults.delay_max = schedule_.between(20ms, 60ms);
  for (const auto& network : networks_) network->faults() = faults;
  for (const auto& each : nodes_) each->disk().set_write_max(slow[rng.below(slow.size())]);
  for (unsigned& weight : weights_) weight = std::array{0U, 1U, 1U, 4U}[rng.below(4)];
  const std::array counts{2U, 8U, 30U};
  const std::uint64_t count = counts[rng.below(counts.size())];
  for (std::uint64_t i = 0; i < count; ++i) {
    schedule_.after(schedule_.between(0us, work_.lasts()), [this] {
      if (!calm_) one_fault();
    });
  }
}

void PairWorld::one_fault() {
  std::uint64_t sum = 0;
  for (const unsigned weight : weights_) sum += weight;
  if (sum == 0) return;
  std::uint64_t drawn = schedule_.rng().below(sum);
  std::size_t fault = 0;
  while (drawn >= weights_[fault]) drawn -= weights_[fault++];
  ++faults_;
  switch (static_cast<Group>(fault)) {
    case Group::Process:
      return process_fault();
    case Group::Disk:
      return disk_fault();
    case Group::Partition:
      return partition();
    case Group::Link:
      return link_fault();
    case Group::Worker:
      return worker_fault();
    case Group::Steering:
      return steering();
    case Group::kGroups:
      return;
  }
}

PairNode& PairWorld::any_node() {
  if (leader() != 0 && schedule_.rng().chance(40)) return node(leader());
  return *nodes_[schedule_.rng().below(nodes_.size())];
}

PairNode& PairWorld::any_data_node() {
  return *nodes_[schedule_.rng().below(2)];
}

/// Down for a while; in most cases shorter than what makes a worker lost.
void PairWorld::start_later(PairNode& which) {
  const Micros most = schedule_.rng().chance(80) ? Micros(6s) : Micros(60s);
  schedule_.after(schedule_.between(50ms, most), [this, &which] {
    if (!calm_) which.start();
  });
}

void PairWorld::process_fault() {
  PairNode& which = any_node();
  Rng& rng = schedule_.rng();
  switch (rng.below(4)) {
    case 0:
    case 1:
      which.kill(rng.chance(40));
      return start_later(which);
    case 2:
      count("fault: node stopped");
      return which.stop_for(schedule_.between(200ms, rng.chance(70) ? Micros(8s) : Micros(40s)));
    default:
      count("fault: wall clock set");
      return which.disk().clock().set_wall_offset(schedule_.between(-3600s, 3600s));
  }
}

// --- Disks ---------------------------------------------------------------------------------------

void PairWorld::disk_fault() {
  Rng& rng = schedule_.rng();
  switch (rng.below(8)) {
    case 0:
      count("fault: database lost");
      return lose_database(false);
    case 1:
      count("fault: database rolled back");
      return lose_database(true);
    case 2:
      count("fault: votes lost");
      return lose_votes(any_node());
    case 3:
      count("fault: snapshot fails");
      return any_data_node().snapshots().fail_next();
    case 4:
      count("fault: database copied aside");
      return keep_copy(any_data_node());
    case 5:
      return any_data_node().fail_next_write();
    case 6:
      return differ();
    default:
      count("fault: slow write");
      return any_node().disk().stall_next_write(schedule_.between(100ms, 7s));
  }
}

/// Only while the one that leads is whole: the other may not lead before it has a snapshot.
void PairWorld::differ() {
  const NodeId leads = leader();
  if (leads == 0 || suspects_.contains(leads) || !has_everything(node(leads))) return;
  if (schedule_.rng().chance(30)) node(leads).differ_once();
}

bool PairWorld::has_votes(const PairNode& which) const {
  const auto& vote = which.disk().vote();
  return vote && !vote->fresh && !(which.is_up() && which.node().machine().abstains());
}

bool PairWorld::has_everything(PairNode& which) const {
  which.disk().settle();
  return which.disk().has_durably(truth_.end());
}

void PairWorld::keep_copy(PairNode& which) {
  which.disk().settle();
  copies_.insert_or_assign(which.id(), std::pair(which.disk().copy(), which.disk().nonce()));
}

/// One disk at a time: the other master has everything, its votes and its right rows.
void PairWorld::lose_database(bool rolls_back) {
  PairNode& which = any_data_node();
  PairNode& other = node(static_cast<NodeId>(3 - which.id()));
  if (suspects_.contains(other.id()) || !has_votes(other) || !has_everything(other)) return;
  if (other.snapshots().is_diverged()) return;
  const auto copy = copies_.find(which.id());
  // One of this start, or of the last that the vote file knows, cannot be told from the database.
  which.disk().settle();
  const std::optional<Vote>& vote = which.disk().vote();
  const auto is_known = [&](std::uint64_t nonce) {
    return nonce == which.disk().nonce() || (vote && nonce == vote->nonce);
  };
  if (rolls_back && (copy == copies_.end() || is_known(copy->second.second))) return;
  which.kill(schedule_.rng().chance(50));
  which.snapshots().lose();
  if (rolls_back) {
    which.disk().install(copy->second.first);
  } else {
    which.disk().lose();
  }
  schedule_.trace(rolls_back ? "database rolled back" : "database lost", which.id());
  suspects_.insert(which.id());
  if (!rolls_back && schedule_.rng().chance(25)) lose_votes(which);
  start_later(which);
}

void PairWorld::lose_votes(PairNode& which) {
  for (const auto& each : nodes_) {
    if (!has_votes(*each)) return;
  }
  which.kill(schedule_.rng().chance(50));
  const bool back_to_init = schedule_.rng().chance(50);
  Vote first;
  first.reg.isr = {1, 2};
  which.disk().set_vote(back_to_init ? std::optional(first) : std::nullopt);
  votes_.erase(which.id());
  schedule_.trace("votes lost", which.id(), back_to_init ? 1 : 0);
  if (!which.is_witness()) suspects_.insert(which.id());
  start_later(which);
}

// --- The network ---------------------------------------------------------------------------------

void PairWorld::mute_between(NodeId from, NodeId to, Micros how_long) {
  Link& link = node(from).link_to(to);
  Network& network = *networks_.at(to - 1U);
  network.mute(link, true, false);
  schedule_.after(how_long, [this, &network, &link, from, to] {
    network.mute(link, false, false);
    // What was said into the void: in the end the connection is given up.
    if (schedule_.rng().chance(50)) networks_.at(to - 1U)->cut(node(from).link_to(to));
  });
}

void PairWorld::block_between(NodeId from, NodeId to, Micros how_long) {
  Link& link = node(from).link_to(to);
  Network& network = *networks_.at(to - 1U);
  network.block(link, true);
  schedule_.after(how_long, [&network, &link] { network.block(link, false); });
}

/// Between nodes: both ways or one, with connections that close or only fall silent.
void PairWorld::partition() {
  Rng& rng = schedule_.rng();
  const NodeId one = any_node().id();
  const auto other = static_cast<NodeId>(1 + (one + rng.below(2)) % 3);
  const Micros how_long = schedule_.between(300ms, rng.chance(70) ? Micros(12s) : Micros(50s));
  switch (rng.below(5)) {
    case 0:
      count("fault: one way lost");
      return mute_between(one, other, how_long);
    case 1:
      count("fault: cut, silent");
      mute_between(one, other, how_long);
      return mute_between(other, one, how_long);
    case 2:
      count("fault: cut, closed");
      block_between(one, other, how_long);
      return block_between(other, one, how_long);
    case 3:
      count("fault: node isolated");
      return isolate(one, how_long);
    default:
      count("fault: all outgoing lost");
      for (const Voter& voter : parts_.voters) {
        if (voter.id != one) mute_between(one, voter.id, how_long);
      }
  }
}

/// From everybody, users and workers too.
void PairWorld::isolate(NodeId which, Micros how_long) {
  for (const Voter& voter : parts_.voters) {
    if (voter.id == which) continue;
    mute_between(which, voter.id, how_long);
    mute_between(voter.id, which, how_long);
  }
  Network& network = *networks_.at(which - 1U);
  for (Link* link : network.links()) {
    network.mute(*link, true, true);
    schedule_.after(how_long, [&network, link] { network.mute(*link, false, false); });
  }
}

void PairWorld::link_fault() {
  Rng& rng = schedule_.rng();
  Network& network = *networks_[rng.below(networks_.size())];
  const std::vector<Link*> links = network.links();
  Link& link = *links[rng.below(links.size())];
  const Micros longest = gentle_ ? Micros(3s) : Micros(50s);
  switch (rng.below(4)) {
    case 0:
      count("fault: connection closed");
      return network.cut(link);
    case 1:
      count("fault: connection blocked");
      network.block(link, true);
      schedule_.after(schedule_.between(100ms, longest),
                      [&network, &link] { network.block(link, false); });
      return;
    case 2:
      count("fault: connection mute");
      network.mute(link, rng.chance(50), rng.chance(50));
      schedule_.after(schedule_.between(100ms, longest),
                      [&network, &link] { network.mute(link, false, false); });
      return;
    default:
      return clog(network);
  }
}

void PairWorld::clog(Network& network) {
  count("fault: network clogged");
  const Micros before = network.faults().delay_max;
  network.faults().delay_max = schedule_.between(200ms, 5s);
  schedule_.after(schedule_.between(500ms, 10s), [this, &network, before] {
    if (!calm_) network.faults().delay_max = before;
  });
}

// --- Workers, users, operators -------------------------------------------------------------------

void PairWorld::worker_fault() {
  Worker& worker = work_.any_worker();
  Client& client = work_.any_client();
  switch (schedule_.rng().below(gentle_ ? 2 : 7)) {
    case 0:
      count("fault: agent killed");
      return worker.kill_agent();
    case 1:
      count("fault: client restarted");
      return client.restart();
    case 2:
      count("fault: shepherd killed");
      return worker.kill_shepherd();
    case 3:
      count("fault: worker without power");
      return worker.cut_power();
    case 4:
      count("fault: worker stopped");
      return worker.stop_for(schedule_.between(1s, 50s));
    case 5:
      count("fault: worker leaves");
      return worker.leave();
    default:
      count("fault: worker's disk full");
      worker.set_disk_full(true);
      schedule_.after(schedule_.between(1s, 20s), [&worker] { worker.set_disk_full(false); });
  }
}

void PairWorld::steering() {
  Rng& rng = schedule_.rng();
  const NodeId to = leader() != 0 && rng.chance(80) ? leader() : any_node().id();
  switch (rng.below(5)) {
    case 0:
      count("operator: sets min_copies");
      return operator_.say(to, {.verb = ClusterVerb::SetMinCopies,
                                .value = static_cast<std::uint32_t>(1 + rng.below(2))});
    case 1:
      count("operator: reseeds");
      return give_votes_back();
    case 2:
      return override_primary();
    default:
      count("operator: fails over");
      return operator_.say(
          to, {.verb = ClusterVerb::FailOver, .node = rng.chance(50) ? "" : any_node().name()});
  }
}

/// The old primary is off, and comes back only when it is decided.
void PairWorld::override_primary() {
  if (!schedule_.rng().chance(30)) return;
  PairNode& which = any_data_node();
  PairNode& other = node(static_cast<NodeId>(3 - which.id()));
  if (!which.is_up() || which.is_stopped() || suspects_.contains(which.id())) return;
  count("operator: overrides");
  other.kill(schedule_.rng().chance(50));
  other.keep_off(kOverrideAtMost);
  parts_.may_lose = true;
  schedule_.after(schedule_.between(0us, 600ms), [this, &which] {
    operator_.say(which.id(), {.verb = ClusterVerb::FailOverWithLoss});
  });
  schedule_.after(kOverrideAtMost, [&other] { other.start(); });
}

void PairWorld::give_votes_back() {
  if (leader() == 0) return;
  for (const auto& each : nodes_) {
    if (has_votes(*each)) continue;
    operator_.say(leader(), {.verb = ClusterVerb::Reseed, .node = each->name()});
    return;
  }
}

/// After the faults: votes are given back, and when nobody can lead because a disk was lost, the
/// one that has everything is told to.
void PairWorld::look_after() {
  const NodeId leads = leader();
  if (leads != 0 || led_at_ == TimePoint{}) led_at_ = schedule_.now();
  if (leads != 0) {
    give_votes_back();
    if (truth_.queue().min_copies() != 1)
      operator_.say(leads, {.verb = ClusterVerb::SetMinCopies, .value = 1});
  } else if (schedule_.now() - led_at_ > kStuck) {
    help();
  }
  schedule_.after(kLook, [this] { look_after(); });
}

void PairWorld::help() {
  std::vector<std::string> voteless;
  for (const auto& each : nodes_) {
    if (!has_votes(*each)) voteless.push_back(each->name());
  }
  // An override that failed half-way may have told a majority that only that node may lead.
  const bool was_overridden = parts_.may_lose;
  if (suspects_.empty() && voteless.empty() && !was_overridden) return;
  Operator::Words control{.verb = ClusterVerb::FailOverWithLoss};
  if (voteless.size() > nodes_.size() / 2) {
    control.lost = voteless;
    has_small_quorums_ = true;
  }
  const NodeId which = has_everything(node(1)) ? 1 : 2;
  count("operator: overrides");
  schedule_.trace("operator overrides", which);
  operator_.say(which, control);
}

}  // namespace capstan::sim
