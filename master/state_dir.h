// SPDX-License-Identifier: MIT
//
// A master's directory: who may have it, its keys, and the two files that let others in.
//
//   master.lock    held for as long as the process lives
//   master.key     the server's key pair and the cluster's id
//   admin.access   the admin's key pair, and where to dial
//   worker.access  the invitation's key pair: it enrols any number of workers, and nothing else
//   capstan.vote   what this voter promised
//   capstan.db     the queue
//   logs/          delivered output of tasks, a pack for each job
#pragma once

#include <string>
#include <vector>

#include "common/base/dirs.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"
#include "common/net/keys.h"

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

  /// Of this cluster; drawn at the first start.
  [[nodiscard]] const net::Access& server() const { return server_; }
  [[nodiscard]] const net::Access& admin() const { return admin_; }
  [[nodiscard]] const net::Access& invitation() const { return invitation_; }

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
  net::Access server_;
  net::Access admin_;
  net::Access invitation_;
};

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
