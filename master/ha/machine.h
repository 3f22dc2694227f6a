// SPDX-License-Identifier: MIT
//
// Who leads, and what is committed: the rules of docs/failover.md as a pure machine, one for each
// voter. It knows positions in the journal, never entries: those are opaque batches that pass
// through it. Its shell (master/node.h) has the sockets, the vote file and the store; tests/sim
// runs it on virtual ones. No clock, no randomness of its own (jitter is drawn from a seed), no
// I/O. The same events give the same actions.
//
//                 silence, or the leader's          granted by            promised by
//                 connection closed                 a majority            a majority, and in its
//                 isr
//   [Follower] ------------------------> [Asking] --------> [Candidate] ----------> [Claiming]
//      ^  ^                                 |                    |                      | accepted
//      by |  '---------------------------------'--------------------'----------------------' a
//      majority |     a higher epoch; a leader; no answer                                        v
//      '---------------------- (a new life: action Restart) <------------------------ [Leader]
//                      a higher epoch; in sync and no majority heard
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
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "common/model/limits.h"
#include "common/model/member.h"
#include "common/model/voting.h"
#include "common/wire/message.h"

namespace capstan::ha {

enum class Role : std::uint8_t { Follower, Asking, Candidate, Claiming, Leader };
[[nodiscard]] const char* to_string(Role role);

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
  Micros take_over_wait{limits::kTakeOverWait};
};

struct Config {
  NodeId self = 0;
  std::vector<Voter> voters;  ///< Ascending ids; self among them. One: leads alone, at once.
  Uuid cluster;
  Generation generation;
  std::string version;
  std::uint32_t level = limits::kEntryLevel;  ///< The highest that this program understands.
  std::uint32_t min_copies = 1;               ///< 2: never solo.
  Timers timers;
  std::uint64_t seed = 1;  ///< Of the jitter.
  Mutant mutant = Mutant::None;
};

/// How a node comes up.
struct Start {
  Vote vote;
  std::uint64_t life = 0;   ///< Drawn at this start; not 0.
  bool has_vote = true;     ///< False: there was no vote file. It abstains until it is re-seeded.
  bool is_complete = true;  ///< The nonces of vote file and database agree (data nodes).
  std::vector<JournalEnd>
      ends{};  ///< Where the tables are, and of every batch behind it; ascending.
};

// --- Events --------------------------------------------------------------------------------------
namespace event {
/// Our own connection to `peer` is through its handshake, or closed.
struct Connected {
  NodeId peer = 0;
};
struct Closed {
  NodeId peer = 0;
};
/// From a key that belongs to `peer`.
struct Received {
  NodeId peer = 0;
  msg::Message message;
};
/// As leader: this batch is about to be written here (behind the last one): ship it.
struct Sealed {
  SealedBatch batch;
};
/// Durable here up to and with this batch end. As leader after Sealed, as follower after Store.
struct Written {
  JournalEnd end;
};
/// The tables are at this entry (follower: what an Appended tells, and ends before it are dropped).
struct Applied {
  Seq seq;
};
/// The rows of these replicas differ: never to lead, until a snapshot.
struct Diverged {
  Seq seq;
};
/// The answer to ReadJournal, before any other event. No batches: the journal begins behind `prev`
/// (a snapshot is needed), or ends at it.
struct JournalRead {
  NodeId peer = 0;
  JournalEnd prev;
  bool is_gone = false;
  std::vector<SealedBatch> batches;
};
/// The answer to FindCommon: the highest of the ends that our journal has, if any.
struct Common {
  NodeId peer = 0;
  std::optional<JournalEnd> end;
};
/// The answer to MakeSnapshot. `bytes` 0: it could not be made.
struct SnapshotMade {
  NodeId peer = 0;
  Uuid id;
  Seq seq;
  std::uint64_t bytes = 0;
  Bytes digest;
};
/// A person said so, through this node.
struct Control {
  msg::ClusterVerb verb = msg::ClusterVerb::FailOver;
  NodeId node = 0;             ///< 0: not named.
  std::vector<NodeId> lost{};  ///< Of FailOverWithLoss: voters that will not answer.
  std::uint32_t value = 0;
};
struct Tick {};
}  // namespace event
using Event = std::variant<event::Connected, event::Closed, event::Received, event::Sealed,
                           event::Written, event::Applied, event::Diverged, event::JournalRead,
                           event::Common, event::SnapshotMade, event::Control, event::Tick>;

// --- Actions: to be done in their order ----------------------------------------------------------
namespace action {
/// Durable before anything that follows; an error ends the process.
struct SaveVote {
  Vote vote;
};
struct Send {
  NodeId peer = 0;
  msg::Message message;
};
/// Established: everything in the journal here is committed. Open the queue for clients and
/// workers, and write the first entry of the reign.
struct Lead {
  Epoch epoch;
};
/// Leadership ended: begin a new life from what is on the disk. `why`: the transition's sentence.
struct Restart {
  std::string why;
};
/// Everything up to here is committed (leader: may be told; follower: may go into the tables).
struct Commit {
  Seq seq;
};
/// Follower: take back what is behind `keep`, if anything is; then write these, and say Written.
struct Store {
  JournalEnd keep;
  std::vector<SealedBatch> batches;
};
/// Leader: batches behind `prev` for a peer, about limits::kBatchBytes * 4.
struct ReadJournal {
  NodeId peer = 0;
  JournalEnd prev;
};
/// Leader: which of these ends (ascending) has our own journal?
struct FindCommon {
  NodeId peer = 0;
  std::vector<JournalEnd> ends;
};
/// Leader: the peer cannot be brought up from the journal. Answered by SnapshotMade; the journal is
/// not trimmed past it until DropSnapshot.
struct MakeSnapshot {
  NodeId peer = 0;
};
struct DropSnapshot {
  NodeId peer = 0;
};
/// Follower: begin to fetch this one (the shell asks for the pieces, and installs it in a new
/// life). A second offer of what is being fetched changes nothing.
struct FetchSnapshot {
  NodeId peer = 0;
  msg::SnapshotOffer offer;
};
/// Leader: a planned switch-over began (no more intake) or was given up.
struct Intake {
  bool is_open = true;
};
/// The answer to Control.
struct Answer {
  bool ok = true;
  Errc code = Errc::Unavailable;
  std::string reason;
};
/// For the log: a role changed, or something that a person should know. `sentence` is a row of the
/// transition table, or words.
struct Note {
  enum class Level : std::uint8_t { Info, Warn, Error } level = Level::Info;
  const char* event = "";  ///< noun.verb_past
  Epoch epoch;
  std::string sentence;
};
}  // namespace action
using Action = std::variant<action::SaveVote, action::Send, action::Lead, action::Restart,
                            action::Commit, action::Store, action::ReadJournal, action::FindCommon,
                            action::MakeSnapshot, action::DropSnapshot, action::FetchSnapshot,
                            action::Intake, action::Answer, action::Note>;
using Actions = std::vector<Action>;

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
    bool is_connected = false;  ///< Our connection to it.
    std::optional<TimePoint> heard_at{};
    Seq seq;  ///< Of its journal, as far as known.
    bool is_in_isr = false;
    bool is_streaming = false;  ///< Not waiting for a snapshot.
  };
  [[nodiscard]] std::vector<PeerView> peers() const;
  /// Things that a person must know now, a sentence each: solo, witness gone, lag, divergence …
  [[nodiscard]] std::vector<std::string> alarms(TimePoint now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::ha
