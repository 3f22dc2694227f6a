// SPDX-License-Identifier: MIT
//
// The process around a Server: its directory, store, sockets, threads and signals, wired together.
// It runs until SIGTERM or SIGINT, or until a write fails.
#pragma once

#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/model/limits.h"

namespace capstan {

struct DaemonOptions {
  std::string dir;
  std::string listen;  ///< HOST:PORT.
  std::vector<std::string> advertise;
  std::string http = "127.0.0.1:7742";
  Micros suspect_after{limits::kSuspectAfter};
  Micros lost_after{limits::kLostAfter};
  Micros closed_grace{limits::kClosedGrace};
  Micros retain{std::chrono::days(30)};  ///< Finished jobs; 0, here and below: for ever.
  std::uint64_t retain_jobs = 0;
  std::uint64_t retain_bytes = 0;
  std::uint64_t disk_reserve_bytes = 0;  ///< 0: as server.h says.
  std::string on_alarm;                  ///< For /bin/sh -c; "": none.
};

/// Returns when it was told to end. Errors: Invalid (an option or the directory), Locked (another
/// master has it), anything else is a failure of the machine.
[[nodiscard]] Result<void> run_master(const DaemonOptions& options);

}  // namespace capstan
