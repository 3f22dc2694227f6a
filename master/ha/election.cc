// SPDX-License-Identifier: MIT
//
// Elections (R1, R2) and this voter's own votes. What is promised or accepted is durable before it
// is said: SaveVote stands before the Send in every list of actions here.
#include <algorithm>

#include "master/ha/machine_impl.h"

namespace capstan::ha {

/// R10: a voter that lost its state, or cannot know whether it did, abstains.
bool Machine::Impl::may_vote() const {
  return !abstains_ && !vote_.fresh;
}

bool Machine::Impl::may_stand() const {
  if (is_witness() || !may_vote() || is_diverged_) return false;
  // Its database is not the one that it had: it may lack what it acknowledged.
  if (!is_complete_ && !is_mutant(Mutant::LeadWithLostDatabase)) return false;
  // What is on its way to the disk may or may not be there after a crash: be sure first.
  if (written_ != last()) return false;
  // R2 ahead of time: every majority that has this node has this register or a later one of its.
  if (!contains(vote_.reg.isr, config_.self) && !is_mutant(Mutant::IgnoreEligibility)) return false;
  // The first election of a cluster waits for voters that would find it begun, and abstain.
  const bool is_first = vote_.reg.leader == 0;
  return std::none_of(peers_.begin(), peers_.end(), [&](const Peer& peer) {
    const bool may_yet_begin = peer.is_connected && peer.hello && !peer.hello->abstains;
    return is_first && may_yet_begin && peer.hello->fresh;
  });
}

bool Machine::Impl::hears_leader() const {
  if (role_ == Role::Leader) return true;
  return leader_ != 0 && !leader_restarted_ &&
         now_ - leader_heard_at_ < config_.timers.election_min;
}

bool Machine::Impl::saw_leader_close() const {
  const Peer* leader = find(leader_);
  if (leader == nullptr) return false;
  return leader_restarted_ || (!leader->is_connected && leader->closed_at);
}

TimePoint Machine::Impl::election_due() const {
  const Peer* leader = find(leader_);
  if (leader == nullptr || leader->is_connected || !leader->closed_at || has_asked_after_close_) {
    return election_at_;
  }
  return std::min(election_at_, *leader->closed_at + config_.timers.election_after_closed);
}

/// R1: randomised, so that two never stand together for long.
void Machine::Impl::wait_for_leader() {
  const Micros spread = config_.timers.election_max - config_.timers.election_min;
  const auto extra = rng_.below(static_cast<std::uint64_t>(spread.count()) + 1);
  election_at_ = now_ + config_.timers.election_min + Micros(static_cast<std::int64_t>(extra));
}

void Machine::Impl::consider_standing() {
  if (!may_stand() || now_ < election_due()) return;
  if (saw_leader_close() && !has_asked_after_close_) {
    has_asked_after_close_ = true;
    return ask(Cause::Closed);
  }
  const bool is_sole = vote_.reg.isr == std::vector<NodeId>{config_.self};
  ask(is_sole ? Cause::Sole : Cause::Silence);
}

/// Above everything that this node has heard of; with its own id, so that no two share one.
Epoch Machine::Impl::next_epoch() const {
  const Epoch highest = std::max({least_epoch(), vote_.reg.epoch, highest_seen_, last().epoch});
  return Epoch((highest.value / 256 + 1) * 256 + config_.self);
}

// --- Asking (R1) ---------------------------------------------------------------------------------

void Machine::Impl::ask(Cause cause) {
  move(cause);
  round_until_ = now_ + config_.timers.election_round;
  asked_ = Epoch{};
  ask_again();
}

/// Now and then in a round: another voter may not yet have noticed that the leader is gone.
void Machine::Impl::ask_again() {
  ask_again_at_ = now_ + config_.timers.election_after_closed;
  if (asked_ < next_epoch()) {
    asked_ = next_epoch();
    for (Peer& peer : peers_) peer.has_granted = false;
  }
  for (const Peer& peer : peers_) {
    if (!peer.has_granted) send(peer, asked_, msg::PreVote{last(), saw_leader_close(), vote_.reg});
  }
  if (is_majority([](const Peer& peer) { return peer.has_granted; })) stand(Cause::Granted);
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::PreVote& ask) {
  // What R2 would find: of a claim that the candidate alone recorded this voter need not know.
  const bool is_eligible = contains(vote_.reg.isr, from.id()) || vote_.reg.is_before(ask.reg) ||
                           is_mutant(Mutant::IgnoreEligibility);
  // A leader that asks leads no more. One that saw the connection close, too, says yes.
  const bool hears =
      hears_leader() && leader_ != from.id() && !(ask.saw_closed && saw_leader_close());
  const bool granted = may_vote() && node_of(epoch) == from.id() && from.is_data() &&
                       epoch > vote_.promised && is_eligible && !hears &&
                       ask.last.seq >= heard_commit_;
  send(from, epoch, msg::PreVoted{granted, vote_.promised});
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::PreVoted& answer) {
  highest_seen_ = std::max(highest_seen_, answer.promised);
  if (role_ != Role::Asking || epoch != asked_ || !answer.granted) return;
  from.has_granted = true;
  if (is_majority([](const Peer& peer) { return peer.has_granted; })) stand(Cause::Granted);
}

// --- Standing (R2) -------------------------------------------------------------------------------

void Machine::Impl::stand(Cause cause) {
  move(cause);
  candidacy_ = next_epoch();
  leader_ = 0;
  vote_.promised = candidacy_;
  // An override's, should it fail: its votes are as lost as before, and no first ones any more.
  abstains_ = vote_.fresh = !may_vote();
  save_vote();
  best_ = vote_.reg;
  pending_.reset();
  round_until_ = now_ + config_.timers.election_round;
  for (Peer& peer : peers_) {
    peer.has_promised = peer.has_abstained = false;
    peer.accepted_ver = 0;
    send(peer, candidacy_, msg::Prepare{last(), is_override_});
  }
  check_promises();
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Prepare& prepare) {
  if (node_of(epoch) != from.id() || !from.is_data()) return;
  if (!may_vote()) return abstain(from, epoch);
  if (epoch < vote_.promised) return reject(from, epoch, "it promised a higher epoch");
  if (epoch == vote_.promised) return send(from, epoch, msg::Promised{vote_.reg});
  const Seq committed = role_ == Role::Leader ? commit_ : heard_commit_;
  if (prepare.last.seq < committed && !prepare.forced) {
    return reject(from, epoch, "the candidate lacks what is committed");
  }
  vote_.promised = epoch;
  save_vote();
  send(from, epoch, msg::Promised{vote_.reg});
  if (role_ == Role::Leader) return give_way(epoch);
  leader_ = 0;
  if (role_ != Role::Follower) return yield(Cause::HigherEpoch);
  wait_for_leader();
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Promised& promise) {
  if (role_ != Role::Candidate || epoch != candidacy_) return;
  from.has_promised = true;
  if (best_.is_before(promise.reg)) best_ = promise.reg;
  check_promises();
}

void Machine::Impl::check_promises() {
  if (!is_majority([](const Peer& peer) { return peer.has_promised; })) return;
  // R2: whoever is not in it may lack what was acknowledged. R12: an operator may say so anyway.
  const bool is_eligible =
      contains(best_.isr, config_.self) || is_override_ || is_mutant(Mutant::IgnoreEligibility);
  if (!is_eligible) return yield(Cause::NotInIsr);
  move(Cause::Promised);
  round_until_ = now_ + config_.timers.election_round;
  pending_ = Register{candidacy_, 1, config_.self, {config_.self}};
  vote_.reg = *pending_;
  save_vote();
  for (const Peer& peer : peers_) send(peer, candidacy_, msg::Accept{*pending_});
  check_register();
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Accept& accept) {
  const Register& reg = accept.reg;
  if (reg.epoch != epoch || node_of(epoch) != from.id() || reg.leader != from.id()) return;
  if (!may_vote()) return abstain(from, epoch);
  if (epoch < vote_.promised) return reject(from, epoch, "it promised a higher epoch");
  if (vote_.reg.is_before(reg)) {
    vote_.promised = epoch;
    vote_.reg = reg;
    save_vote();
  }
  if (vote_.reg == reg) send(from, epoch, msg::RegisterAccepted{reg.ver});
  hear_leader(from, epoch);
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::RegisterAccepted& accepted) {
  if ((role_ != Role::Claiming && role_ != Role::Leader) || epoch != candidacy_) return;
  from.accepted_ver = std::max(from.accepted_ver, accepted.ver);
  // It has the votes of a living voter again.
  std::erase(lost_, from.id());
  check_register();
}

/// Established: R2's last sentence. All of this journal is committed now.
void Machine::Impl::lead() {
  move(Cause::Accepted);
  leader_ = config_.self;
  epoch_ = candidacy_;
  led_since_ = now_;
  if (is_override_) {  // From now on these are the votes, and this is the database.
    abstains_ = vote_.fresh = is_diverged_ = false;
    is_complete_ = true;
    vote_.nonce = nonce_;
    save_vote();
  }
  commit_ = last().seq;
  first_of_reign_ = commit_.next();
  ends_ = {last()};
  for (Peer& peer : peers_) {
    forget_stream(peer);
    peer.was_shrunk = false;
  }
  // A claim of its own that led to no entry: it may have been an override's (R12).
  const bool goes_on = !is_alone() && best_.leader == config_.self && best_.epoch > last().epoch;
  out_.emplace_back(
      action::Lead{epoch_, is_override_, best_.epoch, heard_commit_max_, is_override_ || goes_on});
  if (is_override_) answer_ok("this node leads");
  is_override_ = false;
  beat();
}

// --- Ways back -----------------------------------------------------------------------------------

void Machine::Impl::reject(const Peer& peer, Epoch epoch, std::string reason) {
  send(peer, epoch, msg::Rejected{least_epoch(), std::move(reason), !may_vote()});
}

/// R12: the candidate may go on without it. So in this life it begins with no older register (R10).
void Machine::Impl::abstain(const Peer& from, Epoch epoch) {
  if (!abstains_) distrust_freshness(from);  // Nobody stands before every voter has begun.
  abstained_ = std::max(abstained_, epoch);
  reject(from, epoch, "it abstains");
}

/// Among voters of whom an operator gave up some, one less may be all that was waited for.
void Machine::Impl::count_agreement() {
  if (role_ == Role::Candidate) check_promises();
  if (role_ == Role::Claiming || role_ == Role::Leader) check_register();
}

/// What was asked before may be lost with the connection, or with the peer's life.
void Machine::Impl::ask_once_more(Peer& peer) {
  if (role_ == Role::Leader) return beat(peer);
  if (role_ == Role::Asking && !peer.has_granted) {
    send(peer, asked_, msg::PreVote{last(), saw_leader_close(), vote_.reg});
  }
  if (role_ == Role::Candidate && !peer.has_promised) {
    send(peer, candidacy_, msg::Prepare{last(), is_override_});
  }
  if (role_ == Role::Claiming && pending_) send(peer, candidacy_, msg::Accept{*pending_});
}

/// R5: whoever sees a higher epoch steps down.
void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Rejected& rejected) {
  highest_seen_ = std::max(highest_seen_, rejected.promised);
  if (rejected.abstains && epoch == candidacy_ && rejected.promised <= candidacy_) {
    from.has_abstained = true;
    count_agreement();
  }
  if (role_ == Role::Follower || role_ == Role::Asking || rejected.promised <= candidacy_) return;
  if (role_ != Role::Leader) return yield(Cause::HigherEpoch);
  give_way(rejected.promised);
}

