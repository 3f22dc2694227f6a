// SPDX-License-Identifier: MIT
//
// What a job waits for before its tasks are ready: other jobs (--after, --after-any), which must
// have ended, and a time (--begin), of which the planner decides that it has come.
//
// Only live jobs are waited for: how those ended that are not live is part of JobSubmitted. Nobody
// can be made to wait for a later job, so there are no circles; and what is skipped or cancelled
// while it waits ends in the same entry as what it waited for.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "master/core/queue_apply.h"

namespace capstan {
namespace {

std::string ended_text(JobId job, JobState state) {
  const bool is_passive = state == JobState::Cancelled || state == JobState::Skipped;
  return "job " + std::to_string(job.value) + (is_passive ? " was " : " ") +
         std::string(to_string(state));
}

}  // namespace

tl::expected<QueueApply::Upstream, JobId> QueueApply::find_upstream(
    const JobSpec& spec, const cmd::JobSubmitted& c) const {
  Upstream ended;
  for (const cmd::JobSubmitted::Ended& one : c.ended) {
    if (is_finished(one.state) && one.job < queue_.next_job_) ended.emplace(one.job, one.state);
  }
  Upstream found;
  for (const std::vector<JobId>* jobs : {&spec.after, &spec.after_any}) {
    for (const JobId id : *jobs) {
      const Job* live = queue_.find_job(id);
      const auto end = ended.find(id);
      if (live != nullptr && !queue_.reopened_.contains(id)) {
        found.emplace(id, live->state());
      } else if (end != ended.end()) {
        found.insert(*end);
      } else {
        return tl::make_unexpected(id);
      }
    }
  }
  return found;
}

void QueueApply::begin_waiting(Job& job, const Upstream& upstream) {
  std::string reason;
  for (const JobId id : job.spec->after) {
    const JobState state = upstream.at(id);
    if (is_finished(state) && state != JobState::Succeeded && reason.empty()) {
      reason = ended_text(id, state);
    }
  }
  if (!reason.empty()) return skip(job, std::move(reason));
  for (const auto& [id, state] : upstream) {
    if (is_finished(state)) continue;
    job.waits_for.insert(id);
    queue_.dependents_[id].insert(job.id);
  }
  job.awaits_begin = job.spec->begin_at.us != 0;
  if (job.is_waiting()) std::swap(job.counts.ready, job.counts.waiting);
}

void QueueApply::stop_waiting(Job& job) {
  for (const JobId id : job.waits_for) {
    const auto it = queue_.dependents_.find(id);
    it->second.erase(job.id);
    if (it->second.empty()) queue_.dependents_.erase(it);
  }
  job.waits_for.clear();
  job.awaits_begin = false;
}

void QueueApply::release(Job& job) {
  CHECK(!job.is_waiting());
  job.counts.ready += std::exchange(job.counts.waiting, 0);
  // Untouched tasks have no row that says Waiting; touched ones (cancelled and retried) do.
  for (const auto& [first, last] : job.ready.spans()) {
    auto at = job.bytes.next_touched(first);
    for (; at && *at <= last; at = job.bytes.next_touched(*at + 1)) {
      LiveTask fresh;
      fresh.attempts = job.bytes.attempts(*at);
      fresh.round = job.round;
      write({job, *at}, fresh);
    }
  }
  touch(job);
}

void QueueApply::skip(Job& job, std::string reason) {
  end_ready(job, TaskState::Skipped);
  stop_waiting(job);
  job.skipping = true;
  job.reason = std::move(reason);
}

void QueueApply::tell_dependents(const Job& job) {
  const auto it = queue_.dependents_.find(job.id);
  if (it == queue_.dependents_.end()) return;
  const JobState state = job.state();
  for (const JobId id : std::set<JobId>(it->second)) {
    Job& dependent = queue_.jobs_.at(id);
    const std::vector<JobId>& after = dependent.spec->after;
    const bool must_succeed = std::binary_search(after.begin(), after.end(), job.id);
    if (must_succeed && state != JobState::Succeeded) {
      skip(dependent, ended_text(job.id, state));
      continue;
    }
    dependent.waits_for.erase(job.id);
    touch(dependent);
    if (!dependent.is_waiting()) release(dependent);
  }
  queue_.dependents_.erase(job.id);
}

void QueueApply::on(const cmd::JobReleased& c) {
  Job* job = queue_.job_at(c.job);
  if (job == nullptr || !job->awaits_begin) return;
  job->awaits_begin = false;
  touch(*job);
  if (!job->is_waiting()) release(*job);
}

}  // namespace capstan
