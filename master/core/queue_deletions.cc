// SPDX-License-Identifier: MIT
//
// Deletions: a finished job is marked, and forgotten for everybody but the sweep.
#include <algorithm>
#include <utility>

#include "master/core/queue_apply.h"

namespace capstan {

void QueueApply::forget_token(JobId job) {
  const auto use = queue_.token_uses_.find(job);
  if (use == queue_.token_uses_.end()) return;
  queue_.tokens_.erase(use->second.key);
  queue_.token_uses_.erase(use);
}

void QueueApply::on(const cmd::JobsDeleted& c) {
  const bool is_asked = c.asked.request.is_set();
  if (is_asked && is_repeated(c.asked)) return;
  RequestRow row;
  if (const auto it = queue_.requests_.find(c.asked); it != queue_.requests_.end())
    row = it->second;
  for (const cmd::JobsDeleted::One& one : c.jobs) {
    const bool is_known = one.job && one.job < queue_.next_job_;
    if (!is_known || queue_.jobs_.contains(one.job)) continue;
    if (!queue_.deletions_.emplace(one.job, one.inputs).second) continue;
    forget_token(one.job);
    rows_.delete_job(one.job, {one.owner, one.token, one.inputs});
    row.tasks += one.tasks;
    const auto place = std::lower_bound(row.jobs.begin(), row.jobs.end(), one.job);
    if (c.names_jobs && (place == row.jobs.end() || *place != one.job))
      row.jobs.insert(place, one.job);
  }
  if (!is_asked) return;
  row.code = c.last ? Errc{} : Errc::OutcomeUnknown;
  if (c.last) row.reason = c.note;
  answer(c.asked, std::move(row));
}

void QueueApply::on(const cmd::DeletionsSwept& c) {
  for (const cmd::DeletionsSwept::Step& step : c.steps) {
    const auto it = queue_.deletions_.find(step.job);
    if (it == queue_.deletions_.end()) continue;
    rows_.swept.push_back({step.job, it->second, step.tasks_upto, step.inputs_upto, step.last});
    if (step.last) queue_.deletions_.erase(it);
  }
}

void QueueApply::on(const cmd::RequestsForgotten& c) {
  rows_.requests_forgotten = std::max(rows_.requests_forgotten, c.upto);
}

}  // namespace capstan
