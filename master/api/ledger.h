// SPDX-License-Identifier: MIT
//
// The queue together with the batch in the making: commands come in, are stamped and applied at
// once, and everything that must be told because of them is held until the batch is durable. So
// the handlers of one turn see each other's decisions, and nobody outside sees any of them early.
// Loop thread only.
//
// The journal is written with every batch, the tables less often: rows that only say how far live
// jobs are wait (`defer`) until there are many, until kIdleFlush has passed, or until somebody
// wants to read (`bring_up`). So a task that is assigned and ends in between is written once.
// Everything else (submissions, answers, workers, the end of a job) takes what waits with it.
//
// A turn that is too large for one batch of the journal is cut into parts while it is made: each
// has its own rows, because a replica sees the batches of the journal and no turns.
//
// Time: `at` begins a reign at the larger of the queue's last `at` and the wall clock and goes on
// by steady time; it stands still within a turn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/limits.h"
#include "common/net/transport.h"
#include "common/wire/message.h"
#include "common/wire/version.h"
#include "master/api/doors.h"
#include "master/core/command.h"
#include "master/core/deferred_rows.h"
#include "master/core/effect.h"
#include "master/core/queue.h"
#include "master/core/rows.h"
#include "master/store/store.h"

namespace capstan::api {

/// An answer for a session, held until what it depends on is durable.
struct Reply {
  SessionId session;
  msg::Body body;
};
/// The same for a peer without a session (Enrolled, Refused).
struct PeerReply {
  net::PeerId peer;
  msg::Body body;
};
using Held = std::variant<Effect, Reply, PeerReply>;

class Ledger {
 public:
  Ledger(Queue queue, Epoch epoch, const Clock& clock);

  /// Fixes "now" for everything until the next call.
  void begin_turn();
  /// Now, as entries and the planner count it.
  [[nodiscard]] TimePoint at() const { return at_; }
  [[nodiscard]] WallTime wall() const { return wall_; }
  /// So long ago, for what is deleted by its age: by the entries' time, which no change of the
  /// clock moves, or by the clock when that is behind it: it was ahead once.
  [[nodiscard]] WallTime wall_before(Micros age) const {
    return WallTime{std::min(at_.us, wall_.us) - age.count()};
  }
  /// The same at this very moment: later than at() while the loop waits.
  [[nodiscard]] TimePoint now() const;
  /// When the steady clock will show `at`.
  [[nodiscard]] TimePoint steady(TimePoint at) const;

  /// Stamps and applies; its effects are held. The state of queue() includes it from here on.
  void commit(Command command);
  /// Holds an answer behind everything committed so far.
  void hold(SessionId session, msg::Body body);
  void hold(net::PeerId peer, msg::Body body);

  [[nodiscard]] const Queue& queue() const { return queue_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  // What this turn changed: newer than the tables. Valid until the next commit(); null: nothing.
  [[nodiscard]] const JobRow* find_row(JobId job) const;
  [[nodiscard]] const TokenRow* find_token(const std::string& owner,
                                           const std::string& token) const;
  /// The newest job of an owner that it touched; 0: none.
  [[nodiscard]] JobId last_job_of(const std::string& owner) const;
  [[nodiscard]] bool empty() const { return part_.batch.empty(); }
  /// No more messages in this turn: the planner needs what is left of the bounds.
  [[nodiscard]] bool is_full() const;
  /// Everything up to here is committed.
  [[nodiscard]] Seq durable() const { return durable_; }
  /// Of the entries that are stamped from now on.
  void set_level(std::uint32_t level) { level_ = level; }

  /// What a write made durable, of all parts together.
  struct Written {
    std::vector<Entry> entries;
    RowChanges rows;
    std::vector<Held> held;  ///< May be told now, in this order.
    Seq upto;
    bool in_tables = true;  ///< False: `rows` are in the journal alone, and to be deferred.
  };
  /// Writes the batch, in parts of at most kBatchBytes. A full disk: the ballast goes, the same
  /// part is tried once more, and is_draining() from then on. Any error is the end of the process.
  /// REQUIRES: there are no other masters.
  [[nodiscard]] Result<Written> write(store::Store& store);
  /// The same with other masters: into the journals, theirs and ours, and no rows into the tables.
  /// Nothing may be told before settle().
  [[nodiscard]] Result<void> write_shipped(store::Store& store, Replication& others);
  /// What write_shipped() wrote waits for the others.
  [[nodiscard]] bool is_waiting() const { return !shipped_.empty(); }
  /// The end of it.
  [[nodiscard]] Seq shipped_upto() const { return shipped_.back().batch.back().seq; }
  /// It is committed now; its rows wait for the tables. REQUIRES: is_waiting().
  [[nodiscard]] Result<Written> settle(store::Store& store);
  /// Rows that are not RowChanges::is_progress() wait for the tables: before somebody reads there.
  [[nodiscard]] bool must_bring_up() const { return !deferred_.is_progress(); }

  /// Keeps the rows of a write that are not in the tables yet.
  void defer(RowChanges rows);
  /// Brings the tables to everything that is durable. Errors as write().
  [[nodiscard]] Result<void> bring_up(store::Store& store);
  /// When bring_up() is due at the latest; never: nothing waits.
  [[nodiscard]] TimePoint bring_up_due() const { return deferred_.due(); }

  /// The disk is full or nearly so: what would fill it is refused.
  [[nodiscard]] bool is_draining() const { return draining_; }
  /// In words, with the way out.
  [[nodiscard]] std::string drain_reason() const;
  /// `figures`: "0.8 GiB free of 20 GiB".
  void drain(std::string figures);
  void end_drain() { draining_ = false; }

 private:
  /// Once more when the disk is full and there is ballast to throw off.
  template <class Write>
  [[nodiscard]] Result<void> with_ballast(store::Store& store, Write write);
  /// A batch of the journal in the making, and what its entries change.
  struct Part {
    store::Batch batch;
    RowChanges rows;
    std::size_t bytes = 0;
  };
  /// To the full ones, its rows sorted.
  void close_part();
  [[nodiscard]] Result<void> append(store::Store& store, const Part& part, const RowChanges& rows,
                                    Seq applied);
  [[nodiscard]] Result<bool> write_part(store::Store& store);
  [[nodiscard]] Result<void> write_parts(store::Store& store);

  Queue queue_;
  Epoch epoch_;
  const Clock& clock_;
  TimePoint steady_began_;
  TimePoint at_began_;
  TimePoint at_;
  WallTime wall_;
  std::uint32_t level_ = kEntryLevel;
  std::vector<Part> shipped_;  ///< Durable here, not committed yet.
  std::vector<Part> full_;     ///< Nearly always none: parts of this turn before part_.
  Part part_;
  DeferredRows deferred_;  ///< Of applied_ + 1 … durable_.
  std::vector<Effect> effects_;
  std::vector<Held> held_;
  Seq durable_;
  Seq applied_;
  bool draining_ = false;
  std::string disk_figures_;  ///< "" before the first look at it.
};

/// About what a command takes in the journal: to cut batches, not to allocate.
[[nodiscard]] std::size_t approximate_bytes(const Command& command);

}  // namespace capstan::api
