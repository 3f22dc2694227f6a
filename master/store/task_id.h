// SPDX-License-Identifier: MIT
//
// A task's row is found by one number, its job's above and its index below: SQLite puts such rows
// behind each other, and takes a page of its tree apart for every other kind of key. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/base/ids.h"
#include "common/model/limits.h"

namespace capstan::store {

inline constexpr int kTaskBits = 31;
inline constexpr std::int64_t kTaskMask = (std::int64_t{1} << kTaskBits) - 1;
static_assert(limits::kIndexMax <= kTaskMask);
static_assert(limits::kJobs <= INT64_MAX >> kTaskBits);

/// REQUIRES: a job that the cluster has numbered, a task that it may have.
constexpr std::int64_t task_id(JobId job, TaskIndex task) {
  return static_cast<std::int64_t>(job.value) << kTaskBits | task.value;
}
constexpr TaskIndex task_of(std::int64_t id) {
  return TaskIndex(static_cast<std::uint32_t>(id & kTaskMask));
}

/// From the first to the last; as it is made, none.
struct TaskIds {
  std::int64_t first = 1, last = 0;
};
/// Of a job that may be none, tasks `first` to `last`, which may be too large: what is not there is
/// not found.
constexpr TaskIds task_ids(JobId job, std::uint64_t first, std::uint64_t last) {
  if (job.value > limits::kJobs || first > static_cast<std::uint64_t>(kTaskMask)) return {};
  const auto upto = std::min<std::uint64_t>(last, static_cast<std::uint64_t>(kTaskMask));
  return {task_id(job, TaskIndex(static_cast<std::uint32_t>(first))),
          task_id(job, TaskIndex(static_cast<std::uint32_t>(upto)))};
}
constexpr TaskIds task_ids(JobId job) {
  return task_ids(job, 0, UINT64_MAX);
}

}  // namespace capstan::store
