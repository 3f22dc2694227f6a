// SPDX-License-Identifier: MIT
//
// From a job's template to one task's command. GNU parallel's placeholders (its manual,
// "replacement strings"): {} {.} {/} {//} {/.} {#}. They mean something only in a job with inputs;
// a single command and an array's command are taken as they are. Pure; used by the worker to run,
// and by the command line to refuse what cannot run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/job.h"

namespace capstan {

/// What execve gets. With `shell`: {"/bin/sh", "-c", line}.
/// In a job with inputs where no argument has a placeholder, the input is appended (as an argument
/// of its own; to a shell line, quoted, behind a space).
/// Errc::Invalid when an argument exceeds kArgumentBytes, or has a NUL.
Result<std::vector<Bytes>> render_command(const JobSpec& spec, TaskIndex index,
                                          std::string_view input);

}  // namespace capstan
