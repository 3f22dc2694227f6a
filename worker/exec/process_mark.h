// SPDX-License-Identifier: MIT
//
// What tells the processes of a worker's tasks from all others, whatever they do to escape. Each
// process bears it twice, and both are inherited by what it forks:
//
//   its environment   CAPSTAN_COOKIE=DIRECTORY.LIFE.JOB.TASK.ATTEMPT, which people can read too. A
//                     cleared environment takes it off.
//   a resource limit  hard: 2^62 + 62 bits of DIRECTORY; soft: 2^61 + 40 bits of LIFE and a 21-bit
//                     serial number of the launch. Only a process that sets this very limit takes
//                     it off, and only downwards; /proc/PID/limits shows it.
//
// The limit is that on file locks, which Linux has not looked at since 2.4.25; where that has a
// finite value already (a worker inside a task of another worker) that on realtime cpu time, of
// which 2^61 µs are 73,000 years. When both are taken, the environment alone bears the mark.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace capstan {

inline constexpr std::string_view kCookieName = "CAPSTAN_COOKIE";

/// A limit to be set in a process before it becomes a task.
struct ResourceLimit {
  int resource = 0;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

class ProcessMark {
 public:
  static constexpr std::uint32_t kSerials = 1U << 21;

  /// DIRECTORY.LIFE; or DIRECTORY alone, for every life in that directory.
  explicit ProcessMark(std::string cookie);

  /// For the launch of that serial number (below kSerials). Nothing: no limit is free here.
  [[nodiscard]] std::optional<ResourceLimit> limit(std::uint32_t serial) const;
  /// In the environment, or in a limit.
  [[nodiscard]] bool is_on(pid_t pid) const;
  /// By its limit. Nothing: it bears no such mark, or that of another life.
  [[nodiscard]] std::optional<std::uint32_t> serial_of(pid_t pid) const;
  /// What follows DIRECTORY.LIFE in the cookie in its environment; "" when that is not ours.
  [[nodiscard]] std::string launch_in_environment(pid_t pid) const;

 private:
  [[nodiscard]] std::optional<std::uint32_t> serial_in_limits(pid_t pid) const;

  std::string cookie_;
  bool any_life_;
  std::uint64_t hard_;
  std::uint64_t soft_;  // Of serial 0.
  int carrier_;         // The resource; -1: none is free.
};

/// The whole of /proc/PID/NAME, "" when it cannot be read.
std::string read_proc(pid_t pid, const char* name);

}  // namespace capstan
