// SPDX-License-Identifier: MIT
#include "worker/core/environment.h"

#include <map>
#include <string>
#include <utility>

#include "common/model/limits.h"

namespace capstan {

std::vector<EnvVar> job_environment(const std::vector<EnvVar>& worker,
                                    const std::vector<EnvVar>& job) {
  std::map<Bytes, Bytes> merged;
  for (const EnvVar& each : worker) merged[each.name] = each.value;
  for (const EnvVar& each : job) merged[each.name] = each.value;
  for (const char* ours : {"CAPSTAN_JOB_ID", "CAPSTAN_TASK_INDEX", "CAPSTAN_ATTEMPT",
                           "CAPSTAN_INPUT", "CAPSTAN_CPUS", "CAPSTAN_WORKER"}) {
    merged.erase(ours);
  }
  std::vector<EnvVar> environment;
  for (auto& [name, value] : merged) environment.push_back({name, std::move(value)});
  return environment;
}

std::optional<Bytes> input_variable(const JobSpec& spec, const std::vector<Bytes>& inputs) {
  if (!spec.has_inputs) return std::nullopt;
  constexpr std::size_t kRoom = limits::kArgumentBytes - (sizeof("CAPSTAN_INPUT=") - 1);
  Bytes lines;
  for (std::size_t i = 0; i < inputs.size() && lines.size() <= kRoom; ++i) {
    if (i > 0) lines += '\n';
    lines += inputs[i];
  }
  return lines.size() <= kRoom ? std::optional(std::move(lines)) : std::nullopt;
}

std::vector<EnvVar> task_environment(const AttemptKey& key, const std::optional<Bytes>& input) {
  std::vector<EnvVar> environment;
  environment.push_back({"CAPSTAN_TASK_INDEX", std::to_string(key.task.value)});
  environment.push_back({"CAPSTAN_ATTEMPT", std::to_string(key.attempt.value)});
  if (input) environment.push_back({"CAPSTAN_INPUT", *input});
  return environment;
}

}  // namespace capstan
