// SPDX-License-Identifier: MIT
//
// One worker machine: the real Shepherd and the real Agent between a virtual network, a virtual
// disk and virtual processes. Its agent, its shepherd, both or the machine may die at any moment;
// what was written survives the processes, what was not synced is lost with the power.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/network.h"
#include "tests/sim/schedule.h"
#include "worker/core/agent.h"
#include "worker/core/shepherd.h"

namespace capstan::sim {

/// What all workers of a simulation share: who executed what, and what was found wrong.
struct Executions {
  std::map<AttemptKey, int> launched;  ///< How often each attempt was really started.
  std::set<AttemptKey> succeeded;      ///< Ran to its end and said 0.
  std::uint64_t count = 0;
  std::string complaint;
  void complain(const std::string& what) {
    if (complaint.empty()) complaint = what;
  }
};

class Worker {
 public:
  struct Options {
    std::string name;
    std::uint32_t cpus = 1;
    std::uint64_t mem_bytes = 0;
    unsigned fail_percent = 0;  ///< Of attempts.
    AgentMutant mutant = AgentMutant::None;
  };
  /// One link to each of `masters`.
  Worker(Schedule& schedule, std::vector<Network*> masters, Executions& executions,
         Options options);

  void kill_agent();               ///< kill -9; its shepherd starts another at once.
  void kill_shepherd();            ///< kill -9: its tasks die with it; started again after a while.
  void cut_power();                ///< Shepherd, agent and what the disk had not synced.
  void stop_for(Micros how_long);  ///< SIGSTOP of agent and shepherd, tasks run on.
  void leave();                    ///< SIGTERM; started again after a while.
  void set_disk_full(bool full);
  void fail_no_more();  ///< The faults stop: every attempt from now on succeeds.
  void start();         ///< When nothing of it runs.
  void begin_anew();    ///< Killed, and nothing of its spool is left.

  [[nodiscard]] bool is_up() const { return shepherd_ != nullptr; }
  [[nodiscard]] bool is_idle() const;
  [[nodiscard]] const std::string& name() const { return options_.name; }
  [[nodiscard]] std::string describe() const;

 private:
  struct Process {
    std::uint64_t life = 0;  // Its own number: what is scheduled for another one is ignored.
    std::uint32_t cpus = 1;
    std::uint64_t mem_bytes = 0;
    bool ignores_term = false;
    bool success = true;
    std::uint64_t output = 0;
    bool ending = false;
    TimePoint started_at;
  };

  void add_link(std::size_t master);
  void start_agent();
  void to_shepherd(shepherd::Event event);
  void to_agent(agent::Event event);
  void run(const shepherd::Actions& actions);
  void run(const agent::Actions& actions);
  void do_action(const shepherd::Launch& action);
  void do_action(const shepherd::KeepJobFiles& action) { files_.insert(action.job); }
  void do_action(const shepherd::DropJobFiles& action) { files_.erase(action.job); }
  void do_action(const shepherd::Look& action);
  void do_action(const shepherd::Kill& action);
  void do_action(const shepherd::ToAgent& action);
  void do_action(const shepherd::SpoolAppend& action);
  void do_action(const shepherd::SpoolAcked& action);
  void do_action(const shepherd::SpoolDelivered& action);
  void do_action(const shepherd::SpoolGeneration& action) { spool_generation_ = action.generation; }
  void do_action(const shepherd::SpoolSync&) { synced_ = spool_; }
  void do_action(const shepherd::SpoolRetry& action);
  void do_action(const shepherd::SetAside& action);
  void do_action(const shepherd::DropOutput&) {}
  void do_action(const shepherd::FollowOutput&) {}
  void do_action(const shepherd::SayReady&) {}
  void do_action(const shepherd::Exit& action);
  void do_action(const agent::Send& action);
  void do_action(const agent::ToShepherd& action);
  void do_action(const agent::ReadOutput& action);
  void do_action(const agent::SessionOpened&) {}
  void do_action(const agent::SessionEnded&) {}
  void do_action(const agent::MembersChanged&) {}
  void do_action(const agent::Warn&) {}
  void do_action(const agent::Stop& action);
  void end_process(const AttemptKey& key, int signal);
  void forget_done();
  void wake_shepherd();
  void wake_agent();
  Instance fresh_instance();
  [[nodiscard]] bool is_stopped() const { return schedule_.now() < stopped_until_; }
  void check_room() const;

  Schedule& schedule_;
  std::vector<Network*> masters_;
  Executions& executions_;
  Options options_;
  std::vector<Link*> links_;  // Of each master.
  std::unique_ptr<Shepherd> shepherd_;
  std::unique_ptr<Agent> agent_;
  std::uint64_t shepherd_life_ = 0, agent_life_ = 0;
  TimePoint shepherd_wakes_ = TimePoint::never(), agent_wakes_ = TimePoint::never();
  TimePoint pair_to_agent_, pair_to_shepherd_;  // The pair is in order.
  TimePoint stopped_until_;
  std::uint64_t next_process_ = 1;
  std::map<AttemptKey, Process> processes_;
  struct Needs {
    std::uint32_t cpus = 0;
    std::uint64_t mem_bytes = 0;
  };
  std::map<JobId, Needs> needs_;
  std::set<JobId> files_;                        // Kept for attempts of these jobs.
  std::vector<pair::SpoolItem> spool_, synced_;  // The file, and what of it is on the platter.
  Generation spool_generation_;
  bool disk_full_ = false;
};

}  // namespace capstan::sim
