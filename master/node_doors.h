// SPDX-License-Identifier: MIT
//
// The doors of node.h as the process has them: the vote file, a dialler for each other voter, and
// snapshots as files of the master's directory, made and read on a thread of their own.
//
//   snapshot.made    that we give; removed when it is dropped, and at a start
//   snapshot.part    that we fetch, as far as it is here
//   snapshot.offer   which one that is; what is here is gone on with after a reconnect or a restart
//   snapshot.ready   whole and verified: the next life begins with it
//   snapshot.refused the last one that could not be begun with; for people
//   diverged         our rows were not the primary's: never to lead before a snapshot
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/net/zmq_transport.h"
#include "master/api/read_thread.h"
#include "master/cluster_file.h"
#include "master/node.h"
#include "master/store/vote_file.h"

namespace capstan {

class VoteDoor final : public Votes {
 public:
  /// A missing file is made with the first vote that is saved.
  static Result<VoteDoor> open(const std::string& path);
  [[nodiscard]] bool is_there() const { return file_.has_value(); }
  [[nodiscard]] Vote vote() const { return file_ ? file_->vote() : Vote{}; }
  [[nodiscard]] Result<void> save(const Vote& vote) override;

 private:
  explicit VoteDoor(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::optional<store::VoteFile> file_;
};

class PeersDoor final : public Peers {
 public:
  struct Dial {
    net::ZmqContext& context;
    net::EventLoop& loop;
    const net::KeyPair& keys;
  };
  /// `told` from poll(): our connection to a node is there, or gone.
  static Result<std::unique_ptr<PeersDoor>> open(const Dial& dial, const ClusterFile& cluster,
                                                 std::function<void(NodeId, bool)> told);
  bool send(NodeId peer, std::string frame) override;
  [[nodiscard]] std::vector<std::string> addresses_of(NodeId node) const override;

 private:
  std::map<NodeId, std::unique_ptr<net::ZmqDialer>> dialers_;
  std::map<NodeId, std::vector<std::string>> addresses_;
};

class SnapshotDoor final : public Snapshots {
 public:
  static Result<std::unique_ptr<SnapshotDoor>> open(const std::string& dir,
                                                    std::function<void()> wake);
  ~SnapshotDoor() override;

  void make(const Uuid& id, std::function<void(Result<Made>)> done) override;
  void read(const Uuid& id, std::uint64_t offset, std::function<void(Bytes)> done) override;
  void drop() override;
  std::uint64_t begin_fetch(const msg::SnapshotOffer& offer) override;
  [[nodiscard]] Result<void> take(const Bytes& data) override;
  void mark_diverged() override;
  /// On the loop.
  void run_completions() { thread_->run_completions(); }

 private:
  explicit SnapshotDoor(std::string dir) : dir_(std::move(dir)) {}
  [[nodiscard]] std::string path(const char* name) const { return dir_ + "/" + name; }
  Result<void> finish();

  std::string dir_;
  std::atomic<bool> stopping_ = false;
  msg::SnapshotOffer offer_;
  std::uint64_t have_ = 0;
  UniqueFd part_;
  std::unique_ptr<api::ReadThread> thread_;
};

/// What a life begins with.
struct Installing {
  std::string dir;
  Uuid cluster;
  Generation generation;
};
/// Makes a snapshot that was fetched whole the database of `dir`, if there is one. What is not as
/// the leader made it, or is another cluster's, is set aside, and the life begins with what was
/// there. TooNew: set aside, too, and this program cannot follow that leader.
Result<void> install_fetched(const Installing& what);
[[nodiscard]] bool is_marked_diverged(const std::string& dir);

}  // namespace capstan
