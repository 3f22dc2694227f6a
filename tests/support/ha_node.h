// SPDX-License-Identifier: MIT
//
// One voter without its process: the real failover machine on a virtual disk that loses what was
// not synced. Batches are made of a number; their chain is mixed from it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "master/ha/machine.h"

namespace capstan::test {

/// The batch behind `prev` with `count` entries.
[[nodiscard]] SealedBatch virtual_batch(const JournalEnd& prev, Epoch epoch, std::uint64_t number,
                                        std::uint64_t count);
/// Is it what virtual_batch() makes behind `prev`? (I6)
[[nodiscard]] bool follows(const JournalEnd& prev, const SealedBatch& batch);

/// Journal and tables of a data node.
struct VirtualDatabase {
  std::vector<SealedBatch> journal{};  ///< From the first batch, the trimmed ones as well.
  std::size_t begin = 0;               ///< Batches before it are trimmed.
  std::size_t applied = 0;             ///< Batches in the tables.
  std::uint64_t nonce = 0;
  bool is_diverged = false;

  [[nodiscard]] JournalEnd end_of(std::size_t batches) const;  ///< Of the first so many.
  [[nodiscard]] JournalEnd last() const { return end_of(journal.size()); }
  /// How many batches up to and with this end; nothing when there is no such end.
  [[nodiscard]] std::optional<std::size_t> find(const JournalEnd& end) const;
  [[nodiscard]] std::optional<std::size_t> find(Seq seq) const;
  void truncate(std::size_t batches);
};

struct VirtualNode {
  ha::Config config{};
  bool is_witness = false;

  // Durable.
  Vote vote{};
  bool has_vote = true;
  VirtualDatabase database{};
  Micros slowness{0};       ///< Of its disk, on top of the options.
  bool is_suspect = false;  ///< The database is another one, and not yet known to be whole.

  // One process.
  std::unique_ptr<ha::Machine> machine{};
  std::uint64_t process = 0;  ///< Counts the starts: what was for an earlier one does not arrive.
  bool is_paused = false;
  std::vector<ha::Event> held_back{};  ///< While it is paused.
  std::deque<ha::action::Store> writing{};
  bool leads = false;
  bool overrides = false;  ///< An operator said so, and there was no answer yet.
  bool has_intake = false;
  Seq awaited;  ///< The end of the batch that is not yet committed; 0: the turn is free.
  Seq hold{};   ///< Of snapshots: the journal is not trimmed past it, when `has_hold`.
  bool has_hold = false;
  Uuid fetching{};
  TimePoint timer_at = TimePoint::never();

  [[nodiscard]] NodeId id() const { return config.self; }
  [[nodiscard]] bool is_up() const { return machine != nullptr; }
  /// Up, and nothing happens to it behind our back.
  [[nodiscard]] bool runs() const { return is_up() && !is_paused; }

  /// A new process from what is on the disk.
  void start(std::uint64_t life);
  /// It is gone; of what was being written, the first `synced` writes reached the disk.
  void stop(std::size_t synced);
  /// The first write reached the disk. False: it was no continuation of the journal (I6).
  [[nodiscard]] bool finish_write();
  [[nodiscard]] ha::event::JournalRead read_journal(const ha::action::ReadJournal& read) const;
  [[nodiscard]] ha::event::Common find_common(const ha::action::FindCommon& ends) const;
};

}  // namespace capstan::test
