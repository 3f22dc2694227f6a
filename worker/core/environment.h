// SPDX-License-Identifier: MIT
//
// What a task finds in its environment.
#pragma once

#include <vector>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/model/job.h"

namespace capstan {

/// The worker's variables with the job's over them, each name once.
[[nodiscard]] std::vector<EnvVar> job_environment(const std::vector<EnvVar>& worker,
                                                  const std::vector<EnvVar>& job);
/// What is a task's own, behind those. CAPSTAN_INPUT has several inputs a line each; it is left out
/// in jobs without inputs, and when it would be too long for execve.
[[nodiscard]] std::vector<EnvVar> task_environment(const JobSpec& spec, const AttemptKey& key,
                                                   const std::vector<Bytes>& inputs);

}  // namespace capstan
