// SPDX-License-Identifier: MIT
//
// Submissions, staged until their close commits them; and the answers to requests of every kind.
#include <algorithm>
#include <memory>
#include <utility>

#include "common/model/limits.h"
#include "master/core/queue_apply.h"

namespace capstan {
namespace {

constexpr std::uint64_t kStdinParts = limits::kStdinBytes / limits::kInputChunkBytes;

std::uint64_t inputs_per_task(const JobSpec& spec) {
  return std::max(spec.inputs_per_task, 1U);
}

/// `c` may be the next part of what is staged.
bool is_next(const SubmissionRow& row, const cmd::InputsStaged& c) {
  const std::uint64_t first = c.first >= kStdinFirst ? kStdinFirst + row.parts : row.inputs;
  return c.part == row.parts && c.first == first && c.count > 0;
}

bool may_stage(const SubmissionRow& row, const cmd::InputsStaged& c) {
  if (c.first >= kStdinFirst) {
    return row.spec.has_stdin && row.inputs == 0 && c.count == 1 && row.parts < kStdinParts;
  }
  // The values of one task are in one chunk: whatever is followed by another is cut between tasks.
  return row.spec.has_inputs && c.count <= limits::kTasksPerJob - row.inputs &&
         row.inputs % inputs_per_task(row.spec) == 0;
}

}  // namespace

// --- Requests ------------------------------------------------------------------------------------

void QueueApply::tell(const Asked& asked, const RequestRow& row) {
  emit(effect::Answer{asked, row.code, row.reason, row.jobs, row.tasks, row.submission});
}

bool QueueApply::is_repeated(const Asked& asked) {
  const RequestRow* row = queue_.find_request(asked);
  if (row == nullptr) return false;
  tell(asked, *row);
  return true;
}

void QueueApply::answer(const Asked& asked, RequestRow row) {
  row.at = entry_.wall;
  row.steady_at = entry_.at;
  queue_.remember(asked, row);
  if (row.code != Errc::OutcomeUnknown) tell(asked, row);
  rows_.requests.insert_or_assign(asked, std::move(row));
}

void QueueApply::refuse(const Asked& asked, Errc code, std::string reason) {
  RequestRow row;
  row.code = code;
  row.reason = std::move(reason);
  answer(asked, std::move(row));
}

QueueApply::Part QueueApply::absent(JobId job) const {
  const std::string name = "job " + std::to_string(job.value);
  if (job >= queue_.next_job_ || !job) return {job, 0, false, "there is no " + name};
  return {job, 0, true, name + " has finished already"};
}

void QueueApply::add_part(RequestRow& row, const Part& part, bool last) {
  // Only what was not found leaves a reason before the last part.
  const auto place = std::lower_bound(row.jobs.begin(), row.jobs.end(), part.job);
  const bool is_known = place != row.jobs.end() && *place == part.job;
  if (part.found && !is_known) row.jobs.insert(place, part.job);
  row.tasks += part.tasks;
  if (!part.found && row.reason.empty()) row.reason = part.note;
  row.code = Errc::OutcomeUnknown;
  if (!last) return;
  row.code = row.reason.empty() ? Errc{} : Errc::NotFound;
  if (row.reason.empty() && row.tasks == 0) row.reason = part.note;
}

void QueueApply::answer_part(const Asked& asked, bool last, const Part& part) {
  // What the parts before this one came to is in the request's row, OutcomeUnknown until the last.
  // It grows where it is: over many jobs a copy for each would take the square of their number.
  if (!queue_.requests_.contains(asked)) {
    RequestRow row;
    add_part(row, part, last);
    return answer(asked, std::move(row));
  }
  RequestRow& row = queue_.renew_request(asked, entry_.at);
  row.at = entry_.wall;
  add_part(row, part, last);
  const auto [written, is_new] = rows_.requests.try_emplace(asked, row);
  if (!is_new) {
    written->second.at = row.at;
    written->second.steady_at = row.steady_at;
    add_part(written->second, part, last);
  }
  if (last) tell(asked, row);
}

void QueueApply::on(const cmd::RequestAnswered& c) {
  if (!is_repeated(c.asked)) refuse(c.asked, c.code, c.reason);
}

// --- Submissions ---------------------------------------------------------------------------------

void QueueApply::drop(SubmissionId id) {
  const auto it = queue_.submissions_.find(id);
  if (it == queue_.submissions_.end()) return;
  rows_.submissions.insert_or_assign(id, std::nullopt);
  if (it->second.parts > 0) rows_.drop_inputs(id);
  queue_.submissions_by_request_.erase(it->second.asked);
  queue_.submissions_.erase(it);
}

void QueueApply::refuse_and_drop(const Asked& asked, SubmissionId id, std::string reason) {
  drop(id);
  refuse(asked, Errc::Invalid, std::move(reason));
}

void QueueApply::on(const cmd::SubmissionOpened& c) {
  if (is_repeated(c.asked) || c.id < queue_.next_submission_) return;
  auto& by_request = queue_.submissions_by_request_;
  if (by_request.contains(c.asked)) return;  // Said again: it is open.
  std::size_t open = 0;
  for (auto it = by_request.lower_bound({c.asked.owner, {}});
       it != by_request.end() && it->first.owner == c.asked.owner; ++it) {
    ++open;
  }
  if (open >= limits::kStagedPerOwner) {
    // Not remembered: the same request may be tried again.
    RequestRow row;
    row.code = Errc::Unavailable;
    row.reason = std::to_string(open) + " submissions are open already: close or wait for them";
    return tell(c.asked, row);
  }
  SubmissionRow row;
  row.asked = c.asked;
  row.token = c.token;
  row.digest = c.digest;
  row.spec = c.spec;
  row.opened_at = entry_.at;
  rows_.submissions.insert_or_assign(c.id, row);
  by_request.emplace(c.asked, c.id);
  queue_.submissions_.emplace(c.id, std::move(row));
  queue_.next_submission_ = c.id.next();
}

void QueueApply::on(const cmd::InputsStaged& c) {
  if (is_repeated(c.asked)) return;
  const auto it = queue_.submissions_.find(c.id);
  if (it == queue_.submissions_.end() || it->second.asked != c.asked) {
    return refuse(c.asked, Errc::NotFound, "the submission is not open (any more): submit again");
  }
  SubmissionRow& row = it->second;
  if (c.part < row.parts) return emit(effect::PartAccepted{c.asked, c.part});
  if (!is_next(row, c)) {
    return refuse_and_drop(c.asked, c.id,
                           "part " + std::to_string(row.parts) +
                               " of the inputs was expected, not " + std::to_string(c.part));
  }
  if (!may_stage(row, c)) {
    return refuse_and_drop(c.asked, c.id, "the job cannot have these inputs");
  }
  rows_.inputs.insert_or_assign({c.id, c.first}, InputChunkRow{c.count, c.chunk});
  ++row.parts;
  if (c.first < kStdinFirst) row.inputs += c.count;
  rows_.submissions.insert_or_assign(c.id, row);
  emit(effect::PartAccepted{c.asked, c.part});
}

bool QueueApply::is_token_taken(const cmd::JobSubmitted& c, const SubmissionRow& submission) {
  if (submission.token.empty()) return false;
  const TokenRow* taken = queue_.find_token(c.asked.owner, submission.token);
  if (taken == nullptr) return false;
  RequestRow row;
  if (taken->digest == submission.digest) {
    row.jobs = {taken->job};
    row.tasks = taken->tasks;
    row.submission = true;
  } else {
    row.code = Errc::Conflict;
    row.reason = "the token \"" + submission.token + "\" belongs to job " +
                 std::to_string(taken->job.value) + ", which has other contents";
  }
  drop(c.id);
  answer(c.asked, std::move(row));
  return true;
}

void QueueApply::take_token(const Job& job, const SubmissionRow& submission) {
  if (job.token.empty()) return;
  const Queue::TokenKey key{job.owner, job.token};
  const TokenRow row{job.id, submission.digest, job.tasks, entry_.wall};
  queue_.tokens_.insert_or_assign(key, row);
  queue_.token_uses_.insert_or_assign(job.id, Queue::TokenUse{key, 0});
  rows_.tokens.insert_or_assign(key, row);
}

void QueueApply::on(const cmd::JobSubmitted& c) {
  if (is_repeated(c.asked)) return;
  const auto it = queue_.submissions_.find(c.id);
  if (it == queue_.submissions_.end() || it->second.asked != c.asked) {
    return refuse(c.asked, Errc::NotFound, "the submission is not open (any more): submit again");
  }
  SubmissionRow& submission = it->second;
  if (is_token_taken(c, submission)) return;
  if (c.inputs != submission.inputs) {
    return refuse_and_drop(c.asked, c.id,
                           std::to_string(c.inputs) + " inputs were announced, " +
                               std::to_string(submission.inputs) + " arrived");
  }
  JobSpec spec = std::move(submission.spec);
  if (spec.has_inputs) {
    spec.indices.clear();
    const std::uint64_t per_task = inputs_per_task(spec);
    const std::uint64_t count = c.inputs / per_task + (c.inputs % per_task > 0 ? 1 : 0);
    if (count > 0) spec.indices = {{1, static_cast<std::uint32_t>(count), 1}};
  }
  const std::uint64_t tasks = task_count(spec);
  if (tasks == 0 || tasks > limits::kTasksPerJob || c.job < queue_.next_job_) {
    return refuse_and_drop(c.asked, c.id,
                           "a job has 1 to 100000000 tasks, not " + std::to_string(tasks));
  }
  if (c.job.value > limits::kJobs) {
    return refuse_and_drop(c.asked, c.id, "this cluster has numbered its last job: make another");
  }
  const auto upstream = find_upstream(spec, c);
  if (!upstream) {
    drop(c.id);
    return refuse(c.asked, Errc::NotFound,
                  "job " + std::to_string(upstream.error().value) + " does not exist (any more)");
  }
  Job& job = queue_.jobs_[c.job];
  job.id = c.job;
  job.owner = c.asked.owner;
  job.set_spec(std::make_shared<const JobSpec>(std::move(spec)));
  job.token = submission.token;
  job.paused = job.spec->hold;
  job.priority = job.spec->priority;
  job.submitted_at = entry_.wall;
  job.inputs = job.spec->has_inputs || job.spec->has_stdin ? c.id : SubmissionId();
  job.ready.insert(0, static_cast<std::uint32_t>(tasks - 1));
  job.counts.ready = tasks;
  queue_.next_job_ = c.job.next();
  take_token(job, submission);
  begin_waiting(job, *upstream);
  rows_.submissions.insert_or_assign(c.id, std::nullopt);
  queue_.submissions_by_request_.erase(c.asked);
  queue_.submissions_.erase(it);
  touch(job);
  RequestRow row;
  row.jobs = {c.job};
  row.tasks = tasks;
  row.submission = true;
  row.reason = job.skipping ? "skipped: " + job.reason : "";
  answer(c.asked, std::move(row));
}

void QueueApply::on(const cmd::SubmissionDropped& c) {
  drop(c.id);
}

}  // namespace capstan
