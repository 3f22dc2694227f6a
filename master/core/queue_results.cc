// SPDX-License-Identifier: MIT
//
// Results: those of granted attempts, which decide, and those that come late, of which only a
// success still does.
#include <algorithm>
#include <utility>

#include "common/model/limits.h"
#include "master/core/obstacle.h"
#include "master/core/queue_apply.h"
#include "master/core/retry.h"

namespace capstan {
namespace {

/// What the worker said, into a TaskRow or an AttemptRow.
template <class Row>
void fill(Row& row, const AttemptResult& result) {
  row.end = result.end;
  row.exit_code = result.exit_code;
  row.signal = result.signal;
  row.reason = result.reason;
  row.wall = result.wall;
  row.cpu = result.cpu;
  row.max_rss_bytes = result.max_rss_bytes;
  row.stdout_bytes = result.stdout_bytes;
  row.stderr_bytes = result.stderr_bytes;
  row.stdout_tail = result.stdout_tail;
  row.stderr_tail = result.stderr_tail;
}

void insert_sorted(std::vector<WorkerId>& workers, WorkerId worker) {
  const auto place = std::lower_bound(workers.begin(), workers.end(), worker);
  if (place == workers.end() || *place != worker) workers.insert(place, worker);
}

}  // namespace

WallTime QueueApply::ended_at(const AttemptResult& result) const {
  return ago(result.ended_ago);
}

void QueueApply::on(const cmd::ResultsReported& c) {
  // Everything is acknowledged, stale or not: the spool may forget it either way.
  effect::AckResults ack{c.worker, {}};
  ack.keys.reserve(c.results.size());
  for (const AttemptResult& one : c.results) {
    result(c, one);
    ack.keys.push_back(one.key);
  }
  if (!ack.keys.empty()) emit(std::move(ack));
}

void QueueApply::result(const cmd::ResultsReported& c, const AttemptResult& result) {
  if (Worker* worker = queue_.worker_at(c.worker); worker && worker->row.instance == c.instance) {
    forget_dying(*worker, result.key);
  }
  const Found task = find(result.key.job, result.key.task);
  if (task.live == nullptr) return;
  LiveTask& live = *task.live;
  const Granted granted{{*task.job, task.ordinal}, live};
  if (live.state == TaskState::Running && live.worker == c.worker && live.instance == c.instance &&
      live.attempts == result.key.attempt) {
    return granted_result(granted, result);
  }
  const auto lost = std::find_if(live.lost.begin(), live.lost.end(), [&](const LostAttempt& l) {
    return l.attempt == result.key.attempt && l.worker == c.worker && l.instance == c.instance;
  });
  if (lost == live.lost.end()) return;
  late_result(granted, static_cast<std::size_t>(lost - live.lost.begin()), result);
}

void QueueApply::learn(Job& job, const AttemptResult& result, WallTime started_at) {
  touch(job);
  if (job.started_at.us == 0) job.started_at = started_at;
  if (!proves_launch(result.end)) return;
  job.launched = true;
  // An exponential mean over about eight attempts; 0 is "not known", so a known one is at least 1.
  const std::int64_t wall = std::max<std::int64_t>(result.wall.count(), 1);
  const std::int64_t mean = job.mean_wall.count();
  job.mean_wall = Micros(mean == 0 ? wall : std::max<std::int64_t>(mean + (wall - mean) / 8, 1));
}

void QueueApply::granted_result(Granted granted, const AttemptResult& result) {
  auto& [at, live] = granted;
  Job& job = at.job;
  const WallTime ended = ended_at(result);
  const bool has_run = live.started || proves_launch(result.end) || result.wall.count() > 0;
  if (has_run && !live.started && result.end != EndClass::LaunchError) {
    live.started_at = std::max(ago(result.ended_ago + result.wall), live.assigned_at);
  }
  const Outcome outcome =
      outcome_of(result.end, {live.cancelling, job.launched, live.failures, job.spec->retries});
  learn(job, result, live.started_at);
  if (outcome == Outcome::Excluded) return exclude(granted, result);
  if (outcome == Outcome::Backoff || outcome == Outcome::Ready) {
    AttemptRow row = attempt_of(live);
    fill(row, result);
    row.ended_at = ended;
    rows_.attempts.insert_or_assign(result.key, std::move(row));
    if (is_failure(result.end)) insert_sorted(live.failed_on, live.worker);
    if (result.end == EndClass::WorkerLost) {
      live.lost.push_back({live.attempts, live.worker, live.instance, live.started_at.us != 0,
                           live.assigned_at, live.started_at});
    }
    if (outcome == Outcome::Ready) {
      // What nobody asked for is not given out again at once, as in TasksReturned.
      const Worker* worker = queue_.find_worker(live.worker);
      const bool is_expected = live.recalled || worker == nullptr || worker->row.leaving;
      return is_expected ? to_ready(granted) : to_backoff(granted);
    }
    ++live.failures;
    return to_backoff(granted);
  }
  TaskRow row = row_of(at, live);
  fill(row, result);
  row.ended = true;
  row.finished_at = ended;
  if (outcome == Outcome::Failed) ++row.failures;
  const TaskState state = outcome == Outcome::Succeeded   ? TaskState::Succeeded
                          : outcome == Outcome::Cancelled ? TaskState::Cancelled
                                                          : TaskState::Failed;
  finish(at, &live, state, std::move(row));
}

// --- Launch errors -------------------------------------------------------------------------------

bool QueueApply::is_hopeless(const Job& job) const {
  if (job.excluded.size() >= limits::kLaunchErrorWorkers) return true;
  return std::all_of(queue_.workers_.begin(), queue_.workers_.end(), [&](const auto& entry) {
    return !entry.second.row.present ||
           planner::obstacle_between(entry.second, job) != Obstacle::None;
  });
}

void QueueApply::exclude(Granted granted, const AttemptResult& result) {
  auto& [at, live] = granted;
  Job& job = at.job;
  insert_sorted(job.excluded, live.worker);
  if (!is_hopeless(job)) {
    AttemptRow row = attempt_of(live);
    fill(row, result);
    row.ended_at = ended_at(result);
    rows_.attempts.insert_or_assign(result.key, std::move(row));
    insert_sorted(live.failed_on, live.worker);
    return to_ready(granted);
  }
  std::string names;
  for (const WorkerId id : job.excluded) {
    const Worker* worker = queue_.find_worker(id);
    names += (names.empty() ? "" : ", ") + (worker == nullptr ? "?" : worker->row.name);
  }
  job.reason = "cannot be launched on " + names + ": " + result.reason.str();
  TaskRow row = row_of(at, live);
  fill(row, result);
  row.ended = true;
  row.finished_at = ended_at(result);
  finish(at, &live, TaskState::Failed, std::move(row));
  cancel_all(job);
}

// --- Late results --------------------------------------------------------------------------------

void QueueApply::late_result(Granted task, std::size_t lost, const AttemptResult& result) {
  auto& [at, live] = task;
  if (result.end == EndClass::Success && !live.cancelling) return win(task, lost, result);
  const LostAttempt before = live.lost[lost];
  live.lost.erase(live.lost.begin() + static_cast<std::ptrdiff_t>(lost));
  AttemptRow row;
  row.worker = before.worker;
  row.instance = before.instance;
  row.round = live.round;
  row.assigned_at = before.assigned_at;
  row.started_at = before.started_at;
  fill(row, result);
  row.ended_at = ended_at(result);
  row.late = true;
  if (!proves_launch(result.end) && result.end != EndClass::LaunchError) {
    // It was stopped because it had been given up: that is how it ended.
    const Worker* worker = queue_.find_worker(before.worker);
    row.end = EndClass::WorkerLost;
    row.reason = "worker " + (worker == nullptr ? "?" : worker->row.name) +
                 " had been given up, and stopped it when it came back";
  }
  rows_.attempts.insert_or_assign(result.key, std::move(row));
  if (proves_launch(result.end) && !at.job.launched) {
    at.job.launched = true;
    touch(at.job);
  }
  if (queue_.mutant_ == QueueMutant::LateFailureCounts) {
    TaskRow failed = row_of(at, live);
    failed.ended = true;
    fill(failed, result);
    if (live.state == TaskState::Running) supersede(task, before.attempt);
    return finish(at, &live, TaskState::Failed, std::move(failed));
  }
  forget_if_plain(at);
}

void QueueApply::win(Granted task, std::size_t lost, const AttemptResult& result) {
  auto& [at, live] = task;
  const LostAttempt winner = live.lost[lost];
  settle_number(live);
  if (live.state == TaskState::Running) supersede(task, winner.attempt);
  TaskRow row = row_of(at, live);
  row.attempt = winner.attempt;
  row.worker = winner.worker;
  row.instance = winner.instance;
  row.assigned_at = winner.assigned_at;
  row.started_at = winner.started
                       ? winner.started_at
                       : std::max(ago(result.ended_ago + result.wall), winner.assigned_at);
  fill(row, result);
  row.ended = true;
  row.finished_at = ended_at(result);
  rows_.attempts.insert_or_assign(result.key, std::nullopt);  // It is in the task's row now.
  learn(at.job, result, row.started_at);
  finish(at, &live, TaskState::Succeeded, std::move(row));
}

void QueueApply::supersede(Granted newer, AttemptNo winner) {
  auto& [at, live] = newer;
  const AttemptKey key = key_of(at, live.attempts);
  AttemptRow row = attempt_of(live);
  row.end = EndClass::Superseded;
  row.ended_at = ago(Micros(0));
  row.reason = "attempt " + std::to_string(winner.value) + " succeeded";
  rows_.attempts.insert_or_assign(key, std::move(row));
  mark_dying(queue_.workers_.at(live.worker), key, share_of(*at.job.spec));
  if (queue_.mutant_ == QueueMutant::KeepSuperseded) return;
  cancels_[{live.worker, CancelWhy::Superseded}].push_back(key);
}

}  // namespace capstan
