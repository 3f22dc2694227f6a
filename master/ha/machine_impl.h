// SPDX-License-Identifier: MIT
//
// The inside of the failover machine, for the sources of this folder only:
//   machine.cc      events in, timers, hellos, lives      election.cc     R1, R2, R5, the votes
//   register.cc     R6, R7, R7a, R8, heartbeats           replication.cc  as leader: R3, R9, R9a
//   follower.cc     as follower: R5, R9, completeness     control.cc      R10, R11, R12
//   views.cc        for the shell, people and checkers
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "master/ha/machine.h"
#include "master/ha/peer.h"

namespace capstan::ha {

[[nodiscard]] bool contains(const std::vector<NodeId>& ids, NodeId id);

struct Machine::Impl {
  Impl(Config config, Start start);

  // --- machine.cc
  Actions step(const Event& event, TimePoint now);
  TimePoint next_deadline() const;
  void begin();
  void run_timers();
  void on(const event::Connected& event);
  void on(const event::Closed& event);
  void on(const event::Received& event);
  void on(const event::Leave&);
  void on(const event::Tick&) {}
  void on_message(Peer& from, Epoch epoch, const msg::PeerHello& hello);
  template <class Other>
  void on_message(Peer&, Epoch, const Other&) {}  ///< Not for the machine.
  bool is_late(const Peer& from, std::uint64_t life) const;
  bool counts(Peer& from, std::uint64_t life) const;
  void begin_peer_life(Peer& peer);
  void clear_freshness();
  void distrust_freshness(const Peer& by);
  void say_hello(const Peer& peer);
  void say_hello_to_all();
  void send(const Peer& peer, Epoch epoch, msg::Body body);
  void note(action::Note::Level level, const char* event, std::string sentence);
  void save_vote();
  Peer* find(NodeId id);
  const Peer* find(NodeId id) const;
  bool is_witness() const;
  bool is_alone() const { return config_.voters.size() == 1; }
  bool is_lost(NodeId id) const { return contains(lost_, id); }
  bool is_given_up(const Peer& peer) const;
  /// Below it this voter agrees to nothing, and begins with no register.
  Epoch least_epoch() const { return std::max(vote_.promised, abstained_); }
  bool is_mutant(Mutant mutant) const { return config_.mutant == mutant; }
  /// Have enough voters, this one among them, what `has` says of the others?
  template <class Has>
  bool is_majority(Has has) const;
  const JournalEnd& last() const { return ends_.back(); }

  // --- election.cc
  bool may_vote() const;
  bool may_stand() const;
  bool hears_leader() const;
  bool saw_leader_close() const;
  TimePoint election_due() const;
  void wait_for_leader();
  void consider_standing();
  void ask(Cause cause);
  void ask_again();
  void stand(Cause cause);
  void check_promises();
  void lead();
  void move(Cause cause);
  void yield(Cause cause);
  std::string silent_voters() const;
  void give_way(Epoch to);
  void end_reign(Cause cause);
  void expire_round();
  Epoch next_epoch() const;
  void on_message(Peer& from, Epoch epoch, const msg::PreVote& ask);
  void on_message(Peer& from, Epoch epoch, const msg::PreVoted& answer);
  void on_message(Peer& from, Epoch epoch, const msg::Prepare& prepare);
  void on_message(Peer& from, Epoch epoch, const msg::Promised& promise);
  void on_message(Peer& from, Epoch epoch, const msg::Accept& accept);
  void on_message(Peer& from, Epoch epoch, const msg::RegisterAccepted& accepted);
  void on_message(Peer& from, Epoch epoch, const msg::Rejected& rejected);
  void reject(const Peer& peer, Epoch epoch, std::string reason);
  void abstain(const Peer& from, Epoch epoch);
  void count_agreement();
  void ask_once_more(Peer& peer);

  // --- register.cc
  void propose(std::vector<NodeId> isr);
  void check_register();
  const Register& newest_register() const { return pending_ ? *pending_ : confirmed_; }
  bool is_required(const Peer& peer) const;
  bool requires_others() const;
  void lead_on();
  bool is_disk_stuck() const;
  void beat();
  void beat(Peer& peer);
  bool is_out_of_touch(const Peer& peer) const;
  bool is_unheard(const Peer& peer, TimePoint now) const;
  bool is_ready_to_join(const Peer& peer) const;
  bool join(Peer& peer);
  void give_up_joining();
  void check_standbys();
  void check_quorum();
  bool hears_majority() const;
  std::size_t data_nodes() const;

  // --- replication.cc
  void on(const event::Sealed& event);
  void on(const event::Written& event);
  void on(const event::JournalRead& event);
  void on(const event::Common& event);
  void on(const event::SnapshotMade& event);
  void on_message(Peer& from, Epoch epoch, const msg::Appended& appended);
  void on_message(Peer& from, Epoch epoch, const msg::Behind& behind);
  void forget_stream(Peer& peer);
  void send_append(Peer& peer, const JournalEnd& prev, std::vector<SealedBatch> batches);
  void pump(Peer& peer);
  void need_snapshot(Peer& peer);
  void tend_snapshot(Peer& peer);
  void offer_snapshot(Peer& peer);
  Seq committable() const;
  void commit_what_can();

