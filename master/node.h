// SPDX-License-Identifier: MIT
//
// One life of a node: the failover machine, its store, and whichever of the two roles it has: a
// Replica that follows, or the Server that leads. A witness has neither. It has no socket, no
// thread and no clock of its own (Doors), so that tests/sim runs this very class. Loop thread only.
//
//   frames of masters -> machine -> actions: vote file, store, peers
//   frames of clients and workers -> the Server, or "this is the standby"
//
// A primary's turn ends in two halves: its batch is shipped and written here, and only when the
// machine says that it is committed its effects are told and the next turn begins.
//
// A life ends with Restart: leadership ended, or a snapshot is to be installed. The shell destroys
// everything and begins a new one from the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/voting.h"
#include "master/ha/machine.h"
#include "master/replica.h"
#include "master/server.h"

namespace capstan {

/// What the machine of a data node is told of its database, beside its vote.
void start_with(const store::Opened& opened, ha::Start& start);

/// Where the node's vote is kept.
class Votes {
 public:
  virtual ~Votes() = default;
  /// Durable when it returns. Any error ends the process.
  [[nodiscard]] virtual Result<void> save(const Vote& vote) = 0;
};

/// Our own connections to the other voters.
class Peers {
 public:
  virtual ~Peers() = default;
  /// False: not connected or full, dropped.
  virtual bool send(NodeId peer, std::string frame) = 0;
  [[nodiscard]] virtual std::vector<std::string> addresses_of(NodeId node) const = 0;
};

/// Snapshots of the database: those that we give, and the one that we fetch. Completions run on the
/// loop.
class Snapshots {
 public:
  virtual ~Snapshots() = default;
  struct Made {
    Seq seq;
    std::uint64_t bytes = 0;
    Bytes digest;
  };
  virtual void make(const Uuid& id, std::function<void(Result<Made>)> done) = 0;
  /// At most kMessageBytes; empty: it is gone.
  virtual void read(const Uuid& id, std::uint64_t offset, std::function<void(Bytes)> done) = 0;
  virtual void drop() = 0;

  /// How much of this one is here already, from an earlier life or connection.
  virtual std::uint64_t begin_fetch(const msg::SnapshotOffer& offer) = 0;
  /// Appends; Corrupt: the whole is not what was offered, and is thrown away.
  [[nodiscard]] virtual Result<void> take(const Bytes& data) = 0;
  /// Our rows are not the primary's: remembered until a snapshot is installed.
  virtual void mark_diverged() = 0;
};

class Node {
 public:
  struct Options {
    ha::Config ha;
    ha::Start start;
    Server::Options server;
  };
  /// All outlive the node.
  struct Doors {
    store::Store* store = nullptr;  ///< None: a witness.
    net::Listener& listener;
    Votes& votes;
    Peers& peers;
    Snapshots* snapshots = nullptr;  ///< None: a witness, or alone.
    api::Reads* reads = nullptr;     ///< None, like the three behind it: a witness.
    api::Logs* logs = nullptr;
    api::Keys* keys = nullptr;
    api::Backups* backups = nullptr;
    const api::Host& host;
    const Clock& clock;
  };
  /// `replica`: none for a witness.
  Node(Options options, Doors doors, std::optional<Replica> replica);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void on_frame(net::PeerId peer, const net::Identity& identity, std::string_view frame);
  void on_closed(net::PeerId peer);
  /// Our own connection to a voter is through its handshake, or closed.
  void on_dialled(NodeId node, bool connected);

  enum class Turned : std::uint8_t { Again, Restart };
  /// An error is the end of the process (exit 70).
  [[nodiscard]] Result<Turned> turn();
  /// Told to end: the others hear of it, so that they do not wait.
  [[nodiscard]] Result<void> leave();
  /// Before the store is closed: leaves nothing behind the tables that is committed.
  [[nodiscard]] Result<void> finish();
  [[nodiscard]] TimePoint next_deadline() const;

  [[nodiscard]] std::size_t inbox_size() const;
  /// Null while it does not lead.
  [[nodiscard]] const Server* server() const;
  [[nodiscard]] const ha::Machine& machine() const;
  /// Of whichever role it has; null for a witness.
  [[nodiscard]] const Queue* queue() const;
  [[nodiscard]] web::StatusSnapshot status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan
