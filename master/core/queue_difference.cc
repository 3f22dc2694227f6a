// SPDX-License-Identifier: MIT
//
// Two queues side by side, for tests. Left out: what is derived (range starts, indexes) and
// Worker::dying, which is not part of the replicated state (queue.h says why).
#include <string>

#include "master/core/queue.h"

namespace capstan {
namespace {

/// The first differing name; "" when all are equal.
class Differences {
 public:
  explicit Differences(std::string where) : where_(std::move(where)) {}
  template <class T>
  Differences& same(const char* name, const T& a, const T& b) {
    if (found_.empty() && !(a == b)) found_ = where_ + ": " + name;
    return *this;
  }
  [[nodiscard]] std::string found() const { return found_; }

 private:
  std::string where_;
  std::string found_;
};

std::string difference_of(const LiveTask& a, const LiveTask& b, const std::string& where) {
  return Differences(where)
      .same("state", a.state, b.state)
      .same("attempts", a.attempts, b.attempts)
      .same("worker", a.worker, b.worker)
      .same("instance", a.instance, b.instance)
      .same("started", a.started, b.started)
      .same("cancelling", a.cancelling, b.cancelling)
      .same("recalled", a.recalled, b.recalled)
      .same("number_free", a.number_free, b.number_free)
      .same("round", a.round, b.round)
      .same("failures", a.failures, b.failures)
      .same("losses", a.losses, b.losses)
      .same("ready_at", a.ready_at, b.ready_at)
      .same("assigned_at", a.assigned_at, b.assigned_at)
      .same("started_at", a.started_at, b.started_at)
      .same("failed_on", a.failed_on, b.failed_on)
      .same("lost", a.lost, b.lost)
      .found();
}

std::string difference_of(const Job& a, const Job& b) {
  const std::string where = "job " + std::to_string(a.id.value);
  for (const auto& [ordinal, live] : a.live) {
    const std::string task = task_name(a.id, a.index_of(ordinal));
    const auto other = b.live.find(ordinal);
    if (other == b.live.end()) return "task " + task + ": live on one side only";
    if (auto found = difference_of(live, other->second, "task " + task); !found.empty()) {
      return found;
    }
  }
  return Differences(where)
      .same("live", a.live.size(), b.live.size())
      .same("id", a.id, b.id)
      .same("owner", a.owner, b.owner)
      .same("spec", *a.spec, *b.spec)
      .same("token", a.token, b.token)
      .same("paused", a.paused, b.paused)
      .same("cancelling", a.cancelling, b.cancelling)
      .same("skipping", a.skipping, b.skipping)
      .same("awaits_begin", a.awaits_begin, b.awaits_begin)
      .same("waits_for", a.waits_for, b.waits_for)
      .same("priority", a.priority, b.priority)
      .same("tasks", a.tasks, b.tasks)
      .same("counts", a.counts, b.counts)
      .same("submitted_at", a.submitted_at, b.submitted_at)
      .same("started_at", a.started_at, b.started_at)
      .same("finished_at", a.finished_at, b.finished_at)
      .same("reason", a.reason, b.reason)
      .same("excluded", a.excluded, b.excluded)
      .same("launched", a.launched, b.launched)
      .same("mean_wall", a.mean_wall, b.mean_wall)
      .same("inputs", a.inputs, b.inputs)
      .same("cpus_assigned", a.cpus_assigned, b.cpus_assigned)
      .same("round", a.round, b.round)
      .same("ready", a.ready, b.ready)
      .same("bytes", a.bytes, b.bytes)
      .same("backoffs", a.backoffs, b.backoffs)
      .found();
}

std::string difference_of(const Worker& a, const Worker& b) {
  return Differences("worker " + std::to_string(a.id.value))
      .same("id", a.id, b.id)
      .same("row", a.row, b.row)
      .same("granted", a.list_granted(), b.list_granted())
      .same("cpus_granted", a.cpus_granted, b.cpus_granted)
      .same("mem_granted", a.mem_granted, b.mem_granted)
      .found();
}

template <class Map>
std::string difference_of(const Map& a, const Map& b, const char* what) {
  auto other = b.begin();
  for (const auto& [id, one] : a) {
    if (other == b.end() || other->first != id) return std::string(what) + ": not the same ones";
    if (auto found = difference_of(one, other->second); !found.empty()) return found;
    ++other;
  }
  return other == b.end() ? "" : std::string(what) + ": not as many";
}

}  // namespace

std::string Queue::difference(const Queue& a, const Queue& b) {
  if (auto found = difference_of(a.jobs_, b.jobs_, "jobs"); !found.empty()) return found;
  if (auto found = difference_of(a.workers_, b.workers_, "workers"); !found.empty()) return found;
  return Differences("queue")
      .same("last_seq", a.last_seq_, b.last_seq_)
      .same("last_epoch", a.last_epoch_, b.last_epoch_)
      .same("last_at", a.last_at_, b.last_at_)
      .same("next_job", a.next_job_, b.next_job_)
      .same("next_submission", a.next_submission_, b.next_submission_)
      .same("next_worker", a.next_worker_, b.next_worker_)
      .same("min_copies", a.min_copies_, b.min_copies_)
      .same("keys", a.keys_, b.keys_)
      .same("workers_by_key", a.workers_by_key_, b.workers_by_key_)
      .same("workers_by_name", a.workers_by_name_, b.workers_by_name_)
      .same("submissions", a.submissions_, b.submissions_)
      .same("submissions_by_request", a.submissions_by_request_, b.submissions_by_request_)
      .same("requests", a.requests_, b.requests_)
      .same("requests_by_age", a.requests_by_age_, b.requests_by_age_)
      .same("tokens", a.tokens_, b.tokens_)
      .same("token_uses", a.token_uses_, b.token_uses_)
      .same("reopened", a.reopened_, b.reopened_)
      .same("deletions", a.deletions_, b.deletions_)
      .same("ready_jobs", a.ready_jobs_, b.ready_jobs_)
      .same("short_jobs", a.short_jobs_, b.short_jobs_)
      .same("backoff_jobs", a.backoff_jobs_, b.backoff_jobs_)
      .same("begins", a.begins_, b.begins_)
      .same("dependents", a.dependents_, b.dependents_)
      .same("owner_cpus", a.owner_cpus_, b.owner_cpus_)
      .found();
}

}  // namespace capstan
