// SPDX-License-Identifier: MIT
//
// The messages between masters, and between masters and the witness (docs/failover.md has the
// rules, master/ha decides). Each node says these over the connection that it dialled itself, so
// there are two connections between two nodes. No sessions: session and n are 0. What is lost is
// said again; the envelope's epoch is the one that the message is about (a candidate's, a
// leader's). message.h has the rules for changes; PeerHello's first two fields are these for ever,
// and fields are only appended to it: an older node reads those that it knows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "common/model/member.h"
#include "common/model/task.h"
#include "common/model/voting.h"

namespace capstan::msg {

/// First on every connection, and whenever something of it changed. The envelope's epoch is 0.
struct PeerHello {
  std::uint32_t protocol = 0;         ///< The newest that this node speaks.
  std::uint32_t protocol_oldest = 0;  ///< And the oldest: two speak the newest that both know.
  std::string version;
  std::uint32_t level = 0;  ///< The highest entry level that this node understands.
  Uuid cluster;
  Generation generation;
  std::uint64_t life = 0;    ///< Drawn at each start: what was for an earlier one does not count.
  std::uint64_t number = 0;  ///< Counts up in a life: an older one that comes late says nothing.
  Epoch promised;
  Register reg;
  bool fresh = false;       ///< Its vote file is as init wrote it.
  bool abstains = false;    ///< It lost its votes, and waits for a Reseed.
  bool is_complete = true;  ///< Its database is the one that it last had (data nodes).
  JournalEnd last;          ///< Of its journal.
  bool is_leaving = false;  ///< It was told to end: nothing is to wait for it.
};

/// Would you promise me `epoch`? Changes nothing.
struct PreVote {
  JournalEnd last;
  bool saw_closed = false;  ///< The leader's connection closed and does not come back.
  Register reg;  ///< The candidate's: an older one of the voter's does not speak against it.
};
struct PreVoted {
  bool granted = false;
  Epoch promised;  ///< The voter's: a later candidacy goes above it.
};

/// Promise me the envelope's epoch (phase 1).
struct Prepare {
  JournalEnd last;
  bool forced = false;  ///< By an operator who confirmed that the old primary is off.
};
struct Promised {
  Register reg;  ///< The highest that this voter accepted.
};
/// Of Prepare, Accept, Append: the sender promised a higher epoch; or (`reason`) would not.
struct Rejected {
  Epoch promised;
  std::string reason;
  bool abstains = false;  ///< It lost its votes, or has none yet: it stands for nobody (R12).
};

/// Accept this register (phase 2); its epoch is the envelope's.
struct Accept {
  Register reg;
};
struct RegisterAccepted {
  std::uint64_t ver = 0;
};

/// Journal batches behind `prev`; none: a heartbeat (also to the witness, which has no journal).
struct Append {
  std::uint64_t life = 0;   ///< The receiver's.
  std::uint64_t round = 0;  ///< Counts up whenever this leader begins anew with the receiver.
  JournalEnd prev;
  Seq commit;               ///< Everything up to here is committed.
  std::uint32_t level = 0;  ///< Entries are written at this level.
  std::vector<SealedBatch> batches;
};
/// The sender's journal equals the leader's up to `upto`, durably.
struct Appended {
  std::uint64_t life = 0;  ///< The sender's own.
  std::uint64_t round =
      0;  ///< Of the last Append: what an earlier one was answered does not count.
  Seq upto;
  Seq applied;               ///< Its tables are at this entry.
  bool is_diverged = false;  ///< Its rows differ from the leader's: it needs a snapshot.
};
/// The sender has no batch that ends at `prev`: the ends that it has, ascending, from where its
/// tables are (which never has to be taken back) to its last. At most kPeerEnds.
struct Behind {
  std::uint64_t life = 0;
  std::uint64_t round = 0;
  std::vector<JournalEnd> ends;
};

/// A snapshot of the leader's database, in pieces; the receiver asks for them one after the other.
struct SnapshotOffer {
  std::uint64_t life = 0;
  Uuid id;
  Seq seq;  ///< The tables in it are at this entry.
  std::uint64_t bytes = 0;
  Bytes digest;  ///< BLAKE2b, 32 bytes.
};
struct SnapshotAsk {
  Uuid id;
  std::uint64_t offset = 0;
};
struct SnapshotData {
  Uuid id;
  std::uint64_t offset = 0;
  Bytes data;  ///< At most kMessageBytes. Empty: it is gone, another offer will come.
};

/// The leader has given up its intake and you have everything: stand now (a planned switch-over).
struct TakeOver {
  Seq upto;
};
/// From a leader to a voter that lost its votes, on an admin's word: begin with these.
struct Reseed {
  Register reg;
  std::uint64_t life = 0;  ///< The receiver's: an earlier loss counts for nothing.
};

/// Output of tasks that is to be on every in-sync master before its worker may forget it. Behind
/// what the receiver must have of the stream already; without data and not `last` it only asks.
struct LogRelay {
  std::uint64_t life = 0;    ///< The receiver's.
  std::uint64_t number = 0;  ///< Of this relay, in this life of the sender.
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t prev = 0;    ///< What the leader has before `offset` ends here.
  std::uint64_t offset = 0;  ///< Above `prev`: what is between was dropped.
  Bytes data;
  bool last = false;  ///< Nothing follows on this stream.
};
/// `ok`: this is what the sender has of the stream, durably; below `prev` it stored nothing.
/// Otherwise: not now, say it again.
struct LogRelayed {
  std::uint64_t number = 0;
  bool ok = true;
  std::uint64_t upto = 0;
  bool last = false;
};

// --- Between a person and a node, whether it leads or not: without a session
// -----------------------

/// How does this node see the cluster? An admin's or a user's key.
struct AskCluster {
  std::uint64_t query = 0;
};
struct NodeView {
  std::string name;
  std::uint32_t role = 0;  ///< ha::NodeRole.
  std::vector<std::string> addresses;
  bool reachable = false;
  Seq seq;                  ///< Of its journal, as far as known.
  std::uint64_t lag = 0;    ///< Entries behind the primary's.
  Micros last_contact{-1};  ///< Ago; negative: never.
};
struct ClusterView {
  std::uint64_t query = 0;
  std::string name;     ///< The node that answers.
  std::string primary;  ///< "": none that it knows.
  bool in_sync = false;
  bool solo = false;
  std::uint32_t min_copies = 1;
  Micros failover{-1};  ///< How long one would take; negative: there can be none.
  std::string at_risk;  ///< What would be lost now, and why; "": nothing.
  std::vector<NodeView> nodes;
  std::vector<std::string> alarms;
};
enum class ClusterVerb : std::uint8_t {
  FailOver = 1,          ///< Planned: to `node`, or to whichever is in sync.
  FailOverWithLoss = 2,  ///< The old primary is off: `lost` are the voters that are gone with it.
  Reseed = 3,            ///< `node` lost its votes.
  SetMinCopies = 4
};
/// An admin's; done again it does no harm. Answered by ClusterDone.
struct ClusterControl {
  std::uint64_t query = 0;
  ClusterVerb verb = ClusterVerb::FailOver;
  std::string node;
  std::vector<std::string> lost;
  std::uint32_t value = 0;
};
/// `ok`: done, or begun; then `code` says nothing.
struct ClusterDone {
  std::uint64_t query = 0;
  bool ok = false;
  Errc code = Errc::Unavailable;
  std::string reason;
};

}  // namespace capstan::msg
