// SPDX-License-Identifier: MIT
//
// One turn of the master. See server.h.
#include "master/server.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "master/events.h"
#include "master/server_impl.h"

namespace capstan {
namespace {

bool has_dispatch(const std::vector<api::Held>& held) {
  return std::any_of(held.begin(), held.end(), [](const api::Held& each) {
    const auto* effect = std::get_if<Effect>(&each);
    return effect != nullptr && std::holds_alternative<effect::StartTasks>(*effect);
  });
}

constexpr std::uint64_t kDiskReserveBytes = 1ULL << 30;
constexpr std::uint64_t kDiskStepBytes = 4 * limits::kBallastBytes;

}  // namespace

std::uint64_t disk_reserve(std::uint64_t asked, const api::Host::Disk& disk) {
  return asked > 0 ? asked : std::min<std::uint64_t>(kDiskReserveBytes, disk.total_bytes / 20);
}

std::string disk_figures(const api::Host::Disk& disk) {
  return size_text(disk.free_bytes) + " free of " + size_text(disk.total_bytes);
}

Result<void> Server::Impl::turn() {
  const bool settled = TRY(settle_turn());
  if (!settled || !intake) return {};
  ledger.begin_turn();
  ledger.set_level(doors.replication.level());
  sessions.set_now(ledger.at());
  forgive_sleep();
  if (ledger.must_bring_up()) TRY(ledger.bring_up(doors.store));
  if (!std::exchange(began, true)) TRY(begin_reign());
  if (const auto copies = std::exchange(copies_asked, {}))
    ledger.commit(cmd::MinCopiesSet{*copies});
  if (clients.has_read()) TRY(ledger.bring_up(doors.store));
  TRY(clients.take_read());
  TRY(take_messages());
  plan();
  retention.step();
  in_turn = true;
  if (!TRY(write())) return {};
  return end_turn();
}

/// Ends the turn whose batch waited for the other masters. False: it waits still.
Result<bool> Server::Impl::settle_turn() {
  if (!in_turn) return true;
  if (doors.replication.committed() < ledger.shipped_upto()) return false;
  api::Ledger::Written written = TRY(ledger.settle(doors.store));
  TRY(tell_written(std::move(written)));
  TRY(end_turn());
  return true;
}

Result<void> Server::Impl::end_turn() {
  in_turn = false;
  workers.follow(watches.followed(), watches.followed_version());
  reads.post_pending();
  TRY(retention.after_write());
  clients.post_pending();
  logs.retry(ledger.at());
  watches.pump(ledger.at());
  keep_time();
  sweep();
  TRY(bring_up_tables());
  steady_turned_at = doors.clock.now();
  return {};
}

/// The journal may have more than the tables: what was deferred, or the first parts of a batch.
Result<void> Server::Impl::begin_reign() {
  if (!untabled.empty())
    TRY(doors.store.flush(std::exchange(untabled, {}), ledger.queue().last_seq()));
  ledger.commit(cmd::ReignBegan{options.node, options.reign_note, options.jobs_skipped});
  return {};
}

/// Last in a turn: nobody waits for it.
Result<void> Server::Impl::bring_up_tables() {
  TRY(current_reads.result());
  if (ledger.at() < ledger.bring_up_due()) return {};
  TRY(ledger.bring_up(doors.store));
  return doors.store.maintain();
}

/// A master that was stopped, or stuck in a write, heard nobody: that is not their silence.
void Server::Impl::forgive_sleep() {
  const Micros slept = ledger.at() - std::exchange(turned_at, ledger.at());
  if (slept <= 2 * options.heartbeat_every) return;
  log::warn("loop.slept", {{"seconds", static_cast<double>(slept.count()) / 1e6}});
  sessions.forgive(slept);
}

void Server::Impl::plan() {
  // A plan looks at each job that waits. Of what no entry tells (a worker is heard again) it may
  // hear a little later.
  const TimePoint again_at = planned_at + limits::kPlanEvery;
  const bool is_same = planned_at != TimePoint{} && ledger.queue().last_seq() == planned;
  if (is_same && ledger.at() < std::min(plan_at, again_at) &&
      ledger.queue().jobs().size() > limits::kJobsPlannedAtOnce) {
    plan_at = std::min(plan_at, again_at);
    return;
  }
  planned_at = ledger.at();
  planner::Plan plan = planner::plan(ledger.queue(), sessions.presence(), options.silence,
                                     planner::Now{ledger.at(), ledger.wall()});
  for (Command& command : plan.commands) ledger.commit(std::move(command));
  planned = ledger.queue().last_seq();
  plan_at = plan.deadline;
}

/// False: it was shipped, and nothing of it may be told yet.
Result<bool> Server::Impl::write() {
  const bool ships = doors.replication.is_replicated() && !ledger.empty();
  api::Ledger::Written written;
  if (ships) {
    TRY(ledger.write_shipped(doors.store, doors.replication));
  } else {
    written = TRY(ledger.write(doors.store));
  }
  if (ships) {
    const bool is_committed = doors.replication.committed() >= ledger.shipped_upto();
    if (!is_committed && !options.tells_early) return false;
    written = TRY(ledger.settle(doors.store));
  }
  TRY(tell_written(std::move(written)));
  return true;
}

Result<void> Server::Impl::tell_written(api::Ledger::Written written) {
  const bool wrote = !written.entries.empty();
  if (wrote) {
    log_written(written, ledger.queue());
    watches.on_committed(written.rows, written.upto);
    for (const auto& [job, row] : written.rows.deleted) logs.forget(job);
    if (!written.in_tables) ledger.defer(std::move(written.rows));
  }
  // A dispatch is rendered with inputs, which are read from the tables.
  if (ledger.must_bring_up() && has_dispatch(written.held)) TRY(ledger.bring_up(doors.store));
  for (api::Held& held : written.held) TRY(tell(held));
  if (wrote) TRY(doors.store.maintain());
  return {};
}

Result<void> Server::Impl::tell(api::Held& held) {
  if (const auto* effect = std::get_if<Effect>(&held)) return tell_effect(*effect);
  if (auto* reply = std::get_if<api::Reply>(&held)) {
    if (api::Session* session = sessions.find(reply->session))
      sessions.send(*session, std::move(reply->body));
  } else if (auto* answer = std::get_if<api::PeerReply>(&held)) {
    sessions.send_to(answer->peer, std::move(answer->body));
  }
  return {};
}

namespace {

struct Teller {
  api::WorkerApi& workers;
  api::ClientApi& clients;
  api::LogsApi& logs;
  api::Retention& retention;
  api::Replication& replication;

