// SPDX-License-Identifier: MIT
//
// The shepherd's loop and its doors: signals, processes, spool, agent. See shepherd_main.h.
#pragma once

#include <poll.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/unique_fd.h"
#include "worker/core/shepherd.h"
#include "worker/exec/cpu_claims.h"
#include "worker/exec/runner.h"
#include "worker/exec/spool.h"
#include "worker/exec/task_cgroup.h"
#include "worker/options.h"
#include "worker/pair_channel.h"

namespace capstan {

class ShepherdShell {
 public:
  /// REQUIRES: the directory is locked by us, and no process of an earlier life is left.
  static Result<std::unique_ptr<ShepherdShell>> open(const WorkerOptions& options,
                                                     std::string cookie);
  /// Until the machine says Exit. The exit code.
  int run();

 private:
  ShepherdShell(const WorkerOptions& options, std::string cookie)
      : options_(options), cookie_(std::move(cookie)) {}
  Result<void> open_signals();
  Result<void> open_spool();
  Result<void> open_runner();
  void claim_cpus();
  std::optional<TaskCgroups> take_cgroups();

  void turn();
  [[nodiscard]] TimePoint deadline() const;
  void wait(std::vector<pollfd>& fds) const;
  void read_signals();
  void read_pair();

  template <class Event>
  void feed(Event event) {
    events_.emplace_back(std::in_place_type<Event>, std::move(event));
  }
  void settle();
  void handle_events(TimePoint now);
  void step(shepherd::Event&& event, TimePoint now);
  void commit();
  void on_disk(const Result<void>& written);
  [[nodiscard]] Result<void> probe_disk() const;

  void execute(shepherd::Launch& launch);
  void execute(shepherd::KeepJobFiles& files);
  void execute(shepherd::DropJobFiles& files);
  void execute(shepherd::Look& look);
  void execute(shepherd::Kill& kill);
  void execute(shepherd::ToAgent& message);
  void execute(shepherd::SpoolAppend& append);
  void execute(shepherd::SpoolAcked& acked);
  void execute(shepherd::SpoolDelivered& delivered);
  void execute(shepherd::SpoolGeneration& generation);
  void execute(shepherd::SpoolSync& sync);
  void execute(shepherd::SpoolRetry& retry);
  void execute(shepherd::SetAside& aside);
  void execute(shepherd::DropOutput& output);
  void execute(shepherd::FollowOutput& follow);
  void execute(shepherd::SayReady& ready);
  void execute(shepherd::Exit& exit);

  void start_agent();
  void on_agent_ended(int status);
  void kill_agent(const char* why);

  const WorkerOptions& options_;
  std::string cookie_;
  SystemClock clock_;
  UniqueFd signals_;
  std::vector<int> ignored_signals_;
  CpuClaims cpus_;
  bool in_cgroups_ = false;
  bool said_not_held_ = false;
  std::optional<Spool> spool_;
  std::unique_ptr<Runner> runner_;
  std::optional<Shepherd> machine_;
  std::vector<shepherd::Event> events_;
  std::vector<shepherd::Event> handled_;  // Empty, but for its room, while none is.

  PairChannel pair_;
  // What a new agent is told of the spool at once, however long it is: it has read none of it yet.
  std::size_t told_first_bytes_ = 0;
  pid_t agent_ = 0;  // 0: none runs.
  TimePoint agent_since_;
  TimePoint agent_due_;                             // When the next one is to be started.
  TimePoint agent_doomed_at_ = TimePoint::never();  // It closed the pair, and has so long to end.
  Micros agent_pause_{0};
  std::optional<int> agent_status_;

  bool disk_full_ = false;
  std::optional<shepherd::Exit> exit_;
};

}  // namespace capstan
