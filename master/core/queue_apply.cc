// SPDX-License-Identifier: MIT
//
// The moves that all handlers are made of, and the end of an entry.
#include "master/core/queue_apply.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/limits.h"
#include "master/core/retry.h"

namespace capstan {

void QueueApply::run() {
  std::visit([this](const auto& command) { on(command); }, entry_.command);
  close();
}

// --- The cluster ---------------------------------------------------------------------------------

void QueueApply::on(const cmd::ReignBegan& c) {
  if (c.jobs_skipped == 0) return;
  queue_.next_job_ = JobId(queue_.next_job_.value + c.jobs_skipped);
  rows_.next_job = queue_.next_job_;
}

void QueueApply::on(const cmd::MinCopiesSet& c) {
  if (c.copies == 0) return;
  queue_.min_copies_ = c.copies;
  rows_.min_copies = c.copies;
  emit(effect::MinCopiesSet{c.copies});
}

// --- The end of an entry -------------------------------------------------------------------------

void QueueApply::touch(Job& job) {
  if (job.is_touched) return;
  job.is_touched = true;
  touched_.push_back(&job);
}

void QueueApply::close() {
  for (Job* job : failed_) stop_at_max_failures(*job);
  for (auto& [to, keys] : cancels_) {
    std::sort(keys.begin(), keys.end());  // Live tasks stand in the order in which they came here.
    emit(effect::CancelAttempts{to.first, to.second, std::move(keys)});
  }
  // One that finishes may let go or end others: they join the list, and nothing recurses.
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    Job* job = touched_[i];
    job->is_touched = false;
    if (queue_.reopened_.contains(job->id)) continue;  // As its row says, until a retry.
    const bool is_finished = job->counts.finished() == job->tasks;
    if (is_finished) {
      job->paused = false;
      job->finished_at = ago(Micros(0));
      stop_waiting(*job);
    }
    rows_.jobs.insert_or_assign(job->id, to_row(*job));
    if (!is_finished) {
      queue_.index(*job);
      continue;
    }
    const JobId id = job->id;
    tell_dependents(*job);
    queue_.unindex(*job);
    queue_.jobs_.erase(id);
    emit(effect::JobFinished{id});
  }
}

WallTime QueueApply::ago(Micros past) const {
  // Never 0, which means "not known".
  const std::int64_t back = std::clamp<std::int64_t>(past.count(), 0, entry_.wall.us);
  return WallTime{std::max<std::int64_t>(entry_.wall.us - back, 1)};
}

// --- Finding -------------------------------------------------------------------------------------

QueueApply::Found QueueApply::find(JobId id, TaskIndex task) {
  Job* job = queue_.job_at(id);
  if (job == nullptr) return {};
  const auto ordinal = job->ordinal_of(task);
  if (!ordinal) return {};
  const auto live = job->live.find(*ordinal);
  return {job, *ordinal, live == job->live.end() ? nullptr : &live->second};
}

QueueApply::Found QueueApply::find_granted(const AttemptKey& key, WorkerId worker,
                                           const Instance& instance) {
  const Found found = find(key.job, key.task);
  if (found.live == nullptr) return {};
  const LiveTask& live = *found.live;
  const bool is_granted = live.state == TaskState::Running && live.worker == worker &&
                          live.instance == instance && live.attempts == key.attempt;
  return is_granted ? found : Found{};
}

// --- Moves of one task ---------------------------------------------------------------------------

void QueueApply::leave(Place at, TaskState from, LiveTask* live) {
  Job& job = at.job;
  --count_of(job.counts, from);
  if (from == TaskState::Ready || from == TaskState::Waiting) CHECK(job.ready.erase(at.ordinal));
  if (from == TaskState::Backoff) {
    job.backoffs.erase({live->ready_at, at.ordinal});
    live->ready_at = {};
  }
  if (from == TaskState::Running) {
    Worker& worker = queue_.workers_.at(live->worker);
    worker.granted.erase(key_of(at, live->attempts));
    worker.cpus_granted -= job.spec->cpus;
    worker.mem_granted -= job.spec->mem_bytes;
    job.cpus_assigned -= job.spec->cpus;
  }
  touch(job);
}

void QueueApply::enter(Place at, TaskState to, AttemptNo attempts) {
  ++count_of(at.job.counts, to == TaskState::Ready ? at.job.idle_state() : to);
  at.job.bytes.set(at.ordinal, to, attempts);
  if (to == TaskState::Ready) at.job.ready.insert(at.ordinal);
}

void QueueApply::grant(Granted granted, Worker& worker, AttemptNo attempt) {
  auto& [at, live] = granted;
  leave(at, at.job.task_state(at.ordinal), &live);
  live.state = TaskState::Running;
  live.attempts = attempt;
  live.number_free = false;
  live.worker = worker.id;
  live.instance = worker.row.instance;
  forget_dying(worker, key_of(at, attempt));  // It claimed it without being granted it: now it is.
  worker.granted.try_emplace(key_of(at, attempt));
  worker.cpus_granted += at.job.spec->cpus;
  worker.mem_granted += at.job.spec->mem_bytes;
  at.job.cpus_assigned += at.job.spec->cpus;
  enter(at, TaskState::Running, attempt);
}

namespace {

void clear_grant(LiveTask& live) {
  live.worker = {};
  live.instance = {};
  live.started = false;
  live.cancelling = false;
  live.recalled = false;
  live.assigned_at = {};
  live.started_at = {};
}

}  // namespace

void QueueApply::to_ready(Granted granted) {
  auto& [at, live] = granted;
  leave(at, live.state, &live);
  clear_grant(live);
  live.state = TaskState::Ready;
  enter(at, TaskState::Ready, live.attempts);
  write(at, live);
  forget_if_plain(at);
}

