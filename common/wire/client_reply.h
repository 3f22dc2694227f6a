// SPDX-License-Identifier: MIT
//
// The messages of masters to clients: answers and what a watch tells. message.h has the rules of a
// session and for changes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/job.h"
#include "common/model/member.h"
#include "common/model/task.h"
#include "common/wire/view.h"

namespace capstan::msg {

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
  bool more = false;
  WorkerId last;  ///< Of this page.
};
struct AttemptList {
  std::uint64_t query = 0;
  std::vector<AttemptView> attempts;
};
struct WhyReply {
  std::uint64_t query = 0;
  TaskState state = TaskState::Waiting;
  std::string reason;  ///< Of the job or the task itself: "waits for job 3", "paused", …; or "".
  std::vector<WorkerVerdict> workers;
};
struct EventList {
  std::uint64_t query = 0;
  std::vector<EventView> events;
  Seq upto;           ///< Everything up (with `newest` down) to here was looked at: next `after`.
  bool more = false;  ///< There is more now, also when this has no event: the work is bounded.
  bool gap = false;   ///< What is older than the first is not kept any more.
};
struct KeyList {
  std::uint64_t query = 0;
  std::vector<KeyView> keys;
};
struct BackupData {
  std::uint64_t query = 0;
  Uuid backup;
  std::uint64_t offset = 0;
  Bytes data;
  std::uint64_t total = 0;
  Bytes digest;  ///< Of the whole, 32 bytes (BLAKE2b).
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
