// SPDX-License-Identifier: MIT
#include "master/core/reconcile.h"

#include <algorithm>
#include <map>
#include <set>

#include "master/core/queue.h"

namespace capstan {
namespace {

const LiveTask* find_live(const Queue& queue, const AttemptKey& key) {
  const Job* job = queue.find_job(key.job);
  if (job == nullptr) return nullptr;
  const auto ordinal = job->ordinal_of(key.task);
  if (!ordinal) return nullptr;
  const auto it = job->live.find(*ordinal);
  return it == job->live.end() ? nullptr : &it->second;
}

/// Given up here, and no newer attempt was dispatched since: it may go on.
bool is_adoptable(const LiveTask& live, const AttemptKey& key, const cmd::WorkerJoined& hello,
                  QueueMutant mutant) {
  const bool was_lost =
      std::any_of(live.lost.begin(), live.lost.end(), [&](const LostAttempt& lost) {
        return lost.attempt == key.attempt && lost.worker == hello.worker &&
               lost.instance == hello.instance;
      });
  if (!was_lost || live.cancelling) return false;
  if (mutant == QueueMutant::ReadoptAlways) return true;
  return live.state == TaskState::Ready && live.attempts == key.attempt && !live.number_free;
}

}  // namespace

Reconciliation reconcile(const Queue& queue, const Worker& worker, const cmd::WorkerJoined& hello) {
  std::map<AttemptKey, bool> held;  // -> started
  for (const cmd::WorkerJoined::Held& one : hello.held) held[one.key] |= one.started;
  const std::set<AttemptKey> spooled(hello.spooled.begin(), hello.spooled.end());
  const bool is_same = worker.row.instance == hello.instance;
  const QueueMutant mutant = queue.mutant();

  Reconciliation plan;
  for (const AttemptKey& key : worker.list_granted()) {
    if (!is_same && mutant != QueueMutant::IgnoreInstance) {
      plan.lose.push_back(key);
      continue;
    }
    if (spooled.contains(key)) continue;  // Its result follows.
    const LiveTask& live = *find_live(queue, key);
    const auto there = held.find(key);
    if (there == held.end()) {
      const bool is_over = live.cancelling && mutant != QueueMutant::RestartCancelled;
      (is_over ? plan.cancelled_now : plan.start).push_back(key);
    } else if (live.cancelling) {
      plan.cancel.push_back(key);
    } else if (live.recalled && !there->second) {
      plan.recall.push_back(key);
    }
  }
  for (const auto& [key, started] : held) {
    const bool is_granted = worker.granted.contains(key) && (is_same || plan.lose.empty());
    if (is_granted || spooled.contains(key)) continue;
    const LiveTask* live = find_live(queue, key);
    if (live != nullptr && is_adoptable(*live, key, hello, mutant)) {
      plan.adopt.push_back(key);
    } else if (mutant != QueueMutant::ReplyBeforeReconcile) {
      plan.kill.push_back(key);
    }
  }
  return plan;
}

}  // namespace capstan
