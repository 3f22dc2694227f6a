// SPDX-License-Identifier: MIT
#include "tests/model/cluster.h"

#include <algorithm>
#include <utility>

namespace capstan::model {

bool Cluster::hears_majority(const Node& me) const {
  int heard = 1;
  for (int id = 0; id < voters_; ++id) {
    const bool has_votes = nodes_[id].is_up && !nodes_[id].abstains;
    if (id != me.id && has_votes && !is_cut(id, me.id)) ++heard;
  }
  return heard > voters_ / 2;
}

void Cluster::crash(Node& me) {
  me.is_up = false;
  static_cast<Volatile&>(me) = {};
}

void Cluster::start(Node& me) {
  if (std::exchange(me.is_up, true)) return;
  begin_life(me);
  if (!is_mutant(Mutant::ResumeEpoch) || me.abstains || me.reg.leader != me.id) return;
  me.epoch = me.reg.epoch;
  me.pending = {me.epoch, me.reg.ver + 1, me.id, only(me.id)};
  lead(me);
}

void Cluster::lose_database(Node& me) {
  crash(me);
  ++counts_["databases lost"];
  me.journal.clear();
  me.is_complete = false;
}

void Cluster::lose_votes(Node& me) {
  crash(me);
  ++counts_["votes lost"];
  me.promised = 0;
  me.reg = {.isr = is_mutant(Mutant::ForgetPromises) ? kBoth : 0};
  me.abstains = !is_mutant(Mutant::ForgetPromises);
  checker_.on_votes_lost(me);
}

void Cluster::stand(Node& me) {
  if (!me.is_up || me.abstains || me.role != Role::Follower) return;
  if (!me.is_complete && !is_mutant(Mutant::LeadWithLostDatabase)) return;
  if (!contains(me.reg.isr, me.id) && !is_mutant(Mutant::IgnoreEligibility)) return;
  begin_candidacy(me, next_epoch(me));
}

void Cluster::override_primary(Node& me, VoterSet given_up) {
  me.is_override = true;
  me.given_up = given_up;
  const bool is_voteless = me.abstains && !is_mutant(Mutant::VotelessInNextEpoch);
  const bool gives_up = given_up != 0 && !is_mutant(Mutant::GiveUpInNextEpoch);
  begin_candidacy(me, is_voteless || gives_up ? epoch_above_all(me) : next_epoch(me));
}

Epoch Cluster::epoch_above_all(const Node& me) {
  const Epoch known = next_epoch(me);
  const Epoch by_clock = epoch_above(highest_ + rng_.below(kMillion), me);
  if (by_clock > known && !is_mutant(Mutant::JumpFromOwnKnowledge)) return by_clock;
  return known + 2 * (kMillion + rng_.below(kMillion));
}

void Cluster::time_out(Node& me) {
  if (me.role == Role::Candidate || me.role == Role::Claiming) yield(me);
}

void Cluster::write(Node& me) {
  if (me.role != Role::Leader || me.journal.size() == kJournalMax) return;
  me.journal.push_back({me.epoch, ++values_});
  acknowledge(me);
}

void Cluster::beat(Node& me) {
  if (me.role != Role::Leader) return;
  const Register& newest = me.pending ? *me.pending : me.confirmed;
  for (int to = 0; to < voters_; ++to) {
    if (me.peers[to].accepted_ver < newest.ver) send_accept(me, to, newest);
  }
  const Peer& peer = me.peers[other(me.id)];
  send(me, other(me.id),
       {.kind = Kind::Append,
        .epoch = me.epoch,
        .journal = me.journal,
        .life = peer.life,
        .round = peer.round});
}

void Cluster::shrink(Node& me) {
  if (me.role != Role::Leader) return;
  if (std::exchange(me.is_joining, false)) return acknowledge(me);
  if (!me.pending && contains(me.confirmed.isr, other(me.id))) propose(me, only(me.id));
}

void Cluster::join(Node& me) {
  const Peer& peer = me.peers[other(me.id)];
  if (me.role != Role::Leader || me.pending || contains(me.confirmed.isr, other(me.id))) return;
  if (peer.life == 0 || peer.abstains) return;
  me.is_joining = !is_mutant(Mutant::ExpandFirst);
  if (me.is_joining && peer.matched < me.acknowledged) return;
  me.is_joining = false;
  propose(me, kBoth);
}

void Cluster::check_quorum(Node& me) {
  if (me.role != Role::Leader || !requires_other(me) || hears_majority(me)) return;
  if (is_mutant(Mutant::DropStandbyUnrecorded)) {
    me.confirmed.isr = only(me.id);
    me.is_joining = false;
    me.pending.reset();
    return acknowledge(me);
  }
  ++counts_["quorum step-downs"];
  begin_life(me);
}

void Cluster::reseed(Node& me, int target) {
  if (me.role != Role::Leader) return;
  const Peer& peer = me.peers[target];
  if (peer.life != 0 && peer.life == peer.reseeded_life) return give_votes(me, target);
  if (!peer.abstains || me.pending) return;
  me.reseeds = target;
  me.reseeds_life = me.peers[target].life;
  me.reseeds_ver = is_mutant(Mutant::ReseedOnOneWord) ? 0 : me.confirmed.ver + 1;
  if (me.reseeds_ver == 0) return reseed_when_confirmed(me);
  propose(me, me.confirmed.isr);
}

void Cluster::begin_life(Node& me) {
  static_cast<Volatile&>(me) = {.life = ++lives_};
  say_hello_to_all(me);
}

void Cluster::deliver(const Message& message) {
  using Handler = void (Cluster::*)(Node&, const Message&);
  static constexpr std::array<Handler, kKindNames.size()> kHandlers{
      &Cluster::on_hello,  &Cluster::on_prepare,  &Cluster::on_promised,
      &Cluster::on_accept, &Cluster::on_accepted, &Cluster::on_rejected,
      &Cluster::on_append, &Cluster::on_appended, &Cluster::on_seed};
  Node& me = nodes_[message.to];
  if (me.is_up) (this->*kHandlers[static_cast<std::size_t>(message.kind)])(me, message);
}

void Cluster::send(const Node& from, int to, Message message) {
  if (to == from.id) return;
  message.from = from.id;
  message.to = to;
  if (static_cast<int>(bag_.size()) == kBagMax) bag_.erase(bag_.begin() + rng_.below(kBagMax));
  bag_.push_back(std::move(message));
}

void Cluster::say_hello(const Node& me, int to) {
  send(me, to,
       {.kind = Kind::Hello, .epoch = me.promised, .life = me.life, .abstains = me.abstains});
}

void Cluster::say_hello_to_all(const Node& me) {
  for (int to = 0; to < voters_; ++to) say_hello(me, to);
}

void Cluster::send_accept(const Node& me, int to, const Register& reg) {
  send(me, to, {.kind = Kind::Accept, .epoch = me.epoch, .reg = reg});
}

void Cluster::reject(const Node& me, const Message& message) {
  send(me, message.from, {.kind = Kind::Rejected, .epoch = me.promised});
}

void Cluster::abstain(Node& me, const Message& message) {
  me.abstained = std::max({me.abstained, me.promised, message.epoch});
  send(me, message.from,
       {.kind = Kind::Rejected, .epoch = me.abstained, .abstains = true, .asked = message.epoch});
}

void Cluster::on_hello(Node& me, const Message& hello) {
  Peer& peer = me.peers[hello.from];
  me.highest_seen = std::max(me.highest_seen, hello.epoch);
  if (peer.life != hello.life) {
    peer = {hello.life, peer.round + 1, hello.abstains, peer.has_promised};
    if (is_data(hello.from)) me.is_joining = false;
  } else if (!hello.abstains) {  // Nobody begins to abstain within a life.
    peer.abstains = false;
  }
  count_agreement(me);
}

void Cluster::count_agreement(Node& me) {
  if (me.given_up == 0) return;
  if (me.role == Role::Candidate) check_promises(me);
  if (me.role == Role::Claiming || me.role == Role::Leader) check_register(me);
}

Epoch Cluster::next_epoch(const Node& me) {
  const Epoch written = me.journal.empty() ? 0 : me.journal.back().epoch;
  return epoch_above(std::max({me.promised, me.reg.epoch, me.highest_seen, written}), me);
}

void Cluster::record(Node& me, const Register& reg) {
  me.reg = reg;
  checker_.on_recorded(me, reg);
}

void Cluster::begin_candidacy(Node& me, Epoch epoch) {
  me.role = Role::Candidate;
  me.epoch = me.promised = epoch;
  highest_ = std::max(highest_, epoch);
  me.best = me.reg;
  for (Peer& peer : me.peers) {
    peer.has_promised = peer.has_abstained = false;
    peer.accepted_ver = 0;
  }
  for (int to = 0; to < voters_; ++to) send(me, to, {.kind = Kind::Prepare, .epoch = epoch});
  check_promises(me);
}

void Cluster::on_prepare(Node& me, const Message& prepare) {
  if (me.abstains) return abstain(me, prepare);
  if (prepare.epoch < me.promised) return reject(me, prepare);
  const bool is_new = prepare.epoch > me.promised;
  me.promised = prepare.epoch;
  send(me, prepare.from, {.kind = Kind::Promised, .epoch = prepare.epoch, .reg = me.reg});
  if (is_new) step_down(me);
}

void Cluster::on_promised(Node& me, const Message& promise) {
  if (me.role != Role::Candidate || promise.epoch != me.epoch) return;
  me.peers[promise.from].has_promised = true;
  if (me.best.is_before(promise.reg)) me.best = promise.reg;
  check_promises(me);
}

void Cluster::check_promises(Node& me) {
  if (!is_majority(me, [](const Peer& peer) { return peer.has_promised; })) return;
  const bool is_eligible = contains(me.best.isr, me.id) || me.is_override;
  if (!is_eligible && !is_mutant(Mutant::IgnoreEligibility)) return yield(me);
  me.role = Role::Claiming;
  me.confirmed = {.epoch = me.epoch};
  checker_.on_claim(me);
  propose(me, only(me.id));
}

void Cluster::on_accept(Node& me, const Message& accept) {
  if (me.abstains) return abstain(me, accept);
  if (accept.epoch < me.promised) return reject(me, accept);
  if (me.reg.is_before(accept.reg)) {
    me.promised = accept.epoch;
    record(me, accept.reg);
  }
  if (me.reg == accept.reg) {
    send(me, accept.from, {.kind = Kind::Accepted, .epoch = accept.epoch, .reg = accept.reg});
  }
  (void)hear_leader(me, accept.epoch);
}

void Cluster::on_accepted(Node& me, const Message& accepted) {
  const bool has_asked = me.role == Role::Claiming || me.role == Role::Leader;
  if (!has_asked || accepted.epoch != me.epoch) return;
  int& ver = me.peers[accepted.from].accepted_ver;
  ver = std::max(ver, accepted.reg.ver);
  count_again(me, accepted.from);
  check_register(me);
}

void Cluster::count_again(Node& me, int voter) {
  if (!is_mutant(Mutant::GivenUpAskedNoMore)) me.given_up &= ~only(voter);
}

void Cluster::lead(Node& me) {
  me.role = Role::Leader;
  me.confirmed = *std::exchange(me.pending, std::nullopt);
  checker_.on_leads(me);
  if (std::exchange(me.is_override, false)) {
    me.abstains = false;
    me.is_complete = true;
  }
  acknowledge(me);
}

void Cluster::yield(Node& me) {
  if (me.is_override && is_mutant(Mutant::FailedOverrideVotes)) me.abstains = false;
  me.role = Role::Follower;
  me.pending.reset();
  me.is_override = false;
  me.given_up = 0;
}

void Cluster::step_down(Node& me) {
  if (me.role == Role::Leader) return begin_life(me);
  if (me.role != Role::Follower) yield(me);
}

void Cluster::on_rejected(Node& me, const Message& rejected) {
  me.highest_seen = std::max(me.highest_seen, rejected.epoch);
  if (rejected.abstains && rejected.asked == me.epoch) {
    me.peers[rejected.from].has_abstained = true;
    count_agreement(me);
  }
  if (rejected.epoch > me.epoch) step_down(me);
}

bool Cluster::hear_leader(Node& me, Epoch epoch) {
  const bool led = me.role == Role::Leader;
  if (!led || epoch > me.epoch) step_down(me);
  return !led;
}

void Cluster::propose(Node& me, VoterSet isr) {
  me.pending = {me.epoch, me.confirmed.ver + 1, me.id, isr};
  record(me, *me.pending);
  for (int to = 0; to < voters_; ++to) send_accept(me, to, *me.pending);
  check_register(me);
}

void Cluster::check_register(Node& me) {
  if (me.pending) {
    const int ver = me.pending->ver;
    if (!is_majority(me, [ver](const Peer& peer) { return peer.accepted_ver >= ver; })) return;
    if (me.role == Role::Claiming) return lead(me);
    if (me.confirmed.isr != me.pending->isr) {
      ++counts_[me.pending->isr == kBoth ? "joins" : "shrinks"];
    }
    me.confirmed = *std::exchange(me.pending, std::nullopt);
    acknowledge(me);
  }
  reseed_when_confirmed(me);
}

bool Cluster::requires_other(const Node& me) const {
  const bool is_pending = me.pending && contains(me.pending->isr, other(me.id));
  if (is_mutant(Mutant::AckLocally)) return false;
  if (is_mutant(Mutant::AckBeforeShrink) && me.pending) return is_pending;
  return me.is_joining || contains(me.confirmed.isr, other(me.id)) ||
         (is_pending && !is_mutant(Mutant::ExpandFirst));
}

void Cluster::acknowledge(Node& me) {
  const bool is_alone = !requires_other(me);
  const std::size_t matched = is_alone ? kJournalMax : me.peers[other(me.id)].matched;
  const std::size_t upto = std::min(me.journal.size(), matched);
  if (me.role != Role::Leader || upto <= me.acknowledged) return;
  if (is_alone && !hears_majority(me)) ++counts_["acknowledged cut off"];
  checker_.on_acknowledged(me, upto);
  me.acknowledged = upto;
}

void Cluster::on_append(Node& me, const Message& append) {
  const bool is_below = append.epoch < me.promised && !is_mutant(Mutant::AckBelowPromise);
  if (!me.abstains && is_below) return reject(me, append);
  if (!me.abstains) me.promised = std::max(me.promised, append.epoch);
  if (!hear_leader(me, append.epoch)) return;
  const bool is_for_this_life = append.life == me.life || is_mutant(Mutant::IgnoreLives);
  if (!is_for_this_life || me.abstains) return say_hello(me, append.from);
  take(me.journal, append);
  me.is_complete = true;
  send(me, append.from,
       {.kind = Kind::Appended,
        .epoch = append.epoch,
        .upto = append.journal.size(),
        .life = append.life,
        .round = append.round});
}

void Cluster::take(Journal& mine, const Message& append) const {
  const Journal& theirs = append.journal;
  std::size_t kept = common(mine, theirs);
  const bool has_more = kept == theirs.size() && kept < mine.size();
  if (has_more && mine[kept].epoch == append.epoch) return;
  if (is_mutant(Mutant::KeepDivergedTail)) kept = mine.size();
  mine.resize(kept);
  for (std::size_t at = kept; at < theirs.size(); ++at) mine.push_back(theirs[at]);
}

void Cluster::on_appended(Node& me, const Message& appended) {
  if (me.role != Role::Leader || appended.epoch != me.epoch) return;
  Peer& peer = me.peers[appended.from];
  const bool is_to_last = appended.life == peer.life && appended.round == peer.round;
  if (!is_to_last && !is_mutant(Mutant::IgnoreLives)) return;
  peer.matched = std::max(peer.matched, appended.upto);
  acknowledge(me);
}

void Cluster::reseed_when_confirmed(Node& me) {
  if (me.reseeds == kNobody || me.role != Role::Leader) return;
  for (int id = 0; id < voters_; ++id) {
    const bool is_out = contains(me.given_up, id) || me.peers[id].abstains;
    if (id == me.id || id == me.reseeds || is_out) continue;
    if (me.peers[id].accepted_ver < me.reseeds_ver) return;
  }
  const int target = std::exchange(me.reseeds, kNobody);
  if (me.peers[target].life == me.reseeds_life) give_votes(me, target);
}

void Cluster::give_votes(Node& me, int target) {
  Peer& peer = me.peers[target];
  peer.abstains = false;
  peer.reseeded_life = peer.life;
  count_again(me, target);
  send(me, target, {.kind = Kind::Seed, .epoch = me.epoch, .reg = me.confirmed, .life = peer.life});
}

void Cluster::on_seed(Node& me, const Message& seed) {
  const bool is_for_this_loss = seed.life == me.life || is_mutant(Mutant::SeedOfEarlierLoss);
  if (!me.abstains || !is_for_this_loss) return;
  if (seed.epoch < std::max(me.promised, me.abstained)) return;
  ++counts_["reseeds"];
  me.promised = seed.epoch;
  record(me, seed.reg);
  me.abstains = false;
  me.is_complete = !is_data(me.id);
  say_hello_to_all(me);
  (void)hear_leader(me, seed.epoch);
}

}  // namespace capstan::model
