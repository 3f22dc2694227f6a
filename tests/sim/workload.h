// SPDX-License-Identifier: MIT
//
// What a simulated cluster is there for: workers that run tasks, users who submit and steer jobs,
// an admin who drains workers; all drawn from the seed. Says when everything is done, and whether
// what users were told is what the tables have at the end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/core/queue.h"
#include "master/store/store.h"
#include "tests/sim/client.h"
#include "tests/sim/network.h"
#include "tests/sim/schedule.h"
#include "tests/sim/worker.h"

namespace capstan::sim {

class Workload {
 public:
  struct Options {
    std::vector<Network*> masters;
    bool gentle = false;  ///< Nothing fails, nothing is cancelled: nothing needs to run twice.
    Micros lasts{};       ///< Submissions are spread over this.
    AgentMutant mutant = AgentMutant::None;
  };
  Workload(Schedule& schedule, Options options) : schedule_(schedule), options_(options) {}

  static net::Identity worker_identity(std::uint64_t number);

  void add_workers(std::uint64_t count);
  void add_clients();
  void schedule_work();

  [[nodiscard]] Micros lasts() const { return options_.lasts; }
  [[nodiscard]] Worker& any_worker();
  [[nodiscard]] Client& any_client();
  [[nodiscard]] std::uint64_t executions() const { return executions_.count; }

  /// The faults stop: every worker is up, and every attempt succeeds from now on.
  void calm();
  /// What was paused or drained is let go, again and again.
  void resume_all();
  /// What was acknowledged was lost by an operator's word: the workers begin anew, and what users
  /// were told does not count any more.
  void begin_anew();
  [[nodiscard]] bool is_settled() const;
  /// The first thing that was wrong, or "".
  [[nodiscard]] std::string complaint() const;
  [[nodiscard]] std::string describe() const;
  /// What users were told, and what was really executed, against the tables. "" when they agree.
  [[nodiscard]] std::string check_end(store::Tables& tables) const;
  /// No attempt was a second one. "" when it is so.
  [[nodiscard]] std::string check_nothing_ran_again() const;

 private:
  JobSpec random_spec(std::uint64_t& inputs);
  void add_waiting(JobSpec& spec, const Client& client);
  void schedule_drains();
  void steer();
  [[nodiscard]] std::string check_client(const Client& client, store::Tables& tables) const;
  [[nodiscard]] std::string check_job(const JobRow& job, store::Tables& tables) const;

  Schedule& schedule_;
  Options options_;
  Executions executions_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> admin_;
  bool has_lost_ = false;
  std::uint32_t most_cpus_ = 0;  ///< Of one worker: a job asks for no more.
  std::uint64_t most_mem_ = 0;   ///< Of that worker.
};

}  // namespace capstan::sim
