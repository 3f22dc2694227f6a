// SPDX-License-Identifier: MIT
//
// Builders of values for tests: what a test does not name has a plain default.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/model/job.h"
#include "common/model/parse.h"
#include "common/model/task.h"

namespace capstan::test {

/// a_job().with_tasks(10).with_retries(2).spec()
class JobBuilder {
 public:
  JobBuilder() {
    spec_.name = "a job";
    spec_.cwd = "/";
    spec_.argv = {"true"};
    spec_.indices = {{1, 1, 1}};
  }
  JobBuilder& with_tasks(std::uint32_t n) {
    spec_.indices = {{1, n, 1}};
    spec_.array = n > 1;
    return *this;
  }
  JobBuilder& with_indices(std::vector<IndexRange> indices) {
    spec_.indices = std::move(indices);
    spec_.array = true;
    return *this;
  }
  JobBuilder& with_inputs() {
    spec_.indices.clear();
    spec_.has_inputs = true;
    return *this;
  }
  JobBuilder& with_batch(std::uint32_t n) { return spec_.inputs_per_task = n, *this; }
  JobBuilder& with_stdin() { return spec_.has_stdin = true, *this; }
  JobBuilder& with_retries(std::uint32_t n) { return spec_.retries = n, *this; }
  JobBuilder& with_cpus(std::uint32_t n) { return spec_.cpus = n, *this; }
  JobBuilder& with_mem(std::uint64_t bytes) { return spec_.mem_bytes = bytes, *this; }
  JobBuilder& with_priority(std::int32_t n) { return spec_.priority = n, *this; }
  JobBuilder& with_limit(std::uint32_t n) { return spec_.max_running = n, *this; }
  JobBuilder& on_hold() { return spec_.hold = true, *this; }
  JobBuilder& with_max_failures(std::uint32_t n) { return spec_.max_failures = n, *this; }
  JobBuilder& with_backoff(Micros first) { return spec_.backoff = first, *this; }
  JobBuilder& after(std::vector<JobId> jobs) { return spec_.after = std::move(jobs), *this; }
  JobBuilder& after_any(std::vector<JobId> jobs) {
    return spec_.after_any = std::move(jobs), *this;
  }
  JobBuilder& begins_at(WallTime at) { return spec_.begin_at = at, *this; }
  [[nodiscard]] const JobSpec& spec() const { return spec_; }

 private:
  JobSpec spec_;
};
inline JobBuilder a_job() {
  return {};
}

/// The n-th instance or request id.
inline Uuid an_id(std::uint64_t n) {
  Uuid id;
  for (std::size_t i = 0; i < 8; ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(n >> (56U - 8U * static_cast<unsigned>(i)));
  }
  return id;
}

inline Selector job_selector(std::uint64_t job) {
  return {Selector::Kind::Job, JobId(job), {}};
}

inline AttemptKey a_key(std::uint64_t job, std::uint32_t task, std::uint32_t attempt) {
  return {JobId(job), TaskIndex(task), AttemptNo(attempt)};
}

inline AttemptResult a_result(AttemptKey key, EndClass end, Micros wall = Micros(1000)) {
  AttemptResult result;
  result.key = key;
  result.end = end;
  result.exit_code = end == EndClass::Exit ? 1 : 0;
  result.wall = end == EndClass::LaunchError ? Micros(0) : wall;
  result.stdout_tail = "out";
  return result;
}

}  // namespace capstan::test
