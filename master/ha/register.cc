// SPDX-License-Identifier: MIT
//
// The register of a reign: who must have an entry before it is committed, heartbeats, and whether
// this node may go on leading.
#include <algorithm>

#include "master/ha/machine_impl.h"

namespace capstan::ha {

/// One change at a time; it is said again with the heartbeats until everybody has it.
void Machine::Impl::propose(std::vector<NodeId> isr) {
  std::sort(isr.begin(), isr.end());
  pending_ = Register{epoch_, confirmed_.ver + 1, config_.self, std::move(isr)};
  vote_.reg = *pending_;
  save_vote();
  for (const Peer& peer : peers_) send(peer, epoch_, msg::Accept{*pending_});
  check_register();
}

void Machine::Impl::check_register() {
  if (!pending_) return;
  const std::uint64_t ver = pending_->ver;
  if (!is_majority([ver](const Peer& peer) { return peer.accepted_ver >= ver; })) return;
  confirmed_ = *std::exchange(pending_, std::nullopt);
  if (role_ == Role::Claiming) return lead();
  if (confirmed_.isr.size() < data_nodes()) {
    note(action::Note::Level::Warn, "isr.shrunk",
         confirmed_.isr.size() == 1 ? "serving alone: no other node has what is acknowledged now"
                                    : "serving without a node that does not keep up");
  } else {
    note(action::Note::Level::Info, "isr.grown", "every data node is in sync");
  }
  commit_what_can();
}

/// R3, R6, R7: a member of the register that a majority has, and of one that it may have.
bool Machine::Impl::is_required(const Peer& peer) const {
  if (!peer.is_data()) return false;
  if (pending_ && is_mutant(Mutant::AckBeforeShrink)) return contains(pending_->isr, peer.id());
  const bool may_be = pending_ && !is_mutant(Mutant::ExpandFirst);
  return contains(confirmed_.isr, peer.id()) || peer.is_joining ||
         (may_be && contains(pending_->isr, peer.id()));
}

bool Machine::Impl::requires_others() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [this](const Peer& peer) { return is_required(peer); });
}

std::size_t Machine::Impl::data_nodes() const {
  return static_cast<std::size_t>(std::count_if(config_.voters.begin(), config_.voters.end(),
                                                [](const Voter& v) { return !v.is_witness; }));
}

void Machine::Impl::lead_on() {
  if (is_alone()) return;
  if (now_ >= beat_at_) beat();
  check_quorum();
  if (has_ended_ || is_disk_stuck()) return;
  check_standbys();
  for (Peer& peer : peers_) tend_snapshot(peer);
}

// --- R0 ------------------------------------------------------------------------------------------

/// A leader whose disk is stuck commits nothing: it falls silent, so that another one may lead.
bool Machine::Impl::is_disk_stuck() const {
  return written_ != last() && now_ - sealed_at_ >= config_.timers.shrink_after;
}

void Machine::Impl::beat() {
  beat_at_ = now_ + config_.timers.heartbeat_every;
  if (is_disk_stuck()) return;
  for (Peer& peer : peers_) beat(peer);
}

void Machine::Impl::beat(Peer& peer) {
  if (peer.accepted_ver < newest_register().ver) {
    send(peer, epoch_, msg::Accept{newest_register()});
  }
  // What it has is not known: it says so, or tells what it has instead (R9).
  if (!peer.is_streaming) {
    peer.sent = written_;
    peer.in_flight.clear();
  }
  send_append(peer, peer.sent, {});
}

// --- R6, R7, R7a ---------------------------------------------------------------------------------

bool Machine::Impl::is_out_of_touch(const Peer& peer) const {
  const Timers& timers = config_.timers;
  const TimePoint heard = std::max(peer.heard_at.value_or(led_since_), led_since_);
  const bool is_silent = now_ - heard >= timers.shrink_after;
  const bool is_closed = !peer.is_connected && peer.closed_at &&
                         now_ - std::max(*peer.closed_at, led_since_) >= timers.shrink_after_closed;
  const bool is_stuck = peer.matched < last().seq && now_ - peer.progress_at >= timers.shrink_after;
  const bool is_leaving = peer.hello && peer.hello->is_leaving;
  return is_silent || is_closed || is_stuck || is_leaving || peer.needs_snapshot;
}

bool Machine::Impl::is_ready_to_join(const Peer& peer) const {
  if (!peer.hello || peer.abstains() || is_out_of_touch(peer)) return false;
  if (is_mutant(Mutant::ExpandFirst)) return true;
  // Whoever leads next has this reign's first entry: it says what an override may have lost (R12).
  if (commit_ < first_of_reign_) return false;
  // What it lacks is on its way to it.
  const bool keeps_up = peer.is_streaming && peer.sent.seq >= written_.seq;
  const bool is_steady = !peer.was_shrunk || now_ - peer.steady_since >= config_.timers.grow_after;
  return keeps_up && is_steady;
}

/// R7. Every commit waits for it from here on; so it soon has what was committed before as well,
/// however far it is away and however much is written meanwhile, and then it may be in the isr.
bool Machine::Impl::join(Peer& peer) {
  if (!peer.is_joining && !is_ready_to_join(peer)) return false;
  if (is_mutant(Mutant::ExpandFirst)) return true;
  peer.is_joining = true;
  return peer.matched >= commit_;
}

void Machine::Impl::give_up_joining() {
  for (Peer& peer : peers_) {
    if (!peer.is_joining || (peer.is_connected && !is_out_of_touch(peer))) continue;
    peer.is_joining = false;
    commit_what_can();
  }
}

void Machine::Impl::check_standbys() {
  give_up_joining();
  for (Peer& peer : peers_) {
    if (pending_) return;
    if (!peer.is_data()) continue;
    std::vector<NodeId> isr = confirmed_.isr;
    if (!contains(isr, peer.id())) {
      if (!join(peer)) continue;
      isr.push_back(peer.id());
      propose(std::move(isr));
      peer.is_joining = false;  // Required as one of the isr.
    } else if (is_out_of_touch(peer) && isr.size() > min_copies_) {
      std::erase(isr, peer.id());
      peer.was_shrunk = true;
      peer.steady_since = now_;
      propose(std::move(isr));
    }
  }
}

// --- R8 ------------------------------------------------------------------------------------------

void Machine::Impl::check_quorum() {
  if (!requires_others()) return;  // Solo: nobody else may lead, so serving on harms nobody.
  if (!hears_majority()) end_reign(Cause::NoMajority);
}

bool Machine::Impl::hears_majority() const {
  return is_majority([this](const Peer& peer) {
    const TimePoint heard = std::max(peer.heard_at.value_or(led_since_), led_since_);
    return !peer.abstains() && now_ - heard < config_.timers.election_max;
  });
}

}  // namespace capstan::ha
