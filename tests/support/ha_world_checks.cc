// SPDX-License-Identifier: MIT
//
// What must hold, whatever happens: I1 to I5 of docs/failover.md (I6 is VirtualNode's).
#include <algorithm>

#include "tests/support/ha_world.h"

namespace capstan::test {

void HaWorld::on_save_vote(VirtualNode& node, const Vote& vote) {
  if (node.has_vote && !node.vote.fresh &&
      (vote.promised < node.vote.promised || vote.reg.is_before(node.vote.reg))) {
    return fail("I5: a promise went back");
  }
  if (vote.reg != node.vote.reg && vote.reg.epoch) {
    Recorded& recorded = recorded_[vote.reg.epoch][vote.reg.ver];
    if (!recorded.by.empty() && recorded.isr != vote.reg.isr)
      return fail("two registers of one ver");
    recorded.isr = vote.reg.isr;
    recorded.by.insert(node.id());
    // A claim on top of an override's that led to no entry carries it on.
    const bool carries_on =
        claims_.contains(node.vote.reg.epoch) && node.database.last().epoch < node.vote.reg.epoch;
    if ((node.overrides || carries_on) && vote.reg.leader == node.id())
      claims_.insert(vote.reg.epoch);
  }
  trace(node.id(), "saves its promise", vote.promised.value);
  if (!vote.fresh && vote.nonce == node.database.nonce) node.is_suspect = false;
  node.vote = vote;
  node.has_vote = true;
}

void HaWorld::on_lead(VirtualNode& node, const ha::action::Lead& lead) {
  const auto [known, is_new] = leaders_.emplace(lead.epoch, node.id());
  if (!is_new) return fail("I1: two reigns in one epoch");
  const bool is_highest = std::next(known) == leaders_.end();
  if (!is_highest && options_.clocks_apart == Micros(0)) {
    return fail("I1: a reign below an earlier one");
  }
  const bool left_no_entry = node.database.last().epoch < lead.replaced;
  if (lead.is_override || (claims_.contains(lead.replaced) && left_no_entry)) {
    if (!lead.may_lack) return fail("what an override lost may be given a number again");
  }
  // What only the old primary had is lost, by an operator's word.
  if (lead.is_override || claims_.contains(lead.replaced)) {
    if (overrides_with_lost_) small_quorums_.insert(lead.epoch);
    truth_.clear();
    node.database.is_diverged = false;
    node.is_suspect = false;
  }
  claims_.erase(claims_.begin(), claims_.upper_bound(lead.epoch));  // None of them counts any more.
  if (!has_everything(node.id())) return fail("I2: a leader lacks an acknowledged entry");
  if (node.database.is_diverged) return fail("a node with other rows leads");
  if (!node.writing.empty()) return fail("a leader whose journal is still being written");
  node.leads = node.has_intake = true;
  acknowledge(node, node.database.journal.size());
  trace(node.id(), "leads with batches", truth_.size());
}

void HaWorld::acknowledge(VirtualNode& node, std::size_t batches) {
  // The chain of a batch covers all before it: the last one that both have decides.
  const std::size_t both = std::min(batches, truth_.size());
  if (both > 0 && node.database.end_of(both) != truth_[both - 1]) {
    return fail("I3: two entries acknowledged at one seq");
  }
  for (std::size_t at = truth_.size(); at < batches; ++at) {
    truth_.push_back(node.database.journal[at].end);
  }
}

void HaWorld::on_commit(VirtualNode& node, Seq seq) {
  const std::optional<std::size_t> batches = node.database.find(seq);
  if (!batches) return fail("a commit of what is not in the journal");
  const JournalEnd end = node.database.end_of(*batches);
  trace(node.id(), "commits", seq.value);
  if (node.leads) {
    acknowledge(node, *batches);
    check_recorded(node, end);
    if (seq >= node.awaited) node.awaited = Seq{};
  } else if (*batches > truth_.size() || truth_[*batches - 1] != end) {
    return fail("a standby takes for committed what was never acknowledged");
  }
  later_in(node, 10 * drawn(options_.sync, options_.sync_spread),
           [this, end](VirtualNode& it) { apply(it, end); });
}

/// I4: what a data node lacks when it is acknowledged is so because a majority recorded that it is
/// not in the isr.
void HaWorld::check_recorded(VirtualNode& node, const JournalEnd& end) {
  const Epoch epoch = node.machine->epoch();
  std::size_t copies = 0;
  const Recorded* confirmed = nullptr;
  for (const auto& [ver, recorded] : recorded_[epoch]) {
    if (recorded.by.size() > nodes_.size() / 2) confirmed = &recorded;
  }
  for (const VirtualNode& other : nodes_) {
    if (other.is_witness) continue;
    // What a disk lost after it was confirmed is not the leader's mistake.
    if (other.is_suspect || other.database.find(end)) {
      ++copies;
    } else if (!small_quorums_.contains(epoch) &&
               (confirmed == nullptr ||
                std::count(confirmed->isr.begin(), confirmed->isr.end(), other.id()) != 0)) {
      return fail("I4: acknowledged without a node that is in the recorded isr");
    }
  }
  if (copies < node.machine->min_copies()) fail("acknowledged with fewer copies than min_copies");
}

}  // namespace capstan::test