/// The node that was asked to take over stands: whoever tells of it, that is the hand-over.
void Machine::Impl::give_way(Epoch to) {
  const bool is_hand_over = pending_control_ && pending_control_->was_sent &&
                            pending_control_->control.node == node_of(to);
  end_reign(is_hand_over ? Cause::TakeOver : Cause::HigherEpoch);
}

void Machine::Impl::move(Cause cause) {
  const Transition& row = transition(role_, cause);
  role_ = row.to;
  note(action::Note::Level::Info, "role.changed", row.sentence);
}

/// Back to following, from any role but leading.
void Machine::Impl::yield(Cause cause) {
  const bool had_claimed = role_ == Role::Claiming;
  move(cause);
  pending_.reset();
  wait_for_leader();
  if (cause == Cause::Unanswered) {  // Soon again, but not in step with another candidate.
    const auto round = static_cast<std::uint64_t>(config_.timers.election_round.count());
    election_at_ = now_ + Micros(static_cast<std::int64_t>(rng_.below(round)));
  }
  // Another node's claim is newer than what this one has: that one goes first.
  if (cause == Cause::NotInIsr) election_at_ = election_at_ + config_.timers.election_max;
  if (is_override_) {
    std::string refused = "not agreed: " + silent_voters();
    is_override_ = false;
    lost_.clear();
    if (!had_claimed) return answer(Errc::Unavailable, std::move(refused));
    // Some may have recorded it: then a later election of this node carries it on.
    answer(
        Errc::OutcomeUnknown,
        "not enough voters confirmed in time: it may still take effect, keep the old primary off");
  }
}

/// Those of whom an override would have needed a promise.
std::string Machine::Impl::silent_voters() const {
  std::string names;
  for (const Peer& peer : peers_) {
    if (is_given_up(peer) || peer.has_promised) continue;
    names += (names.empty() ? "" : ", ") + peer.voter.name;
    if (peer.abstains()) {
      names += " (last heard without votes)";
    } else if (!peer.is_connected) {
      names += " (not connected)";
    }
  }
  return names;
}

void Machine::Impl::expire_round() {
  yield(Cause::Unanswered);
}

/// Crash-only: what a leader has in memory and in flight is dropped whole.
void Machine::Impl::end_reign(Cause cause) {
  const char* sentence = transition(role_, cause).sentence;
  move(cause);
  if (pending_control_) {
    if (cause == Cause::TakeOver) {
      answer_ok("the standby takes over");
    } else {
      answer(Errc::Unavailable, "this node leads no more");
    }
  }
  out_.emplace_back(action::Restart{sentence});
  has_ended_ = true;
}

}  // namespace capstan::ha
