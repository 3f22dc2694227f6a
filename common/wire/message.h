// SPDX-License-Identifier: MIT
//
// Every message between the programs, as plain structs in one variant (those of workers and clients
// are in worker_message.h, client_message.h and client_reply.h, those of masters in
// peer_message.h). On the wire a message is one
// ZeroMQ frame: the msgpack array [type, session, n, epoch, [fields in the order below]]. A decoder
// refuses wrong counts, trailing bytes and whatever limits.h forbids; docs/protocol.md says it in
// words.
//
// Rule for change: append a field only together with a new kProtocol; never renumber a type, never
// reuse a number. Of Enrol, WorkerHello and ClientHello the first field is `protocol` for ever:
// when it is one that we do not speak, the decoder leaves all other fields empty, so that the
// answer can be a Refused that says so; PeerHello as well. Refused and NeedHello never change.
//
// A session: the dialling side says WorkerHello or ClientHello (session 0, n 0), the master answers
// Welcome (n 1). From then on every message carries {session, n} with n = 1, 2, 3 … in each
// direction (Welcome is the master's n 1; the dialler's first after it is n 1). An unknown session,
// a gap or a repeat ends it: the master answers NeedHello, the dialler says HELLO again.
// Session-less messages (session 0): both HELLOs, Enrol, Enrolled, Refused.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/sum.h"
#include "common/wire/client_message.h"
#include "common/wire/client_reply.h"
#include "common/wire/peer_message.h"
#include "common/wire/worker_message.h"

namespace capstan::msg {

// --- Both ways -----------------------------------------------------------------------------------

/// Every kHeartbeatEvery in both directions. `seen` is the highest n received.
struct Heartbeat {
  std::uint64_t seen = 0;
};
/// The session is not known (any more), or a message went missing: say HELLO again.
struct NeedHello {
  std::string reason;
};
/// The peer is turned away for good (wrong protocol, wrong role, refused name): say why and stop.
struct Refused {
  Errc code = Errc::NotAllowed;
  std::string reason;
};

using Body = Sum<std::variant<
    Heartbeat, NeedHello, Refused,                                                     // 0
    Enrol, WorkerHello, Started, Results, Returned, WorkerNotice, Goodbye, LogChunk,   // 3
    Enrolled, Welcome, JobTemplate, Start, Cancel, Recall, ResultAck, LogAck, Follow,  // 11
    ClientHello, SubmitOpen, SubmitInputs, SubmitClose, Control,                       // 20
    ListJobs, GetJob, ListTasks, ListWorkers, GetStatus, ReadLog, Watch, Unwatch,
    WatchCredit,                                                                          // 25
    Denied, Accepted, Submitted, Done,                                                    // 34
    JobList, JobReply, TaskList, WorkerList, StatusReply, LogData, WatchEvents,           // 38
    Purge, WorkerControl, KeyAdd, KeyRevoke, ListKeys,                                    // 45
    ListAttempts, Why, ListEvents, ReadBackup,                                            // 50
    AttemptList, WhyReply, EventList, KeyList, BackupData,                                // 54
    SubmitStdin, JobStdin,                                                                // 59
    PeerHello, PreVote, PreVoted, Prepare, Promised, Rejected, Accept, RegisterAccepted,  // 61
    Append, Appended, Behind, SnapshotOffer, SnapshotAsk, SnapshotData, TakeOver, Reseed, LogRelay,
    LogRelayed,                                              // 69
    AskCluster, ClusterView, ClusterControl, ClusterDone>>;  // 79

/// What is on the wire. The type's number is `body.index() + 1`.
struct Message {
  SessionId session;
  std::uint64_t n = 0;
  Epoch epoch;
  Body body;
};

}  // namespace capstan::msg

extern template class capstan::Sum<capstan::msg::Body::variant>;
