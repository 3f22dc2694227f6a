// SPDX-License-Identifier: MIT
//
// A whole cluster of the real programs on loopback, driven through the command line. `Cluster`
// starts capstan-master and capstan-worker itself, so that a test can give flags and send signals;
// `DevCluster` is `capstan dev`. CAPSTAN_BIN names the folder of the programs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/process.h"

struct sqlite3;

namespace capstan::itest {

using Json = nlohmann::json;

/// The path of one of our programs.
std::string program(const std::string& name);
/// The repository's root.
std::string source_root();
/// One object a line.
std::vector<Json> json_lines(const std::string& text);
/// "1\n2\n…": one number a line, up to `last`.
std::string numbers(int last);

/// The command line of somebody with an access file, in a directory of theirs.
class Cli {
 public:
  Cli(std::string access, std::string cwd) : access_(std::move(access)), cwd_(std::move(cwd)) {}
  /// `capstan ARGS…`
  [[nodiscard]] Finished run(const Args& args, const std::string& input = {}) const;
  /// The same, and its exit code must be 0. Returns what it printed on stdout.
  std::string ok(const Args& args, const std::string& input = {}) const;  // NOLINT
  /// The same in the background.
  [[nodiscard]] std::unique_ptr<Child> start(const Args& args, const std::string& input = {}) const;
  [[nodiscard]] Child::Options options(const Args& args, const std::string& input = {}) const;

  /// `submit --quiet OPTIONS -- COMMAND`: the job's id.
  [[nodiscard]] std::string submit(const Args& options, const Args& command,
                                   const std::string& input = {}) const;
  /// `wait ID`: its exit code.
  [[nodiscard]] int wait(const std::string& job) const;
  [[nodiscard]] Json job(const std::string& job) const;
  [[nodiscard]] std::vector<Json> tasks(const std::string& job, const Args& options = {}) const;
  [[nodiscard]] std::vector<Json> jobs() const;
  /// By name.
  [[nodiscard]] std::map<std::string, Json> workers() const;
  [[nodiscard]] Json status() const;
  /// How many workers are in a state.
  [[nodiscard]] std::size_t workers_in(const std::string& state) const;

  void set_access(std::string access) { access_ = std::move(access); }

 private:
  std::string access_;
  std::string cwd_;
};

/// capstan.db, read-only, as sqlite3 would show it.
class Database {
 public:
  explicit Database(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  [[nodiscard]] std::int64_t number(const std::string& sql) const;
  /// First column of every row.
  [[nodiscard]] std::vector<std::string> column(const std::string& sql) const;

 private:
  sqlite3* handle_ = nullptr;
};

/// A file system in memory that is as small as a test wants it.
class SmallDisk {
 public:
  /// Makes `path` and mounts it there.
  SmallDisk(std::string path, std::uint64_t bytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  /// Why there can be none here; "": there can.
  static std::string why_not();
  /// Nothing more can be written, until empty().
  void fill();
  void empty();

 private:
  std::string path_;
  int fillers_ = 0;
};

class Cluster {
 public:
  struct Options {
    int workers = 1;
    int cpus = 1;
    Args master_flags = {};
    Args worker_flags = {};
    Args master_env = {};  ///< NAME=VALUE.
    Args worker_env = {};
    /// A file system of so many bytes for its directory; 0: whatever TMPDIR is on. REQUIRES:
    /// SmallDisk::why_not() is "".
    std::uint64_t master_disk_bytes = 0;
    std::uint64_t worker_disk_bytes = 0;  ///< Of each worker.
  };
  explicit Cluster(Options options);
  Cluster() : Cluster(Options{}) {}

  [[nodiscard]] const Cli& cli() const { return cli_; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  [[nodiscard]] std::string master_dir() const { return dir_ / "master"; }
  [[nodiscard]] std::string worker_dir(const std::string& name) const { return dir_ / name; }
  [[nodiscard]] std::string admin_access() const { return dir_ / "master/admin.access"; }
  [[nodiscard]] std::string worker_access() const { return dir_ / "master/worker.access"; }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] int http_port() const { return http_port_; }
  [[nodiscard]] Database database() const { return Database(dir_ / "master/capstan.db"); }

  /// On the same address and directory as before; returns when it serves.
  void start_master();
  void kill_master();
  [[nodiscard]] Child& master() { return *master_; }
  [[nodiscard]] Args master_command() const;

  /// `name` in its own directory (the same as before when it was there before).
  Child& start_worker(const std::string& name);
  [[nodiscard]] Child& worker(const std::string& name) { return *workers_.at(name); }
  [[nodiscard]] Args worker_command(const std::string& name) const;
  /// The agent of a worker: the shepherd's child that is the same program. 0 when there is none.
  [[nodiscard]] pid_t agent_of(const std::string& name);
  [[nodiscard]] SmallDisk& master_disk() { return *disks_.at("master"); }
  [[nodiscard]] SmallDisk& worker_disk(const std::string& name) { return *disks_.at(name); }
  /// Until so many are up.
  void wait_workers_up(std::size_t count) const;

 private:
  Options options_;
  TempDir dir_;
  int port_;
  int http_port_;
  Cli cli_;
  std::map<std::string, std::unique_ptr<SmallDisk>> disks_;
  std::unique_ptr<Child> master_;
  std::map<std::string, std::unique_ptr<Child>> workers_;
};

/// `capstan dev`, w1 … wN.
class DevCluster {
 public:
  DevCluster(int workers, int cpus) : DevCluster(workers, cpus, {}, {}) {}
  /// Two masters, a and b, and their witness w. `env`: NAME=VALUE, of all nodes.
  struct Pair {
    Args env = {};
  };
  DevCluster(int workers, int cpus, Pair pair)
      : DevCluster(workers, cpus, {"--masters", "2"}, std::move(pair.env)) {}
  [[nodiscard]] const Cli& cli() const { return cli_; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  [[nodiscard]] Child& child() { return *child_; }
  /// `capstan dev VERB NODE`, which must succeed.
  std::string dev(const Args& args) const { return cli_.ok(with_dev(args)); }
  [[nodiscard]] Database database() const { return Database(dir_ / "dev/master/capstan.db"); }

  // Of a pair.
  [[nodiscard]] Json view() const;
  /// "": nobody says so.
  [[nodiscard]] std::string primary() const;
  void wait_in_sync() const;
  [[nodiscard]] static std::string other(const std::string& node) {
    return node == "a" ? "b" : "a";
  }
  [[nodiscard]] std::string node_dir(const std::string& node) const {
    return dir_ / "dev/master/" + node;
  }

 private:
  DevCluster(int workers, int cpus, const Args& more, Args env);
  static Args with_dev(const Args& args);
  TempDir dir_;
  Cli cli_;
  std::unique_ptr<Child> child_;
};

/// A task that says "WORKER ATTEMPT PID" when it starts, and ends with exit 0 when it is let go.
class Rendezvous {
 public:
  explicit Rendezvous(const TempDir& dir);
  /// The shell line: `then` runs before it ends.
  [[nodiscard]] Args command(const std::string& then = "exit 0") const;
  struct Arrival {
    std::string worker;
    int attempt = 0;
    pid_t pid = 0;
    std::string task;
  };
  Arrival arrival(Seconds limit = kPatience);
  /// Lets the attempt with this number go (attempts 1 to 4).
  void let_go(int attempt);

 private:
  Fifo starts_;
  std::vector<std::unique_ptr<Fifo>> gates_;
};

}  // namespace capstan::itest
