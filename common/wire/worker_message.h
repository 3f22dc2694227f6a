// SPDX-License-Identifier: MIT
//
// The messages between workers and masters. message.h has the rules of a session and for changes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/job.h"
#include "common/model/member.h"
#include "common/model/task.h"

namespace capstan::msg {

// --- Worker -> master ----------------------------------------------------------------------------

/// With the invitation's key only: make this key a worker. Repeated with the same key it gives the
/// same answer.
struct Enrol {
  std::uint32_t protocol = 0;
  std::string public_key;
  std::string name;
};

/// An attempt that a worker holds: queued there or running.
struct HeldAttempt {
  AttemptKey key;
  bool started = false;
  bool operator==(const HeldAttempt&) const = default;
};

/// Opens a session and is a full reconcile: all that the shepherd holds and has spooled.
struct WorkerHello {
  std::uint32_t protocol = 0;
  std::string version;
  Instance instance;
  Epoch highest_epoch;    ///< Seen so far; 0 at first.
  Generation generation;  ///< Of the last Welcome obeyed; zero at first.
  std::uint32_t cpus = 0;
  std::string containment;  ///< "cgroup" or "weak containment".
  std::vector<HeldAttempt> held;
  std::vector<AttemptKey> spooled;  ///< Their results follow after Welcome.
  bool leaving = false;             ///< It was told to stop: no new work.
  bool disk_full = false;           ///< It takes no new work until this is over.
  std::uint64_t mem_bytes = 0;      ///< What its tasks may use together; 0: not known.
  std::uint64_t number = 0;         ///< Counts up with the worker's HELLOs.
};

/// Held until the attempt ran for a moment: short ones are only told by their result.
struct Started {
  struct One {
    AttemptKey key;
    Micros ago{0};
  };
  std::vector<One> started;
};
/// At most kMessageBytes; resent after each Welcome until acknowledged.
struct Results {
  std::vector<AttemptResult> results;
};
/// Attempts that a Recall asked for and that were never started.
struct Returned {
  std::vector<AttemptKey> keys;
};
/// It was told to stop (SIGTERM), or its disk is full, or that is over: no new work while set.
struct WorkerNotice {
  bool leaving = false;
  bool disk_full = false;
};
/// It stops now: nothing runs, everything is acknowledged or will be spooled.
struct Goodbye {};

/// Bytes of a task's output that are not part of its result. Under credit: at most
/// kLogChunksInFlight unacknowledged for each worker.
struct LogChunk {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t offset = 0;  ///< In the original stream; jumps where bytes were dropped.
  Bytes data;                ///< At most kLogChunkBytes.
  bool last = false;         ///< Nothing follows on this stream.
};

// --- Master -> worker ----------------------------------------------------------------------------

struct Enrolled {
  std::string name;
};

/// Opens a session. To clients and workers alike.
struct Welcome {
  std::uint32_t protocol = 0;
  std::string version;
  Instance instance;  ///< The worker's own, echoed: an old Welcome is ignored.
  Uuid cluster;
  Generation generation;
  std::vector<Member> members;
  std::uint64_t members_version = 0;
  Micros heartbeat_every{0};
  std::string name;          ///< The peer's own name, as enrolled.
  Role role = Role::Worker;  ///< The peer's own.
  std::uint64_t hello = 0;   ///< The number of the HELLO that it answers; 0: not said.
};
/// Before the first Start of a job in a session.
struct JobTemplate {
  JobId job;
  JobSpec spec;
};
/// Behind the template of a job with `has_stdin`, before its first Start: what each task reads.
struct JobStdin {
  JobId job;
  std::uint64_t offset = 0;
  Bytes data;         ///< At most kMessageBytes.
  bool last = false;  ///< Nothing follows.
};
struct Start {
  struct One {
    TaskIndex task;
    std::vector<Bytes> inputs;  ///< Its values: `spec.inputs_per_task`, the last task's fewer.
  };
  JobId job;
  AttemptNo attempt;
  std::vector<One> tasks;
};
struct Cancel {
  CancelWhy why = CancelWhy::User;
  std::vector<AttemptKey> keys;
};
struct Recall {
  std::vector<AttemptKey> keys;
};
/// Committed: the spool may forget them. As runs, since there is one for each task.
struct ResultAck {
  std::vector<AttemptRun> runs;
};
/// Durable at the master up to `upto`: gives back one credit. `upto` of the last chunk: the file
/// may go.
struct LogAck {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t upto = 0;
  bool last = false;
};
/// Deliver the output of this job's attempts live (or not any more).
struct Follow {
  JobId job;
  bool on = false;
};

}  // namespace capstan::msg
