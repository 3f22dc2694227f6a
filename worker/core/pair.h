// SPDX-License-Identifier: MIT
//
// What the shepherd and its agent say to each other over their one inherited socket pair, as plain
// structs in two variants. The pair is reliable and in order while both live; when the agent dies
// what it had not written is gone, and the next agent begins with the shepherd's whole state:
//
//   shepherd -> agent:  State, Spooled ..., Synced, then what happens
//   agent -> shepherd:  what the masters want (JobTemplate, Runs, Cancel, Recall, ForgetJob), what
//                       they confirmed (Acked, Delivered)
//
// Both are always the same binary and the same build: no versions here. pair_codec.h is the format.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/sparse_text.h"
#include "common/model/job.h"
#include "common/model/member.h"
#include "common/model/task.h"

namespace capstan::pair {

/// An attempt that the shepherd holds: it waits for slots, or runs.
struct Held {
  AttemptKey key;
  bool started = false;
  TimePoint started_at{};  ///< Valid when started. The same steady clock: it is the same machine.
  bool operator==(const Held&) const = default;
};

/// A result that no master confirmed yet, or whose output is still to be delivered.
struct SpoolItem {
  Instance instance{};  ///< The life that its attempt was granted to: only from it does it count.
  AttemptResult result{};
  TimePoint ended_at{};
  bool acked = false;               ///< The result is committed at the master.
  std::array<bool, 2> delivered{};  ///< By Stream: nothing more is to be sent of it.
  bool operator==(const SpoolItem&) const = default;
  /// Nobody needs it any more.
  [[nodiscard]] bool is_done() const { return acked && delivered[0] && delivered[1]; }
};

// --- Shepherd -> agent ---------------------------------------------------------------------------

/// First of all. Spooled and Synced follow.
struct State {
  Instance instance{};
  std::uint32_t cpus = 0;
  std::uint64_t mem_bytes = 0;  ///< For tasks together; 0: not known.
  Generation generation{};      ///< Of the last Welcome that was obeyed; zero: none yet.
  Epoch epoch{};                ///< The highest that was obeyed.
  bool leaving = false;
  bool disk_full = false;
  std::vector<Held> held{};
  std::vector<JobId> jobs{};  ///< Whose templates are here (JobTemplate).
};
/// A part of the spool, in the order in which the attempts ended.
struct Spooled {
  std::vector<SpoolItem> items;
};
/// That was all: HELLO may be said.
struct Synced {};
struct StartedAt {
  AttemptKey key;
  TimePoint at;
};
/// These attempts ended and are not held any more; they are in the spool already.
struct Ended {
  std::vector<SpoolItem> items;
};
/// Never started, and not held any more.
struct Returned {
  std::vector<AttemptKey> keys;
};
/// Output of a followed attempt: the stream has `total` bytes now.
struct OutputGrew {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t total = 0;
};
struct Notice {
  bool leaving = false;
  bool disk_full = false;
};
/// After Notice{leaving}: nothing runs any more and nothing is left to tell. Say goodbye and exit.
struct AllDone {};

using ToAgent =
    std::variant<State, Spooled, Synced, StartedAt, Ended, Returned, OutputGrew, Notice, AllDone>;

// --- Agent -> shepherd ---------------------------------------------------------------------------

/// How all tasks of a job are run.
struct RunSettings {
  Bytes cwd{};
  std::uint32_t cpus = 1;
  Micros time_limit{0};         ///< 0: none.
  Micros stall_limit{0};        ///< Without output; 0: none.
  std::uint64_t mem_bytes = 0;  ///< 0: not said.
  std::int32_t nice = 0;
};
/// What the tasks of a job have in common, said once: most of what a Run would weigh. Kept until
/// ForgetJob, script and stdin in files. Before the first Run of it.
struct JobTemplate {
  JobId job;
  RunSettings settings{};
  std::vector<Bytes> argv{};  ///< Empty: each Run says its own.
  std::vector<EnvVar> env{};  ///< The worker's and the job's.
  Bytes script{};             ///< For which argv[0] of its tasks stands; "": none.
  bool has_stdin = false;     ///< Its tasks read it; else nothing.
  Bytes stdin_data{};
};
/// None of its attempts is held any more: what was kept for it may go.
struct ForgetJob {
  JobId job;
};
/// Idempotent: ignored when the attempt is held or spooled. Returned without its job's template.
struct Run {
  AttemptKey key;
  std::vector<Bytes> argv{};          ///< Empty: its job's.
  std::optional<Bytes> input{};       ///< For its environment.
  std::array<SparseText, 2> files{};  ///< By Stream, for its output beside the log; "": none.
};
/// Together, in this order.
struct Runs {
  std::vector<Run> runs;
};
/// It cannot even be tried: reported as a launch error, as idempotent as Run.
struct Unrunnable {
  AttemptKey key;
  std::string reason;
};
struct Cancel {
  CancelWhy why = CancelWhy::User;
  std::vector<AttemptKey> keys;
};
/// Give back what was never started.
struct Recall {
  std::vector<AttemptKey> keys;
};
/// Results that are committed at the master.
struct Acked {
  std::vector<AttemptKey> keys;
};
/// Tell of this job's output as it grows.
struct Follow {
  JobId job;
  bool on = false;
};
/// `last`: the stream is delivered whole, its file may go.
struct Delivered {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t upto = 0;
  bool last = false;
};
/// A session is open: remembered for the next agent.
struct Ready {
  std::string name{};
  Generation generation{};
  Epoch epoch{};
};
/// The cluster began anew (a restore): kill everything, set the spool aside, be a new instance.
struct NewGeneration {
  Generation generation;
};
/// The agent stops and cannot be helped by another start.
struct Fatal {
  int exit_code = 3;
  std::string message;
};

using ToShepherd = std::variant<JobTemplate, ForgetJob, Runs, Unrunnable, Cancel, Recall, Acked,
                                Follow, Delivered, Ready, NewGeneration, Fatal>;

}  // namespace capstan::pair
