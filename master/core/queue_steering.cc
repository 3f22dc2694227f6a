// SPDX-License-Identifier: MIT
//
// Steering: cancel, pause, resume, priority, retry.
#include <algorithm>
#include <memory>
#include <utility>

#include "master/core/queue_apply.h"

namespace capstan {

// --- Cancel --------------------------------------------------------------------------------------

bool QueueApply::cancel_live(Place at, LiveTask& live) {
  if (live.state == TaskState::Running) {
    if (live.cancelling) return false;
    live.cancelling = true;
    write(at, live);
    touch(at.job);
    cancels_[{live.worker, CancelWhy::User}].push_back(key_of(at, live.attempts));
    return true;
  }
  settle_number(live);
  TaskRow row = row_of(at, live);
  row.reason = reason_;
  finish(at, &live, TaskState::Cancelled, std::move(row));
  return true;
}

void QueueApply::finish_ready(Place at, TaskState state) {
  TaskRow row;
  row.reason = reason_;
  row.attempts = at.job.bytes.attempts(at.ordinal);
  row.attempt = row.attempts;
  row.round = at.job.round;
  finish(at, nullptr, state, std::move(row));
}

std::uint64_t QueueApply::end_ready(Job& job, TaskState state) {
  std::vector<std::uint32_t> touched;
  for (const auto& [first, last] : job.ready.spans()) {
    auto at = job.bytes.next_touched(first);
    for (; at && *at <= last; at = job.bytes.next_touched(*at + 1)) touched.push_back(*at);
  }
  for (const std::uint32_t ordinal : touched) finish_ready({job, ordinal}, state);
  // All others have no row: one flag of the job says it of them.
  const std::uint64_t untouched = job.ready.count();
  job.ready.clear();
  count_of(job.counts, job.idle_state()) -= untouched;
  count_of(job.counts, state) += untouched;
  touch(job);
  return touched.size() + untouched;
}

std::uint64_t QueueApply::cancel_all(Job& job) {
  std::uint64_t affected = 0;
  for (auto it = job.live.begin(); it != job.live.end();) {
    auto& [ordinal, live] = *it++;  // It may be gone afterwards.
    if (cancel_live({job, ordinal}, live)) ++affected;
  }
  affected += end_ready(job, TaskState::Cancelled);
  // Of one that was skipped and retried in part, those without a row stay Skipped.
  if (!job.skipping) job.cancelling = true;
  return affected;
}

void QueueApply::stop_at_max_failures(Job& job) {
  if (job.counts.failed < job.spec->max_failures || cancel_all(job) == 0) return;
  if (!job.reason.empty()) return;
  const std::string most = std::to_string(job.spec->max_failures);
  job.reason = std::to_string(job.counts.failed) + (job.counts.failed == 1 ? " task" : " tasks") +
               " failed: stopped by --max-failures " + most;
}

std::uint64_t QueueApply::cancel_between(Job& job, Job::OrdinalSpan span) {
  const auto [first, last] = span;
  if (first == 0 && last + std::uint64_t{1} == job.tasks) return cancel_all(job);
  std::uint64_t affected = 0;
  for (const std::uint32_t ordinal : job.live_in(span)) {
    if (cancel_live({job, ordinal}, job.live.find(ordinal)->second)) ++affected;
  }
  for (auto at = job.ready.next(first); at && *at <= last; at = job.ready.next(*at + 1)) {
    finish_ready({job, *at}, TaskState::Cancelled);
    ++affected;
  }
  return affected;
}

void QueueApply::on(const cmd::JobCancelled& c) {
  if (is_repeated(c.asked)) return;
  Job* job = queue_.job_at(c.job);
  if (job == nullptr) return answer_part(c.asked, c.last, absent(c.job));
  Part part{c.job};
  part.note = "nothing of job " + std::to_string(c.job.value) + " was left to cancel";
  reason_ = c.reason;
  if (c.spans.empty()) {
    part.tasks = cancel_all(*job);
    if (part.tasks > 0 && job->reason.empty()) job->reason = c.reason;
    return answer_part(c.asked, c.last, part);
  }
  part.found = false;
  for (const IndexSpan span : c.spans) {
    const auto ordinals = job->ordinals_in(span);
    if (!ordinals) continue;
    part.found = true;
    part.tasks += cancel_between(*job, *ordinals);
  }
  if (!part.found) part.note = "job " + std::to_string(c.job.value) + " has no such task";
  answer_part(c.asked, c.last, part);
}

// --- Pause, resume -------------------------------------------------------------------------------

void QueueApply::on(const cmd::JobPaused& c) {
  if (is_repeated(c.asked)) return;
  Job* job = queue_.job_at(c.job);
  if (job == nullptr) return answer_part(c.asked, c.last, absent(c.job));
  Part part{c.job};
  part.note = "job " + std::to_string(c.job.value) + " is paused already";
  if (!job->paused) {
    part.tasks = job->counts.waiting + job->counts.ready + job->counts.backoff;
    part.note.clear();
    job->paused = true;
    touch(*job);
  }
  answer_part(c.asked, c.last, part);
}

void QueueApply::on(const cmd::JobResumed& c) {
  if (is_repeated(c.asked)) return;
  Job* job = queue_.job_at(c.job);
  if (job == nullptr) return answer_part(c.asked, c.last, absent(c.job));
  Part part{c.job};
  part.note = "job " + std::to_string(c.job.value) + " is not paused";
  if (job->paused) {
    part.tasks = job->counts.waiting + job->counts.ready + job->counts.backoff;
    part.note.clear();
    job->paused = false;
    touch(*job);
  }
  answer_part(c.asked, c.last, part);
}

// --- Priority ------------------------------------------------------------------------------------

void QueueApply::on(const cmd::JobPrioritised& c) {
  if (is_repeated(c.asked)) return;
  Job* job = queue_.job_at(c.job);
  if (job == nullptr) return answer_part(c.asked, c.last, absent(c.job));
  Part part{c.job};
  part.note = "job " + std::to_string(c.job.value) + " has that priority already";
  if (job->priority != c.priority) {
    part.tasks = job->counts.waiting + job->counts.ready + job->counts.backoff;
    part.note.clear();
    job->priority = c.priority;
    touch(*job);
  }
  answer_part(c.asked, c.last, part);
}

// --- Retry ---------------------------------------------------------------------------------------

QueueApply::RetryMatch QueueApply::match(const Job& job, const cmd::TasksRetried& c) const {
  const auto is_wanted = [&](TaskState s) {
    return is_finished(s) && (c.states >> static_cast<unsigned>(s) & 1U) != 0;
  };
  std::vector<IndexSpan> spans = c.spans;
  if (spans.empty()) spans = {{0, UINT32_MAX}};
  RetryMatch found;
  for (const IndexSpan span : spans) {
    const auto ordinals = job.ordinals_in(span);
    if (!ordinals) continue;
    const std::uint64_t last = ordinals->second;
    for (std::uint64_t at = ordinals->first; at <= last; ++at) {
      const auto touched = job.bytes.next_touched(static_cast<std::uint32_t>(at));
      const std::uint64_t next = touched && *touched <= last ? *touched : last + 1;
      if (next > at && is_wanted(job.untouched_state())) {
        found.untouched.emplace_back(at, next - 1);
        found.untouched_count += next - at;
      }
      if (next <= last && is_wanted(job.bytes.state(*touched))) found.touched.push_back(*touched);
      at = next;
    }
  }
  return found;
}

void QueueApply::archive(Job& job, const std::vector<std::uint32_t>& ordinals) {
  // What is in the tables is moved there, by spans; what is still in this batch is moved here.
  rows_.tasks.sort();
  std::optional<Job::OrdinalSpan> open;
  const auto close_span = [&] {
    if (!open) return;
    rows_.archived.emplace_back(
        job.id, IndexSpan{job.index_of(open->first).value, job.index_of(open->second).value});
    open.reset();
  };
  for (const std::uint32_t ordinal : ordinals) {
    if (job.bytes.attempts(ordinal).value == 0) continue;
    const TaskIndex index = job.index_of(ordinal);
    if (const TaskRow* row = rows_.tasks.find({job.id, index}); row != nullptr) {
      if (!row->ended) continue;
      rows_.attempts.insert_or_assign({job.id, index, row->attempt}, attempt_in(*row));
    } else if (open && open->second + 1 == ordinal) {
      open->second = ordinal;
    } else {
      close_span();
      open = {ordinal, ordinal};
    }
  }
  close_span();
}

std::uint64_t QueueApply::retry(Job& job, const RetryMatch& found) {
  if (found.touched.empty() && found.untouched.empty()) return 0;
  archive(job, found.touched);
  const bool is_new_round =
      std::any_of(found.touched.begin(), found.touched.end(),
                  [&](std::uint32_t ordinal) { return job.bytes.attempts(ordinal).value > 0; });
  if (is_new_round) ++job.round;
  const auto to_fresh = [&](std::uint32_t ordinal) {
    const Place at{job, ordinal};
    LiveTask fresh;
    fresh.attempts = job.bytes.attempts(ordinal);
    fresh.round = job.round;
    leave(at, job.task_state(ordinal), nullptr);
    enter(at, TaskState::Ready, fresh.attempts);
    write(at, fresh);
  };
  const bool are_all_untouched = found.untouched_count == job.tasks - job.bytes.touched();
  for (const std::uint32_t ordinal : found.touched) to_fresh(ordinal);
  for (const auto& [first, last] : found.untouched) {
    if (are_all_untouched) {
      job.ready.insert(first, last);
      continue;
    }
    for (std::uint32_t ordinal = first; ordinal <= last; ++ordinal) to_fresh(ordinal);
  }
  if (are_all_untouched) {
    // None is left that the job's flags speak for.
    count_of(job.counts, job.untouched_state()) -= found.untouched_count;
    job.cancelling = job.skipping = false;
    count_of(job.counts, job.idle_state()) += found.untouched_count;
  }
  job.finished_at = {};
  if (!job.skipping) job.reason.clear();
  job.excluded.clear();
  queue_.reopened_.erase(job.id);
  touch(job);
  return found.touched.size() + found.untouched_count;
}

void QueueApply::leave_reopened() {
  for (const JobId id : queue_.reopened_) {
    queue_.jobs_.erase(id);
    emit(effect::JobFinished{id});
  }
  queue_.reopened_.clear();
}

void QueueApply::on(const cmd::TasksRetried& c) {
  if (is_repeated(c.asked)) return leave_reopened();
  Job* job = queue_.job_at(c.job);
  Part part = absent(c.job);
  if (job != nullptr) {
    part = Part{c.job};
    part.tasks = retry(*job, match(*job, c));
    part.note = "nothing of job " + std::to_string(c.job.value) + " was to be done again";
  }
  answer_part(c.asked, c.last, part);
  if (c.last) leave_reopened();
}

void QueueApply::on(const cmd::JobReopened& c) {
  if (c.job >= queue_.next_job_ || queue_.jobs_.contains(c.job)) return;
  if (queue_.deletions_.contains(c.job)) return;
  Job job;
  job.id = c.job;
  job.owner = c.owner;
  job.set_spec(std::make_shared<const JobSpec>(c.spec));
  job.token = c.token;
  job.cancelling = c.cancelling;
  job.skipping = c.skipping && !c.cancelling;
  job.priority = c.priority;
  job.reason = c.reason;
  job.submitted_at = c.submitted_at;
  job.started_at = c.started_at;
  job.launched = c.launched;
  job.mean_wall = c.mean_wall;
  job.inputs = c.inputs;
  job.round = c.round;
  std::uint64_t at = 0;
  for (const cmd::JobReopened::Run& run : c.runs) {
    if (!is_finished(run.state) || run.count > job.tasks - at) return;
    count_of(job.counts, run.state) += run.count;
    const bool has_rows =
        run.has_rows || run.attempts.value > 0 || run.state != job.untouched_state();
    for (std::uint64_t end = at + run.count; at < end; ++at) {
      if (has_rows) job.bytes.set(static_cast<std::uint32_t>(at), run.state, run.attempts);
    }
  }
  if (at != job.tasks) return;
  queue_.reopened_.insert(c.job);
  queue_.jobs_.emplace(c.job, std::move(job));
}

}  // namespace capstan
