// SPDX-License-Identifier: MIT
//
// What a task finds in its environment.
#pragma once

#include <optional>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/model/job.h"

namespace capstan {

/// The worker's variables with the job's over them, each name once.
[[nodiscard]] std::vector<EnvVar> job_environment(const std::vector<EnvVar>& worker,
                                                  const std::vector<EnvVar>& job);
/// What CAPSTAN_INPUT is to be: several inputs a line each. None in jobs without inputs, and when
/// it would be too long for execve.
[[nodiscard]] std::optional<Bytes> input_variable(const JobSpec& spec,
                                                  const std::vector<Bytes>& inputs);
/// What is a task's own, behind its job's.
[[nodiscard]] std::vector<EnvVar> task_environment(const AttemptKey& key,
                                                   const std::optional<Bytes>& input);

}  // namespace capstan
