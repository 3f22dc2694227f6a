// SPDX-License-Identifier: MIT
//
// From the tables to a queue. What is not in a row is derived from the rows here, in the same way
// as apply keeps it; tests hold "loaded" equal to "replayed".
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/limits.h"
#include "master/core/queue.h"
#include "master/core/retry.h"

namespace capstan {
namespace {

using LoadedJob = LoadedState::LoadedJob;

/// What the attempts of this round leave behind in the task.
void add_history(LiveTask& live, TaskIndex index, const LoadedJob& loaded) {
  const JobId job = loaded.row.id;
  auto it = loaded.attempts.lower_bound({job, index, AttemptNo()});
  for (; it != loaded.attempts.end() && it->first.task == index; ++it) {
    const AttemptRow& row = it->second;
    if (row.end == EndClass::WorkerLost) {
      live.lost.push_back({it->first.attempt, row.worker, row.instance, row.started_at.us != 0,
                           row.assigned_at, row.started_at});
    }
    if (is_failure(row.end)) live.failed_on.push_back(row.worker);
  }
  std::sort(live.failed_on.begin(), live.failed_on.end());
  live.failed_on.erase(std::unique(live.failed_on.begin(), live.failed_on.end()),
                       live.failed_on.end());
}

bool is_idle(TaskState state) {
  return state == TaskState::Ready || state == TaskState::Waiting;
}

LiveTask live_of(const TaskRow& row) {
  LiveTask live;
  live.state = row.state;
  live.attempts = row.attempts;
  live.round = row.round;
  live.failures = row.failures;
  live.losses = row.losses;
  live.number_free = row.number_free;
  live.ready_at = row.ready_at;
  if (row.state != TaskState::Running) return live;
  live.worker = row.worker;
  live.instance = row.instance;
  live.started = row.started_at.us != 0;
  live.cancelling = row.cancelling;
  live.recalled = row.recalled;
  live.assigned_at = row.assigned_at;
  live.started_at = row.started_at;
  return live;
}

void load_task(Job& job, TaskIndex index, const TaskRow& row, const LoadedJob& loaded) {
  const auto ordinal = job.ordinal_of(index);
  CHECK(ordinal.has_value());
  const bool idle = is_idle(row.state);
  job.bytes.set(*ordinal, idle ? TaskState::Ready : row.state, row.attempts);
  job.round = std::max(job.round, row.round);
  ++count_of(job.counts, row.state);
  if (idle) {
    job.ready.insert(*ordinal);
  } else {
    job.ready.erase(*ordinal);
  }
  LiveTask live = live_of(row);
  add_history(live, index, loaded);
  if (idle && !live.has_history()) return;
  if (row.state == TaskState::Backoff)
    job.backoffs.emplace(std::pair(live.ready_at, *ordinal), true);
  if (row.state == TaskState::Running) job.cpus_assigned += job.spec->cpus;
  job.live.try_emplace(*ordinal).first->second = std::move(live);
}

void load_run(Job& job, const LoadedState::TaskRun& run) {
  const auto ordinals = job.ordinals_in(run.span);
  CHECK(ordinals.has_value());
  const auto [first, last] = *ordinals;
  CHECK(last - first == run.span.last - run.span.first);  // Consecutive indices, all of the job.
  const TaskState state = is_idle(run.state) ? TaskState::Ready : run.state;
  for (std::uint32_t ordinal = first; ordinal <= last; ++ordinal)
    job.bytes.set(ordinal, state, run.attempts);
  job.round = std::max(job.round, run.round);
  count_of(job.counts, run.state) += std::uint64_t{last} - first + 1;
  if (state == TaskState::Ready) {
    job.ready.insert(first, last);
  } else {
    job.ready.erase(first, last);
  }
}

/// Idle tasks whose rows have no history, but whose attempts do: lost ones that are not charged.
void load_histories(Job& job, const LoadedJob& loaded) {
  auto it = loaded.attempts.begin();
  while (it != loaded.attempts.end()) {
    const TaskIndex index = it->first.task;
    if (!loaded.tasks.contains(index)) {
      const auto ordinal = job.ordinal_of(index);
      CHECK(ordinal.has_value());
      LiveTask live;
      live.attempts = job.bytes.attempts(*ordinal);
      live.round = it->second.round;
      add_history(live, index, loaded);
      job.live.try_emplace(*ordinal).first->second = std::move(live);
    }
    it = loaded.attempts.lower_bound({job.id, index.next(), AttemptNo()});
  }
}

Job load_job(const LoadedJob& loaded) {
  const JobRow& row = loaded.row;
  Job job;
  job.id = row.id;
  job.owner = row.owner;
  job.set_spec(row.spec);
  CHECK(job.tasks == row.tasks && job.tasks > 0);
  job.token = row.token;
  job.paused = row.paused;
  job.cancelling = row.cancelling;
  job.skipping = row.skipping;
  job.awaits_begin = row.awaits_begin;
  job.waits_for = {row.waits_for.begin(), row.waits_for.end()};
  job.priority = row.priority;
  job.submitted_at = row.submitted_at;
  job.started_at = row.started_at;
  job.finished_at = row.finished_at;
  job.reason = row.reason;
  job.excluded = row.excluded;
  job.launched = row.launched;
  job.mean_wall = row.mean_wall;
  job.inputs = row.inputs;
  if (!is_finished(job.untouched_state()))
    job.ready.insert(0, static_cast<std::uint32_t>(job.tasks - 1));
  for (const LoadedState::TaskRun& run : loaded.runs) load_run(job, run);
  for (const auto& [index, task] : loaded.tasks) load_task(job, index, task, loaded);
  load_histories(job, loaded);
  const std::uint64_t untouched = job.tasks - job.bytes.touched();
  count_of(job.counts, job.untouched_state()) += untouched;
  CHECK(job.counts == row.counts);
  return job;
}

void load_grants(std::map<WorkerId, Worker>& workers, const Job& job) {
  for (const auto& [ordinal, live] : job.live) {
    if (live.state != TaskState::Running) continue;
    const auto worker = workers.find(live.worker);
    CHECK(worker != workers.end());
    worker->second.granted.try_emplace({job.id, job.index_of(ordinal), live.attempts});
    worker->second.cpus_granted += job.spec->cpus;
    worker->second.mem_granted += job.spec->mem_bytes;
  }
}

}  // namespace

void LoadedState::LoadedJob::add_task(TaskIndex task, TaskRow touched) {
  const bool has_history = touched.failures > 0 || touched.losses > 0 || touched.number_free;
  if (is_finished(touched.state) || (is_idle(touched.state) && !has_history)) {
    add_run({{task.value, task.value}, touched.state, touched.attempts, touched.round});
  } else {
    tasks.emplace_hint(tasks.end(), task, std::move(touched));
  }
}

void LoadedState::LoadedJob::add_run(const TaskRun& run) {
  if (!runs.empty()) {
    TaskRun& before = runs.back();
    const bool is_alike =
        before.state == run.state && before.attempts == run.attempts && before.round == run.round;
    if (is_alike && std::uint64_t{before.span.last} + 1 == run.span.first) {
      before.span.last = run.span.last;
      return;
    }
  }
  runs.push_back(run);
}

void LoadedState::LoadedJob::add_attempt(const AttemptKey& key, AttemptRow ended) {
  if (ended.late || (ended.end != EndClass::WorkerLost && !is_failure(ended.end))) return;
  attempts.emplace_hint(attempts.end(), key, std::move(ended));
}

Queue Queue::load(LoadedState state) {
  Queue queue;
  queue.last_seq_ = state.last_seq;
  queue.last_epoch_ = state.last_epoch;
  queue.last_at_ = state.last_at;
  queue.next_job_ = state.next_job;
  queue.next_submission_ = state.next_submission;
  queue.next_worker_ = state.next_worker;
  queue.min_copies_ = state.min_copies;
  queue.deletions_ = std::move(state.deletions);
  for (auto& [id, row] : state.workers) queue.add_worker(id, std::move(row));
  queue.keys_ = std::move(state.keys);
  for (const LoadedJob& loaded : state.jobs) {
    const auto [it, is_new] = queue.jobs_.emplace(loaded.row.id, load_job(loaded));
    CHECK(is_new);
    load_grants(queue.workers_, it->second);
    for (const JobId upstream : it->second.waits_for) {
      queue.dependents_[upstream].insert(it->first);
    }
    queue.index(it->second);
  }
  for (auto& [id, row] : state.submissions) {
    queue.submissions_by_request_.emplace(row.asked, id);
    queue.submissions_.emplace(id, std::move(row));
  }
  for (const auto& [key, row] : state.tokens) {
    queue.tokens_.emplace(key, row);
    queue.token_uses_.emplace(row.job, TokenUse{key, 0});
  }
  for (const auto& [asked, row] : state.requests) queue.remember(asked, row);
  queue.prune_requests();
  std::erase_if(queue.token_uses_, [&](const auto& use) {
    if (use.second.requests > 0) return false;
    queue.tokens_.erase(use.second.key);
    return true;
  });
  return queue;
}

}  // namespace capstan
