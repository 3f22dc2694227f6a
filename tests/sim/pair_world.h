// SPDX-License-Identifier: MIT
//
// One simulation of a whole cluster: two masters and a witness, workers, clients and an operator,
// faults of all of them drawn from the seed; then the faults stop, and everything must come to rest
// with both masters in sync. The first broken promise is the result.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sim/network.h"
#include "tests/sim/operator.h"
#include "tests/sim/pair_node.h"
#include "tests/sim/run.h"
#include "tests/sim/schedule.h"
#include "tests/sim/truth.h"
#include "tests/sim/workload.h"

namespace capstan::sim {

struct PairMutants {
  ha::Mutant ha = ha::Mutant::None;
  QueueMutant queue = QueueMutant::None;
  AgentMutant agent = AgentMutant::None;
  bool tells_early = false;  ///< Server::Options::tells_early.
};

struct PairOutcome : Outcome {
  Hits hits;
};

class PairWorld {
 public:
  PairWorld(std::uint64_t seed, PairMutants mutants, bool print);
  ~PairWorld();
  PairOutcome run();

 private:
  void build();
  void prepare_disks(const std::vector<net::Identity>& workers);
  void observe_log();
  void count(std::string_view what);

  // pair_faults.cc
  enum class Group : std::uint8_t { Process, Disk, Partition, Link, Worker, Steering, kGroups };
  void schedule_faults();
  void one_fault();
  void process_fault();
  void disk_fault();
  void keep_copy(PairNode& which);
  void lose_database(bool rolls_back);
  void lose_votes(PairNode& which);
  void differ();
  void mute_between(NodeId from, NodeId to, Micros how_long);
  void block_between(NodeId from, NodeId to, Micros how_long);
  void partition();
  void isolate(NodeId which, Micros how_long);
  void link_fault();
  void clog(Network& network);
  void worker_fault();
  void steering();
  void override_primary();
  void give_votes_back();
  void look_after();
  void help();
  void start_later(PairNode& which);
  PairNode& any_node();
  PairNode& any_data_node();
  [[nodiscard]] bool has_votes(const PairNode& which) const;
  [[nodiscard]] bool has_everything(PairNode& which) const;

  // pair_checks.cc
  void on_vote(NodeId id, const Vote& vote);
  std::string check_commit(const Truth::Reign& reign, const JournalEnd& end);
  void check();
  void check_end();
  [[nodiscard]] bool is_settled() const;
  [[nodiscard]] bool is_in_sync() const;
  [[nodiscard]] std::string differing_tables();
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] std::string describe_jobs() const;
  void fail(const std::string& what);

  bool watch_until(TimePoint until, bool stop_when_settled);
  void calm();

  [[nodiscard]] PairNode& node(NodeId id) { return *nodes_.at(id - 1U); }
  [[nodiscard]] NodeId leader() const;

  PairMutants mutants_;
  Schedule schedule_;
  std::vector<std::unique_ptr<Network>> networks_;
  bool gentle_ = false;  ///< No worker is lost or killed, nothing fails: nothing runs twice.
  Workload work_;
  Hits hits_;
  Truth truth_;
  MadeSnapshots snapshots_;
  ClusterParts parts_;
  std::vector<std::unique_ptr<PairNode>> nodes_;
  Operator operator_;
  bool calm_ = false;
  std::array<unsigned, static_cast<std::size_t>(Group::kGroups)> weights_{};
  std::map<NodeId, std::pair<test::MemoryStore::Copy, std::uint64_t>> copies_;  ///< And its nonce.
  TimePoint led_at_;
  std::uint64_t faults_ = 0;
  std::string error_;

  // What must hold.
  std::map<NodeId, Vote> votes_;  ///< As they were last seen durable.
  std::set<NodeId> suspects_;     ///< Their database is another one, and not yet known to be whole.
  struct Recorded {
    std::vector<NodeId> isr;
    std::set<NodeId> by;
  };
  std::map<Epoch, std::map<std::uint64_t, Recorded>> recorded_;  ///< By ver (I4).
  bool has_small_quorums_ = false;  ///< Voters were given up as lost: I4 cannot be asked.
};

}  // namespace capstan::sim
