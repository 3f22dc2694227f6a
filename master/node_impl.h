// SPDX-License-Identifier: MIT
//
// The inside of Node (node.h), for its sources: node.cc does the machine's actions and hands frames
// on, node_snapshot.cc gives and fetches snapshots, node_output.cc has output on both masters,
// node_cluster.cc answers people.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "master/api/backups.h"
#include "master/node.h"
#include "master/output_relay.h"

namespace capstan {

/// The snapshot that is being fetched.
struct Fetch {
  explicit Fetch(Snapshots* door) : snapshots(door) {}
  Snapshots* snapshots;
  msg::SnapshotOffer offer;
  NodeId from = 0;  ///< 0: none.
  std::uint64_t have = 0;
};

struct Node::Impl final : api::Replication {
  Options options;
  Doors doors;
  ha::Machine machine;
  std::map<std::string, NodeId> ids;
  std::optional<Replica> replica;
  std::unique_ptr<Server> server;
  std::deque<ha::Event> events;  ///< Bounded by what a poll hands over.
  bool feeding = false;
  bool restarting = false;
  bool told_diverged = false;
  Seq told_applied;
  Seq committed_seq;
  std::optional<Error> failed;
  struct Asker {
    net::PeerId peer;
    std::uint64_t query = 0;
  };
  std::optional<Asker> asker;  ///< Of the Control that the machine has.
  Fetch fetch;
  std::optional<Uuid> given;         ///< The snapshot that we made.
  std::optional<OutputRelay> relay;  ///< None: a witness, or alone.
  std::deque<JobId> unwanted;        ///< Jobs that the leader deleted: their packs go.
  bool is_forgetting = false;
  bool knows_orphans = false;  ///< They were looked for: are in `unwanted`, or removed.
  api::BackupsApi backups;     ///< Of the standby; the Server has its own.

  Impl(Options o, Doors d, std::optional<Replica> r);

  [[nodiscard]] bool is_alone() const;
  [[nodiscard]] const Voter& voter(NodeId id) const;

  Result<void> feed(ha::Event event);
  /// With the next turn.
  void feed_later(ha::Event event) { events.push_back(std::move(event)); }
  void answer(ha::Event event);
  Result<void> drain();
  Result<void> act(ha::action::SaveVote& a);
  Result<void> act(ha::action::Send& a);
  Result<void> act(ha::action::Lead& a);
  Result<void> act(ha::action::Restart& a);
  Result<void> act(ha::action::Commit& a);
  Result<void> act(ha::action::Store& a);
  Result<void> act(ha::action::ReadJournal& a);
  Result<void> act(ha::action::FindCommon& a);
  Result<void> act(ha::action::MakeSnapshot& a);
  Result<void> act(ha::action::DropSnapshot& a);
  Result<void> act(ha::action::FetchSnapshot& a);
  Result<void> act(ha::action::Intake& a);
  Result<void> act(ha::action::KeepMinCopies& a);
  Result<void> act(ha::action::Answer& a);
  Result<void> act(ha::action::Note& a);
  Result<void> tell_applied();
  Result<void> admit();
  void keep(Result<void> done);

  // api::Replication
  [[nodiscard]] bool is_replicated() const override { return !is_alone(); }
  void ship(const SealedBatch& batch) override;
  void written(const JournalEnd& end) override;
  [[nodiscard]] Seq committed() const override { return committed_seq; }
  [[nodiscard]] std::uint32_t level() const override { return machine.level(); }
  void min_copies_set(std::uint32_t copies) override;
  [[nodiscard]] std::vector<Alarm> alarms() const override {
    return machine.alarms(doors.clock.now());
  }

  [[nodiscard]] std::vector<Alarm> all_alarms() const;
  void on_peer_frame(const net::Identity& identity, std::string_view frame);
  void refuse_follower(net::PeerId peer, std::string_view frame);
  [[nodiscard]] std::string not_primary() const;
  void reply(net::PeerId peer, msg::Body body);

  // node_snapshot.cc
  void send_to(NodeId peer, msg::Body body);
  void give(NodeId to, const msg::SnapshotAsk& ask);
  [[nodiscard]] Result<void> take(NodeId from, msg::SnapshotData data);
  void ask_on();

  // node_output.cc
  [[nodiscard]] NodeId other_master() const;
  void open_relay();
  void find_orphans();
  void tend_output();
  void take_output(NodeId from, Epoch epoch, msg::LogRelay piece);
  void forget_output();

  // node_cluster.cc
  [[nodiscard]] bool is_about_cluster(std::string_view frame) const;
  void on_cluster_frame(net::PeerId peer, const net::Identity& identity, std::string_view frame);
  [[nodiscard]] msg::ClusterView view(std::uint64_t query) const;
  void tell_risk(msg::ClusterView& view) const;
  void control(net::PeerId peer, const msg::ClusterControl& ask);
  void give_backup(net::PeerId peer, const msg::ReadBackup& ask);
};

}  // namespace capstan
