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

std::vector<std::string> Machine::alarms(TimePoint now) const {
  const Impl& in = *impl_;
  std::vector<std::string> alarms;
  if (in.abstains_) alarms.emplace_back("this node's votes were lost: it waits for a reseed");
  if (!in.abstains_ && in.vote_.fresh) {
    alarms.emplace_back("this node votes for the first time when all voters were heard");
  }
  if (!is_complete()) alarms.emplace_back("this node may lack what was acknowledged: catching up");
  for (const Peer& peer : in.peers_) {
    const std::string& name = peer.voter.name;
    const bool is_heard = peer.heard_at && now - *peer.heard_at < in.config_.timers.election_min;
    if (peer.is_foreign) {
      alarms.push_back(name + " is of another cluster, generation or protocol");
    } else if (!is_heard) {
      alarms.push_back(peer.voter.is_witness
                           ? "the witness " + name + " is not heard: no failover is possible"
                           : name + " is not heard");
    } else if (peer.abstains()) {
      alarms.push_back(name + " lost its votes: capstan cluster reseed " + name);
    } else if (is_leader() && peer.needs_snapshot) {
      alarms.push_back(name + " gets a snapshot");
    }
  }
  if (in.data_nodes() > 1 && is_solo()) {
    alarms.push_back(in.min_copies_ > 1 ? "no second copy: nothing is acknowledged (min_copies)"
                                        : "serving alone: there is no second copy");
  }
  return alarms;
}

}  // namespace capstan::ha
