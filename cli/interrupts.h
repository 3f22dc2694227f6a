// SPDX-License-Identifier: MIT
//
// Ctrl-C and SIGTERM, counted by the loop instead of ending the process. Made before anything
// starts a thread: signals must find no other thread to end.
#pragma once

#include <csignal>
#include <functional>
#include <utility>
#include <vector>

#include "cli/outcome.h"
#include "common/base/signals.h"
#include "common/net/event_loop.h"

namespace capstan::cli {

class Interrupts {
 public:
  Interrupts() = default;
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// REQUIRES: this outlives the loop's last poll().
  Outcome<void> install(net::EventLoop& loop) {
    std::vector<int> signals{SIGCHLD, SIGWINCH};
    for (const int ending : {SIGINT, SIGTERM, SIGHUP}) {  // Blocked, it would come all the same.
      if (!is_ignored(ending)) signals.push_back(ending);
    }
    const auto installed = loop.on_signals(std::move(signals), [this](int signal) { on(signal); });
    if (installed) return {};
    return fail_with(kExitFailed, installed.error().message);
  }
  /// Called when a child has ended or stopped.
  void on_child(std::function<void()> callback) { on_child_ = std::move(callback); }
  /// Called when the terminal has another size.
  void on_resize(std::function<void()> callback) { on_resize_ = std::move(callback); }
  [[nodiscard]] int count() const { return count_; }
  /// As shells say it: 130 for Ctrl-C.
  [[nodiscard]] int exit_code() const { return 128 + (last_ == 0 ? SIGINT : last_); }

 private:
  void on(int signal) {
    if (signal == SIGWINCH) {
      if (on_resize_) on_resize_();
    } else if (signal == SIGCHLD) {
      if (on_child_) on_child_();
    } else {
      ++count_;
      last_ = signal;
    }
  }

  int count_ = 0;
  int last_ = 0;
  std::function<void()> on_child_;
  std::function<void()> on_resize_;
};

}  // namespace capstan::cli
