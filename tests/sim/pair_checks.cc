// SPDX-License-Identifier: MIT
//
// What must hold in a simulated cluster beyond what Truth holds: I4, I5, and the end.
#include <algorithm>

#include "common/model/limits.h"
#include "tests/sim/pair_world.h"

namespace capstan::sim {

void PairWorld::on_vote(NodeId id, const Vote& vote) {
  const auto known = votes_.find(id);
  if (known != votes_.end() && !known->second.fresh &&
      (vote.promised < known->second.promised || vote.reg.is_before(known->second.reg))) {
    fail("I5: a promise went back");
  }
  if (vote.reg.epoch && (known == votes_.end() || vote.reg != known->second.reg)) {
    Recorded& recorded = recorded_[vote.reg.epoch][vote.reg.ver];
    if (!recorded.by.empty() && recorded.isr != vote.reg.isr) fail("two registers of one ver");
    recorded.isr = vote.reg.isr;
    recorded.by.insert(id);
  }
  votes_[id] = vote;
  if (!node(id).is_witness() && !vote.fresh && vote.nonce == node(id).disk().nonce())
    suspects_.erase(id);
}

/// I4: what a data node lacks when it is acknowledged is so because a majority recorded that it is
/// not in the isr.
std::string PairWorld::check_commit(const Truth::Reign& reign, const JournalEnd& end) {
  const Recorded* confirmed = nullptr;
  for (const auto& [ver, recorded] : recorded_[reign.epoch]) {
    if (recorded.by.size() > nodes_.size() / 2) confirmed = &recorded;
  }
  for (const auto& other : nodes_) {
    if (other->is_witness()) continue;
    other->disk().settle();
    // What a disk lost after it was confirmed is not the leader's mistake.
    if (suspects_.contains(other->id()) || other->disk().has_durably(end)) continue;
    if (other->id() == reign.node) return "R3: acknowledged before it was durable here";
    if (has_small_quorums_) continue;
    if (confirmed == nullptr ||
        std::count(confirmed->isr.begin(), confirmed->isr.end(), other->id()) != 0) {
      return "I4: acknowledged without a node that is in the recorded isr";
    }
  }
  return "";
}

void PairWorld::check() {
  if (std::string wrong = work_.complaint(); !wrong.empty()) fail(wrong);
  for (const auto& each : nodes_) {
    if (!each->complaint().empty()) fail(each->complaint());
  }
}

NodeId PairWorld::leader() const {
  NodeId found = 0;
  Epoch highest;
  for (const auto& each : nodes_) {
    if (!each->is_up() || !each->node().machine().is_leader()) continue;
    if (each->node().machine().epoch() < highest) continue;
    highest = each->node().machine().epoch();
    found = each->id();
  }
  return found;
}

bool PairWorld::is_in_sync() const {
  const NodeId leads = leader();
  if (leads == 0) return false;
  for (const auto& each : nodes_) {
    if (!each->is_up() || each->node().machine().leader() != leads) return false;
    if (each->node().machine().abstains() || !each->node().machine().is_complete()) return false;
    if (each->id() == leads && !each->node().machine().is_in_sync()) return false;
  }
  return true;
}

bool PairWorld::is_settled() const {
  return truth_.queue().jobs().empty() && truth_.queue().submissions().empty() &&
         work_.is_settled() && is_in_sync();
}

std::string PairWorld::describe() const {
  std::string text;
  for (const auto& each : nodes_) text += (text.empty() ? "" : "; ") + each->describe();
  return text + "; " + std::to_string(truth_.queue().jobs().size()) + " jobs committed and live" +
         describe_jobs() + work_.describe();
}

std::string PairWorld::describe_jobs() const {
  std::string text;
  for (const auto& [id, job] : truth_.queue().jobs()) {
    text += " [" + std::to_string(id.value) + " " + std::string(to_string(job.state())) +
            " waiting " + std::to_string(job.counts.waiting) + " ready " +
            std::to_string(job.counts.ready) + " running " + std::to_string(job.counts.running) +
            (job.is_waiting() ? " waits" : "") + "]";
  }
  return text;
}

/// Both masters' tables are those of the truth, once they had time to follow.
std::string PairWorld::differing_tables() {
  for (const auto& each : nodes_) {
    if (each->is_witness()) continue;
    NodeDisk& disk = each->disk();
    if (disk.journal_ends().back() != truth_.end()) return each->name() + ": another journal";
    if (disk.applied_seq().value_or(Seq{}) != truth_.end().seq)
      return each->name() + ": its tables do not follow";
    if (!disk.has_same_tables(truth_.memory())) return each->name() + ": other rows";
  }
  return "";
}

void PairWorld::check_end() {
  if (std::string wrong = work_.check_end(truth_.tables()); !wrong.empty()) fail(wrong);
  if (gentle_ && !truth_.has_lost_a_worker() && !parts_.has_lost) {
    if (std::string wrong = work_.check_nothing_ran_again(); !wrong.empty()) fail(wrong);
  }
  if (!error_.empty()) return;
  // Retention and the like go on: at rest there is a moment when both are at the same entry.
  std::string differs;
  for (int tries = 0; tries < 60 && error_.empty(); ++tries) {
    watch_until(schedule_.now() + Micros(limits::kIdleFlush), false);
    differs = differing_tables();
    if (differs.empty()) return;
  }
  if (error_.empty()) fail("at rest: " + differs);
}

void PairWorld::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
}

}  // namespace capstan::sim
