// SPDX-License-Identifier: MIT
//
// What an EventLoop serves besides plain descriptors: a ZeroMQ socket with its monitor. ZeroMQ's
// descriptor only says "look at me" and says it once, so the loop asks is_ready() right before it
// waits. Inside common/net only. Loop thread only.
#pragma once

#include <vector>

#include "common/base/clock.h"

namespace capstan::net {

class PollSource {
 public:
  PollSource() = default;
  PollSource(const PollSource&) = delete;
  PollSource& operator=(const PollSource&) = delete;
  virtual ~PollSource() = default;

  /// Appends what poll() has to wait for.
  virtual void add_descriptors(std::vector<int>& out) const = 0;
  /// True when run() has something to do now. Nothing may touch the sockets between this call and
  /// the wait: a send can swallow the descriptor's signal.
  [[nodiscard]] virtual bool is_ready() = 0;
  /// When run() wants to be called although nothing arrived.
  [[nodiscard]] virtual TimePoint next_deadline() const = 0;
  /// Handles what is waiting, within a budget; calls the owner's handlers. An owner may close the
  /// source in one of them: the object lives until the loop's poll() ends.
  virtual void run(TimePoint now) = 0;
};

}  // namespace capstan::net