void QueueApply::to_backoff(Granted granted) {
  auto& [at, live] = granted;
  leave(at, live.state, &live);
  clear_grant(live);
  live.state = TaskState::Backoff;
  live.ready_at =
      entry_.at + backoff_after(key_of(at, live.attempts), live.failures, at.job.spec->backoff);
  at.job.backoffs.emplace(std::pair(live.ready_at, at.ordinal), true);
  enter(at, TaskState::Backoff, live.attempts);
  write(at, live);
}

void QueueApply::finish(Place at, LiveTask* live, TaskState state, TaskRow&& row) {
  leave(at, at.job.task_state(at.ordinal), live);
  enter(at, state, row.attempts);
  row.state = state;
  row.cancelling = false;
  row.recalled = false;
  row.number_free = false;
  row.ready_at = {};
  if (row.end != EndClass::WorkerLost) row.instance = {};  // Nobody asks which life that was.
  if (row.finished_at.us == 0) row.finished_at = ago(Micros(0));
  row.finished_seq = entry_.seq;
  write(at, std::move(row));
  if (live != nullptr) at.job.live.erase(at.ordinal);
  const bool may_stop = state == TaskState::Failed && at.job.spec->max_failures > 0;
  if (may_stop && (failed_.empty() || failed_.back() != &at.job)) failed_.push_back(&at.job);
}

void QueueApply::lose(Granted granted, Loss& loss) {
  auto& [at, live] = granted;
  if (live.started && loss.budget > 0) {
    --loss.budget;
    ++live.losses;
  }
  const bool is_too_often = live.losses >= limits::kWorkerLossesPerTask;
  if (live.cancelling || is_too_often) {
    TaskRow row = row_of(at, live);
    row.ended = true;
    row.end = EndClass::WorkerLost;
    std::string reason = loss.reason;
    if (!live.cancelling) {
      reason += "; its worker was lost " + std::to_string(live.losses) + " times";
    }
    row.reason = std::move(reason);
    finish(at, &live, live.cancelling ? TaskState::Cancelled : TaskState::Failed, std::move(row));
    return;
  }
  AttemptRow row = attempt_of(live);
  row.end = EndClass::WorkerLost;
  row.ended_at = ago(Micros(0));
  row.reason = loss.reason;
  rows_.attempts.insert_or_assign(key_of(at, live.attempts), std::move(row));
  live.lost.push_back(
      {live.attempts, live.worker, live.instance, live.started, live.assigned_at, live.started_at});
  if (queue_.mutant_ == QueueMutant::ReuseLostNumber) live.number_free = !live.started;
  to_ready(granted);
}

void QueueApply::adopt(const AttemptKey& key, Worker& worker) {
  const Found found = find(key.job, key.task);
  LiveTask& live = *found.live;
  const Place at{*found.job, found.ordinal};
  const auto lost = std::find_if(live.lost.begin(), live.lost.end(),
                                 [&](const LostAttempt& l) { return l.attempt == key.attempt; });
  const LostAttempt before = *lost;
  live.lost.erase(lost);
  rows_.attempts.insert_or_assign(key, std::nullopt);
  // It was not its worker's death after all. (When the charges of that loss were used up by others
  // this forgives one charge too many.)
  if (before.started && live.losses > 0) --live.losses;
  grant({at, live}, worker, std::max(live.attempts, key.attempt));
  live.recalled = false;
  live.assigned_at = before.assigned_at;
  live.started = before.started;
  live.started_at = before.started_at;
  write(at, live);
}

void QueueApply::begin(Granted granted, WallTime started_at) {
  auto& [at, live] = granted;
  live.started = true;
  live.recalled = false;  // Asked for too late: it stays.
  live.started_at = std::max(started_at, live.assigned_at);
  at.job.launched = true;
  if (at.job.started_at.us == 0) at.job.started_at = live.started_at;
  write(at, live);
  touch(at.job);
}

void QueueApply::settle_number(LiveTask& live) {
  if (live.number_free) live.attempts = AttemptNo(live.attempts.value - 1);
  live.number_free = false;
}

void QueueApply::forget_if_plain(Place at) {
  const auto it = at.job.live.find(at.ordinal);
  if (it == at.job.live.end()) return;
  if (it->second.state == TaskState::Ready && !it->second.has_history()) at.job.live.erase(it);
}

// --- Rows ----------------------------------------------------------------------------------------

AttemptKey QueueApply::key_of(Place at, AttemptNo attempt) const {
  return {at.job.id, at.job.index_of(at.ordinal), attempt};
}

TaskRow QueueApply::row_of(Place at, const LiveTask& live) const {
  TaskRow row;
  row.state = at.job.task_state(at.ordinal);
  row.attempt = live.attempts;
  row.attempts = live.attempts;
  row.worker = live.worker;
  row.instance = live.instance;
  row.round = live.round;
  row.failures = live.failures;
  row.losses = live.losses;
  row.cancelling = live.cancelling;
  row.recalled = live.recalled;
  row.number_free = live.number_free;
  row.ready_at = live.ready_at;
  row.assigned_at = live.assigned_at;
  row.started_at = live.started_at;
  row.born = live.born;
  return row;
}

AttemptRow QueueApply::attempt_of(const LiveTask& live) {
  AttemptRow row;
  row.worker = live.worker;
  row.instance = live.instance;
  row.round = live.round;
  row.assigned_at = live.assigned_at;
  row.started_at = live.started_at;
  return row;
}

void QueueApply::write(Place at, const LiveTask& live) {
  write(at, row_of(at, live));
}

void QueueApply::write(Place at, TaskRow&& row) {
  rows_.tasks.put({at.job.id, at.job.index_of(at.ordinal)}, std::move(row));
}

}  // namespace capstan
