// SPDX-License-Identifier: MIT
//
// The rules of docs/failover.md, and the network between those who keep them. Whoever walks it says
// what happens next; nothing happens by itself.
#pragma once

#include <array>
#include <vector>

#include "tests/model/checker.h"
#include "tests/model/protocol.h"

namespace capstan::model {

class Cluster {
 public:
  Cluster(int voters, Mutant mutant, Rng& rng) : voters_(voters), mutant_(mutant), rng_(rng) {
    for (int id = 0; id < voters_; ++id) {
      nodes_[id].id = id;
      begin_life(nodes_[id]);
    }
  }

  int voters() const { return voters_; }
  Node& node(int id) { return nodes_[id]; }
  std::vector<Message>& bag() { return bag_; }
  Checker& checker() { return checker_; }
  const Counts& counts() const { return counts_; }
  bool is_mutant(Mutant mutant) const { return mutant_ == mutant; }
  bool is_cut(int from, int to) const { return contains(cuts_[from], to); }
  bool hears_majority(const Node& me) const;

  // Faults, and their ends.

  void cut(int from, int to) { cuts_[from] |= only(to); }
  void heal() { cuts_ = {}; }
  void crash(Node& me);
  void start(Node& me);
  void lose_database(Node& me);
  void lose_votes(Node& me);

  // R2, R12: elections and overrides.

  void stand(Node& me);

  /// Who is given up may have led in epochs that nobody is left to tell of, and so may a node that
  /// lost its own votes: far above all that ever were.
  void override_primary(Node& me, VoterSet given_up);
  void time_out(Node& me);

  // R3, R6, R7, R8, R10: what a leader does.

  void write(Node& me);
  void beat(Node& me);

  /// R6: acknowledgements stay blocked until a majority recorded it.
  void shrink(Node& me);

  /// R7: it is required first, then it has everything, then that is recorded.
  void join(Node& me);

  /// R8: a leader in sync that hears no majority could not commit anyway. One that serves alone
  /// need not step down: nobody else may lead.
  void check_quorum(Node& me);

  /// R10. Whoever has a promise that the voter forgot had promised itself the same first. So when,
  /// after the loss became known, all others that have votes accept one more register of this
  /// reign, no promise above it is forgotten.
  void reseed(Node& me, int target);

  /// R9a: a follower, whatever it was before. What a leader had in memory is dropped whole.
  void begin_life(Node& me);
  void deliver(const Message& message);

 private:
  // Messages.

  void send(const Node& from, int to, Message message);
  void say_hello(const Node& me, int to);
  void say_hello_to_all(const Node& me);
  void send_accept(const Node& me, int to, const Register& reg);
  void reject(const Node& me, const Message& message);

  /// R12: they may go on without it. So in this life it is not seeded with an older register.
  void abstain(Node& me, const Message& message);

  /// What was believed of a voter's earlier life counts no more.
  void on_hello(Node& me, const Message& hello);

  /// Among voters of whom some are given up, one less may be all that was waited for.
  void count_agreement(Node& me);

  // Elections.

  /// Have enough voters, this one among them, what `has` says of the others? With voters given up
  /// a majority cannot be had: all that are left must agree instead.
  template <class Has>
  bool is_majority(const Node& me, Has has) const {
    if (me.is_override && is_mutant(Mutant::OverrideAlone)) return true;
    int having = 1;
    int left = 1;
    for (int id = 0; id < voters_; ++id) {
      const Peer& peer = me.peers[id];
      if (id == me.id || is_given_up(me, id)) continue;
      ++left;
      if (has(peer)) ++having;
    }
    return me.given_up == 0 ? having > voters_ / 2 : having == left;
  }

  /// Whoever answers that it has no votes can agree to nothing: it is as good as given up.
  bool is_given_up(const Node& me, int id) const {
    const Peer& peer = me.peers[id];
    const bool has_no_votes =
        peer.abstains && peer.has_abstained && peer.life != peer.reseeded_life;
    return contains(me.given_up, id) || (me.given_up != 0 && has_no_votes);
  }

  static Epoch epoch_above(Epoch epoch, const Node& me) { return (epoch / 2 + 1) * 2 + me.id; }
  /// Above everything that this node has heard of.
  static Epoch next_epoch(const Node& me);
  /// By the clock, which is right here: above all that anybody ever stood for. (Where it is behind
  /// in the product, only above what the node knows.)
  Epoch epoch_above_all(const Node& me);
  void record(Node& me, const Register& reg);
  void begin_candidacy(Node& me, Epoch epoch);
  void on_prepare(Node& me, const Message& prepare);
  void on_promised(Node& me, const Message& promise);

  /// Whoever is not in the last isr may lack what was acknowledged; an operator may say so anyway.
  void check_promises(Node& me);
  void on_accept(Node& me, const Message& accept);
  void on_accepted(Node& me, const Message& accepted);

  /// It has votes, whoever gave it up.
  void count_again(Node& me, int voter);

  /// Established: all of its journal is committed. After an override these are the votes, and this
  /// is the database.
  void lead(Node& me);
  void yield(Node& me);

  /// R5: somebody has a higher epoch.
  void step_down(Node& me);
  void on_rejected(Node& me, const Message& rejected);

  /// False: it leads, or led until now.
  bool hear_leader(Node& me, Epoch epoch);

  // The register of a reign.

  /// One change at a time.
  void propose(Node& me, VoterSet isr);
  void check_register(Node& me);

  /// Of the register that a majority has, and of one that it may have.
  bool requires_other(const Node& me) const;

  // The journal.

  void acknowledge(Node& me);
  void on_append(Node& me, const Message& append);

  /// What the leader does not have was never acknowledged, and goes: but not what it wrote after
  /// this append, which comes late.
  void take(Journal& mine, const Message& append) const;
  void on_appended(Node& me, const Message& appended);

  // Lost votes.

  /// From now on it may vote, and so it must agree to whatever comes: even if it was given up, and
  /// whether the seed arrives or not.
  void reseed_when_confirmed(Node& me);
  void give_votes(Node& me, int target);

  /// Of a database beside lost votes nothing is known.
  void on_seed(Node& me, const Message& seed);
  int voters_;
  Mutant mutant_;
  Rng& rng_;
  Nodes nodes_{};
  std::array<VoterSet, kVotersMax> cuts_{};  ///< By sender: who does not hear it.
  std::vector<Message> bag_;
  int lives_ = 0;
  int values_ = 0;
  Epoch highest_ = 0;  ///< That anybody ever stood for.
  Counts counts_;
  Checker checker_{voters_, nodes_, counts_};
};

}  // namespace capstan::model
