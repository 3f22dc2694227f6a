// SPDX-License-Identifier: MIT
//
// One thread's poll: ZeroMQ sockets, descriptors, signals, and wake-ups from other threads. It has
// no timers of its own: the caller computes its next deadline and says how long to wait, so that
// every deadline is visible in one place. Callbacks run inside poll(), on the calling thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace capstan::net {

class PollSource;  // poll_source.h: inside common/net only.

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  using Callback = std::function<void()>;

  /// Calls `ready` when `fd` is readable (level-triggered). Not owned.
  void watch(int fd, Callback ready);
  void unwatch(int fd);
  /// Blocks these signals in this thread and delivers them as callbacks. Call before any thread is
  /// started. One that comes when this loop turns no more is thrown away, or stays for the next
  /// loop if all of them were blocked before.
  Result<void> on_signals(std::vector<int> signals, std::function<void(int)> handler);

  /// From any thread: `task` runs in the next poll(). Unbounded use is the caller's fault: post one
  /// wake-up, keep the queue yourself.
  void post(Callback task);

  /// Waits until something is ready, posted, or `deadline` (steady, of SystemClock) has passed;
  /// runs every callback that is due once. Returns at once when deadline is not in the future.
  void poll(TimePoint deadline);

  /// For the sockets of common/net. Not owned until it is retired.
  void attach(PollSource& source);
  /// Detaches it and destroys it as soon as no callback of it can be running.
  void retire(std::unique_ptr<PollSource> source);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::net
