// SPDX-License-Identifier: MIT
//
// The control socket of a throw-away cluster, DIR/dev.sock: one line "ACTION NODE" in, "ok" or
// "error WHY" and rows out, closed. Answers may wait for an event: a process that has died, a node
// that is ready. Loop thread only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cli/dev_node.h"
#include "cli/outcome.h"
#include "common/base/unique_fd.h"
#include "common/net/event_loop.h"

namespace capstan::cli {

class DevControl {
 public:
  struct Request {
    int connection = -1;  ///< Whom to answer.
    std::string action;   ///< ps kill stop continue start
    std::string node;     ///< "" with ps.
  };
  using OnRequest = std::function<void(Request)>;

  /// Fails with exit 3 when a living cluster has this directory.
  static Outcome<std::unique_ptr<DevControl>> open(net::EventLoop& loop, const std::string& dir,
                                                   OnRequest on_request);
  ~DevControl();
  DevControl(const DevControl&) = delete;
  DevControl& operator=(const DevControl&) = delete;

  /// `text` begins with "ok" or "error".
  void answer(const Request& request, const std::string& text);
  /// REQUIRES: `pid` lives now.
  void answer_when_dead(const Request& request, pid_t pid);
  void answer_when_ready(const Request& request, const DevNode& node);
  void node_is_ready(const DevNode& node);
  void node_has_ended(const DevNode& node);

 private:
  struct Connection {
    UniqueFd fd;
    std::string line;
    const DevNode* starting = nullptr;  ///< Answered when it is ready, or has ended.
    UniqueFd dying;                     ///< A pidfd.
  };
  DevControl(net::EventLoop& loop, std::string path, OnRequest on_request)
      : loop_(loop), path_(std::move(path)), on_request_(std::move(on_request)) {}
  void accept_one();
  void on_readable(int fd);
  void answer_starting(const DevNode& node, const std::string& text);

  net::EventLoop& loop_;
  std::string path_;
  OnRequest on_request_;
  UniqueFd socket_;
  std::map<int, Connection> connections_;
};

/// Asks the cluster of this directory: its answer without the "ok". Exit 75 when none runs there,
/// 3 when it says "error".
Outcome<std::string> ask_dev_cluster(const std::string& dir, const std::string& line);

}  // namespace capstan::cli
