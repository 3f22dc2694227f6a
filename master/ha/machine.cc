// SPDX-License-Identifier: MIT
#include "master/ha/machine.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/wire/version.h"
#include "master/ha/machine_impl.h"

namespace capstan::ha {

bool contains(const std::vector<NodeId>& ids, NodeId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

Machine::Machine(Config config, Start start)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(start))) {}
Machine::~Machine() = default;

Actions Machine::step(const Event& event, TimePoint now) {
  return impl_->step(event, now);
}
TimePoint Machine::next_deadline() const {
  return impl_->next_deadline();
}

Machine::Impl::Impl(Config config, Start start)
    : config_(std::move(config)),
      rng_(config_.seed ^ mix64(start.life)),
      vote_(std::move(start.vote)),
      life_(start.life),
      nonce_(start.nonce),
      // Fresh, but not as init wrote it (of an override that did not come through), or beside a
      // database that was used.
      abstains_(!start.has_vote || (vote_.fresh && (vote_.promised != vote_.reg.epoch ||
                                                    vote_.reg.leader != 0 || !start.is_complete))),
      is_complete_(start.is_complete),
      is_diverged_(start.is_diverged),
      ends_(std::move(start.ends)),
      min_copies_(config_.min_copies) {
  if (ends_.empty()) ends_.emplace_back();
  written_ = last();
  commit_ = ends_.front().seq;  // The tables hold committed entries only.
  bool knows_itself = false;
  for (const Voter& voter : config_.voters) {
    if (voter.id == config_.self) {
      knows_itself = true;
    } else {
      peers_.push_back(Peer{.voter = voter});
    }
  }
  CHECK(knows_itself && config_.voters.size() <= kVotersMax);
  if (is_alone()) {  // Nobody else's word or copy could say more than what is on this disk.
    abstains_ = is_diverged_ = vote_.fresh = false;
    is_complete_ = true;
    vote_.reg.isr = {config_.self};
    min_copies_ = 1;
  }
  if (is_mutant(Mutant::ForgetPromises) && abstains_) {
    abstains_ = vote_.fresh = false;
    for (const Voter& voter : config_.voters) {
      if (!voter.is_witness) vote_.reg.isr.push_back(voter.id);
    }
  }
}

Actions Machine::Impl::step(const Event& event, TimePoint now) {
  if (has_ended_) return {};
  now_ = now;
  out_.clear();
  if (!has_begun_) begin();
  std::visit([this](const auto& e) { on(e); }, event);
  if (!has_ended_) run_timers();
  return std::move(out_);
}

void Machine::Impl::begin() {
  has_begun_ = true;
  wait_for_leader();
  if (is_alone()) return ask(Cause::Sole);
  // Rule 8: the nonce of this start is in the vote file before anything is said. Until it is, a
  // copy of the database that an earlier start had passes for this one.
  if (is_complete_ && !is_witness() && !abstains_) save_vote();
  // R1: when the register names this node alone, nobody else may lead, and waiting is for nothing.
  if (vote_.reg.isr == std::vector<NodeId>{config_.self}) {
    election_at_ = now_ + config_.timers.election_after_closed;
  }
  if (is_mutant(Mutant::ResumeEpoch) && vote_.reg.leader == config_.self) {
    role_ = Role::Claiming;
    candidacy_ = vote_.reg.epoch;
    confirmed_ = vote_.reg;
    confirmed_.isr = {config_.self};
    confirmed_.ver += 1000;
    lead();
  }
}

void Machine::Impl::run_timers() {
  switch (role_) {
    case Role::Follower:
      consider_standing();
      break;
    case Role::Asking:
      if (now_ >= round_until_) {
        expire_round();
      } else if (now_ >= ask_again_at_) {
        ask_again();
      }
      break;
    case Role::Candidate:
    case Role::Claiming:
      if (now_ >= round_until_) expire_round();
      break;
    case Role::Leader:
      lead_on();
      break;
  }
  if (!has_ended_) run_control();
}

