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
  return timed(MemoryStore::flush(committed, applied), before);
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

void NodeDisk::settle() {
  while (!pending_.empty() && pending_.front().done <= schedule_.now()) {
    finish(pending_.front());
    pending_.pop_front();
  }
}

void NodeDisk::finish_all() {
  for (const Pending& write : pending_) finish(write);
  pending_.clear();
}

bool NodeDisk::crash_now() {
  settle();
  const bool was_writing = !pending_.empty();
  // A transaction, or a slot of the vote file, is there whole or not at all.
  if (was_writing && schedule_.rng().chance(50)) finish(pending_.front());
  pending_.clear();
  MemoryStore::crash(0);
  return was_writing;
}

}  // namespace capstan::sim
