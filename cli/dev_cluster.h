// SPDX-License-Identifier: MIT
//
// A whole cluster on this machine, for as long as this process lives: a master (or two and their
// witness, made by capstan-master init), some workers, and a control socket that `capstan dev kill
// w1` and its kind speak to. It restarts nothing by itself: what dies stays dead until somebody
// says start. Loop thread only.
//
//   DIR/master/   the master's directory (admin.access, worker.access); of two masters what init
//                 made: the directories a, b and w beside the access files
//   DIR/wN/       a worker's
//   DIR/NODE.log  what a node prints
//   DIR/dev.sock  control: one line in, "ok" or "error …" and rows out, closed
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/dev_control.h"
#include "cli/dev_node.h"
#include "cli/interrupts.h"
#include "cli/outcome.h"

namespace capstan::cli {

class DevCluster {
 public:
  struct Options {
    std::uint32_t masters = 0;  ///< 1 or 2; 0: as in its directory, else 1.
    std::uint32_t workers = 2;
    std::uint32_t cpus = 1;                ///< Of each worker.
    std::string dir;                       ///< "": a temporary one, removed at the end.
    Micros timeout{0};                     ///< For its start.
    std::vector<std::string> master_args;  ///< Passed on.
    std::vector<std::string> worker_args;  ///< Passed on.
  };
  /// REQUIRES: the loop and the interrupts outlive it; no other children in this process.
  DevCluster(net::EventLoop& loop, Interrupts& interrupts, Options options);
  /// Ends everything.
  ~DevCluster();
  DevCluster(const DevCluster&) = delete;
  DevCluster& operator=(const DevCluster&) = delete;

  /// Until the master answers and every worker is up.
  Outcome<void> start();
  /// Runs `argv` inside and returns its exit code (128 + signal).
  Outcome<int> run_command(const std::vector<Bytes>& argv);
  /// Until somebody interrupts.
  Outcome<int> run_until_interrupted();
  [[nodiscard]] std::string access_file() const { return dir_ + "/master/admin.access"; }

 private:
  Outcome<void> prepare_dir();
  void keep_address();
  Outcome<void> choose_masters();
  Outcome<void> start_masters();
  Outcome<void> start_master();
  Outcome<void> make_pair();
  Outcome<void> start_pair();
  Outcome<void> start_workers();
  Outcome<bool> are_workers_up();
  [[nodiscard]] bool has_dead_node() const;
  /// A Failure when a node ended while we start.
  Outcome<void> check_alive() const;
  Outcome<void> turn_until(const std::function<bool()>& done, const std::string& what);
  [[nodiscard]] std::vector<std::string> master_argv() const;
  [[nodiscard]] bool is_worker(const DevNode& node) const;
  DevNode& add_node(const std::string& name, std::vector<std::string> argv);
  void on_line();
  void reap();
  void obey(DevControl::Request request);
  void obey_start(const DevControl::Request& request, DevNode& node);
  [[nodiscard]] DevNode* find(const std::string& name) const;
  /// "NODE PID STATE" a line.
  [[nodiscard]] std::string rows() const;
  void end();
  /// TERM, and after `grace` KILL.
  void end_nodes(std::size_t begin, std::size_t end, Micros grace);
  /// What dead workers left to us.
  void end_strays();
  /// Runs the loop while `condition` holds; another interrupt cuts it short. False: it still does.
  bool turn_while(const std::function<bool()>& condition, Micros at_most);

  net::EventLoop& loop_;
  Interrupts& interrupts_;
  Options options_;
  SystemClock clock_;
  std::string dir_;
  std::string bin_dir_;
  bool is_temporary_ = false;
  bool is_ending_ = false;
  std::string master_address_ = "127.0.0.1:0";   ///< Once known, a restart takes it again.
  std::unique_ptr<Client> client_;               ///< While it starts.
  std::vector<std::unique_ptr<DevNode>> nodes_;  ///< The masters, the witness, the workers.
  std::size_t servers_ = 0;                      ///< So many of them are no workers.
  bool has_line_ = false;                        ///< A node printed something.
  pid_t command_ = 0;
  int command_status_ = 0;
  std::unique_ptr<DevControl> control_;
};

}  // namespace capstan::cli
