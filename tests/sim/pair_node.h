// SPDX-License-Identifier: MIT
//
// A machine of a simulated cluster: the real Node, with whichever role it has, between virtual
// networks (its own, that everybody dials, and those of the others), a virtual disk and its own
// clock. As the process's loop does, it takes what arrived and runs one turn; what it says leaves
// when the writes before it are done. It dies at any moment, also in the middle of a write, stands
// still, or begins a new life because the node says so.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "master/node.h"
#include "tests/sim/network.h"
#include "tests/sim/node_disk.h"
#include "tests/sim/node_snapshots.h"
#include "tests/sim/output_packs.h"
#include "tests/sim/schedule.h"
#include "tests/sim/truth.h"

namespace capstan::sim {

/// What the nodes of a cluster share.
struct ClusterParts {
  Schedule& schedule;
  std::vector<Voter> voters;
  std::vector<Network*> networks;  ///< Of each voter, in their order.
  Truth& truth;
  MadeSnapshots& snapshots;
  std::uint32_t min_copies = 1;
  ha::Mutant ha_mutant = ha::Mutant::None;
  QueueMutant queue_mutant = QueueMutant::None;
  bool tells_early = false;                     ///< Server::Options::tells_early.
  std::function<void(std::string_view)> count;  ///< What happened, for the coverage.
  /// May this batch be committed by this reign? "" or what is wrong.
  std::function<std::string(const Truth::Reign&, const JournalEnd&)> check_commit;
  /// An operator said that what the old primary alone has may be lost.
  bool may_lose = false;
  bool has_lost = false;  ///< It was.
  /// Called then.
  std::function<void()> on_loss;
  /// A vote is durable now.
  std::function<void(NodeId, const Vote&)> on_vote;
};

class PairNode final : private net::Listener,
                       private Votes,
                       private Peers,
                       private api::Reads,
                       private api::Logs,
                       private api::Keys {
 public:
  PairNode(ClusterParts& parts, NodeId id);
  ~PairNode() override;

  void start();
  /// kill -9, or without power when `silently`: nobody is told. It stays down until start().
  void kill(bool silently);
  /// REQUIRES: it is down. Nobody starts it before that.
  void keep_off(Micros how_long);
  void stop_for(Micros how_long);  ///< SIGSTOP.
  /// Its next write of the database fails, and the process ends with that.
  void fail_next_write();
  /// The next batch that it ships says that its rows are others.
  void differ_once() { differs_ = true; }

  [[nodiscard]] NodeId id() const { return id_; }
  [[nodiscard]] const std::string& name() const { return voter_.name; }
  [[nodiscard]] bool is_witness() const { return voter_.is_witness; }
  [[nodiscard]] bool is_up() const { return node_ != nullptr; }
  [[nodiscard]] bool is_stopped() const { return schedule_.now() < stopped_until_; }
  [[nodiscard]] const Node& node() const { return *node_; }
  [[nodiscard]] NodeDisk& disk() { return disk_; }
  [[nodiscard]] const NodeDisk& disk() const { return disk_; }
  [[nodiscard]] NodeSnapshots& snapshots() { return snapshots_; }
  /// Its connection to another node.
  [[nodiscard]] Link& link_to(NodeId other) { return *links_.at(other); }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  [[nodiscard]] std::string describe() const;

 private:
  bool send(net::PeerId peer, std::string frame) override;
  void drop(net::PeerId peer) override;
  [[nodiscard]] Result<void> save(const Vote& vote) override;
  bool send(NodeId peer, std::string frame) override;
  [[nodiscard]] std::vector<std::string> addresses_of(NodeId) const override { return {}; }
  void post(api::Reads::Question question) override;
  void append(api::Logs::Chunk chunk, std::function<void(Result<void>)> done) override;
  void read(const AttemptKey& key, Stream stream, std::uint64_t offset,
            std::function<void(Result<api::Logs::Part>)> done) override;
  void remove(JobId job, std::function<void(Result<void>)> done) override;
  void add(const net::Identity&) override {}
  void remove(const std::string&) override {}
  [[nodiscard]] bool is_taken(const std::string&) const override { return false; }

  void dial();
  void listen();
  [[nodiscard]] std::optional<Replica> open(ha::Start& start);
  [[nodiscard]] ha::Config ha_config(std::uint64_t seed) const;
  void arrive(std::function<void()> what);
  void arrive_later(Micros delay, std::function<void()> what);
  void emit(std::function<void()> what);
  void wake(TimePoint when);
  void turn();
  void note_commit();
  void note_rows(Seq applied);
  void commit(const Truth::Reign& reign, bool leads, Seq upto);
  void begin_anew();
  void exit_and_restart();
  void end_life();
  [[nodiscard]] std::string commit_after_loss(const Truth::Reign& reign, Seq upto);
  [[nodiscard]] std::string differing(NodeId peer, std::string frame);
  void say(net::PeerId peer, const Truth::Reign& reign, std::string frame);
  void complain(const std::string& what);
  [[nodiscard]] Truth::Reign reign() const;

  ClusterParts& parts_;
  Schedule& schedule_;
  NodeId id_;
  Voter voter_;
  Network& network_;
  NodeDisk disk_;
  NodeSnapshots snapshots_;
  api::Host host_;
  std::map<NodeId, Link*> links_;
  std::unique_ptr<Node> node_;
  std::map<net::PeerId, net::Identity> who_;
  std::vector<std::function<void()>> inbox_;
  OutputPacks packs_;
  std::uint64_t life_ = 0;
  bool write_fails_ = false;
  bool differs_ = false;
  Seq noted_;  ///< Of what this life has committed.
  TimePoint turns_ = TimePoint::never();
  TimePoint busy_until_;
  TimePoint stopped_until_;
  TimePoint off_until_;
  std::string complaint_;
};

}  // namespace capstan::sim
