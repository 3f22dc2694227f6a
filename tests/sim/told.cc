// SPDX-License-Identifier: MIT
#include "tests/sim/told.h"

namespace capstan::sim {

std::string check_start(const Queue& queue, const std::string& worker, const msg::Start& start,
                        std::set<AttemptKey>& doomed) {
  const capstan::Worker* known = queue.find_worker_by_name(worker);
  for (const msg::Start::One& one : start.tasks) {
    const AttemptKey key{.job = start.job, .task = one.task, .attempt = start.attempt};
    if (known != nullptr && known->dying.contains(key)) {  // Superseded behind the grant: a Cancel
      doomed.insert(key);                                  // follows.
      continue;
    }
    const Job* job = queue.find_job(key.job);
    if (job == nullptr || known == nullptr || !known->granted.contains(key))
      return "a dispatch of what is not granted: " + to_string(key);
    if (job->is_waiting()) return "a job that waits was dispatched: " + to_string(key);
    const auto live = job->live.find(*job->ordinal_of(key.task));
    if (live == job->live.end()) return "a finished task was dispatched: " + to_string(key);
    if (live->second.cancelling) doomed.insert(key);
  }
  return "";
}

}  // namespace capstan::sim
