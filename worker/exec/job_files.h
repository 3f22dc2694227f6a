// SPDX-License-Identifier: MIT
//
// What the tasks of a job read and nobody else has: its script and its standard input, in files of
// the worker's directory while attempts of the job are here:
//
//   DIR/JOB/script   executable
//   DIR/JOB/stdin
//
// Shepherd thread only.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace capstan {

std::string script_path(const std::string& dir, JobId job);
std::string stdin_path(const std::string& dir, JobId job);

/// The bytes of a new file there, its directory made when it is missing. After an error nothing of
/// it is left. REQUIRES: no process runs or reads an older one.
Result<void> write_script(const std::string& dir, JobId job, std::string_view bytes);
Result<void> write_stdin(const std::string& dir, JobId job, std::string_view bytes);

/// Nothing happens when there are none.
void drop_job_files(const std::string& dir, JobId job);
/// Of all jobs: an earlier life's.
void drop_all_job_files(const std::string& dir);

}  // namespace capstan
