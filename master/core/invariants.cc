// SPDX-License-Identifier: MIT
#include "master/core/invariants.h"

#include <algorithm>
#include <map>
#include <set>

#include "common/model/limits.h"

namespace capstan {
namespace {

struct Grants {
  std::map<WorkerId, std::set<AttemptKey>> of;
  std::map<WorkerId, std::uint64_t> cpus;
  std::map<WorkerId, std::uint64_t> mem;
};

std::string broken_live(const Job& job, std::uint32_t ordinal, const LiveTask& live) {
  if (is_finished(live.state)) return "a finished task is kept live";
  if (live.state != job.task_state(ordinal)) return "its states differ";
  if (live.attempts != job.bytes.attempts(ordinal)) return "its attempt numbers differ";
  if (live.state == TaskState::Ready && !live.has_history()) return "kept live without a history";
  if (live.state != TaskState::Running) {
    if (live.worker || live.started || live.cancelling || live.recalled) {
      return "not running, but as if it were";
    }
    if (live.state == TaskState::Backoff && !job.backoffs.contains({live.ready_at, ordinal})) {
      return "in Backoff without a time";
    }
  } else if (!live.worker || live.attempts.value == 0) {
    return "running nowhere";
  } else if (live.number_free) {
    return "its number is used and free";
  }
  if (live.number_free && live.attempts.value == 0) return "a free number that never was given";
  if (live.failures > job.spec->retries) return "more retries spent than there are";
  if (live.losses >= limits::kWorkerLossesPerTask) return "lost too often, and not failed";
  if (live.started != (live.started_at.us != 0)) return "started without a time";
  AttemptNo before;
  for (const LostAttempt& lost : live.lost) {
    const bool is_given = live.state == TaskState::Running || live.number_free;
    if (lost.attempt <= before || lost.attempt > live.attempts) return "lost attempts out of order";
    if (is_given && lost.attempt == live.attempts) return "lost and granted, or free, at once";
    before = lost.attempt;
  }
  if (!std::is_sorted(live.failed_on.begin(), live.failed_on.end())) return "failed_on: no order";
  return "";
}

std::string broken_counts(const Job& job) {
  JobCounts counts;
  std::uint64_t backoffs = 0;
  for (auto at = job.bytes.next_touched(0); at; at = job.bytes.next_touched(*at + 1)) {
    const TaskState state = job.task_state(*at);
    ++count_of(counts, state);
    const bool has_live = job.live.contains(*at);
    if ((state == TaskState::Running || state == TaskState::Backoff) && !has_live) {
      return "task " + task_name(job.id, job.index_of(*at)) + " has no live record";
    }
    if (job.ready.contains(*at) != (state == job.idle_state())) {
      return "task " + task_name(job.id, job.index_of(*at)) + ": ready disagrees with its state";
    }
    if (state == TaskState::Backoff) ++backoffs;
  }
  const std::uint64_t untouched = job.tasks - job.bytes.touched();
  count_of(counts, job.untouched_state()) += untouched;
  if (!(counts == job.counts)) return "its counts disagree with its tasks' states";
  if (counts.total() != job.tasks) return "its counts do not add up";
  if (job.ready.count() != counts.ready + counts.waiting) return "ready disagrees with the count";
  if (!job.is_waiting() && counts.waiting > 0) return "tasks wait for nothing";
  if (job.is_waiting() && counts.ready + counts.running + counts.backoff > 0) {
    return "it waits, and has tasks that do not";
  }
  if (job.cancelling && job.skipping) return "cancelled and skipped at once";
  if (!job.ready.empty() && job.ready.spans().rbegin()->second >= job.tasks) {
    return "ready beyond its end";
  }
  if (job.backoffs.size() != backoffs) return "backoffs disagree with the count";
  return "";
}

std::string broken_job(const Job& job, Grants& grants) {
  if (std::string broken = broken_counts(job); !broken.empty()) return broken;
  std::uint64_t cpus = 0;
  for (const auto& [ordinal, live] : job.live) {
    const TaskIndex index = job.index_of(ordinal);
    if (std::string broken = broken_live(job, ordinal, live); !broken.empty()) {
      return "task " + task_name(job.id, index) + ": " + broken;
    }
    if (live.state != TaskState::Running) continue;
    cpus += job.spec->cpus;
    grants.of[live.worker].insert({job.id, index, live.attempts});
    grants.cpus[live.worker] += job.spec->cpus;
    grants.mem[live.worker] += job.spec->mem_bytes;
  }
  if (cpus != job.cpus_assigned) return "its assigned cpus do not add up";
  return "";
}

std::string broken_worker(const Queue& queue, const Worker& worker, Grants& grants) {
  const std::set<AttemptKey>& running = grants.of[worker.id];
  if (worker.list_granted() != std::vector(running.begin(), running.end()))
    return "its grants disagree with the running tasks";
  if (worker.cpus_granted != grants.cpus[worker.id]) return "its granted cpus do not add up";
  if (worker.mem_granted != grants.mem[worker.id]) return "its granted memory does not add up";
  if (!worker.row.present && !worker.granted.empty()) return "away, and granted something";
  if (worker.row.present && worker.row.removed) return "removed, and present";
  Share dying;
  for (const auto& [key, share] : worker.dying) {
    if (worker.granted.contains(key)) return to_string(key) + " is granted and dying";
    dying.cpus += share.cpus;
    dying.mem_bytes += share.mem_bytes;
  }
  if (dying != worker.dying_sum) return "what is dying there does not add up";
  for (const auto& [key, nothing] : worker.granted) {
    const Job& job = queue.jobs().at(key.job);
    const auto ordinal = job.ordinal_of(key.task);
    if (job.live.at(*ordinal).instance != worker.row.instance) {
      return to_string(key) + " is granted to another instance";
    }
  }
  return "";
}

std::string broken_indexes(const Queue& queue) {
  Queue::ReadyJobs ready;
  Queue::ReadyJobs brief;
  std::set<std::pair<TimePoint, JobId>> backoffs;
  std::set<std::pair<WallTime, JobId>> begins;
  std::map<std::string, std::uint64_t> cpus;
  for (const auto& [id, job] : queue.jobs()) {
    if (job.is_ready()) ready[job.priority][job.owner].insert(id);
    if (job.is_ready() && job.is_short()) brief[job.priority][job.owner].insert(id);
    if (job.awaits_begin) begins.emplace(job.spec->begin_at, id);
    for (const JobId upstream : job.waits_for) {
      if (upstream >= id) return "job " + std::to_string(id.value) + " waits for a later one";
      if (!queue.jobs().contains(upstream)) return "a job waits for one that is not live";
      if (!queue.is_waited_for(upstream)) return "who waits for a job is not listed";
    }
    if (!job.backoffs.empty()) backoffs.emplace(job.backoffs.begin()->first.first, id);
    cpus[job.owner] += job.cpus_assigned;
  }
  if (ready != queue.ready_jobs()) return "the index of ready jobs is wrong";
  if (brief != queue.short_jobs()) return "the index of short jobs is wrong";
  if (begins != queue.begins()) return "the index of begins is wrong";
  if (backoffs != queue.backoff_jobs()) return "the index of backoffs is wrong";
  for (const auto& [owner, sum] : cpus) {
    if (queue.cpus_of(owner) != sum) return "the cpus of " + owner + " do not add up";
  }
  return "";
}

}  // namespace

std::string broken_invariant(const Queue& queue) {
  Grants grants;
  for (const auto& [id, job] : queue.jobs()) {
    if (std::string broken = broken_job(job, grants); !broken.empty()) {
      return "job " + std::to_string(id.value) + ": " + broken;
    }
    if (id >= queue.next_job()) return "job " + std::to_string(id.value) + " is from the future";
  }
  for (const auto& [id, worker] : queue.workers()) {
    if (std::string broken = broken_worker(queue, worker, grants); !broken.empty()) {
      return "worker " + worker.row.name + ": " + broken;
    }
    grants.of.erase(id);
  }
  for (const auto& [id, keys] : grants.of) {
    if (!keys.empty()) return to_string(*keys.begin()) + " runs on no known worker";
  }
  for (const auto& [id, row] : queue.submissions()) {
    if (queue.find_submission(row.asked) != id) return "a submission is not found by its request";
  }
  return broken_indexes(queue);
}

}  // namespace capstan
