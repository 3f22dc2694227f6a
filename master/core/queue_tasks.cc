// SPDX-License-Identifier: MIT
//
// Tasks on their way: assigned, recalled, returned, started, and back from their backoff.
#include <utility>

#include "master/core/queue_apply.h"

namespace capstan {

void QueueApply::on(const cmd::TasksAssigned& c) {
  Worker* worker = queue_.worker_at(c.worker);
  Job* job = queue_.job_at(c.job);
  if (worker == nullptr || !worker->row.present || job == nullptr) return;
  if (job->paused || job->is_waiting()) return;
  std::vector<TaskIndex> started;
  started.reserve(c.tasks.size());
  for (const TaskIndex index : c.tasks) {
    const auto ordinal = job->ordinal_of(index);
    if (!ordinal || !job->ready.contains(*ordinal)) continue;
    const auto [it, is_new] = job->live.try_emplace(*ordinal);
    LiveTask& live = it->second;
    if (is_new) {
      live.attempts = job->bytes.attempts(*ordinal);
      live.round = job->round;
      if (!job->bytes.is_touched(*ordinal)) live.born = {entry_.seq};
    }
    const AttemptNo next = live.number_free ? live.attempts : live.attempts.next();
    if (next != c.attempt) {
      if (is_new) job->live.erase(it);
      continue;
    }
    const Granted granted{{*job, *ordinal}, live};
    grant(granted, *worker, next);
    live.assigned_at = ago(Micros(0));
    write(granted.at, live);
    started.push_back(index);
  }
  if (started.empty()) return;
  emit(effect::StartTasks{c.worker, c.job, c.attempt, std::move(started)});
}

QueueApply::Attempts QueueApply::recall(Worker& worker, const Attempts& keys) {
  Attempts recalled;
  for (const AttemptKey& key : keys) {
    const Found task = find_granted(key, worker.id, worker.row.instance);
    if (task.live == nullptr) continue;
    LiveTask& live = *task.live;
    if (live.started || live.cancelling || live.recalled) continue;
    const Granted granted{{*task.job, task.ordinal}, live};
    recalled.push_back(key);
    live.recalled = true;
    if (queue_.mutant_ == QueueMutant::HandbackUnconfirmed) {
      live.number_free = true;
      to_ready(granted);
      continue;
    }
    write(granted.at, live);
    touch(*task.job);
  }
  return recalled;
}

void QueueApply::on(const cmd::TasksRecalled& c) {
  Worker* worker = queue_.worker_at(c.worker);
  if (worker == nullptr || !worker->row.present) return;
  Attempts keys = recall(*worker, c.keys);
  if (!keys.empty()) emit(effect::RecallAttempts{c.worker, std::move(keys)});
}

void QueueApply::on(const cmd::TasksReturned& c) {
  Worker* worker = queue_.worker_at(c.worker);
  if (worker == nullptr) return;
  for (const AttemptKey& key : c.keys) {
    if (worker->row.instance == c.instance) forget_dying(*worker, key);
    const Found task = find_granted(key, c.worker, c.instance);
    if (task.live == nullptr) continue;
    LiveTask& live = *task.live;
    const Granted granted{{*task.job, task.ordinal}, live};
    if (live.cancelling) {
      TaskRow row = row_of(granted.at, live);
      row.ended = true;
      row.end = EndClass::Cancelled;
      finish(granted.at, &live, TaskState::Cancelled, std::move(row));
    } else if (live.started) {
      // It said before that it runs: whatever became of it, its number was used.
      Loss loss{"its worker gave it back after it had started", 1};
      lose(granted, loss);
    } else {
      live.number_free = true;
      // What nobody asked for is not given out again at once: a worker that gives everything back
      // would keep the master busy with nothing.
      const bool is_expected = live.recalled || worker->row.leaving || worker->row.disk_full;
      is_expected ? to_ready(granted) : to_backoff(granted);
    }
  }
}

void QueueApply::on(const cmd::TasksStarted& c) {
  for (const cmd::TasksStarted::One& one : c.started) {
    const Found task = find_granted(one.key, c.worker, c.instance);
    if (task.live == nullptr || task.live->started) continue;
    begin({{*task.job, task.ordinal}, *task.live}, ago(one.ago));
  }
}

void QueueApply::on(const cmd::BackoffsOver& c) {
  for (const TaskIndex index : c.tasks) {
    const Found task = find(c.job, index);
    if (task.live == nullptr || task.live->state != TaskState::Backoff) continue;
    to_ready({{*task.job, task.ordinal}, *task.live});
  }
}

}  // namespace capstan
