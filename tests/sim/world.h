// SPDX-License-Identifier: MIT
//
// One simulation: a master, some workers, some clients, faults drawn from the seed; then the faults
// stop and everything must come to rest. The first broken promise is the result.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "master/core/queue.h"
#include "tests/sim/master.h"
#include "tests/sim/network.h"
#include "tests/sim/run.h"
#include "tests/sim/schedule.h"
#include "tests/sim/workload.h"

namespace capstan::sim {

/// The deliberate mistakes: one of the master's, or one of the agent's, or none.
struct Mutants {
  QueueMutant queue = QueueMutant::None;
  AgentMutant agent = AgentMutant::None;
};

class World {
 public:
  World(std::uint64_t seed, Mutants mutants, bool print);
  Outcome run();

 private:
  void build();
  void schedule_faults();
  void one_fault();
  void process_fault();
  void network_fault();
  bool watch_until(TimePoint until, bool stop_when_settled);
  void calm();
  [[nodiscard]] bool is_settled() const;
  void check();
  void check_end();
  void fail(const std::string& what);

  Mutants mutants_;
  Schedule schedule_;
  Network network_;
  bool gentle_ = false;  ///< No worker is lost or killed, nothing fails: nothing runs twice.
  Workload work_;
  std::unique_ptr<Master> master_;
  bool calm_ = false;
  std::uint64_t faults_ = 0;
  std::string error_;
};

}  // namespace capstan::sim
