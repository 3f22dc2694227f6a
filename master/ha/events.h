// SPDX-License-Identifier: MIT
//
// What the failover machine is told, and what it wants done (master/ha/machine.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "common/model/voting.h"
#include "common/wire/message.h"

namespace capstan::ha {

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
/// The answer to FindCommon, before any other event: the highest of the ends that our journal has,
/// if any. `is_trimmed`: all of them are before where our journal begins; else it has other
/// batches.
struct Common {
  NodeId peer = 0;
  std::optional<JournalEnd> end;
  bool is_trimmed = false;
};
/// The answer to MakeSnapshot. `bytes` 0: it could not be made.
struct SnapshotMade {
  NodeId peer = 0;
  Uuid id;
  Seq seq;
  std::uint64_t bytes = 0;
  Bytes digest;
};
/// As leader: the committed queue says so, at the start of the reign and whenever it changes.
struct MinCopies {
  std::uint32_t copies = 1;
};
/// A person said so, through this node. One at a time: the next one after the Answer.
struct Control {
  msg::ClusterVerb verb = msg::ClusterVerb::FailOver;
  NodeId node = 0;             ///< 0: not named.
  std::vector<NodeId> lost{};  ///< Of FailOverWithLoss: voters that will not answer.
  std::uint32_t value = 0;
  WallTime wall{};  ///< When, by this node's clock: later overrides get higher epochs (R12).
};
/// This node was told to end: its last step.
struct Leave {};
struct Tick {};
}  // namespace event
using Event =
    std::variant<event::Connected, event::Closed, event::Received, event::Sealed, event::Written,
                 event::Applied, event::Diverged, event::JournalRead, event::Common,
                 event::SnapshotMade, event::MinCopies, event::Control, event::Leave, event::Tick>;

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
/// workers, and write the first entry of the reign. After an override (R12) that entry has both
/// positions: what this journal ends at, and what was known to be committed elsewhere.
struct Lead {
  Epoch epoch;
  bool is_override = false;
  Epoch replaced;    ///< Of the register that it took over from.
  Seq heard_commit;  ///< The highest commit seq that it heard of in this life.
  /// An override, or it may go on with one that left no entry: what others were told may be lost.
  bool may_lack = false;
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
/// Leader: write an entry that says so; once it is committed, the answer is MinCopies.
struct KeepMinCopies {
  std::uint32_t copies = 1;
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
                            action::Intake, action::KeepMinCopies, action::Answer, action::Note>;
using Actions = std::vector<Action>;

}  // namespace capstan::ha
