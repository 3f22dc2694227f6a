// SPDX-License-Identifier: MIT
//
// A master's directory: who may have it, its keys, and the two files that let others in.
//
//   master.lock    held for as long as the process lives
//   master.key     the server's key pair and the cluster's id
//   admin.access   the admin's key pair, and where to dial
//   worker.access  the invitation's key pair: it enrols any number of workers, and nothing else
//   cluster        all nodes of a cluster with a standby (cluster_file.h); none: a single master
//   capstan.vote   what this voter promised
//   capstan.db     the queue
//   logs/          delivered output of tasks, a pack for each job
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/dirs.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"
#include "common/model/voting.h"
#include "common/net/keys.h"
#include "master/cluster_file.h"

namespace capstan {

class StateDir {
 public:
  /// Makes the directory when it is missing, locks it, reads its keys or makes them on the first
  /// start. Errors: Locked (names the holder's pid), Invalid (not a directory for a master, with
  /// the way out), Io.
  static Result<StateDir> open(const std::string& path);

  [[nodiscard]] std::string vote_file() const { return path_ + "/capstan.vote"; }
  [[nodiscard]] std::string logs_dir() const { return path_ + "/logs"; }
  [[nodiscard]] std::string admin_access() const { return path_ + "/admin.access"; }
  [[nodiscard]] std::string worker_access() const { return path_ + "/worker.access"; }
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Of this cluster; drawn at the first start, or by init.
  [[nodiscard]] const net::Access& server() const { return server_; }
  /// A witness has neither of these two: it lets only the other nodes in.
  [[nodiscard]] const net::Access& admin() const { return admin_; }
  [[nodiscard]] const net::Access& invitation() const { return invitation_; }

  /// None: a single master.
  [[nodiscard]] const std::optional<ClusterFile>& cluster() const { return cluster_; }
  /// A single master is node 1 and the only voter.
  [[nodiscard]] NodeId self() const { return cluster_ ? cluster_->self : NodeId{1}; }
  [[nodiscard]] bool is_witness() const { return cluster_ && cluster_->own().is_witness; }
  [[nodiscard]] std::vector<Voter> voters() const;
  /// Of the list of masters, as Welcome tells it.
  [[nodiscard]] std::uint64_t members_version() const;

  /// Writes the access files when `masters` is not what they say (or they are new).
  Result<void> tell_addresses(const std::vector<Member>& masters);

 private:
  StateDir(std::string path, DirLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  Result<void> load();
  Result<void> make();
  /// Reads an access file, or makes a new key for it when it is missing.
  Result<net::Access> load_access(const std::string& file, Role role, const std::string& name);

  std::string path_;
  DirLock lock_;
  std::optional<ClusterFile> cluster_;
  net::Access server_;
  net::Access admin_;
  net::Access invitation_;
};

/// Invalid, with the way out, when `init --adopt` has made this master a node of a cluster: it may
/// not lead beside that.
Result<void> refuse_adopted(const std::string& dir);
/// Marks `dir`: it is the node's directory `node_dir` now.
Result<void> mark_adopted(const std::string& dir, const std::string& node_dir);
/// The mark is taken back.
void unmark_adopted(const std::string& dir);

/// The addresses to tell others: `bound` when it is loopback or a single address; `advertised` when
/// it is given (HOST or HOST:PORT each); else the host's name and its global addresses.
struct DialOptions {
  std::string bound;  ///< HOST:PORT of the listener.
  std::vector<std::string> advertised;
};
Result<std::vector<std::string>> addresses_to_dial(const DialOptions& options);

/// The name of the user who runs this process, "admin" when there is none.
std::string user_name();

}  // namespace capstan
