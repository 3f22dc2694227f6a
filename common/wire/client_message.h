// SPDX-License-Identifier: MIT
//
// The messages of clients to masters (client_reply.h has the answers). message.h has the rules of a
// session and for changes. Mutations carry a request id, reads a query id, watches a watch id; all
// are chosen by the client.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/job.h"
#include "common/model/member.h"
#include "common/model/parse.h"
#include "common/model/task.h"
#include "common/wire/view.h"

namespace capstan::msg {

struct ClientHello {
  std::uint32_t protocol = 0;
  std::string version;
  Epoch highest_epoch;
};

/// Mutations carry `request`: the same id gets the same answer, for kRequestsKept.
/// Opens a submission. With `token`, contents with another digest are a Conflict, and the same
/// digest answers Submitted at once.
struct SubmitOpen {
  RequestId request;
  std::string token;
  Bytes digest;  ///< 16 bytes over spec and inputs, made by the client.
  JobSpec spec;  ///< Without `indices` when it has inputs: the close counts them.
};
/// The bytes of a job with `spec.has_stdin`, before its inputs: at most kStdinBytes, in order, each
/// kInputChunkBytes but the last. Answered by Accepted. `part` counts on over these and the inputs.
struct SubmitStdin {
  RequestId request;
  std::uint64_t part = 0;
  Bytes data;
};
/// Part 0, 1, 2 … of the inputs. Answered by Accepted. Parts may be on their way together. The
/// values of one task are all in one part.
struct SubmitInputs {
  RequestId request;
  std::uint64_t part = 0;
  std::vector<Bytes> inputs;
};
/// Commits. Answered by Submitted.
struct SubmitClose {
  RequestId request;
  std::uint64_t parts = 0;
  std::uint64_t inputs = 0;
};

enum class Verb : std::uint8_t {
  Cancel = 0,
  Pause = 1,
  Resume = 2,
  Retry = 3,
  RetryFailed = 4,
  Prioritise = 5,
  Delete = 6,  ///< Finished jobs, with their logs.
};
/// Answered by Done.
struct Control {
  RequestId request;
  Verb verb = Verb::Cancel;
  std::vector<Selector> targets;
  std::string reason{};       ///< Of a Cancel, in words.
  std::int32_t priority = 0;  ///< Of a Prioritise.
};
/// Deletes the caller's finished jobs (an admin's: everybody's) that ended so long ago. Answered by
/// Done.
struct Purge {
  RequestId request;
  Micros older_than{0};
};

enum class WorkerVerb : std::uint8_t { Drain = 0, Resume = 1, Remove = 2 };
/// Admin's. Answered by Done.
struct WorkerControl {
  RequestId request;
  WorkerVerb verb = WorkerVerb::Drain;
  std::vector<std::string> names;
  std::string reason;
};

/// Admin's. The key pair is made by the client; only its public half travels. Answered by Done.
struct KeyAdd {
  RequestId request;
  std::string name;
  std::string public_key;
  Role role = Role::User;
};
/// All keys of that name: shut out at once. Answered by Done.
struct KeyRevoke {
  RequestId request;
  std::string name;
};
struct ListKeys {
  std::uint64_t query = 0;
};

/// Reads carry `query`, chosen by the client, echoed in the answer.
struct ListJobs {
  std::uint64_t query = 0;
  JobId before;
  std::uint32_t limit = 0;
  bool live_only = false;
  std::uint32_t states = 0;    ///< A bit for each JobState; 0: all.
  std::string name{};          ///< Glob with * and ?; "": any.
  std::string tag{};           ///< "": any.
  std::string owner{};         ///< "": any that the caller may see.
  WallTime submitted_since{};  ///< 0: any.
};
struct GetJob {
  std::uint64_t query = 0;
  Selector which;
};
/// Tasks in ascending index from `after` on (exclusive; `from_start` first). `states`: a bit for
/// each TaskState, 0 for all.
struct ListTasks {
  std::uint64_t query = 0;
  JobId job;
  std::uint32_t states = 0;
  bool from_start = true;
  TaskIndex after;
  std::vector<IndexRange> only;  ///< Empty: all.
  std::uint32_t limit = 0;
};
/// In the order of their enrolment, from behind `after` on (the `last` of the page before).
struct ListWorkers {
  std::uint64_t query = 0;
  WorkerId after;
};
struct GetStatus {
  std::uint64_t query = 0;
};
/// All attempts at one task, ascending.
struct ListAttempts {
  std::uint64_t query = 0;
  JobId job;
  TaskIndex task;
};
/// Why a task does not run (yet), worker by worker.
struct Why {
  std::uint64_t query = 0;
  JobId job;
  TaskIndex task;
};
/// What was decided, from committed entries behind `after`. job 0: of everything that the caller
/// may see, in sums; task 0: of the whole job. `newest`: the last ones before `after` (0: before
/// the end of the journal).
struct ListEvents {
  std::uint64_t query = 0;
  JobId job;
  TaskIndex task;
  Seq after;
  std::uint32_t limit = 0;
  bool newest = false;
};
/// Admin's. A copy of the database is made at the first (offset 0) and read on with `backup`.
struct ReadBackup {
  std::uint64_t query = 0;
  Uuid backup;  ///< As in the first answer; none at first.
  std::uint64_t offset = 0;
};
/// Bytes of one attempt's stream from `offset`. attempt 0: the task's last.
struct ReadLog {
  std::uint64_t query = 0;
  JobId job;
  TaskIndex task;
  AttemptNo attempt;
  Stream stream = Stream::Stdout;
  std::uint64_t offset = 0;
};
/// Tell me of this job from position `from` on: its state as it changes, with `tasks` each task
/// that ended with the output in its result, with `output` when more output of a running one is
/// here.
struct Watch {
  std::uint64_t watch = 0;  ///< Chosen by the client.
  JobId job;
  Generation generation;  ///< Of `from`.
  Seq from;               ///< 0: from the beginning.
  bool tasks = false;
  bool output = false;
};
struct Unwatch {
  std::uint64_t watch = 0;
};
/// So many WatchEvents of this watch were handled: gives back that much credit.
struct WatchCredit {
  std::uint64_t watch = 0;
  std::uint32_t handled = 0;
};

}  // namespace capstan::msg
