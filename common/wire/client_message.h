// SPDX-License-Identifier: MIT
//
// The messages between clients and masters. message.h has the rules of a session and for changes.
// Mutations carry a request id, reads a query id, watches a watch id; all are chosen by the client.
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

// --- Client -> master ----------------------------------------------------------------------------

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
/// Part 0, 1, 2 … of the inputs. Answered by Accepted. Parts may be on their way together.
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

enum class Verb : std::uint8_t { Cancel = 0, Pause = 1, Resume = 2, Retry = 3, RetryFailed = 4 };
/// Answered by Done.
struct Control {
  RequestId request;
  Verb verb = Verb::Cancel;
  std::vector<Selector> targets;
};

/// Reads carry `query`, chosen by the client, echoed in the answer.
struct ListJobs {
  std::uint64_t query = 0;
  JobId before;
  std::uint32_t limit = 0;
  bool live_only = false;
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
struct ListWorkers {
  std::uint64_t query = 0;
};
struct GetStatus {
  std::uint64_t query = 0;
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

// --- Master -> client ----------------------------------------------------------------------------

/// A request or query was refused, nothing changed. Errc::Unavailable: try again.
struct Denied {
  RequestId request;
  std::uint64_t query = 0;
  Errc code = Errc::Invalid;
  std::string reason;
};
struct Accepted {
  RequestId request;
  std::uint64_t part = 0;
};
struct Submitted {
  RequestId request;
  JobId job;
  std::uint64_t tasks = 0;
  std::string warning;
};
struct Done {
  RequestId request;
  std::vector<JobId> jobs;
  std::uint64_t tasks = 0;
  std::string note;
};

struct JobList {
  std::uint64_t query = 0;
  std::vector<JobView> jobs;
  bool more = false;
};
struct JobReply {
  std::uint64_t query = 0;
  JobView job;
};
struct TaskList {
  std::uint64_t query = 0;
  std::vector<TaskView> tasks;
  bool more = false;
};
struct WorkerList {
  std::uint64_t query = 0;
  std::vector<WorkerView> workers;
};
struct StatusReply {
  std::uint64_t query = 0;
  std::string version;
  std::string master;  ///< Its name, "a".
  Uuid cluster;
  Epoch epoch;
  Seq seq;
  Micros uptime{0};
  std::uint32_t workers_up = 0, workers_away = 0;
  std::uint32_t cpus = 0, cpus_running = 0;
  std::uint64_t jobs_live = 0;
  JobCounts tasks;  ///< Of live jobs.
  std::uint64_t refused_messages = 0, refused_connections = 0;
  std::uint64_t memory_bytes = 0, database_bytes = 0, disk_free_bytes = 0;
  std::vector<std::string> alarms;
};
/// `data` from `offset` on (behind a hole where bytes were dropped: then offset is larger than
/// asked for). `end`: nothing comes after it, ever. Neither data nor end: not delivered yet, ask
/// again when the watch says so. `total`: bytes of the stream as far as known.
struct LogData {
  std::uint64_t query = 0;
  AttemptNo attempt;
  std::uint64_t offset = 0;
  Bytes data;
  bool end = false;
  std::uint64_t total = 0;
};

/// A task that ended, in a watch. With the output that its result carries.
struct TaskEnded {
  TaskView view;
  Bytes stdout_tail, stderr_tail;
};
/// More of a stream can be read now, up to `upto`.
struct OutputGrew {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t upto = 0;
};
/// Of one watch, in order. `reset`: forget what you counted, `job` is the state now. `seq`: the
/// position to resume from; it moves on only when everything up to it was told.
struct WatchEvents {
  std::uint64_t watch = 0;
  bool reset = false;
  bool caught_up = false;  ///< The mark "this is now".
  Generation generation;
  Seq seq;
  std::vector<JobView> job;      ///< None, or the job as it is now.
  std::vector<TaskEnded> ended;  ///< May repeat a task after a resumption: the attempt tells.
  std::vector<OutputGrew> grew;
};

}  // namespace capstan::msg
