// SPDX-License-Identifier: MIT
//
// What capstan-worker was told, in both of its roles.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/model/limits.h"

namespace capstan {

inline constexpr int kExitStopped = 0;
inline constexpr int kExitUsage = 2;      ///< The command line, or a file that it names, is wrong.
inline constexpr int kExitRefused = 3;    ///< Another start does not help: do not restart it.
inline constexpr int kExitFailStop = 70;  ///< The machine refused something.

struct WorkerOptions {
  std::string access;  ///< An invitation, or "".
  std::string dir;
  std::string name;
  std::uint32_t cpus = 0;
  std::uint64_t mem_bytes = 0;
  bool no_pin = false;
  Micros grace{limits::kGrace};
  Micros kill_grace{limits::kKillGrace};
  log::Format log_format = log::Format::Text;
  log::Level log_level = log::Level::Info;
  bool null_exec = false;     ///< Nothing is started, everything succeeds: to measure the rest.
  std::string program;        ///< Our own file: the agent is started from it.
  unsigned user_umask = 022;  ///< As we were started with: it is that of tasks.
  bool in_cgroups = false;    ///< The agent's role: its shepherd puts tasks into control groups.
  std::string cookie;         ///< The agent's role: what marks the processes of its shepherd.

  [[nodiscard]] std::string output_dir() const { return dir + "/output"; }
  [[nodiscard]] std::string jobs_dir() const { return dir + "/jobs"; }
  [[nodiscard]] std::string spool_file() const { return dir + "/spool"; }
};

}  // namespace capstan
