// SPDX-License-Identifier: MIT
#include "master/core/rows.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace capstan {
namespace {

// What `later` has wins. Moves nodes; nothing is copied. Costs what is folded in, not what is
// there: thousands of rows are deferred when a few hundred more come. Both ascend, so that the
// place behind the last one is nearly always the place of the next.
template <class Map>
void fold(Map& into, Map& later) {
  if (into.empty()) into.swap(later);
  auto place = into.begin();
  while (!later.empty()) {
    auto node = later.extract(later.begin());
    if (place != into.end() && place->first < node.key()) place = into.lower_bound(node.key());
    if (place != into.end() && place->first == node.key())
      place->second = std::move(node.mapped());
    else
      place = into.insert(place, std::move(node));
    ++place;
  }
}

}  // namespace

AttemptRow attempt_in(const TaskRow& row) {
  AttemptRow attempt;
  attempt.worker = row.worker;
  attempt.instance = row.instance;
  attempt.round = row.round;
  attempt.assigned_at = row.assigned_at;
  attempt.started_at = row.started_at;
  attempt.ended_at = row.finished_at;
  attempt.end = row.end;
  static_cast<AttemptDetails&>(attempt) = row;
  return attempt;
}

bool RowChanges::empty() const {
  return jobs.empty() && tasks.empty() && attempts.empty() && swept.empty() && is_progress();
}

bool RowChanges::is_progress() const {
  const bool nothing_else = archived.empty() && workers.empty() && keys.empty() &&
                            requests.empty() && tokens.empty() && submissions.empty() &&
                            inputs.empty() && inputs_dropped.empty() && deleted.empty() &&
                            requests_forgotten == TimePoint{} && !next_job && min_copies == 0;
  return nothing_else &&
         std::none_of(jobs.begin(), jobs.end(),
                      [](const auto& entry) { return is_finished(entry.second.state); }) &&
         std::none_of(swept.begin(), swept.end(), [](const SweptRow& row) { return row.last; });
}

void RowChanges::drop_inputs(SubmissionId submission) {
  inputs.erase(inputs.lower_bound({submission, 0}), inputs.lower_bound({submission.next(), 0}));
  inputs_dropped.push_back(submission);
}

void RowChanges::delete_job(JobId job, DeletedRow row) {
  jobs.erase(job);
  std::erase_if(tokens, [&](const auto& each) { return each.second.job == job; });
  deleted.insert_or_assign(job, std::move(row));
}

void RowChanges::merge(RowChanges later) {
  for (auto& [job, row] : later.deleted) delete_job(job, std::move(row));
  for (const SubmissionId submission : later.inputs_dropped) drop_inputs(submission);
  fold(jobs, later.jobs);
  tasks.append(std::move(later.tasks));
  tasks.sort();
  fold(attempts, later.attempts);
  fold(workers, later.workers);
  fold(keys, later.keys);
  fold(requests, later.requests);
  fold(tokens, later.tokens);
  fold(submissions, later.submissions);
  fold(inputs, later.inputs);
  archived.insert(archived.end(), later.archived.begin(), later.archived.end());
  swept.insert(swept.end(), later.swept.begin(), later.swept.end());
  requests_forgotten = std::max(requests_forgotten, later.requests_forgotten);
  next_job = std::max(next_job, later.next_job);
  if (later.min_copies != 0) min_copies = later.min_copies;
}

}  // namespace capstan
