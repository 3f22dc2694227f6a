// SPDX-License-Identifier: MIT
#include "master/store/job_walk.h"

#include <algorithm>
#include <string>

#include "common/model/limits.h"
#include "master/store/run_codec.h"

namespace capstan::store {
namespace {

std::optional<std::uint32_t> next_in(const IndexRange& range, std::uint64_t from) {
  if (from <= range.first) return range.first;
  const std::uint64_t steps = (from - range.first + range.step - 1) / range.step;
  const std::uint64_t index = range.first + steps * range.step;
  if (index > range.last) return std::nullopt;
  return static_cast<std::uint32_t>(index);
}

/// In ranges that ascend.
std::optional<std::uint32_t> next_in_spec(const std::vector<IndexRange>& ranges,
                                          std::uint64_t from) {
  auto range =
      std::lower_bound(ranges.begin(), ranges.end(), from,
                       [](const IndexRange& r, std::uint64_t index) { return r.last < index; });
  for (; range != ranges.end(); ++range) {
    if (const auto index = next_in(*range, from)) return index;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> next_in_any(const std::vector<IndexRange>& ranges,
                                         std::uint64_t from) {
  std::optional<std::uint32_t> best;
  for (const IndexRange& range : ranges) {
    const auto index = next_in(range, from);
    if (index && (!best || *index < *best)) best = index;
  }
  return best;
}

}  // namespace

TaskState untouched_state(const JobRow& job) {
  if (job.cancelling) return TaskState::Cancelled;
  if (job.skipping) return TaskState::Skipped;
  return job.awaits_begin || !job.waits_for.empty() ? TaskState::Waiting : TaskState::Ready;
}

std::uint64_t count_in(const JobCounts& c, std::uint32_t states) {
  const std::uint64_t counts[] = {c.waiting,   c.ready,  c.running,   c.backoff,
                                  c.succeeded, c.failed, c.cancelled, c.skipped};
  std::uint64_t sum = 0;
  for (unsigned state = 0; state < std::size(counts); ++state) {
    if (has_state(states, static_cast<TaskState>(state))) sum += counts[state];
  }
  return sum;
}

Result<std::optional<std::uint32_t>> IndexWalk::next(std::uint64_t from) {
  auto index = next_in_spec(spec_, from);
  while (index && !only_.empty()) {
    const auto wanted = next_in_any(only_, *index);
    if (!wanted || *wanted == *index) return wanted;
    compared_ += only_.size();
    if (compared_ > kComparedMax)
      return fail(Errc::Invalid, "these ranges and the job's do not meet: name fewer tasks");
    index = next_in_spec(spec_, *wanted);
  }
  return index;
}

bool IndexWalk::contains(std::uint32_t index) const {
  return next_in_spec(spec_, index) == index &&
         (only_.empty() || next_in_any(only_, index) == index);
}

std::optional<std::uint64_t> RunBuilder::ordinal_of(std::uint32_t index) {
  const std::vector<IndexRange>& ranges = job_.spec->indices;
  while (range_ < ranges.size() && ranges[range_].last < index) {
    range_begins_ += ranges[range_].count();
    ++range_;
  }
  if (range_ == ranges.size() || next_in(ranges[range_], index) != index) return std::nullopt;
  return range_begins_ + (index - ranges[range_].first) / ranges[range_].step;
}

void RunBuilder::append(const cmd::JobReopened::Run& run) {
  next_ += run.count;
  if (!runs_.empty()) {
    cmd::JobReopened::Run& last = runs_.back();
    if (last.state == run.state && last.attempts == run.attempts && last.has_rows == run.has_rows) {
      last.count += run.count;
      return;
    }
    bytes_ += packed_size(last);
  }
  runs_.push_back(run);
}

void RunBuilder::append_untouched(std::uint64_t count) {
  if (count > 0) append({count, untouched_state(job_), AttemptNo{}, false});
}

Result<void> RunBuilder::add(TaskIndex task, const TaskRow& row) {
  const auto ordinal = ordinal_of(task.value);
  if (!ordinal || *ordinal < next_) {
    return fail(Errc::Corrupt, "in the tables: " + task_name(job_.id, task) + " is not of its job");
  }
  append_untouched(*ordinal - next_);
  append({1, row.state, row.attempts, true});
  round_ = std::max(round_, row.round);
  return are_few_enough();
}

Result<void> RunBuilder::are_few_enough() const {
  if (bytes_ <= limits::kRunsBytes) return {};
  const std::string id = std::to_string(job_.id.value);
  return fail(Errc::Invalid, "the tasks of job " + id +
                                 " ended in too many different ways to be "
                                 "opened again: see `capstan tasks " +
                                 id + " --state failed` and submit those as a new job");
}

Result<void> RunBuilder::finish(cmd::JobReopened& reopened) {
  if (job_.tasks > next_) append_untouched(job_.tasks - next_);
  TRY(are_few_enough());
  reopened.runs = std::move(runs_);
  reopened.round = round_;
  return {};
}

}  // namespace capstan::store
