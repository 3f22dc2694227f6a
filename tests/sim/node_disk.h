// SPDX-License-Identifier: MIT
//
// What a node of a simulated cluster has that outlives its process: its database, its vote file,
// what it fetched of a snapshot; and the clock of its machine. A write takes its time on that clock
// while the process waits for it (but for a flush, which is not synced). So a turn of the loop is
// computed at one moment of the schedule and lasts until now(): whoever dies in between has on its
// disk what was synced by then, perhaps the write under way, and nothing behind it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "common/model/voting.h"
#include "tests/sim/schedule.h"
#include "tests/support/memory_store.h"

namespace capstan::sim {

/// The schedule's time, and what its process has spent in the present turn.
class NodeClock final : public Clock {
 public:
  explicit NodeClock(const Schedule& schedule) : schedule_(schedule) {}
  [[nodiscard]] TimePoint now() const override { return schedule_.now() + spent_; }
  [[nodiscard]] WallTime wall() const override {
    return {schedule_.true_wall().us + (spent_ + wall_offset_).count()};
  }
  void begin_turn() { spent_ = Micros(0); }
  void spend(Micros time) { spent_ += time; }
  [[nodiscard]] bool has_spent() const { return spent_ > Micros(0); }
  void set_wall_offset(Micros offset) { wall_offset_ = offset; }

 private:
  const Schedule& schedule_;
  Micros spent_{0};
  Micros wall_offset_{0};
};

class NodeDisk final : public test::MemoryStore {
 public:
  explicit NodeDisk(Schedule& schedule);

  NodeClock& clock() { return clock_; }
  /// Called before rows are written: what they are of is committed.
  void on_rows(std::function<void(Seq applied)> told) { on_rows_ = std::move(told); }
  /// How long a write takes, at most; and the next one alone.
  void set_write_max(Micros most) { write_max_ = most; }
  void stall_next_write(Micros how_long) { stall_ = how_long; }

  void save(const Vote& vote);
  Result<void> append(const SealedBatch& sealed, const store::Batch& batch,
                      const RowChanges& committed, Seq applied) override;
  Result<void> flush(const RowChanges& committed, Seq applied) override;
  Result<void> truncate(Seq keep) override;

  /// What is finished by now is durable.
  void settle();
  /// Everything is.
  void finish_all();
  /// Power or process gone at this moment. True: a write was under way.
  bool crash_now();

  /// As a start finds it.
  [[nodiscard]] const std::optional<Vote>& vote() const { return vote_; }
  void set_vote(std::optional<Vote> vote) { vote_ = std::move(vote); }

 private:
  struct Pending {
    TimePoint done;            ///< never: without a sync of its own, with the next that has one.
    std::optional<Vote> vote;  ///< None: the oldest write of the database.
  };
  Result<void> timed(Result<void> written, std::size_t unsynced_before);
  void finish(const Pending& write);
  void spend_a_write();

  Schedule& schedule_;
  NodeClock clock_;
  Micros write_max_{500};
  Micros stall_{0};
  std::function<void(Seq)> on_rows_;
  std::deque<Pending> pending_;
  std::optional<Vote> vote_;
};

}  // namespace capstan::sim
