// SPDX-License-Identifier: MIT
#include "tests/sim/checked_store.h"

#include <algorithm>

#include "common/model/limits.h"

namespace capstan::sim {

Result<void> CheckedStore::append(const SealedBatch& sealed, const store::Batch& batch,
                                  const RowChanges& committed, Seq applied) {
  if (dies_) {
    const bool written = *dies_;
    dies_.reset();
    if (written) {
      check_batch(batch);
      check_rows(committed);
      if (auto done = PassingStore::append(sealed, batch, committed, applied); !done) return done;
    }
    return fail(Errc::OutcomeUnknown, "killed in the middle of a write");
  }
  check_batch(batch);
  check_rows(committed);
  return PassingStore::append(sealed, batch, committed, applied);
}

Result<void> CheckedStore::flush(const RowChanges& committed, Seq applied) {
  check_rows(committed);
  return PassingStore::flush(committed, applied);
}

Result<void> CheckedStore::truncate(Seq keep) {
  last_seq_ = keep;  // Epochs go on rising, but what was taken back counts no more.
  last_at_ = {};
  return PassingStore::truncate(keep);
}

void CheckedStore::check_batch(const store::Batch& batch) {
  for (const Entry& entry : batch) {
    if (entry.seq != last_seq_.next()) complain("the journal is not dense");
    if (entry.epoch < last_epoch_) complain("an epoch fell");
    if (entry.at < last_at_) complain("an entry's time ran back");
    last_seq_ = entry.seq;
    last_epoch_ = entry.epoch;
    last_at_ = entry.at;
    if (const auto* returned = std::get_if<cmd::TasksReturned>(&entry.command))
      returned_.insert(returned->keys.begin(), returned->keys.end());
    if (const auto* released = std::get_if<cmd::JobReleased>(&entry.command))
      released_.emplace_back(released->job, entry.wall);
  }
}

// What is not waited for any more has ended as it must. (What becomes of it later does not count:
// it may be retried while the other still waits for its begin.)
void CheckedStore::check_upstream(const JobRow& row, JobId upstream) {
  const auto seen = jobs_.find(upstream);
  const JobState end = seen == jobs_.end() ? JobState::Queued : seen->second.end;
  const std::vector<JobId>& after = row.spec->after;
  const bool must_succeed = std::binary_search(after.begin(), after.end(), upstream);
  if (must_succeed ? end != JobState::Succeeded : !is_finished(end)) {
    complain("job " + std::to_string(row.id.value) + " does not wait any more for job " +
             std::to_string(upstream.value) + ", which did not end as it must");
  }
}

void CheckedStore::check_job(const JobRow& row) {
  SeenJob& seen = jobs_[row.id];
  const std::string name = "job " + std::to_string(row.id.value);
  if (!seen.spec) {
    seen.upstream.insert(row.spec->after.begin(), row.spec->after.end());
    seen.upstream.insert(row.spec->after_any.begin(), row.spec->after_any.end());
  }
  seen.spec = row.spec;
  const bool waits = row.awaits_begin || !row.waits_for.empty();
  const bool finished = is_finished(row.state);
  if (seen.finished && !finished) seen.reopened = true;
  if (waits && !seen.waits) complain(name + " waits again");
  if (waits && finished) complain(name + " ended and waits");
  if (waits && row.counts.running + row.counts.ready > 0) complain(name + " waits and runs");
  const std::set<JobId> upstream(row.waits_for.begin(), row.waits_for.end());
  for (const JobId id : seen.upstream) {
    if (!finished && !seen.reopened && !upstream.contains(id)) check_upstream(row, id);
  }
  const bool ran = row.counts.succeeded + row.counts.failed > 0 || row.started_at.us != 0;
  if (row.state == JobState::Skipped && ran && !seen.reopened) {
    complain(name + " was skipped and ran");
  }
  const std::uint32_t most = seen.spec->max_failures;
  if (most > 0 && row.counts.failed >= most && row.counts.ready + row.counts.backoff > 0) {
    complain(name + " goes on after --max-failures");
  }
  seen.waits = waits;
  seen.upstream = upstream;
  seen.finished = finished;
  if (finished) seen.end = row.state;
}

void CheckedStore::check_released() {
  std::erase_if(released_, [this](const auto& released) {
    const auto job = jobs_.find(released.first);
    if (job == jobs_.end()) return false;
    if (released.second < job->second.spec->begin_at)
      complain("job " + std::to_string(released.first.value) + " was released before its begin");
    return true;
  });
}

void CheckedStore::check_rows(const RowChanges& rows) {
  for (const auto& [id, row] : rows.deleted) {
    const auto job = jobs_.find(id);
    if (job == jobs_.end() || !job->second.finished) complain("a job that lives was deleted");
    for (const auto& [other, seen] : jobs_) {
      if (seen.upstream.contains(id)) complain("a job that is waited for was deleted");
    }
  }
  for (const auto& [id, row] : rows.jobs) {
    const auto [it, is_new] = owners_.try_emplace(id, row.owner);
    if (!is_new && it->second != row.owner) complain("two jobs under one id");
    if (row.counts.total() != row.tasks) complain("a job's counts do not add up");
    if (row.spec) retries_[id] = row.spec->retries;
    check_job(row);
  }
  check_released();
  for (const auto& [id, row] : rows.workers) has_lost_ |= row.left_at.us != 0;
  for (const auto& [key, row_at] : rows.tasks) {
    const TaskRow& row = *row_at;
    Seen& seen = seen_[key];
    const std::string name = task_name(key.first, key.second);
    // One that never had an attempt is opened again without a new round.
    const bool is_final = is_finished(seen.state) && seen.attempts.value > 0;
    if (is_final && row.round == seen.round && row.state != seen.state) {
      complain("the finished state of " + name + " changed");
    }
    if (row.round < seen.round) complain("the round of " + name + " fell");
    // A number that was handed back never started is as if it had not been given.
    const bool is_free =
        seen.number_free || returned_.contains({key.first, key.second, seen.attempts});
    const std::uint32_t given = seen.attempts.value - (is_free ? 1 : 0);
    if (row.attempts.value < given) complain("the attempts of " + name + " fell");
    // Several may have come and gone between two writes: those are attempts of their own.
    for (std::uint32_t n = seen.attempts.value + 1; n < row.attempts.value; ++n) {
      if (row.round != seen.round || rows.attempts.contains({key.first, key.second, AttemptNo(n)}))
        continue;
      complain("the attempts of " + name + " are not dense");
    }
    const bool may_fail = row.failures > retries_[key.first] ||
                          row.losses >= limits::kWorkerLossesPerTask ||
                          row.end == EndClass::LaunchError;
    if (row.state == TaskState::Failed && !may_fail) complain(name + " failed with retries left");
    seen = {.state = row.state,
            .round = row.round,
            .attempts = row.attempts,
            .number_free = row.number_free};
    // Told by this row; those of rows that are still deferred stay.
    returned_.erase(returned_.lower_bound({key.first, key.second, AttemptNo(0)}),
                    returned_.upper_bound({key.first, key.second, AttemptNo(UINT32_MAX)}));
  }
}

}  // namespace capstan::sim
