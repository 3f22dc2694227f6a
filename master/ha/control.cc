// SPDX-License-Identifier: MIT
//
// What a person asks for: R10 (reseed), R11 (planned switch-over), R12 (override), min_copies.
#include <algorithm>

#include "master/ha/machine_impl.h"

namespace capstan::ha {

void Machine::Impl::on(const event::Control& control) {
  if (pending_control_) {
    out_.emplace_back(
        action::Answer{false, Errc::Unavailable, "another order is being carried out"});
    return;
  }
  switch (control.verb) {
    case msg::ClusterVerb::FailOver:
      return fail_over(control);
    case msg::ClusterVerb::FailOverWithLoss:
      return override_old_primary(control);
    case msg::ClusterVerb::Reseed:
      return reseed(control);
    case msg::ClusterVerb::SetMinCopies:
      return set_min_copies(control);
  }
}

void Machine::Impl::answer(Errc code, std::string reason) {
  pending_control_.reset();
  out_.emplace_back(action::Answer{false, code, std::move(reason)});
}

void Machine::Impl::answer_ok(std::string reason) {
  pending_control_.reset();
  out_.emplace_back(action::Answer{true, Errc{}, std::move(reason)});
}

/// Whatever was begun goes on with what has changed since, or is given up.
void Machine::Impl::run_control() {
  if (!pending_control_) return;
  const bool is_late = now_ >= pending_control_->until;
  switch (pending_control_->control.verb) {
    case msg::ClusterVerb::FailOver:
      if (is_late) {
        out_.emplace_back(action::Intake{true});
        return answer(Errc::Timeout, "the standby did not take over in time");
      }
      return hand_over_when_level();
    case msg::ClusterVerb::Reseed:
      if (is_late) return answer(Errc::Unavailable, "not every other voter confirmed in time");
      return reseed_when_confirmed();
    case msg::ClusterVerb::SetMinCopies:
      if (is_late) {
        return answer(Errc::OutcomeUnknown, "it is not yet on every disk that must have it");
      }
      return;
    case msg::ClusterVerb::FailOverWithLoss:
      return;
  }
}

// --- R11 -----------------------------------------------------------------------------------------

void Machine::Impl::fail_over(const event::Control& control) {
  if (role_ != Role::Leader) return answer(Errc::Unavailable, "this node is not the primary");
  const auto target = std::find_if(peers_.begin(), peers_.end(), [&](const Peer& peer) {
    return control.node == 0 ? contains(confirmed_.isr, peer.id()) : peer.id() == control.node;
  });
  if (target == peers_.end()) return answer(Errc::Unavailable, "no other node is in sync");
  if (!contains(confirmed_.isr, target->id()) || !target->is_streaming) {
    return answer(Errc::Unavailable, target->voter.name + " is not in sync");
  }
  pending_control_ = Pending{control, now_ + config_.timers.control_wait};
  pending_control_->control.node = target->id();
  out_.emplace_back(action::Intake{false});
  hand_over_when_level();
}

void Machine::Impl::hand_over_when_level() {
  const Peer* target = find(pending_control_->control.node);
  if (pending_control_->was_sent || target == nullptr || pending_) return;
  const bool has_all = commit_ == last().seq && target->matched == last().seq;
  // Without this register it would take itself for ineligible.
  if (!has_all || target->accepted_ver < confirmed_.ver) return;
  pending_control_->was_sent = true;
  send(*target, epoch_, msg::TakeOver{last().seq});
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::TakeOver& take_over) {
  if (role_ != Role::Follower || leader_ != from.id() || epoch_ != epoch) return;
  if (!may_stand() || !is_verified_ || std::min(verified_.seq, written_.seq) < take_over.upto)
    return;
  stand(Cause::TakeOver);
}

// --- R12 -----------------------------------------------------------------------------------------

void Machine::Impl::override_old_primary(const event::Control& control) {
  if (is_witness()) return answer(Errc::Invalid, "a witness has no queue to serve");
  if (role_ == Role::Leader) return give_up(control.lost);
  if (role_ == Role::Candidate || role_ == Role::Claiming) {
    return answer(Errc::Unavailable, "an election is under way");
  }
  if (hears_leader() && !saw_leader_close()) {
    return answer(Errc::Conflict, find(leader_)->voter.name + " leads and is heard: it is not off");
  }
  if (written_ != last()) return answer(Errc::Unavailable, "the disk is still writing");
  // It would spoil the beginning: nothing can be lost yet.
  if (vote_.fresh && !abstains_ && control.lost.empty()) {
    return answer(Errc::Unavailable, "this cluster has not begun: start its other nodes");
  }
  pending_control_ = Pending{control, TimePoint::never()};
  is_override_ = true;
  lost_ = control.lost;
  std::erase(lost_, config_.self);
  if (!may_vote() || !lost_.empty()) highest_seen_ = above_all(control.wall);
  note(action::Note::Level::Warn, "failover.overridden",
       "by an operator's word the old primary is off, and what only it has is lost");
  stand(Cause::Override);
}

/// Who lost its votes may have led in epochs that nobody is left to tell of, also by an override of
/// which this node knows nothing. An election takes more than a millisecond: so the milliseconds
/// since 1970 are above all of them; and where a clock is behind, more than there ever are above
/// those that this node knows.
Epoch Machine::Impl::above_all(WallTime wall) {
  constexpr std::uint64_t kElections = 1 << 16;  // More than ever are between two overrides.
  const Epoch known = next_epoch();
  const Epoch by_clock(static_cast<std::uint64_t>(std::max<std::int64_t>(wall.us, 0)) / 1000 * 256);
  if (by_clock > known) return by_clock;
  return Epoch(known.value + (kElections + rng_.below(kElections)) * 256);
}

/// Too many voters lost their votes for any change of the register: the others may have made
/// somebody else the leader since, and forgotten it. So this reign ends, and the node leads again
/// by an override like any other, in an epoch that nobody can have seen.
void Machine::Impl::give_up(const std::vector<NodeId>& lost) {
  if (lost.empty()) return answer(Errc::Invalid, "this node is the primary already");
  if (hears_majority()) {
    return answer(Errc::Conflict,
                  "enough voters have their votes: those of others come back by reseed");
  }
  answer(Errc::Unavailable, "this node begins anew, to lead in a higher epoch: say it again then");
  end_reign(Cause::Override);
}

// --- R10 -----------------------------------------------------------------------------------------

/// The voter may have promised something that it forgot. Whoever has that promise had promised
/// itself first; so when, after the loss became known, every other voter accepts one more register
/// of this reign, no promise above it is forgotten. Voters that abstain themselves stand for
/// nothing, and are not waited for: else two that lost their votes would wait for each other.
void Machine::Impl::reseed(const event::Control& control) {
  if (role_ != Role::Leader) return answer(Errc::Unavailable, "this node is not the primary");
  Peer* target = find(control.node);
  if (target == nullptr) return answer(Errc::NotFound, "no other voter of that name");
  if (!target->is_connected || !target->hello) {
    return answer(Errc::Unavailable, target->voter.name + " is not connected");
  }
  if (!target->abstains()) { return answer(Errc::Conflict, target->voter.name + " has its votes"); }
  if (is_mutant(Mutant::ReseedOnOneWord)) return give_votes(*target);
  // It was decided for this life of it: the message may be lost.
  if (target->life() == target->reseeded_life) return give_votes(*target);
  if (pending_ && !hears_majority()) {
    return answer(Errc::Conflict,
                  "too few voters have their votes: name those that have not by "
                  "failover --allow-data-loss --lost-voters first");
  }
  if (pending_) return answer(Errc::Unavailable, "the in-sync set is changing: try again");
  pending_control_ = Pending{control, now_ + config_.timers.control_wait};
  pending_control_->ver = confirmed_.ver + 1;
  pending_control_->life = target->life();
  propose(confirmed_.isr);
}

void Machine::Impl::reseed_when_confirmed() {
  const Pending& pending = *pending_control_;
  Peer* target = find(pending.control.node);
  const bool all_agree = std::all_of(peers_.begin(), peers_.end(), [&](const Peer& peer) {
    return peer.id() == target->id() || is_lost(peer.id()) || peer.abstains() ||
           peer.accepted_ver >= pending.ver;
  });
  if (!all_agree || pending_) return;
  if (!target->is_connected || !target->abstains() || target->life() != pending.life) return;
  give_votes(*target);
}

/// From now on it may have votes, and so it must agree. Should this not arrive, or its votes be
/// lost once more, its next hello says so.
void Machine::Impl::give_votes(Peer& target) {
  send(target, epoch_, msg::Reseed{confirmed_, target.life()});
  target.reseeded_life = target.life();
  std::erase(lost_, target.id());
  target.hello->abstains = target.hello->fresh = false;
  answer_ok("re-seeded");
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Reseed& reseed) {
  const Register& reg = reseed.reg;
  if (may_vote() || reg.epoch != epoch || node_of(epoch) != from.id()) return;
  if (reseed.life != life_) return;  // Promises that were lost since then are not in it.
  if (reg.leader != from.id() || epoch < least_epoch()) return;
  // Of a database beside lost votes nothing is known: a nonce that no database has (R9a).
  vote_ = Vote{.promised = epoch, .reg = reg, .nonce = ~nonce_, .fresh = false};
  abstains_ = false;
  if (!is_witness()) is_complete_ = false;
  save_vote();
  note(action::Note::Level::Warn, "votes.reseeded", "by an admin's word this node votes again");
  say_hello_to_all();
  send(from, epoch, msg::RegisterAccepted{reg.ver});
  hear_leader(from, epoch);
}

// --- min_copies ----------------------------------------------------------------------------------

/// It is an entry like others. The smaller number counts meanwhile: else one that allows to serve
/// alone would wait for the second copy that is not to be had.
void Machine::Impl::set_min_copies(const event::Control& control) {
  if (role_ != Role::Leader) return answer(Errc::Unavailable, "this node is not the primary");
  if (control.value < 1 || control.value > data_nodes()) {
    return answer(Errc::Invalid, "there are not so many data nodes");
  }
  pending_control_ = Pending{control, now_ + config_.timers.control_wait};
  min_copies_ = std::min(min_copies_, control.value);
  out_.emplace_back(action::KeepMinCopies{control.value});
  commit_what_can();
}

void Machine::Impl::on(const event::MinCopies& event) {
  if (role_ != Role::Leader) return;
  const auto most = static_cast<std::uint32_t>(data_nodes());
  min_copies_ = std::clamp(event.copies, 1U, most);
  commit_what_can();
  const bool was_asked = pending_control_ &&
                         pending_control_->control.verb == msg::ClusterVerb::SetMinCopies &&
                         pending_control_->control.value == event.copies;
  if (was_asked) answer_ok("");
}

}  // namespace capstan::ha
