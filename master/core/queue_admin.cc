// SPDX-License-Identifier: MIT
//
// What an admin says of workers and keys: drain, resume, remove; add, revoke.
#include <algorithm>
#include <utility>

#include "master/core/queue_apply.h"

namespace capstan {

bool QueueApply::are_known(const Asked& asked, const std::vector<WorkerId>& workers) {
  const bool all = std::all_of(workers.begin(), workers.end(), [&](WorkerId id) {
    const Worker* worker = queue_.worker_at(id);
    return worker != nullptr && !worker->row.removed;
  });
  if (!all) refuse(asked, Errc::NotFound, "a worker of these is not known (any more)");
  return all;
}

// --- Drain, resume -------------------------------------------------------------------------------

void QueueApply::on(const cmd::WorkersDrained& c) {
  if (is_repeated(c.asked) || !are_known(c.asked, c.workers)) return;
  RequestRow row;
  for (const WorkerId id : c.workers) {
    Worker& worker = *queue_.worker_at(id);
    if (worker.row.drained != c.drained) ++row.tasks;
    if (!worker.row.drained && !c.drained) continue;
    if (worker.row.drained && c.drained && c.reason.empty()) continue;  // Who said why stands.
    worker.row.drained = c.drained;
    worker.row.drained_by = c.drained ? c.asked.owner : "";
    worker.row.drain_reason = c.drained ? c.reason : "";
    rows_.workers.insert_or_assign(id, worker.row);
    if (c.drained) recall_unstarted(worker);
  }
  if (row.tasks == 0) row.reason = c.drained ? "drained before" : "not drained";
  answer(c.asked, std::move(row));
}

// --- Remove --------------------------------------------------------------------------------------

void QueueApply::on(const cmd::WorkersRemoved& c) {
  if (is_repeated(c.asked) || !are_known(c.asked, c.workers)) return;
  for (const WorkerId id : c.workers) {
    const Worker& worker = *queue_.worker_at(id);
    if (!worker.row.present) continue;
    const std::string name = "worker " + worker.row.name;
    if (!worker.row.drained) {
      return refuse(c.asked, Errc::Conflict,
                    name + " is there and takes work: capstan worker drain it first, with --wait");
    }
    if (!worker.granted.empty()) {
      return refuse(c.asked, Errc::Conflict,
                    name + " still has " + std::to_string(worker.granted.size()) +
                        " tasks: capstan worker drain it with --wait, or cancel them");
    }
  }
  for (const WorkerId id : c.workers) {
    Worker& worker = *queue_.worker_at(id);
    if (!worker.row.removed) forget(worker, "was removed by " + c.asked.owner);
  }
  RequestRow row;
  row.tasks = c.workers.size();
  answer(c.asked, std::move(row));
}

void QueueApply::forget(Worker& worker, const std::string& how) {
  // Before its session is closed: it is told why.
  emit(effect::KeyRemoved{worker.row.public_key, "worker " + worker.row.name + " " + how});
  if (worker.row.present) part(worker, {how, 0});
  worker.row.removed = true;
  queue_.workers_by_key_.erase(worker.row.public_key);
  queue_.workers_by_name_.erase(worker.row.name);
  rows_.workers.insert_or_assign(worker.id, worker.row);
}

// --- Keys ----------------------------------------------------------------------------------------

void QueueApply::on(const cmd::KeyAdded& c) {
  if (is_repeated(c.asked)) return;
  if (queue_.has_key_named(c.name) || queue_.workers_by_name_.contains(c.name)) {
    return refuse(c.asked, Errc::Conflict,
                  c.name + " has a key: take another name, or capstan key revoke it first");
  }
  if (queue_.keys_.contains(c.public_key) || queue_.workers_by_key_.contains(c.public_key)) {
    return refuse(c.asked, Errc::Conflict, "this key was used before: make a new one");
  }
  KeyRow key;
  key.name = c.name;
  key.role = c.role;
  key.added_at = ago(Micros(0));
  key.added_by = c.asked.owner;
  rows_.keys.insert_or_assign(c.public_key, key);
  queue_.keys_.emplace(c.public_key, std::move(key));
  emit(effect::KeyAdded{c.role, c.name, c.public_key});
  RequestRow row;
  row.tasks = 1;
  answer(c.asked, std::move(row));
}

void QueueApply::on(const cmd::KeyRevoked& c) {
  if (is_repeated(c.asked)) return;
  const std::string how = "revoked by " + c.asked.owner;
  RequestRow row;
  const auto revoke = [&](const std::string& public_key, KeyRow key) {
    key.revoked_at = ago(Micros(0));
    key.revoked_by = c.asked.owner;
    rows_.keys.insert_or_assign(public_key, key);
    queue_.keys_.insert_or_assign(public_key, std::move(key));
    ++row.tasks;
  };
  const std::map<std::string, KeyRow> before = queue_.keys_;
  for (const auto& [public_key, key] : before) {
    if (key.name != c.name || key.revoked_at.us != 0) continue;
    revoke(public_key, key);
    emit(effect::KeyRemoved{public_key, "the key of " + c.name + " was " + how});
  }
  if (const auto named = queue_.workers_by_name_.find(c.name);
      named != queue_.workers_by_name_.end()) {
    Worker& worker = *queue_.worker_at(named->second);
    KeyRow key;  // So that it cannot enrol again.
    key.name = c.name;
    key.role = Role::Worker;
    revoke(worker.row.public_key, std::move(key));
    forget(worker, "had its key " + how);
  }
  if (!c.own.empty() && !before.contains(c.own)) {
    KeyRow key;
    key.name = c.name;
    key.role = Role::Enrolment;
    revoke(c.own, std::move(key));
    emit(effect::KeyRemoved{c.own, "the " + c.name + "'s key was " + how});
  }
  if (row.tasks == 0)
    return refuse(c.asked, Errc::NotFound, "nobody named " + c.name + " has a key");
  answer(c.asked, std::move(row));
}

}  // namespace capstan
