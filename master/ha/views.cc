// SPDX-License-Identifier: MIT
//
// The machine as the shell, people and checkers see it.
#include <algorithm>

#include "master/ha/machine_impl.h"

namespace capstan::ha {

/// A data node that was not heard in this life may understand the first level only.
std::uint32_t Machine::Impl::level_of_all() const {
  std::uint32_t level = config_.level;
  for (const Peer& peer : peers_) {
    if (peer.is_data()) level = std::min(level, peer.hello ? peer.hello->level : 1);
  }
  return level;
}

Role Machine::role() const {
  return impl_->role_;
}
Epoch Machine::epoch() const {
  return impl_->epoch_;
}
NodeId Machine::leader() const {
  return impl_->leader_;
}
Seq Machine::committed() const {
  return impl_->commit_;
}
const Vote& Machine::vote() const {
  return impl_->vote_;
}
bool Machine::abstains() const {
  return !impl_->may_vote();
}
bool Machine::is_complete() const {
  return impl_->is_complete_ && !impl_->is_diverged_;
}
std::uint32_t Machine::level() const {
  return impl_->level_of_all();
}
std::uint32_t Machine::min_copies() const {
  return impl_->min_copies_;
}

bool Machine::is_in_sync() const {
  return is_leader() && impl_->confirmed_.isr.size() == impl_->data_nodes();
}

bool Machine::is_solo() const {
  return is_leader() && impl_->confirmed_.isr.size() == 1;
}

std::vector<Machine::PeerView> Machine::peers() const {
  std::vector<PeerView> views;
  for (const Peer& peer : impl_->peers_) {
    Seq seq = peer.hello ? peer.hello->last.seq : Seq{};
    if (is_leader()) seq = std::max(seq, peer.matched);
    views.push_back({.id = peer.id(),
                     .life = peer.life(),
                     .is_connected = peer.is_connected,
                     .heard_at = peer.heard_at,
                     .seq = seq,
                     .is_in_isr = is_leader() && contains(impl_->confirmed_.isr, peer.id()),
                     .is_streaming = peer.is_streaming});
  }
  return views;
}

/// Of this node itself.
std::vector<Alarm> Machine::Impl::own_alarms() const {
  std::vector<Alarm> alarms;
  if (abstains_)
    alarms.push_back({"votes-lost", "this node's votes were lost: it waits for a reseed"});
  else if (vote_.fresh)
    alarms.push_back(
        {"votes-fresh", "this node votes for the first time when all voters were heard"});
  if (is_diverged_)
    alarms.push_back({"diverged", "this node's rows are not the primary's: it gets a snapshot"});
  else if (!is_complete_)
    alarms.push_back({"incomplete", "this node may lack what was acknowledged: catching up"});
  if (leader_ == 0) alarms.push_back({"no-primary", "nobody leads, as far as this node knows"});
  return alarms;
}

/// Only leaders speak all the time: of others the connection tells.
bool Machine::Impl::is_unheard(const Peer& peer, TimePoint now) const {
  const bool may_be_silent = role_ != Role::Leader && leader_ != peer.id();
  if (may_be_silent) return !peer.is_connected;
  return !peer.heard_at || now - *peer.heard_at >= config_.timers.election_min;
}

/// The worst that is to be said of another node.
std::optional<Alarm> Machine::Impl::alarm_of(const Peer& peer, TimePoint now) const {
  const std::string& name = peer.voter.name;
  if (peer.is_foreign)
    return Alarm{"foreign", name + " is of another cluster, generation or protocol"};
  if (is_unheard(peer, now)) {
    if (!peer.is_data())
      return Alarm{"witness-gone",
                   "the witness " + name + " is not heard: no failover is possible"};
    return Alarm{"master-gone", name + " is not heard"};
  }
  if (peer.abstains())
    return Alarm{"votes-lost", name + " lost its votes: capstan cluster reseed " + name};
  if (role_ != Role::Leader || !peer.is_data()) return std::nullopt;
  if (peer.needs_snapshot && peer.is_diverged)
    return Alarm{"diverged", name + " had other rows: it gets a snapshot"};
  if (peer.needs_snapshot) return Alarm{"lag", name + " is behind: it gets a snapshot"};
  if (contains(confirmed_.isr, peer.id())) return std::nullopt;
  if (!peer.is_streaming) return Alarm{"lag", name + " has not told yet how far it is"};
  if (peer.matched == last().seq)
    return Alarm{"lag", name + " has caught up, and counts when it was steady for a while"};
  return Alarm{"lag", name + " is behind by " +
                          std::to_string(last().seq.value - peer.matched.value) +
                          " entries: catching up"};
}

std::vector<Alarm> Machine::alarms(TimePoint now) const {
  const Impl& in = *impl_;
  std::vector<Alarm> alarms = in.own_alarms();
  for (const Peer& peer : in.peers_) {
    if (auto alarm = in.alarm_of(peer, now)) alarms.push_back(std::move(*alarm));
  }
  if (in.data_nodes() > 1 && is_solo()) {
    alarms.push_back({"solo", in.min_copies_ > 1
                                  ? "no second copy: nothing is acknowledged (min_copies)"
                                  : "serving alone: there is no second copy"});
  }
  return alarms;
}

}  // namespace capstan::ha
