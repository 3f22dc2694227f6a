// SPDX-License-Identifier: MIT
#include "tests/sim/node_disk.h"

#include <utility>

namespace capstan::sim {

namespace {

constexpr Micros kWriteMin{50};

}  // namespace

// Of one seed: all are of one cluster.
NodeDisk::NodeDisk(Schedule& schedule)
    : MemoryStore(Options{.seed = 1, .manual_sync = true}), schedule_(schedule), clock_(schedule) {}

void NodeDisk::spend_a_write() {
  clock_.spend(schedule_.between(kWriteMin, write_max_) + std::exchange(stall_, Micros(0)));
}

void NodeDisk::save(const Vote& vote) {
  spend_a_write();
  pending_.push_back({clock_.now(), vote});
}

Result<void> NodeDisk::timed(Result<void> written, std::size_t unsynced_before) {
  if (unsynced() == unsynced_before) return written;
  spend_a_write();
  pending_.push_back({clock_.now(), std::nullopt});
  return written;
}

Result<void> NodeDisk::append(const SealedBatch& sealed, const store::Batch& batch,
                              const RowChanges& committed, Seq applied) {
  if (on_rows_ && !committed.empty()) on_rows_(applied);
  const std::size_t before = unsynced();
  return timed(MemoryStore::append(sealed, batch, committed, applied), before);
}

Result<void> NodeDisk::flush(const RowChanges& committed, Seq applied) {
  if (on_rows_) on_rows_(applied);
  const std::size_t before = unsynced();
  Result<void> written = MemoryStore::flush(committed, applied);
  if (unsynced() != before) pending_.push_back({TimePoint::never(), std::nullopt});
  return written;
}

Result<void> NodeDisk::truncate(Seq keep) {
  const std::size_t before = unsynced();
  return timed(MemoryStore::truncate(keep), before);
}

void NodeDisk::finish(const Pending& write) {
  if (write.vote)
    vote_ = write.vote;
  else
    sync_first();
}

/// A synced write of the database makes those before it durable, too; the votes are another file.
void NodeDisk::settle() {
  const TimePoint now = schedule_.now();
  std::size_t synced = 0;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    if (!pending_[i].vote && pending_[i].done <= now) synced = i + 1;
  }
  std::deque<Pending> left;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const bool is_done = pending_[i].vote ? pending_[i].done <= now : i < synced;
    if (is_done)
      finish(pending_[i]);
    else
      left.push_back(std::move(pending_[i]));
  }
  pending_ = std::move(left);
}

void NodeDisk::finish_all() {
  for (const Pending& write : pending_) finish(write);
  pending_.clear();
}

bool NodeDisk::crash_now() {
  settle();
  // What needed no sync may be there, and the write under way; each whole or not at all.
  std::size_t most = 0;
  while (most < pending_.size() && pending_[most].done == TimePoint::never()) ++most;
  const bool was_writing = most < pending_.size();
  if (was_writing) ++most;
  for (std::uint64_t kept = schedule_.rng().below(most + 1); kept > 0; --kept) {
    finish(pending_.front());
    pending_.pop_front();
  }
  pending_.clear();
  MemoryStore::crash(0);
  return was_writing;
}

}  // namespace capstan::sim
