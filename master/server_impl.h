// SPDX-License-Identifier: MIT
//
// The inside of the server, for its own sources only:
//   server.cc         the turn: plan, write, tell, keep time
//   server_inbox.cc   what arrives, and which part of the api it is for
//   server_status.cc  what it says of itself
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/wire/message.h"
#include "master/api/backups.h"
#include "master/api/client_api.h"
#include "master/api/ledger.h"
#include "master/api/logs.h"
#include "master/api/reads.h"
#include "master/api/retention.h"
#include "master/api/session.h"
#include "master/api/watch.h"
#include "master/api/worker_api.h"
#include "master/server.h"

namespace capstan {

/// Whoever reads the tables finds there all that is durable.
class CurrentReads final : public api::Reads {
 public:
  CurrentReads(api::Ledger& ledger, store::Store& store, api::Reads& reads)
      : ledger_(ledger), store_(store), reads_(reads) {}
  void post(Question question) override {
    if (result_) result_ = ledger_.bring_up(store_);
    if (result_) reads_.post(std::move(question));
  }
  /// An error is the store's: fatal.
  [[nodiscard]] const Result<void>& result() const { return result_; }

 private:
  api::Ledger& ledger_;
  store::Store& store_;
  api::Reads& reads_;
  Result<void> result_;
};

struct Server::Impl {
  struct Frame {
    net::PeerId peer;
    net::Identity identity;
    msg::Message message;
    bool closed = false;    ///< No message: the connection closed.
    std::size_t bytes = 0;  ///< Of inbox_bytes.
  };

  Options options;
  Doors doors;
  RowChanges untabled;  ///< What the queue began with and the tables lack: to be written first.
  api::Ledger ledger;
  CurrentReads current_reads;
  api::Sessions sessions;
  api::WorkerApi workers;
  api::ClientApi clients;
  api::ReadsApi reads;
  api::Watches watches;
  api::LogsApi logs;
  api::Retention retention;
  api::BackupsApi backups;

  std::deque<Frame> inbox;
  std::size_t inbox_bytes = 0;
  std::set<WorkerId> suspects;
  TimePoint began_at;
  TimePoint turned_at;  // All times here are those of entries.
  TimePoint beat_at;
  bool draining_told = false;  // In the log, since it began.
  TimePoint plan_at;
  TimePoint planned_at;  ///< The last plan; zero: none yet.
  Seq planned;           ///< The last entry that it knew, its own included.
  TimePoint suspect_at = TimePoint::never();
  TimePoint steady_turned_at;  // But this one.
  std::optional<std::uint32_t> copies_asked;
  bool began = false;
  bool intake = true;
  bool in_turn = false;  ///< Its batch is shipped, and waits for the others.

  Impl(Options o, Doors d, Taken taken, Epoch epoch)
      : options(std::move(o)),
        doors(d),
        untabled(std::move(taken.rows)),
        ledger(std::move(taken.queue), epoch, d.clock),
        current_reads(ledger, d.store, d.reads),
        sessions(d.listener,
                 api::Cluster{taken.meta.cluster, taken.meta.generation, options.node,
                              options.members, options.members_version, options.heartbeat_every},
                 epoch),
        workers(api::WorkerApi::Parts{ledger, sessions, d.store, d.keys, d.host}),
        clients(api::ClientApi::Parts{ledger, sessions, d.store, current_reads, options.own_keys}),
        reads(api::ReadsApi::Parts{ledger, sessions, clients, current_reads, options.silence}),
        watches(ledger, sessions, current_reads),
        logs(api::LogsApi::Parts{ledger, sessions, d.logs, reads, watches}),
        retention(api::Retention::Parts{ledger, current_reads, d.logs, d.store, options.retention}),
        backups(d.backups),
        began_at(ledger.at()),
        turned_at(ledger.at()),
        beat_at(ledger.at()),
        plan_at(ledger.at()) {
    CHECK(ledger.queue().last_epoch() < epoch);
    sessions.assume_present(ledger.queue(), ledger.at());
  }

  Result<void> turn();
  Result<bool> settle_turn();
  Result<void> begin_reign();
  Result<void> bring_up_tables();
  void forgive_sleep();
  Result<void> take_messages();
  Result<void> dispatch(Frame& frame);
  Result<void> dispatch_hello(Frame& frame);
  void refuse_role(const Frame& frame);
  void plan();
  Result<bool> write();
  Result<void> tell_written(api::Ledger::Written written);
  Result<void> end_turn();
  Result<void> tell(api::Held& held);
  Result<void> tell_effect(const Effect& effect);
  void keep_time();
  void tell_draining();
  void check_disk();
  void note_suspects();
  void sweep();
  [[nodiscard]] std::vector<Alarm> alarms() const;
  [[nodiscard]] msg::StatusReply own_status(std::uint64_t query) const;
};

}  // namespace capstan
