// SPDX-License-Identifier: MIT
//
// What must hold after every step of the model (failover_model.cc has the list).
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "tests/model/protocol.h"

namespace capstan::model {

class Checker {
 public:
  Checker(int voters, const Nodes& nodes, Counts& counts)
      : voters_(voters), nodes_(nodes), counts_(counts) {}

  const char* error() const { return error_; }  ///< The first that was broken; nullptr: none.
  bool has_everything(const Node& node) const {
    return common(node.journal, truth_) == truth_.size();
  }

  void on_recorded(const Node& voter, const Register& reg) {
    Recorded& recorded = recorded_[{reg.epoch, reg.ver}];
    if (recorded.by != 0 && recorded.reg != reg) fail("I1: two registers of one version");
    recorded.reg = reg;
    recorded.by |= only(voter.id);
  }

  /// Some may have recorded an override that did not come through: an election that finds it there
  /// carries it on.
  void on_claim(const Node& node) {
    if (node.is_override || claims_.contains(node.best.epoch)) claims_.insert(node.epoch);
  }

  void on_leads(const Node& node) {
    ++counts_["elections"];
    if (node.epoch <= last_reign_) return fail("I1: a reign whose epoch is not above all before");
    last_reign_ = node.epoch;
    const Node& rival = nodes_[other(node.id)];
    const bool is_rival_solo = rival.role == Role::Leader && rival.confirmed.isr == only(rival.id);
    if (is_rival_solo && !rival.pending && !rival.is_joining) {
      return fail("I1: a reign beside a primary that serves alone");
    }
    if (claims_.contains(node.epoch)) lose_by_word(node);
    claims_.erase(claims_.begin(), claims_.upper_bound(node.epoch));
    if (!has_everything(node)) fail("I2: a leader lacks what was acknowledged");
  }

  void on_acknowledged(const Node& node, std::size_t upto) {
    if (node.epoch < last_override_) fail("I1: a primary acknowledges that was overridden");
    for (std::size_t at = node.acknowledged; at < upto; ++at) {
      if (at == truth_.size()) {
        truth_.push_back(node.journal[at]);
        ++counts_["acknowledged"];
      }
      if (truth_[at] != node.journal[at]) return fail("I3: two entries acknowledged at one place");
      if (!has_copy_or_is_out(nodes_[other(node.id)], node, at)) {
        return fail("I4: acknowledged without a node that is in the recorded isr");
      }
    }
  }

  void on_votes_lost(const Node& node) { seen_[node.id] = {}; }

  void after_step() {
    for (int id = 0; id < voters_; ++id) {
      const Node& node = nodes_[id];
      Seen& seen = seen_[id];
      const bool went_back = node.promised < seen.promised || node.reg.is_before(seen.reg);
      if (went_back && !node.abstains) fail("I5: a promise went back");
      seen = {node.promised, node.reg};
      const auto is_above = [](const Entry& a, const Entry& b) { return a.epoch > b.epoch; };
      const auto at = std::adjacent_find(node.journal.begin(), node.journal.end(), is_above);
      if (at != node.journal.end()) fail("I6: an epoch went back");
    }
  }

 private:
  struct Recorded {
    Register reg{};
    VoterSet by = 0;
  };
  struct Seen {
    Epoch promised = 0;
    Register reg{};
  };

  void fail(const char* what) {
    if (error_ == nullptr) error_ = what;
  }

  void lose_by_word(const Node& node) {
    ++counts_[node.is_override ? "overrides" : "carried on"];
    if (node.given_up != 0) small_quorum_ = node.epoch;
    last_override_ = node.epoch;
    const std::size_t kept = common(node.journal, truth_);
    counts_["lost by override"] += static_cast<long>(truth_.size() - kept);
    truth_.resize(kept);
  }

  /// I4. What a disk lost later is not the leader's mistake.
  bool has_copy_or_is_out(const Node& peer, const Node& leader, std::size_t at) const {
    if (at < peer.journal.size() && peer.journal[at] == leader.journal[at]) return true;
    if (!peer.is_complete || peer.abstains || leader.epoch == small_quorum_) return true;
    bool is_out = false;
    for (auto each = recorded_.lower_bound({leader.epoch, 0}); each != recorded_.end(); ++each) {
      const auto& [reg, by] = each->second;
      const bool has_majority = __builtin_popcount(by) > voters_ / 2;
      if (reg.epoch == leader.epoch && has_majority) is_out = !contains(reg.isr, peer.id);
    }
    return is_out;
  }

  int voters_;
  const Nodes& nodes_;
  Counts& counts_;
  const char* error_ = nullptr;
  Journal truth_;  ///< What was acknowledged, and is not lost by word.
  Epoch last_reign_ = 0;
  Epoch last_override_ = 0;
  Epoch small_quorum_ = 0;  ///< The last reign that began with voters given up.
  std::map<std::pair<Epoch, int>, Recorded> recorded_;
  std::set<Epoch> claims_;  ///< Of overrides, and on top of them; nobody has led in them yet.
  std::array<Seen, kVotersMax> seen_{};
};

}  // namespace capstan::model
