// SPDX-License-Identifier: MIT
//
// Who leads, and what is committed: the rules of docs/failover.md as a pure machine, one for each
// voter. It knows positions in the journal, never entries: those are opaque batches that pass
// through it. Its shell (master/node.h) has the sockets, the vote file and the store; tests/sim
// runs it on virtual ones. No clock, no randomness of its own (jitter is drawn from a seed), no
// I/O. The same events give the same actions.
//
//              silence, or the leader's      granted by             promised by a
//              connection closed             a majority             majority, in its isr
//   [Follower] -------------------> [Asking] ---------> [Candidate] -----------> [Claiming]
//     ^   ^                             |                    |                    |    |
//     |   '-----------------------------'--------------------'--------------------'    | accepted
//     |          a higher epoch; a leader; no answer                                   | by a
//     |                                                                                v majority
//     '---------------- (a new life: action Restart) <----------------------------- [Leader]
//                a higher epoch; in sync and no majority heard
//
// The transitions are one table with a sentence each (transitions.h); logs and the diagrams of
// docs/failover.md are made from it.
//
// Sources: single-value Paxos for the register of an epoch (Lamport, "Paxos Made Simple"); the
// in-sync set and its reconfiguration by the primary alone (Lin et al., "PacificA").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/alarm.h"
#include "common/model/journal.h"
#include "common/model/limits.h"
#include "common/model/member.h"
#include "common/model/voting.h"
#include "common/wire/version.h"
#include "master/ha/events.h"
#include "master/ha/transitions.h"

namespace capstan::ha {

/// Deliberate mistakes, for testing the tests (tests/sim). Product code leaves it at None.
enum class Mutant : std::uint8_t {
  None,
  AckBeforeShrink,       ///< Acknowledges alone before the shrink is recorded by a majority.
  ForgetPromises,        ///< A voter whose votes are lost votes again.
  ExpandFirst,           ///< The expanded isr is published before the standby is required.
  AckBelowPromise,       ///< A standby acknowledges appends of an epoch below its promise.
  KeepDivergedTail,      ///< A rejoining node appends by position alone.
  IgnoreEligibility,     ///< A candidate that is not in the isr leads.
  ResumeEpoch,           ///< A leader goes on in its old epoch after a crash.
  AckLocally,            ///< Local durability is enough.
  ReseedOnOneWord,       ///< A lost voter is re-seeded on the leader's word alone.
  LeadWithLostDatabase,  ///< A node whose database was lost may lead.
  IgnoreLives,           ///< An append, or its answer, of an earlier life counts.
};

struct Timers {
  Micros heartbeat_every{limits::kPeerHeartbeatEvery};
  Micros election_min{limits::kElectionMin};
  Micros election_max{limits::kElectionMax};
  Micros election_after_closed{limits::kElectionAfterClosed};
  Micros election_round{limits::kElectionRound};
  Micros shrink_after{limits::kShrinkAfter};
  Micros shrink_after_closed{limits::kShrinkAfterClosed};
  Micros grow_after{limits::kGrowAfter};
  Micros resend{limits::kPeerResend};
  Micros control_wait{limits::kTakeOverWait};
  Micros snapshot_hold{limits::kSnapshotHold};
};

struct Config {
  NodeId self = 0;
  std::vector<Voter> voters;  ///< Ascending ids; self among them. One: leads alone, at once.
  Uuid cluster;
  Generation generation;
  std::string version;
  std::uint32_t level = kEntryLevel;  ///< The highest that this program understands.
  std::uint32_t min_copies = 1;       ///< 2: never solo. Until event::MinCopies.
  Timers timers;
  std::uint64_t seed = 1;  ///< Of the jitter.
  Mutant mutant = Mutant::None;
};

/// How a node comes up.
struct Start {
  Vote vote;                 ///< Its nonce is the database's already when they agreed.
  std::uint64_t life = 0;    ///< Drawn at this start; not 0.
  bool has_vote = true;      ///< False: there was no vote file. It abstains until it is re-seeded.
  bool is_complete = true;   ///< The nonces of vote file and database agree (data nodes).
  bool is_diverged = false;  ///< Its rows differed from a leader's, and no snapshot came since.
  std::uint64_t nonce = 0;   ///< The database's, of this start: of the vote once it is complete.
  std::vector<JournalEnd> ends{};  ///< Where the tables are, and of every batch behind; ascending.
};

class Machine {
 public:
  Machine(Config config, Start start);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Total: what makes no sense (any more) changes nothing.
  [[nodiscard]] Actions step(const Event& event, TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;

  // For the shell, people and checkers.
  [[nodiscard]] Role role() const;
  [[nodiscard]] bool is_leader() const { return role() == Role::Leader; }
  /// The epoch that it leads, or follows; 0: none yet.
  [[nodiscard]] Epoch epoch() const;
  /// Who leads, as far as it knows; 0: nobody.
  [[nodiscard]] NodeId leader() const;
  [[nodiscard]] Seq committed() const;
  [[nodiscard]] const Vote& vote() const;
  [[nodiscard]] bool abstains() const;
  /// May it lead, as far as its own database goes?
  [[nodiscard]] bool is_complete() const;
  /// The level that entries may have: the lowest that all data nodes understand.
  [[nodiscard]] std::uint32_t level() const;
  [[nodiscard]] std::uint32_t min_copies() const;
  /// As leader: every data node is in the confirmed isr; only this one is.
  [[nodiscard]] bool is_in_sync() const;
  [[nodiscard]] bool is_solo() const;
  struct PeerView {
    NodeId id = 0;
    std::uint64_t life = 0;     ///< 0: not heard yet.
    bool is_connected = false;  ///< Our connection to it.
    std::optional<TimePoint> heard_at{};
    Seq seq;  ///< Of its journal, as far as known.
    bool is_in_isr = false;
    bool is_streaming = false;  ///< Not waiting for a snapshot.
  };
  [[nodiscard]] std::vector<PeerView> peers() const;
  /// Things that a person must know now: solo, witness gone, lag, divergence …
  [[nodiscard]] std::vector<Alarm> alarms(TimePoint now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::ha
