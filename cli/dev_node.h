// SPDX-License-Identifier: MIT
//
// One process of a throw-away cluster: started with its stderr in a pipe, so that its "ready" is an
// event and its log is kept, and bound to our life (PDEATHSIG). Loop thread only.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "cli/outcome.h"
#include "common/base/unique_fd.h"
#include "common/net/event_loop.h"

namespace capstan::cli {

/// How a child is started.
struct Spawn {
  std::vector<std::string> argv;         ///< argv[0] is a path, or looked up in PATH.
  std::vector<std::string> environment;  ///< NAME=VALUE, the whole of it.
  int stderr_fd = -1;                    ///< Also its stdout; -1: both inherited, stdin too.
  bool own_group = false;                ///< Ctrl-C of the terminal does not reach it.
  bool dies_with_us = false;
};
/// The pid. A program that cannot be run ends with 126 or 127 and the system's words on its stderr.
Outcome<pid_t> spawn(const Spawn& how);
/// Our environment with `changes` (NAME=VALUE) in place of what they name.
std::vector<std::string> environment_with(const std::vector<std::string>& changes);

/// "running", "stopped" or "dead", as the system says.
std::string process_state(pid_t pid);
/// Its children, oldest first.
std::vector<pid_t> children_of(pid_t pid);
/// The agent of a shepherd: its child that is the same program. 0: none now.
pid_t agent_of(pid_t shepherd);
/// "exit 3", "signal 9 (Killed)".
std::string wait_status_text(int status);

class DevNode {
 public:
  struct Options {
    std::string name;  ///< "master", "w1"
    std::vector<std::string> argv;
    std::string log_file;  ///< What it prints is appended here.
  };
  /// `on_line`: it printed a line.
  DevNode(net::EventLoop& loop, Options options, std::function<void(const std::string&)> on_line);
  ~DevNode();
  DevNode(const DevNode&) = delete;
  DevNode& operator=(const DevNode&) = delete;

  /// REQUIRES: it does not run.
  Outcome<void> start();
  void set_argv(std::vector<std::string> argv) { options_.argv = std::move(argv); }
  /// Reaped: it is no more.
  void on_exit();
  /// SIGTERM wakes a stopped process as well, or it would not notice.
  void signal(int number) const;

  [[nodiscard]] const std::string& name() const { return options_.name; }
  [[nodiscard]] const std::string& log_file() const { return options_.log_file; }
  [[nodiscard]] pid_t pid() const { return pid_; }  ///< 0: not running.
  [[nodiscard]] bool is_alive() const { return pid_ != 0; }
  /// It said "ready" since its last start.
  [[nodiscard]] bool is_ready() const { return is_ready_; }
  /// What it printed last: with a program that could not start, the reason.
  [[nodiscard]] const std::string& last_line() const { return last_line_; }

 private:
  void on_output();
  net::EventLoop& loop_;
  Options options_;
  std::function<void(const std::string&)> on_line_;
  pid_t pid_ = 0;
  UniqueFd pipe_;
  UniqueFd log_;
  std::string unfinished_;
  std::string last_line_;
  bool is_ready_ = false;
};

}  // namespace capstan::cli