TimePoint Machine::Impl::next_deadline() const {
  if (has_ended_) return TimePoint::never();
  if (!has_begun_) return TimePoint{};
  TimePoint next = TimePoint::never();
  switch (role_) {
    case Role::Follower:
      next = may_stand() ? election_due() : TimePoint::never();
      break;
    case Role::Asking:
      next = std::min(round_until_, ask_again_at_);
      break;
    case Role::Candidate:
    case Role::Claiming:
      next = round_until_;
      break;
    case Role::Leader:
      next = is_alone() ? TimePoint::never() : beat_at_;
      for (const Peer& peer : peers_) {
        if (!peer.closed_at || !is_required(peer)) continue;
        const TimePoint shrink = *peer.closed_at + config_.timers.shrink_after_closed;
        if (shrink > now_) next = std::min(next, shrink);
      }
      break;
  }
  if (pending_control_) next = std::min(next, pending_control_->until);
  return next;
}

// --- Connections and hellos ----------------------------------------------------------------------

void Machine::Impl::on(const event::Connected& event) {
  Peer* peer = find(event.peer);
  if (peer == nullptr) return;
  peer->is_connected = true;
  peer->closed_at.reset();
  say_hello(*peer);
  if (peer->id() == leader_) has_asked_after_close_ = false;
  ask_once_more(*peer);
}

void Machine::Impl::on(const event::Closed& event) {
  Peer* peer = find(event.peer);
  if (peer == nullptr || (!peer->is_connected && peer->closed_at)) return;
  peer->is_connected = false;
  peer->closed_at = now_;
  peer->is_streaming = false;
  peer->steady_since = now_;
}

/// A standby that ends as it was told to is not waited for: the primary shrinks at once.
void Machine::Impl::on(const event::Leave&) {
  is_leaving_ = true;
  say_hello_to_all();
}

void Machine::Impl::on(const event::Received& event) {
  Peer* peer = find(event.peer);
  if (peer == nullptr) return;
  const msg::Body& body = event.message.body;
  if (peer->is_foreign && !std::holds_alternative<msg::PeerHello>(body)) return;
  std::visit([&](const auto& message) { on_message(*peer, event.message.epoch, message); }, body);
  if (!peer->is_foreign) peer->heard_at = now_;
}

void Machine::Impl::on_message(Peer& from, Epoch, const msg::PeerHello& hello) {
  const bool was_foreign = from.is_foreign;
  from.is_foreign = !is_spoken(hello.protocol_oldest, hello.protocol) ||
                    hello.cluster != config_.cluster || hello.generation != config_.generation;
  if (from.is_foreign) {
    if (!was_foreign) {
      note(action::Note::Level::Warn, "peer.refused",
           from.voter.name + " is of another cluster, generation or protocol");
    }
    return;
  }
  if (is_late(from, hello.life)) return;
  const bool is_new_life = from.life() != hello.life;
  if (!is_new_life && hello.number < from.hello->number) return;
  const bool was_known = from.hello.has_value();
  if (is_new_life && from.earlier_lives.contains(hello.life)) {
    note(action::Note::Level::Warn, "peer.doubled",
         from.voter.name +
             " speaks in two lives at once: does a copy of its directory run somewhere?");
  }
  if (is_new_life && was_known) from.earlier_lives.insert(from.life());
  from.hello = hello;
  from.life_heard_at = now_;
  highest_seen_ = std::max(highest_seen_, hello.promised);
  if (is_new_life) begin_peer_life(from);
  // R1: a leader that began anew leads no more, though its connection is there again.
  if (is_new_life && was_known && from.id() == leader_ && role_ == Role::Follower) {
    leader_restarted_ = true;
    election_at_ = std::min(election_at_, now_ + config_.timers.election_after_closed);
  }
  clear_freshness();
  if (!lost_.empty()) count_agreement();
}

/// R9a: what was said in an earlier life may still arrive, over a connection of that time. Lives
/// have no order, so it may even be the first that is heard of that life, and be taken for the
/// newer one; but then the newer one is heard again, and the other never.
bool Machine::Impl::is_late(const Peer& from, std::uint64_t life) const {
  return from.earlier_lives.contains(life) &&
         now_ - from.life_heard_at < config_.timers.shrink_after;
}

/// Does an answer from that life count?
bool Machine::Impl::counts(Peer& from, std::uint64_t life) const {
  if (life == from.life()) from.life_heard_at = now_;
  return life == from.life() || is_mutant(Mutant::IgnoreLives);
}