  Result<void> operator()(const effect::StartTasks& e) { return workers.tell(e); }
  Result<void> operator()(const effect::MinCopiesSet& e) {
    replication.min_copies_set(e.copies);
    return {};
  }
  Result<void> operator()(const effect::Answer& e) { return clients.tell(e), Result<void>{}; }
  Result<void> operator()(const effect::PartAccepted& e) { return clients.tell(e), Result<void>{}; }
  Result<void> operator()(const effect::CloseSession& e) {
    workers.tell(e);
    logs.on_worker_gone(e.worker);
    return {};
  }
  Result<void> operator()(const effect::JobFinished& e) {
    workers.tell(e);
    retention.on_finished();
    return {};
  }
  template <class ForWorker>
  Result<void> operator()(const ForWorker& e) {
    return workers.tell(e), Result<void>{};
  }
};

}  // namespace

Result<void> Server::Impl::tell_effect(const Effect& effect) {
  return std::visit(Teller{workers, clients, logs, retention, doors.replication}, effect);
}

void Server::Impl::keep_time() {
  tell_draining();
  if (ledger.at() >= beat_at) {
    sessions.beat();
    sessions.expire_clients(ledger.at() - options.silence.lost_after);
    check_disk();
    backups.expire(ledger.at());
    beat_at = ledger.at() + options.heartbeat_every;
  }
  note_suspects();
}

/// The ballast may have been given up by any write, also of rows alone.
void Server::Impl::tell_draining() {
  if (!ledger.is_draining() || std::exchange(draining_told, true)) return;
  log::error("disk.full", {{"reason", "the ballast is used up: no more submissions"}});
}

void Server::Impl::check_disk() {
  const api::Host::Disk disk = doors.host.disk();
  const std::uint64_t reserve = disk_reserve(options.disk_reserve_bytes, disk);
  const std::string figures = disk_figures(disk);
  // Leaving needs clearly more than entering: or it would go to and fro.
  const std::uint64_t enough = reserve + std::max<std::uint64_t>(reserve / 4, kDiskStepBytes);
  if (disk.free_bytes < reserve || (ledger.is_draining() && disk.free_bytes < enough)) {
    if (!std::exchange(draining_told, true))
      log::error("disk.low", {{"free_bytes", disk.free_bytes}, {"reason", "no more submissions"}});
    ledger.drain(figures);
  } else if (ledger.is_draining()) {
    ledger.end_drain();
    draining_told = false;
    log::info("disk.has_room", {{"free_bytes", disk.free_bytes}});
  }
}

void Server::Impl::note_suspects() {
  suspect_at = TimePoint::never();
  for (const auto& [id, presence] : sessions.presence()) {
    const Worker* worker = ledger.queue().find_worker(id);
    if (worker == nullptr || !worker->row.present) {
      suspects.erase(id);
      continue;
    }
    if (!planner::is_suspect(presence, options.silence, ledger.at())) {
      suspect_at = std::min(suspect_at, presence.last_heard + options.silence.suspect_after);
      if (suspects.erase(id) != 0) log::info("worker.heard", {{"worker", worker->row.name}});
    } else if (suspects.insert(id).second) {
      log::warn("worker.suspect",
                {{"worker", worker->row.name},
                 {"reason", presence.closed ? "its connection closed" : "silent"}});
    }
  }
}

void Server::Impl::sweep() {
  for (const api::Session& session : sessions.sweep()) {
    if (session.worker) continue;
    clients.on_ended(session.id);
    reads.on_ended(session.id);
    watches.on_ended(session.id);
  }
}

// --- The rest ------------------------------------------------------------------------------------

Server::Server(Options options, Doors doors, Taken taken, Epoch epoch)
    : impl_(std::make_unique<Impl>(std::move(options), doors, std::move(taken), epoch)) {}
Server::~Server() = default;

Result<void> Server::turn() {
  return impl_->turn();
}

Result<void> Server::finish() {
  return impl_->ledger.bring_up(impl_->doors.store);
}

void Server::set_intake(bool is_open) {
  impl_->intake = is_open;
}

void Server::set_min_copies(std::uint32_t copies) {
  impl_->copies_asked = copies;
}

Result<void> Server::bring_up() {
  return impl_->ledger.bring_up(impl_->doors.store);
}

TimePoint Server::next_deadline() const {
  const Impl& s = *impl_;
  if (s.in_turn || !s.intake) return TimePoint::never();  // Until the others say more.
  const bool has_more = !s.inbox.empty() || !s.began || s.copies_asked || s.clients.has_read();
  if (has_more) return s.doors.clock.now();
  return s.ledger.steady(
      std::min({s.beat_at, s.plan_at, s.suspect_at, s.watches.next_due(), s.logs.next_retry(),
                s.retention.next_due(), s.ledger.bring_up_due()}));
}

std::size_t Server::inbox_size() const {
  return impl_->inbox.size();
}
const Queue& Server::queue() const {
  return impl_->ledger.queue();
}
Epoch Server::epoch() const {
  return impl_->ledger.epoch();
}
Seq Server::committed() const {
  return impl_->ledger.durable();
}
std::vector<Alarm> Server::alarms() const {
  return impl_->alarms();
}
bool Server::is_draining() const {
  return impl_->ledger.is_draining();
}

}  // namespace capstan
