// SPDX-License-Identifier: MIT
//
// From a job's template to one task's command and files. GNU parallel's placeholders (its manual,
// "replacement strings"): {} {.} {/} {//} {/.} {#}, and {1} {2} {1.} {2/} … for one value of a task
// that has several. They mean something only in a job with inputs; a single command and an array's
// command are taken as they are. Pure; used by the worker to run, and by the command line to refuse
// what cannot run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/job.h"

namespace capstan {

/// What execve gets. With `shell`: {"/bin/sh", "-c", line}. With a script argv[0] stays as it is.
/// `inputs` are the task's values; {} that is a whole argument becomes one argument for each of
/// them, inside a longer one they are joined by spaces. A value that {3} misses is empty.
/// In a job with inputs where no argument has a placeholder, the values are appended (as arguments
/// of their own; to a shell line, quoted, behind a space).
/// Errc::Invalid when an argument exceeds kArgumentBytes, or has a NUL.
Result<std::vector<Bytes>> render_command(const JobSpec& spec, TaskIndex index,
                                          const std::vector<Bytes>& inputs);

/// One attempt, for the name of a file.
struct AttemptNames {
  AttemptKey key;
  std::string_view worker;
};
/// The path of a file from `output_path` or `error_path`: %j (job) %t (task) %a (attempt) %w
/// (worker) %%, and in a job with inputs the placeholders. Absolute: below the job's directory.
Result<Bytes> render_path(const JobSpec& spec, const Bytes& pattern, const AttemptNames& names,
                          const std::vector<Bytes>& inputs);

/// The same file for each task: nothing in the pattern tells one from another.
[[nodiscard]] bool is_one_path(const JobSpec& spec, const Bytes& pattern);

/// Refuses a {3} where a task has two values, and a %x that means nothing in a path.
Result<void> validate_placeholders(const JobSpec& spec);

}  // namespace capstan