void Machine::Impl::begin_peer_life(Peer& peer) {
  ++peer.round;
  peer.accepted_ver = 0;  // It says again what it accepted: asked for with the next heartbeat.
  peer.has_abstained = false;
  forget_stream(peer);
  ask_once_more(peer);
}

/// A vote file as init wrote it may be the first, or a copy of it that was put where votes were
/// lost. Only when all others were heard, and none ever promised anything, it is the first (R10):
/// nobody stands before every voter that it hears has begun.
void Machine::Impl::clear_freshness() {
  if (!vote_.fresh || abstains_) return;
  bool all_heard = true;
  for (const Peer& peer : peers_) {
    if (!peer.hello || peer.hello->abstains) {  // Whoever forgot its votes may have voted.
      all_heard = false;
      continue;
    }
    if (vote_.promised < peer.hello->promised) return distrust_freshness(peer);
  }
  if (!all_heard) return;
  vote_.fresh = false;
  save_vote();
  note(action::Note::Level::Info, "votes.begun", "all voters were heard, and none has voted");
  say_hello_to_all();
  // Nobody leads yet, and everybody is here: there is no silence to wait out.
  if (vote_.reg.leader == 0) {
    const std::int64_t step = config_.timers.election_after_closed.count();
    const auto jitter = static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(2 * step)));
    election_at_ = std::min(election_at_, now_ + Micros(step + jitter));
  }
}

void Machine::Impl::distrust_freshness(const Peer& by) {
  abstains_ = true;
  note(action::Note::Level::Warn, "votes.lost",
       "the vote file is as init wrote it, but " + by.voter.name +
           " has voted: this node abstains until it is re-seeded");
  say_hello_to_all();
}

void Machine::Impl::say_hello(const Peer& peer) {
  send(peer, Epoch{},
       msg::PeerHello{.protocol = kProtocol,
                      .protocol_oldest = kProtocolOldest,
                      .version = config_.version,
                      .level = config_.level,
                      .cluster = config_.cluster,
                      .generation = config_.generation,
                      .life = life_,
                      .number = ++hellos_,
                      .promised = least_epoch(),
                      .reg = vote_.reg,
                      .fresh = vote_.fresh,
                      .abstains = abstains_,
                      .is_complete = is_complete_ && !is_diverged_,
                      .last = last(),
                      .is_leaving = is_leaving_});
}

void Machine::Impl::say_hello_to_all() {
  for (const Peer& peer : peers_) say_hello(peer);
}

// --- Small things --------------------------------------------------------------------------------

void Machine::Impl::send(const Peer& peer, Epoch epoch, msg::Body body) {
  if (!peer.is_connected) return;  // What is lost is said again; nothing is kept for later.
  out_.emplace_back(action::Send{peer.id(), {SessionId{}, 0, epoch, std::move(body)}});
}

void Machine::Impl::note(action::Note::Level level, const char* event, std::string sentence) {
  const bool reigns = role_ == Role::Leader || leader_ != 0;
  out_.emplace_back(
      action::Note{level, event, reigns ? epoch_ : vote_.promised, std::move(sentence)});
}

/// Two in a row, with nothing said between them, are one.
void Machine::Impl::save_vote() {
  for (auto at = out_.rbegin(); at != out_.rend(); ++at) {
    if (auto* saved = std::get_if<action::SaveVote>(&*at)) {
      saved->vote = vote_;
      return;
    }
    if (!std::holds_alternative<action::Note>(*at)) break;
  }
  out_.emplace_back(action::SaveVote{vote_});
}

Peer* Machine::Impl::find(NodeId id) {
  for (Peer& peer : peers_) {
    if (peer.id() == id) return &peer;
  }
  return nullptr;
}

const Peer* Machine::Impl::find(NodeId id) const {
  for (const Peer& peer : peers_) {
    if (peer.id() == id) return &peer;
  }
  return nullptr;
}

bool Machine::Impl::is_witness() const {
  for (const Voter& voter : config_.voters) {
    if (voter.id == config_.self) return voter.is_witness;
  }
  return true;
}

}  // namespace capstan::ha
