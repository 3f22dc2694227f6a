// SPDX-License-Identifier: MIT
//
// The queue of a node that does not lead: its journal takes batches as they come from the leader,
// its queue and its tables take their entries only once they are committed. So what was never
// committed is taken back by a DELETE from the journal, and nothing in memory is undone. Every
// start begins as one; the node that comes to lead hands its queue to the Server. Loop thread only.
//
//   store()  -> journal:  [ applied ... | ... committed ... | ... last ]
//   commit() -> queue     '- tables      '- queue            '- pending batches
#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "master/core/deferred_rows.h"
#include "master/core/queue.h"
#include "master/core/rows.h"
#include "master/store/store.h"

namespace capstan {

/// What a leader begins with.
struct Taken {
  store::Meta meta;
  Queue queue;
  RowChanges rows;  ///< What it has and the tables do not.
};

class Replica {
 public:
  /// Reads the journal behind the tables. REQUIRES: nothing was written since the store was opened.
  [[nodiscard]] static Result<Replica> open(store::Store& store, store::Opened opened,
                                            QueueMutant mutant = QueueMutant::None);

  /// Takes back what is behind `keep`, if anything is, and makes `batches` durable. Corrupt: they
  /// do not follow; nothing of them was written. Other errors are the store's.
  [[nodiscard]] Result<void> store(const JournalEnd& keep, std::vector<SealedBatch> batches);
  /// Applies what is committed now. `now`: steady.
  [[nodiscard]] Result<void> commit(Seq upto, TimePoint now);
  /// Brings the tables to what is committed; due at the latest at bring_up_due().
  [[nodiscard]] Result<void> bring_up();
  [[nodiscard]] TimePoint bring_up_due() const { return deferred_.due(); }

  /// The end of its journal.
  [[nodiscard]] JournalEnd last() const;
  /// Where its tables are.
  [[nodiscard]] Seq applied() const { return applied_; }
  [[nodiscard]] const Queue& queue() const { return queue_; }
  [[nodiscard]] const store::Meta& meta() const { return meta_; }
  /// KeyAdded and KeyRemoved of what was applied since the last call.
  [[nodiscard]] std::vector<Effect> take_keys() { return std::exchange(keys_, {}); }
  /// Jobs that were deleted since the last call.
  [[nodiscard]] std::vector<JobId> take_deleted() { return std::exchange(deleted_, {}); }
  /// The batch whose rows are not those that the leader had: never to be led from here.
  [[nodiscard]] std::optional<Seq> diverged() const { return diverged_; }

  /// Its queue, for the Server. REQUIRES: everything is committed. Only destruction follows.
  [[nodiscard]] Taken take();

 private:
  struct Pending {
    SealedBatch sealed;  ///< Without its bytes.
    store::Batch entries;
  };
  Replica(store::Store& store, store::Opened opened, QueueMutant mutant);
  Result<void> apply(Pending batch, TimePoint now);
  void check_rows(const Pending& batch, const RowChanges& rows);
  Result<void> put(SealedBatch sealed);

  store::Store* store_;
  store::Meta meta_;
  Queue queue_;
  std::deque<Pending> pending_;  ///< Behind the queue, in the journal.
  JournalEnd known_;             ///< The end of what the queue has.
  Digest rows_chain_;            ///< At known_.
  DeferredRows deferred_;        ///< Of applied_ + 1 … known_.
  Seq applied_;
  std::vector<Effect> keys_;
  std::vector<JobId> deleted_;
  std::optional<Seq> diverged_;
};

/// The queue of a master that has no others: everything in its journal is committed.
[[nodiscard]] Result<Taken> take_all(store::Store& store, store::Opened opened,
                                     QueueMutant mutant = QueueMutant::None);

}  // namespace capstan
