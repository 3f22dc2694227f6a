// SPDX-License-Identifier: MIT
//
// The master's shell around the pure queue: one turn of the loop takes what arrived, makes commands
// of it, lets the planner add its own, writes the batch, and only then speaks. It has no socket, no
// thread and no clock of its own: all of these are references, so that tests and tests/sim run
// this very class. Loop thread only.
//
//   on_frame -> inbox -> turn(): api -> ledger (stamp, apply, hold) -> planner -> store.append
//                                     -> outbox: messages, watches, reads
//
// Invariant: nothing that depends on an entry leaves before that entry is durable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/alarm.h"
#include "common/model/limits.h"
#include "common/model/member.h"
#include "common/net/transport.h"
#include "master/api/doors.h"
#include "master/api/retention.h"
#include "master/core/planner.h"
#include "master/core/queue.h"
#include "master/replica.h"
#include "master/store/store.h"
#include "master/web/status.h"

namespace capstan {

/// With less than this free a disk is nearly full. `asked`: 0: the smaller of 5 % and 1 GiB.
[[nodiscard]] std::uint64_t disk_reserve(std::uint64_t asked, const api::Host::Disk& disk);
/// "1.2 GiB free of 40 GiB"
[[nodiscard]] std::string disk_figures(const api::Host::Disk& disk);

class Server {
 public:
  struct Options {
    std::string node = "a";          ///< This master's name.
    std::string reign_note{};        ///< For the first entry: why this reign is not like others.
    std::uint64_t jobs_skipped = 0;  ///< For the first entry: job ids that may have been given.
    std::vector<Member> members;     ///< Told to everybody in Welcome.
    std::uint64_t members_version = 1;
    Micros heartbeat_every{limits::kHeartbeatEvery};
    planner::Limits silence{Micros(limits::kSuspectAfter), Micros(limits::kLostAfter),
                            Micros(limits::kClosedGrace)};
    /// Free disk below which submissions are refused: what runs has results to be written. 0: see
    /// disk_reserve().
    std::uint64_t disk_reserve_bytes = 0;
    api::Retention::Policy retention{};
    std::vector<net::Identity> own_keys{};  ///< That this master made: its admin's, the invitation.
    QueueMutant mutant = QueueMutant::None;  ///< tests/sim only, as is the next one.
    bool tells_early = false;                ///< A mistake: before the others have the batch.
  };
  /// All outlive the server. `reads`, `logs`: their completions must not run after its end.
  struct Doors {
    store::Store& store;
    net::Listener& listener;
    api::Reads& reads;
    api::Logs& logs;
    api::Keys& keys;
    const api::Host& host;
    const Clock& clock;
    api::Replication& replication;
    api::Backups* backups = nullptr;  ///< None: no backups.
  };

  /// The first turn() writes the first entry of the reign `epoch`; until then nobody may be let in.
  Server(Options options, Doors doors, Taken taken, Epoch epoch);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// A frame from an authenticated peer. Only queued here; turn() handles it.
  void on_frame(net::PeerId peer, const net::Identity& identity, std::string_view frame);
  /// A peer's connection was seen to close.
  void on_closed(net::PeerId peer);

  /// One turn, as above. An error is the end: the caller leaves at once (exit 70), without
  /// sending anything more; what was not acknowledged may have happened or not. With other masters
  /// a turn stands still until they have its batch: call it again when that may be so.
  [[nodiscard]] Result<void> turn();
  /// Before the store is closed: leaves nothing behind the tables.
  [[nodiscard]] Result<void> finish();
  /// Call turn() then, or when a frame or completion arrived. Steady time of `clock`.
  [[nodiscard]] TimePoint next_deadline() const;

  /// False: no more work is taken, and what waits is not planned (a planned switch-over).
  void set_intake(bool is_open);
  /// With the next turn's entries.
  void set_min_copies(std::uint32_t copies);
  /// The tables are at everything that is committed.
  [[nodiscard]] Result<void> bring_up();

  /// More frames in one turn than this are kept for the next.
  [[nodiscard]] std::size_t inbox_size() const;
  [[nodiscard]] const Queue& queue() const;
  [[nodiscard]] Epoch epoch() const;
  /// Everything up to here is durable.
  [[nodiscard]] Seq committed() const;
  /// Submissions are refused because the disk is (nearly) full.
  [[nodiscard]] bool is_draining() const;
  [[nodiscard]] web::StatusSnapshot status() const;
  /// Its own and those of the other masters.
  [[nodiscard]] std::vector<Alarm> alarms() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan
