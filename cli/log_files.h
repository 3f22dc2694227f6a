// SPDX-License-Identifier: MIT
//
// `logs --to DIR`: the output of many tasks as files, DIR/17.42.out and DIR/17.42.err. Several are
// read at once, a bounded number; a file has its name only when all of it is there. What an ended
// attempt's worker has not delivered yet is waited for; of a running one what has come so far is
// written.
#pragma once

#include <cstdint>
#include <string>

#include "cli/client.h"
#include "cli/job_watch.h"

namespace capstan::cli {

struct LogFilesRequest {
  Target target;
  AttemptNo attempt;         ///< 0: each task's last.
  std::uint32_t states = 0;  ///< A bit for each TaskState; 0: all.
  std::string dir;           ///< Made when it is missing.
  bool with_stdout = true;   ///< A file for each task, also an empty one.
  bool with_stderr = true;   ///< A file for each task that wrote something there.
};

/// What became of it.
struct LogFilesSummary {
  JobId job;
  std::uint64_t tasks = 0;    ///< That were looked at.
  std::uint64_t files = 0;    ///< Written.
  std::uint64_t bytes = 0;    ///< In them.
  std::uint64_t running = 0;  ///< Tasks that may print more.
  std::uint64_t not_started = 0;
  std::uint64_t gone = 0;           ///< Streams that are not kept any more: no file.
  std::uint64_t dropped_bytes = 0;  ///< Between the first and the last MiB of long streams.
};

/// A Failure leaves whole files and no others.
Outcome<LogFilesSummary> write_log_files(Client& client, const LogFilesRequest& request);

/// "job 17: 998 tasks, 1200 files in DIR (3.1 MiB); 2 not started".
std::string summary_text(const LogFilesSummary& summary, const std::string& dir);
/// {"job":17,"tasks":…}
std::string summary_json(const LogFilesSummary& summary);

}  // namespace capstan::cli
