// SPDX-License-Identifier: MIT
//
// The door to the operating system's processes, as the shepherd's shell sees it. process_runner.h
// is the real one; null_runner.h starts nothing, for measuring everything else.
//
// Driven by the shell's poll loop: poll_fds / on_readable, on_child when SIGCHLD came, on_deadline
// at next_deadline. Ends are collected and taken with take_ended(). Shepherd thread only.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "worker/core/shepherd.h"

namespace capstan {

class Runner {
 public:
  struct Started {
    bool holds_memory = false;  ///< The kernel holds it to what it asked for.
  };
  struct Ended {
    AttemptKey key;
    RunEnd end;
  };

  virtual ~Runner() = default;
  /// A child that is no task's: nobody's stranger. Its end is told to on_other_child.
  virtual void ignore(pid_t pid) = 0;
  /// The main process runs when this returns. An error: it never ran; the system's words.
  [[nodiscard]] virtual Result<Started> start(const shepherd::Launch& launch) = 0;
  /// To the whole process tree. `force`: SIGKILL, else SIGTERM. Unknown keys are ignored.
  virtual void kill(const AttemptKey& key, bool force) = 0;
  /// Tell of the output of this job's attempts as it grows, or not any more.
  virtual void follow(JobId job, bool on) = 0;
  /// How it is doing now. Unknown keys: nothing is known.
  [[nodiscard]] virtual shepherd::Seen look(const AttemptKey& key) = 0;

  /// Appends what is to be polled.
  virtual void poll_fds(std::vector<pollfd>& fds) const = 0;
  /// One of these is readable (or closed).
  virtual void on_readable(int fd) = 0;
  /// Reaps whatever ended.
  virtual void on_child() = 0;
  virtual void on_deadline() = 0;
  [[nodiscard]] virtual TimePoint next_deadline() const = 0;
  [[nodiscard]] virtual std::vector<Ended> take_ended() = 0;
  [[nodiscard]] virtual std::size_t running_count() const = 0;
};

}  // namespace capstan