  // --- follower.cc
  void on_message(Peer& from, Epoch epoch, const msg::Append& append);
  void on_message(Peer& from, Epoch epoch, const msg::SnapshotOffer& offer);
  void on(const event::Applied& event);
  void on(const event::Diverged& event);
  void hear_leader(Peer& from, Epoch epoch);
  bool follow(Peer& from, Epoch epoch);
  void take_batches(Peer& from, Epoch epoch, const msg::Append& append);
  void take_by_position(Peer& from, const msg::Append& append);
  void store(std::size_t keep, std::vector<SealedBatch> batches);
  void say_behind(const Peer& peer);
  void say_appended(const Peer& peer);
  void follower_written(const JournalEnd& end);
  void follow_commit();
  std::optional<std::size_t> find_end(const JournalEnd& end) const;

  // --- views.cc
  std::uint32_t level_of_all() const;
  std::vector<Alarm> own_alarms() const;
  std::optional<Alarm> alarm_of(const Peer& peer, TimePoint now) const;

  // --- control.cc
  void on(const event::Control& control);
  void on(const event::MinCopies& event);
  void fail_over(const event::Control& control);
  void override_old_primary(const event::Control& control);
  Epoch above_all(WallTime wall);
  void give_up(const std::vector<NodeId>& lost);
  void reseed(const event::Control& control);
  void set_min_copies(const event::Control& control);
  void run_control();
  void hand_over_when_level();
  void reseed_when_confirmed();
  void give_votes(Peer& target);
  void answer(Errc code, std::string reason);
  void answer_ok(std::string reason);
  void on_message(Peer& from, Epoch epoch, const msg::TakeOver& take_over);
  void on_message(Peer& from, Epoch epoch, const msg::Reseed& reseed);

  Config config_;
  std::vector<Peer> peers_;
  Rng rng_;
  TimePoint now_{};
  Actions out_;
  bool has_begun_ = false;
  bool has_ended_ = false;  ///< It said Restart: nothing more comes out of it.
  bool is_leaving_ = false;

  // What it is.
  Vote vote_;
  std::uint64_t life_;
  std::uint64_t hellos_ = 0;
  std::uint64_t nonce_;  ///< Of the database.
  bool abstains_;        ///< Its votes were lost (R10).
  bool is_complete_;
  bool is_diverged_;
  Role role_ = Role::Follower;

  // Its journal.
  std::vector<JournalEnd> ends_;  ///< From where the tables are to the last; never empty.
  JournalEnd written_;            ///< Durable up to here.
  Seq commit_;                    ///< Of what it has.

  // Of whoever leads, as this node hears it.
  NodeId leader_ = 0;
  Epoch epoch_;  ///< That it leads or follows.
  TimePoint leader_heard_at_{};
  Seq heard_commit_;      ///< Everything up to here is committed, says the leader of `epoch_`.
  Seq heard_commit_max_;  ///< Of any leader in this life.
  std::uint64_t append_life_ = 0;  ///< Of the last Append; only a mutant answers with it.
  std::uint64_t append_round_ = 0;
  JournalEnd verified_{};     ///< Our journal equals that leader's up to here.
  bool is_verified_ = false;  ///< `verified_` counts.

  // Elections.
  TimePoint election_at_{};
  bool has_asked_after_close_ = false;
  bool leader_restarted_ = false;
  Epoch highest_seen_;  ///< Somebody promised it.
  Epoch abstained_;     ///< Without votes: the highest that it was asked to promise.
  Epoch asked_;
  Epoch candidacy_;
  Register best_;  ///< The highest that the promises told.
  bool is_override_ = false;
  std::vector<NodeId> lost_;  ///< By an operator's word: they do not count (R12).
  TimePoint round_until_{};
  TimePoint ask_again_at_{};

  // As leader.
  Register confirmed_;
  std::optional<Register> pending_;
  TimePoint led_since_{};
  Seq first_of_reign_;
  TimePoint beat_at_{};
  TimePoint sealed_at_{};  ///< Of the oldest batch that is not yet written here.
  std::uint32_t min_copies_;

  struct Pending {
    event::Control control;
    TimePoint until{};
    std::uint64_t ver = 0;   ///< Reseed: all others must have accepted this one first.
    std::uint64_t life = 0;  ///< Reseed: whose loss it is.
    bool was_sent = false;   ///< FailOver: TakeOver is said.
  };
  std::optional<Pending> pending_control_;
};

/// R12. One that answers that it has no votes cannot agree to anything: it is as good as named. An
/// old word of it is not enough: since then it may have been re-seeded, by this node or another.
inline bool Machine::Impl::is_given_up(const Peer& peer) const {
  if (is_lost(peer.id())) return true;
  const bool has_no_votes =
      peer.abstains() && peer.has_abstained && peer.life() != peer.reseeded_life;
  return !lost_.empty() && has_no_votes;
}

template <class Has>
bool Machine::Impl::is_majority(Has has) const {
  std::size_t have = 1;
  std::size_t others = 0;
  for (const Peer& peer : peers_) {
    if (is_given_up(peer)) continue;
    ++others;
    if (has(peer)) ++have;
  }
  // With lost voters a majority cannot be had: all that are left must agree instead (R12).
  return lost_.empty() ? have > config_.voters.size() / 2 : have == others + 1;
}

}  // namespace capstan::ha
