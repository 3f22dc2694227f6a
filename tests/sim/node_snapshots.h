// SPDX-License-Identifier: MIT
//
// Snapshots between the nodes of a simulated cluster: copies of a database, named by their digest.
// What is sent of one is as long as it says, and says nothing. What a node has fetched, and that it
// was told to have other rows, outlives its process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "master/node.h"
#include "tests/sim/node_disk.h"
#include "tests/sim/schedule.h"

namespace capstan::sim {

/// Every snapshot that was made, by its digest.
using MadeSnapshots = std::map<std::string, test::MemoryStore::Copy>;

class NodeSnapshots final : public Snapshots {
 public:
  /// Runs a completion on the node's loop after a while, unless its process is another by then.
  using Later = std::function<void(Micros delay, std::function<void()> what)>;
  NodeSnapshots(Schedule& schedule, NodeDisk& disk, MadeSnapshots& made, Later later);

  void make(const Uuid& id, std::function<void(Result<Made>)> done) override;
  void read(const Uuid& id, std::uint64_t offset, std::function<void(Bytes)> done) override;
  void drop() override { given_.reset(); }
  std::uint64_t begin_fetch(const msg::SnapshotOffer& offer) override;
  [[nodiscard]] Result<void> take(const Bytes& data) override;
  void mark_diverged() override { diverged_ = true; }

  void fail_next() { fails_ = true; }
  /// At a start: what was fetched whole is the database now. True: it was.
  bool install();
  /// The process is gone.
  void end_life() { given_.reset(); }
  /// The disk is gone.
  void lose();
  [[nodiscard]] bool is_diverged() const { return diverged_; }

 private:
  Schedule& schedule_;
  NodeDisk& disk_;
  MadeSnapshots& made_;
  Later later_;
  std::optional<std::string> given_;
  msg::SnapshotOffer offer_;
  std::uint64_t have_ = 0;
  std::string ready_;  ///< Its digest; "": none.
  bool diverged_ = false;
  bool fails_ = false;
};

}  // namespace capstan::sim
