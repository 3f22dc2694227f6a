// SPDX-License-Identifier: MIT
#include "master/core/job.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/limits.h"

namespace capstan {
namespace {

constexpr std::uint32_t kManyMark = 15;  // In the lower four bits: the number is in `many_`.

}  // namespace

// --- TaskBytes -----------------------------------------------------------------------------------

TaskState TaskBytes::state(std::uint32_t ordinal) const {
  const std::uint8_t b = byte(ordinal);
  return b == 0 ? TaskState::Ready : static_cast<TaskState>(b >> 4);
}

AttemptNo TaskBytes::attempts(std::uint32_t ordinal) const {
  const std::uint32_t low = byte(ordinal) & 15U;
  return low == kManyMark ? many_.at(ordinal) : AttemptNo(low);
}

std::optional<std::uint32_t> TaskBytes::next_touched(std::uint32_t from) const {
  for (std::size_t page = from / kPage; page < pages_.size(); ++page) {
    if (pages_[page].empty()) continue;
    const std::size_t begin = page == from / kPage ? from % kPage : 0;
    const auto it = std::find_if(pages_[page].begin() + static_cast<std::ptrdiff_t>(begin),
                                 pages_[page].end(), [](std::uint8_t b) { return b != 0; });
    if (it == pages_[page].end()) continue;
    return static_cast<std::uint32_t>(page * kPage +
                                      static_cast<std::size_t>(it - pages_[page].begin()));
  }
  return std::nullopt;
}

void TaskBytes::set(std::uint32_t ordinal, TaskState state, AttemptNo attempts) {
  CHECK(ordinal < tasks_ && state != TaskState::Waiting);
  if (pages_.empty()) pages_.resize((tasks_ + kPage - 1) / kPage);
  Page& page = pages_[ordinal / kPage];
  if (page.empty()) {
    const std::uint64_t rest = tasks_ - std::uint64_t{ordinal / kPage} * kPage;
    page.resize(std::min<std::uint64_t>(kPage, rest));
  }
  std::uint8_t& b = page[ordinal % kPage];
  if (b == 0) ++touched_;
  if ((b & 15U) == kManyMark && attempts.value < kManyMark) many_.erase(ordinal);
  if (attempts.value >= kManyMark) many_[ordinal] = attempts;
  const std::uint32_t low = std::min(attempts.value, kManyMark);
  b = static_cast<std::uint8_t>((static_cast<unsigned>(state) << 4U) | low);
}

bool TaskBytes::operator==(const TaskBytes& other) const {
  if (tasks_ != other.tasks_ || touched_ != other.touched_ || many_ != other.many_) return false;
  for (auto at = next_touched(0); at; at = next_touched(*at + 1)) {
    if (byte(*at) != other.byte(*at)) return false;
  }
  return true;  // As many touched ones there, and all of ours equal.
}

// --- Job -----------------------------------------------------------------------------------------

void Job::set_spec(std::shared_ptr<const JobSpec> taken) {
  spec = std::move(taken);
  range_starts.clear();
  tasks = 0;
  for (const IndexRange& range : spec->indices) {
    range_starts.push_back(static_cast<std::uint32_t>(tasks));
    tasks += range.count();
  }
  bytes = TaskBytes(tasks);
}

JobState Job::state() const {
  if (counts.finished() == tasks) {
    if (counts.failed > 0) return JobState::Failed;
    if (counts.skipped > 0) return JobState::Skipped;
    return counts.cancelled > 0 ? JobState::Cancelled : JobState::Succeeded;
  }
  if (paused) return JobState::Paused;
  return counts.running > 0 ? JobState::Running : JobState::Queued;
}

bool Job::is_ready() const {
  const std::uint32_t limit = spec->max_running;
  return !ready.empty() && !paused && !is_waiting() && (limit == 0 || counts.running < limit);
}

bool Job::is_short() const {
  constexpr Micros longest = std::min<Micros>(limits::kPrefillTaskMax, limits::kPrefillHorizon);
  return mean_wall.count() > 0 && mean_wall <= longest;
}

TaskState Job::untouched_state() const {
  if (cancelling) return TaskState::Cancelled;
  return skipping ? TaskState::Skipped : idle_state();
}

TaskState Job::task_state(std::uint32_t ordinal) const {
  if (!bytes.is_touched(ordinal)) return untouched_state();
  const TaskState state = bytes.state(ordinal);
  return state == TaskState::Ready ? idle_state() : state;
}

TaskIndex Job::index_of(std::uint32_t ordinal) const {
  CHECK(ordinal < tasks);
  if (range_starts.size() == 1) {  // Nearly all, and asked several times a task.
    const IndexRange& range = spec->indices[0];
    return TaskIndex(range.first + ordinal * range.step);
  }
  const auto after = std::upper_bound(range_starts.begin(), range_starts.end(), ordinal);
  const auto at = static_cast<std::size_t>(after - range_starts.begin()) - 1;
  const IndexRange& range = spec->indices[at];
  return TaskIndex(range.first + (ordinal - range_starts[at]) * range.step);
}

std::optional<std::uint32_t> Job::ordinal_of(TaskIndex index) const {
  const auto& ranges = spec->indices;
  if (ranges.size() == 1 && ranges[0].step == 1) {  // Nearly all.
    const IndexRange& range = ranges[0];
    if (index.value < range.first || index.value > range.last) return std::nullopt;
    return index.value - range.first;
  }
  const auto span = ordinals_in({index.value, index.value});
  if (!span) return std::nullopt;
  return span->first;
}

std::vector<std::uint32_t> Job::live_in(OrdinalSpan span) const {
  const auto [first, last] = span;
  std::vector<std::uint32_t> found;
  if (last - first < live.size()) {
    for (std::uint64_t ordinal = first; ordinal <= last; ++ordinal) {
      if (live.contains(static_cast<std::uint32_t>(ordinal)))
        found.push_back(static_cast<std::uint32_t>(ordinal));
    }
    return found;
  }
  for (const auto& [ordinal, task] : live) {
    if (ordinal >= first && ordinal <= last) found.push_back(ordinal);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<Job::OrdinalSpan> Job::ordinals_in(IndexSpan span) const {
  if (span.last < span.first) return std::nullopt;
  const auto& ranges = spec->indices;
  // The number of ranges that begin at or before an index; ranges ascend.
  const auto begun = [&](std::uint32_t index) {
    const auto it = std::upper_bound(
        ranges.begin(), ranges.end(), index,
        [](std::uint32_t value, const IndexRange& range) { return value < range.first; });
    return static_cast<std::size_t>(it - ranges.begin());
  };
  const std::size_t until = begun(span.last);
  if (until == 0) return std::nullopt;
  const IndexRange& end = ranges[until - 1];
  const std::uint64_t steps = (std::uint64_t{span.last} - end.first) / end.step;
  const std::uint64_t last = range_starts[until - 1] + std::min(steps, end.count() - 1);

  std::uint64_t first = 0;
  if (const std::size_t from = begun(span.first); from > 0) {
    const IndexRange& range = ranges[from - 1];
    const std::uint64_t skipped =
        (std::uint64_t{span.first} - range.first + range.step - 1) / range.step;
    first = range_starts[from - 1] + std::min(skipped, range.count());
  }
  if (first > last) return std::nullopt;
  return OrdinalSpan{static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)};
}

bool Job::is_excluded(WorkerId worker) const {
  return std::binary_search(excluded.begin(), excluded.end(), worker);
}

JobRow to_row(const Job& job) {
  JobRow row;
  row.id = job.id;
  row.owner = job.owner;
  row.spec = job.spec;
  row.token = job.token;
  row.state = job.state();
  row.paused = job.paused;
  row.cancelling = job.cancelling;
  row.skipping = job.skipping;
  row.awaits_begin = job.awaits_begin;
  row.waits_for.assign(job.waits_for.begin(), job.waits_for.end());
  row.priority = job.priority;
  row.tasks = job.tasks;
  row.counts = job.counts;
  row.submitted_at = job.submitted_at;
  row.started_at = job.started_at;
  row.finished_at = job.finished_at;
  row.reason = job.reason;
  row.excluded = job.excluded;
  row.launched = job.launched;
  row.mean_wall = job.mean_wall;
  row.inputs = job.inputs;
  return row;
}

std::uint64_t& count_of(JobCounts& counts, TaskState state) {
  switch (state) {
    case TaskState::Waiting:
      return counts.waiting;
    case TaskState::Ready:
      return counts.ready;
    case TaskState::Running:
      return counts.running;
    case TaskState::Backoff:
      return counts.backoff;
    case TaskState::Succeeded:
      return counts.succeeded;
    case TaskState::Failed:
      return counts.failed;
    case TaskState::Cancelled:
      return counts.cancelled;
    case TaskState::Skipped:
      break;
  }
  return counts.skipped;
}

}  // namespace capstan
