// SPDX-License-Identifier: MIT
#include "master/core/queue.h"

#include <algorithm>
#include <chrono>

#include "common/base/check.h"
#include "common/model/limits.h"
#include "master/core/queue_apply.h"

namespace capstan {

void Queue::apply(const Entry& entry, std::vector<Effect>& effects, RowChanges& rows) {
  CHECK(entry.seq == last_seq_.next());
  CHECK(entry.at >= last_at_);
  last_seq_ = entry.seq;
  last_epoch_ = entry.epoch;
  last_at_ = entry.at;
  QueueApply(*this, entry, effects, rows).run();
  prune_requests();
}

std::vector<AttemptKey> Worker::list_granted() const {
  std::vector<AttemptKey> keys;
  keys.reserve(granted.size());
  for (const auto& [key, nothing] : granted) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

const Job* Queue::find_job(JobId id) const {
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : &it->second;
}

Job* Queue::job_at(JobId id) {
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : &it->second;
}

const Worker* Queue::find_worker(WorkerId id) const {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

Worker* Queue::worker_at(WorkerId id) {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

const Worker* Queue::find_worker_by_name(const std::string& name) const {
  const auto it = workers_by_name_.find(name);
  return it == workers_by_name_.end() ? nullptr : find_worker(it->second);
}

const Worker* Queue::find_worker_by_key(const std::string& public_key) const {
  const auto it = workers_by_key_.find(public_key);
  return it == workers_by_key_.end() ? nullptr : find_worker(it->second);
}

std::optional<SubmissionId> Queue::find_submission(const Asked& asked) const {
  const auto it = submissions_by_request_.find(asked);
  if (it == submissions_by_request_.end()) return std::nullopt;
  return it->second;
}

const RequestRow* Queue::find_request(const Asked& asked) const {
  const auto it = requests_.find(asked);
  if (it == requests_.end() || it->second.code == Errc::OutcomeUnknown) return nullptr;
  return &it->second;
}

const TokenRow* Queue::find_token(const std::string& owner, const std::string& token) const {
  const auto it = tokens_.find({owner, token});
  return it == tokens_.end() ? nullptr : &it->second;
}

bool Queue::is_waited_for(JobId id) const {
  if (dependents_.contains(id)) return true;
  return std::any_of(submissions_.begin(), submissions_.end(), [id](const auto& open) {
    const JobSpec& spec = open.second.spec;
    return std::binary_search(spec.after.begin(), spec.after.end(), id) ||
           std::binary_search(spec.after_any.begin(), spec.after_any.end(), id);
  });
}

std::uint64_t Queue::cpus_of(const std::string& owner) const {
  const auto it = owner_cpus_.find(owner);
  return it == owner_cpus_.end() ? 0 : it->second;
}

bool Queue::has_key_named(const std::string& name) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const auto& key) {
    return key.second.name == name && key.second.revoked_at.us == 0;
  });
}

Share share_of(const JobSpec& spec) {
  return {spec.cpus, spec.mem_bytes};
}

void Queue::add_worker(WorkerId id, WorkerRow row) {
  if (!row.removed) {
    workers_by_key_.emplace(row.public_key, id);
    workers_by_name_.emplace(row.name, id);
  }
  Worker& worker = workers_[id];
  worker.id = id;
  worker.row = std::move(row);
}

// --- Requests ------------------------------------------------------------------------------------

void Queue::remember(const Asked& asked, const RequestRow& row) {
  const auto [it, is_new] = requests_.try_emplace(asked);
  if (!is_new) {
    requests_by_age_.erase({it->second.steady_at, asked});
    uncount_token(it->second);
  }
  it->second = row;
  requests_by_age_.emplace(std::pair(row.steady_at, asked), true);
  count_token(row);
}

RequestRow& Queue::renew_request(const Asked& asked, TimePoint at) {
  RequestRow& row = requests_.at(asked);
  requests_by_age_.erase({row.steady_at, asked});
  row.steady_at = at;
  requests_by_age_.emplace(std::pair(at, asked), true);
  return row;
}

void Queue::prune_requests() {
  // By what entries say alone, so that every replica forgets the same ones at the same entry.
  while (!requests_by_age_.empty()) {
    const auto& [at, asked] = requests_by_age_.begin()->first;
    const bool is_old = at + limits::kRequestsInMemoryFor < last_at_;
    if (!is_old && requests_.size() <= limits::kRequestsInMemory) return;
    const auto it = requests_.find(asked);
    uncount_token(it->second);
    requests_.erase(it);
    requests_by_age_.erase(requests_by_age_.begin());
  }
}

void Queue::count_token(const RequestRow& row) {
  if (!row.submission || row.jobs.empty()) return;
  if (const auto it = token_uses_.find(row.jobs.front()); it != token_uses_.end()) {
    ++it->second.requests;
  }
}

void Queue::uncount_token(const RequestRow& row) {
  if (!row.submission || row.jobs.empty()) return;
  const auto it = token_uses_.find(row.jobs.front());
  if (it == token_uses_.end() || --it->second.requests > 0) return;
  tokens_.erase(it->second.key);
  token_uses_.erase(it);
}

// --- Indexes -------------------------------------------------------------------------------------

namespace {

/// Brings `job`'s place in the index from `was` to `is`.
void list(Queue::ReadyJobs& index, const Job& job, bool is, bool& was) {
  if (is == was) return;
  was = is;
  if (is) {
    index[job.indexed.priority][job.owner].insert(job.id);
    return;
  }
  const auto level = index.find(job.indexed.priority);
  const auto owner = level->second.find(job.owner);
  owner->second.erase(job.id);
  if (owner->second.empty()) level->second.erase(owner);
  if (level->second.empty()) index.erase(level);
}

}  // namespace

void Queue::index(Job& job) {
  if (job.priority != job.indexed.priority) {
    list(ready_jobs_, job, false, job.indexed.ready);
    list(short_jobs_, job, false, job.indexed.is_short);
    job.indexed.priority = job.priority;
  }
  const bool is_ready = job.is_ready();
  list(ready_jobs_, job, is_ready, job.indexed.ready);
  list(short_jobs_, job, is_ready && job.is_short(), job.indexed.is_short);
  const TimePoint backoff =
      job.backoffs.empty() ? TimePoint::never() : job.backoffs.begin()->first.first;
  if (backoff != job.indexed.backoff) {
    backoff_jobs_.erase({job.indexed.backoff, job.id});
    if (!job.backoffs.empty()) backoff_jobs_.emplace(backoff, job.id);
    job.indexed.backoff = backoff;
  }
  if (job.awaits_begin != job.indexed.begin) {
    if (job.awaits_begin)
      begins_.emplace(job.spec->begin_at, job.id);
    else
      begins_.erase({job.spec->begin_at, job.id});
    job.indexed.begin = job.awaits_begin;
  }
  if (job.cpus_assigned != job.indexed.cpus) {
    std::uint64_t& cpus = owner_cpus_[job.owner];
    cpus = cpus - job.indexed.cpus + job.cpus_assigned;
    if (cpus == 0) owner_cpus_.erase(job.owner);
    job.indexed.cpus = job.cpus_assigned;
  }
}

void Queue::unindex(Job& job) {
  job.ready.clear();
  job.backoffs.clear();
  job.cpus_assigned = 0;
  job.awaits_begin = false;
  index(job);
}

}  // namespace capstan
