// SPDX-License-Identifier: MIT
//
// Workers come, say HELLO, and go.
#include <utility>

#include "master/core/queue_apply.h"

namespace capstan {

Worker* QueueApply::present(WorkerId id, const Instance& instance) {
  Worker* worker = queue_.worker_at(id);
  if (worker == nullptr || !worker->row.present || worker->row.instance != instance) return nullptr;
  return worker;
}

void QueueApply::on(const cmd::WorkerEnrolled& c) {
  if (const Worker* known = queue_.find_worker_by_key(c.public_key)) {
    return emit(effect::KeyAdded{Role::Worker, known->row.name, known->row.public_key});
  }
  if (c.worker < queue_.next_worker_) return;
  WorkerRow row;
  row.name = c.name;
  row.public_key = c.public_key;
  // Two enrolments of one name may be on their way at once.
  const auto is_taken = [&](const std::string& name) {
    return queue_.workers_by_name_.contains(name) || queue_.has_key_named(name);
  };
  for (int n = 2; is_taken(row.name); ++n) { row.name = c.name + "-" + std::to_string(n); }
  rows_.workers.insert_or_assign(c.worker, row);
  emit(effect::KeyAdded{Role::Worker, row.name, row.public_key});
  queue_.add_worker(c.worker, std::move(row));
  queue_.next_worker_ = c.worker.next();
}

// --- HELLO ---------------------------------------------------------------------------------------

void QueueApply::on(const cmd::WorkerJoined& c) {
  Worker* found = queue_.worker_at(c.worker);
  if (found == nullptr || found->row.removed) return;
  Worker& worker = *found;
  const Reconciliation plan = reconcile(queue_, worker, c);
  lose_all(worker, plan.lose, {"worker " + worker.row.name + " was started anew", worker.row.cpus});
  const std::map<AttemptKey, Share> were_dying = std::move(worker.dying);
  welcome(worker, c);
  for (const AttemptKey& key : plan.adopt) adopt(key, worker);
  for (const AttemptKey& key : plan.cancelled_now) {
    const Found task = find(key.job, key.task);
    const Place at{*task.job, task.ordinal};
    TaskRow row = row_of(at, *task.live);
    row.ended = true;
    row.end = EndClass::Cancelled;
    finish(at, task.live, TaskState::Cancelled, std::move(row));
  }
  start_again(worker, plan.start);
  if (!plan.cancel.empty()) emit(effect::CancelAttempts{c.worker, CancelWhy::User, plan.cancel});
  if (!plan.recall.empty()) emit(effect::RecallAttempts{c.worker, plan.recall});
  for (const AttemptKey& key : plan.kill) {
    // A job that left memory: its share is not known any more: it may be the whole machine.
    const Job* job = queue_.find_job(key.job);
    const auto was = were_dying.find(key);
    const Share whole{worker.row.cpus, worker.row.mem_bytes};
    const Share unknown = was == were_dying.end() ? whole : was->second;
    mark_dying(worker, key, job == nullptr ? unknown : share_of(*job->spec));
  }
  if (!plan.kill.empty()) emit(effect::CancelAttempts{c.worker, CancelWhy::NotGranted, plan.kill});
  note_started(worker, c);
  if (c.leaving || worker.row.drained) recall_unstarted(worker);
}

void QueueApply::welcome(Worker& worker, const cmd::WorkerJoined& c) {
  WorkerRow& row = worker.row;
  if (!row.present || row.instance != c.instance) row.joined_at = ago(Micros(0));
  row.instance = c.instance;
  row.cpus = c.cpus;
  row.version = c.version;
  row.address = c.address;
  row.note = c.note;
  row.present = true;
  row.leaving = c.leaving;
  row.disk_full = c.disk_full;
  row.mem_bytes = c.mem_bytes;
  row.left_at = {};
  row.left_reason.clear();
  worker.dying.clear();
  worker.dying_sum = {};
  rows_.workers.insert_or_assign(worker.id, row);
  emit(effect::OpenSession{c.worker, c.instance});
}

void QueueApply::start_again(Worker& worker, const Attempts& keys) {
  std::map<std::pair<JobId, AttemptNo>, std::vector<TaskIndex>> groups;
  for (const AttemptKey& key : keys) {
    groups[{key.job, key.attempt}].push_back(key.task);
    const Found task = find(key.job, key.task);
    if (!task.live->recalled) continue;
    task.live->recalled = false;  // It gave it back, and that was lost on the way.
    write({*task.job, task.ordinal}, *task.live);
  }
  for (auto& [group, tasks] : groups) {
    emit(effect::StartTasks{worker.id, group.first, group.second, std::move(tasks)});
  }
}

void QueueApply::note_started(Worker& worker, const cmd::WorkerJoined& c) {
  for (const cmd::WorkerJoined::Held& held : c.held) {
    if (!held.started) continue;
    const Found task = find_granted(held.key, worker.id, c.instance);
    if (task.live == nullptr || task.live->started) continue;
    begin({{*task.job, task.ordinal}, *task.live}, ago(Micros(0)));
  }
}

// --- Lost, left, noticed -------------------------------------------------------------------------

void QueueApply::lose_all(Worker& worker, const Attempts& keys, Loss loss) {
  for (const AttemptKey& key : keys) {
    const Found task = find(key.job, key.task);
    if (task.live == nullptr || !worker.granted.contains(key)) continue;
    lose({{*task.job, task.ordinal}, *task.live}, loss);
  }
}

void QueueApply::part(Worker& worker, Loss loss) {
  worker.row.present = false;
  worker.row.left_at = ago(Micros(0));
  worker.row.left_reason = loss.reason;
  worker.dying.clear();
  worker.dying_sum = {};
  rows_.workers.insert_or_assign(worker.id, worker.row);
  emit(effect::CloseSession{worker.id, worker.row.instance});
  const Attempts keys = worker.list_granted();
  loss.reason = "worker " + worker.row.name + " " + loss.reason;
  lose_all(worker, keys, std::move(loss));
}

void QueueApply::on(const cmd::WorkerLost& c) {
  // As many started attempts are charged as can have run there; what was only queued is not blamed.
  if (Worker* worker = present(c.worker, c.instance)) {
    part(*worker, {"was lost: " + c.reason, worker->row.cpus});
  }
}

void QueueApply::on(const cmd::WorkerLeft& c) {
  if (Worker* worker = present(c.worker, c.instance)) part(*worker, {"said goodbye", 0});
}

void QueueApply::on(const cmd::WorkerNoticed& c) {
  Worker* worker = present(c.worker, c.instance);
  if (worker == nullptr) return;
  const bool begins_to_leave = c.leaving && !worker->row.leaving;
  worker->row.leaving = c.leaving;
  worker->row.disk_full = c.disk_full;
  rows_.workers.insert_or_assign(worker->id, worker->row);
  if (begins_to_leave) recall_unstarted(*worker);
}

void QueueApply::recall_unstarted(Worker& worker) {
  Attempts keys = recall(worker, worker.list_granted());
  if (!keys.empty()) emit(effect::RecallAttempts{worker.id, std::move(keys)});
}

// --- Told to stop, not yet gone ------------------------------------------------------------------

void QueueApply::mark_dying(Worker& worker, const AttemptKey& key, Share share) {
  if (!worker.row.present || !worker.dying.emplace(key, share).second) return;
  worker.dying_sum.cpus += share.cpus;
  worker.dying_sum.mem_bytes += share.mem_bytes;
}

void QueueApply::forget_dying(Worker& worker, const AttemptKey& key) {
  const auto it = worker.dying.find(key);
  if (it == worker.dying.end()) return;
  worker.dying_sum.cpus -= it->second.cpus;
  worker.dying_sum.mem_bytes -= it->second.mem_bytes;
  worker.dying.erase(it);
}

}  // namespace capstan
