// SPDX-License-Identifier: MIT
#include "master/replica.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/limits.h"
#include "master/store/entry_codec.h"
#include "master/store/row_hash.h"

namespace capstan {

Replica::Replica(store::Store& store, store::Opened opened, QueueMutant mutant)
    : store_(&store),
      meta_(opened.meta),
      queue_(Queue::load(std::move(opened.state))),
      known_(opened.ends.front()),
      rows_chain_(opened.rows_chain),
      applied_(opened.meta.applied_seq) {
  queue_.set_mutant(mutant);
  for (const auto& [job, submission] : queue_.deletions()) deleted_.push_back(job);
}

Result<Replica> Replica::open(store::Store& store, store::Opened opened, QueueMutant mutant) {
  const Seq last = opened.meta.last_seq;
  Replica replica(store, std::move(opened), mutant);
  while (replica.last().seq < last) {
    store::JournalBatches piece = TRY(store.read_batches(replica.last(), limits::kBatchBytes));
    if (piece.gone || piece.batches.empty())
      return fail(Errc::Corrupt, "the journal has a gap behind the tables");
    for (SealedBatch& sealed : piece.batches) TRY(replica.put(std::move(sealed)));
  }
  return replica;
}

/// Opens a batch that is in the journal.
Result<void> Replica::put(SealedBatch sealed) {
  store::Batch entries = TRY(store::open_batch(last(), sealed));
  sealed.entries.clear();
  pending_.push_back({std::move(sealed), std::move(entries)});
  return {};
}

JournalEnd Replica::last() const {
  return pending_.empty() ? known_ : pending_.back().sealed.end;
}

Result<void> Replica::store(const JournalEnd& keep, std::vector<SealedBatch> batches) {
  if (last() != keep) {
    CHECK(keep.seq >= known_.seq);  // What is committed is never taken back.
    TRY(store_->truncate(keep.seq));
    while (!pending_.empty() && pending_.back().sealed.end.seq > keep.seq) pending_.pop_back();
    CHECK(last() == keep);
  }
  for (SealedBatch& sealed : batches) {
    store::Batch entries = TRY(store::open_batch(last(), sealed));
    if (deferred_.is_progress()) {
      TRY(store_->append(sealed, entries, deferred_.ahead(), applied_));
      deferred_.written_ahead();
    } else {
      TRY(store_->append(sealed, entries, deferred_.all(), known_.seq));
      applied_ = known_.seq;
      deferred_.clear();
    }
    sealed.entries.clear();
    pending_.push_back({std::move(sealed), std::move(entries)});
  }
  return {};
}

Result<void> Replica::commit(Seq upto, TimePoint now) {
  while (!pending_.empty() && pending_.front().sealed.end.seq <= upto) {
    Pending batch = std::move(pending_.front());
    pending_.pop_front();
    TRY(apply(std::move(batch), now));
  }
  return {};
}

Result<void> Replica::apply(Pending batch, TimePoint now) {
  std::vector<Effect> effects;  // The leader tells them.
  RowChanges rows;
  for (const Entry& entry : batch.entries) queue_.apply(entry, effects, rows);
  rows.tasks.sort();
  for (Effect& effect : effects) {
    if (std::holds_alternative<effect::KeyAdded>(effect) ||
        std::holds_alternative<effect::KeyRemoved>(effect)) {
      keys_.push_back(std::move(effect));
    }
  }
  for (const auto& [job, row] : rows.deleted) deleted_.push_back(job);
  check_rows(batch, rows);
  // It moves rows that must be there.
  if (!rows.archived.empty() || deferred_.is_much()) TRY(bring_up());
  deferred_.add(std::move(rows), applied_, now);
  known_ = batch.sealed.end;
  return {};
}

void Replica::check_rows(const Pending& batch, const RowChanges& rows) {
  const Digest& told = batch.sealed.rows_chain;
  rows_chain_ = told == Digest{} ? told : store::hash_rows(rows_chain_, batch.entries, rows);
  if (rows_chain_ != told && !diverged_) diverged_ = batch.sealed.end.seq;
}

Result<void> Replica::bring_up() {
  if (applied_ == known_.seq) return {};
  TRY(store_->flush(deferred_.all(), known_.seq));
  applied_ = known_.seq;
  deferred_.clear();
  return {};
}

Taken Replica::take() {
  CHECK(pending_.empty());
  return {std::move(meta_), std::move(queue_), std::move(deferred_.all())};
}

Result<Taken> take_all(store::Store& store, store::Opened opened, QueueMutant mutant) {
  Replica replica = TRY(Replica::open(store, std::move(opened), mutant));
  TRY(replica.commit(replica.last().seq, TimePoint{}));
  return replica.take();
}

}  // namespace capstan
