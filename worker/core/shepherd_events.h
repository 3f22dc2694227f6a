// SPDX-License-Identifier: MIT
//
// What happens to the shepherd's machine (shepherd.h), and what it wants done: plain structs in two
// variants.
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
#include "common/model/limits.h"
#include "worker/core/pair.h"

namespace capstan {

/// Whether the kernel killed it for memory.
enum class Oom : std::uint8_t {
  None,
  OwnLimit,  ///< It used all that it may.
  Around,    ///< It did not: its worker's group, or the machine, had none left.
};

/// How a process tree ended, as the runner saw it. The tree is gone and its output is read.
struct RunEnd {
  int exit_code = 0;
  int signal = 0;  ///< The signal that ended the main process, or 0.
  Micros cpu{0};
  std::uint64_t max_rss_bytes = 0;
  std::uint64_t rss_floor_bytes = 0;  ///< What max_rss_bytes has from the start: not the task's.
  std::array<std::uint64_t, 2> output_bytes{};  ///< By Stream.
  std::array<SparseText, 2> tail{};             ///< By Stream, at most kTailBytes.
  Oom oom = Oom::None;
  SparseText note{};  ///< What else a person should know, or "".
};

namespace shepherd {

// --- Events --------------------------------------------------------------------------------------
/// A new agent is there and knows nothing.
struct AgentUp {};
struct AgentDown {};
struct FromAgent {
  pair::ToShepherd message;
};
/// The answers to Launch: its main process runs, or the system refused with these words.
struct Launched {
  AttemptKey key;
  bool holds_memory = false;  ///< The kernel holds it to its memory: it need not be measured.
};
struct LaunchFailed {
  AttemptKey key;
  std::string reason;
};
struct Gone {
  AttemptKey key;
  RunEnd end;
};
struct OutputGrew {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t total = 0;
};
/// The answer to Look.
struct Seen {
  AttemptKey key;
  TimePoint output_at{};        ///< When it wrote something last; its start, when it did not yet.
  std::uint64_t mem_bytes = 0;  ///< That its processes use now.
};
/// Files of KeepJobFiles could not be written. Disk follows.
struct FilesFailed {
  JobId job;
};
/// SIGTERM: leave. A second one: at once, without grace.
struct Leave {};
/// Writing to the disk fails (the spool or an output), or works again.
struct Disk {
  bool full = false;
};
/// After SetAside was executed: the next instance of this worker, from the shell's randomness.
struct NewInstance {
  Instance instance;
};
/// After each batch of events, and at next_deadline().
struct Tick {};

using Event = std::variant<AgentUp, AgentDown, FromAgent, Launched, LaunchFailed, Gone, OutputGrew,
                           Seen, FilesFailed, Leave, Disk, NewInstance, Tick>;

// --- Actions, to be executed in this order -------------------------------------------------------
/// What all tasks of a job are launched with.
struct JobPart {
  pair::RunSettings settings{};
  std::vector<Bytes> argv{};       ///< Empty: each has its own.
  std::vector<std::string> env{};  ///< "NAME=value" each.
  bool has_script = false;         ///< For which argv[0] stands.
  bool has_stdin = false;
};
struct Launch {
  AttemptKey key;
  /// As the machine keeps it until the next step. Its cpus are what was asked for, `cpus` here what
  /// it gets; its memory is to be held to, where that can be.
  const JobPart* job = nullptr;
  std::vector<Bytes> argv{};          ///< Empty: its job's.
  std::optional<Bytes> input{};       ///< For its environment, behind its job's.
  std::array<SparseText, 2> files{};  ///< By Stream; relative to its cwd.
  bool followed = false;
  std::uint32_t cpus = 1;  ///< To be pinned to so many, which nobody else is pinned to.
  [[nodiscard]] const std::vector<Bytes>& command() const {
    return argv.empty() ? job->argv : argv;
  }
};
/// For Launches whose job has a script or stdin. FilesFailed when they cannot be written.
struct KeepJobFiles {
  JobId job;
  Bytes script{};
  bool has_stdin = false;
  Bytes stdin_data{};
};
struct DropJobFiles {
  JobId job;
};
/// How is it doing? Answered by Seen.
struct Look {
  AttemptKey key;
};
/// To the whole tree. `force`: SIGKILL, else SIGTERM.
struct Kill {
  AttemptKey key;
  bool force = false;
};
struct ToAgent {
  pair::ToAgent message;
};
/// Records of the spool. Written (not synced) before anything that follows is told.
struct SpoolAppend {
  std::vector<const pair::SpoolItem*> items;  ///< As the machine keeps them until the next step.
  bool tells = false;                         ///< Then the agent hears of them (pair::Ended).
};
struct SpoolAcked {
  std::vector<AttemptKey> keys;
};
struct SpoolDelivered {
  AttemptKey key;
  Stream stream = Stream::Stdout;
};
struct SpoolGeneration {
  Generation generation;
};
/// What is appended has waited undelivered for kSpoolSyncAfter.
struct SpoolSync {};
/// The disk was full: try to write what waits, answer with Disk.
struct SpoolRetry {};
/// Rename the spool and the outputs, begin empty ones, answer with NewInstance.
struct SetAside {};
struct DropOutput {
  AttemptKey key;
  Stream stream = Stream::Stdout;
};
struct FollowOutput {
  JobId job;
  bool on = false;
};
/// The first session is open: the ready line.
struct SayReady {
  std::string name;
};
/// End the process: the agent was told to go (code 0), or refused (2, 3). Nothing runs any more.
struct Exit {
  int code = 0;
  std::string message{};
};

using Action = std::variant<Launch, KeepJobFiles, DropJobFiles, Look, Kill, ToAgent, SpoolAppend,
                            SpoolAcked, SpoolDelivered, SpoolGeneration, SpoolSync, SpoolRetry,
                            SetAside, DropOutput, FollowOutput, SayReady, Exit>;
using Actions = std::vector<Action>;

struct Config {
  Instance instance{};
  std::uint32_t cpus = 1;
  std::uint64_t mem_bytes = 0;  ///< For tasks together; 0: not known.
  Micros grace{limits::kGrace};
  Micros kill_grace{limits::kKillGrace};
};

}  // namespace shepherd

}  // namespace capstan
