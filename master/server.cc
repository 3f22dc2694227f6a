// SPDX-License-Identifier: MIT
//
// One turn of the master. See server.h.
#include "master/server.h"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>
#include <variant>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "master/api/backups.h"
#include "master/api/client_api.h"
#include "master/api/ledger.h"
#include "master/api/logs.h"
#include "master/api/reads.h"
#include "master/api/session.h"
#include "master/api/watch.h"
#include "master/api/worker_api.h"
#include "master/events.h"

namespace capstan {
namespace {

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

/// It acts on rows of finished jobs that are in the tables.
bool needs_tables(const msg::Body& body) {
  const auto* control = std::get_if<msg::Control>(&body);
  return control != nullptr &&
         (control->verb == msg::Verb::Retry || control->verb == msg::Verb::RetryFailed ||
          control->verb == msg::Verb::Delete);
}

bool has_dispatch(const std::vector<api::Held>& held) {
  return std::any_of(held.begin(), held.end(), [](const api::Held& each) {
    const auto* effect = std::get_if<Effect>(&each);
    return effect != nullptr && std::holds_alternative<effect::StartTasks>(*effect);
  });
}

constexpr std::uint64_t kDiskReserveBytes = 1ULL << 30;
constexpr std::uint64_t kDiskStepBytes = 4 * limits::kBallastBytes;

std::string protocol_reason(std::uint32_t protocol) {
  const bool newer = protocol > kProtocol;
  return "protocol " + std::to_string(protocol) + " is not spoken by this master (version " +
         kVersion + ", protocols " + std::to_string(kProtocolOldest) + " to " +
         std::to_string(kProtocol) + "): upgrade the " + (newer ? "master" : "other side");
}

std::string role_reason(Role role, const msg::Body& body) {
  std::string reason = "a key with the role " + std::string(to_string(role)) + " may not say " +
                       wire::type_name(body);
  if (std::holds_alternative<msg::WorkerHello>(body) || std::holds_alternative<msg::Enrol>(body))
    reason += "; a worker enrols with the master's worker.access";
  if (std::holds_alternative<msg::ClientHello>(body))
    reason += "; a command line needs an access file like the master's admin.access";
  if (role == Role::User && api::message_rule(body).roles == api::role_bit(Role::Admin))
    reason = "only an admin's key may do this";
  return reason;
}

}  // namespace

std::uint64_t disk_reserve(std::uint64_t asked, const api::Host::Disk& disk) {
  return asked > 0 ? asked : std::min<std::uint64_t>(kDiskReserveBytes, disk.total_bytes / 20);
}

std::string disk_figures(const api::Host::Disk& disk) {
  return size_text(disk.free_bytes) + " free of " + size_text(disk.total_bytes);
}

struct Server::Impl {
  struct Frame {
    net::PeerId peer;
    net::Identity identity;
    msg::Message message;
    bool closed = false;  ///< No message: the connection closed.
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
  std::set<WorkerId> suspects;
  TimePoint began_at;
  TimePoint turned_at;  // All times here are those of entries.
  TimePoint beat_at;
  TimePoint plan_at;
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
  void check_disk();
  void note_suspects();
  void sweep();
  [[nodiscard]] std::vector<Alarm> alarms() const;
  [[nodiscard]] msg::StatusReply own_status(std::uint64_t query) const;
};

// --- What arrives --------------------------------------------------------------------------------

namespace {

/// A message inside a session, to the part of the api that it is for.
struct InSession {
  api::WorkerApi& workers;
  api::ClientApi& clients;
  api::ReadsApi& reads;
  api::Watches& watches;
  api::LogsApi& logs;
  api::Retention& retention;
  api::BackupsApi& backups;
  api::Sessions& sessions;
  TimePoint now;
  api::Session& session;
  msg::StatusReply status;

  using Done = Result<void>;
  Done operator()(msg::Heartbeat&) { return {}; }
  Done operator()(msg::Started& m) { return workers.on_started(session, m), Done{}; }
  Done operator()(msg::Results& m) { return workers.on_results(session, std::move(m)), Done{}; }
  Done operator()(msg::Returned& m) { return workers.on_returned(session, std::move(m)), Done{}; }
  Done operator()(msg::WorkerNotice& m) { return workers.on_notice(session, m), Done{}; }
  Done operator()(msg::Goodbye&) { return workers.on_goodbye(session), Done{}; }
  Done operator()(msg::LogChunk& m) { return logs.on_chunk(session, std::move(m)), Done{}; }
  Done operator()(msg::SubmitOpen& m) { return clients.on_open(session, std::move(m)); }
  Done operator()(msg::SubmitStdin& m) { return clients.on_stdin(session, m); }
  Done operator()(msg::SubmitInputs& m) { return clients.on_inputs(session, m); }
  Done operator()(msg::SubmitClose& m) { return clients.on_close(session, m); }
  Done operator()(msg::Control& m) { return clients.on_control(session, m); }
  Done operator()(msg::Purge& m) {
    const auto asked = TRY(clients.begin(session, m.request));
    if (!asked) return {};
    std::optional<std::string> owner;
    if (session.identity.role != Role::Admin) owner = session.identity.name;
    const auto taken = retention.purge(*asked, std::move(owner), clients.wall_before(m.older_than));
    if (!taken) clients.refuse(session, m.request, taken.error());
    return {};
  }
  Done operator()(msg::ListJobs& m) { return reads.on_list_jobs(session, m), Done{}; }
  Done operator()(msg::GetJob& m) { return reads.on_get_job(session, m); }
  Done operator()(msg::ListTasks& m) { return reads.on_list_tasks(session, m), Done{}; }
  Done operator()(msg::ListWorkers& m) { return reads.on_list_workers(session, m), Done{}; }
  Done operator()(msg::ListEvents& m) { return reads.on_list_events(session, m), Done{}; }
  Done operator()(msg::ReadBackup& m) {
    const auto reply = [to = &sessions, id = session.id](msg::Body body) {
      if (api::Session* asker = to->find(id)) to->send(*asker, std::move(body));
    };
    return backups.on_read(m, now, reply), Done{};
  }
  Done operator()(msg::ListAttempts& m) { return reads.on_list_attempts(session, m), Done{}; }
  Done operator()(msg::Why& m) { return reads.on_why(session, m), Done{}; }
  Done operator()(msg::WorkerControl& m) { return clients.on_worker_control(session, m); }
  Done operator()(msg::KeyAdd& m) { return clients.on_key_add(session, m); }
  Done operator()(msg::KeyRevoke& m) { return clients.on_key_revoke(session, m); }
  Done operator()(msg::ListKeys& m) { return clients.on_list_keys(session, m), Done{}; }
  Done operator()(msg::GetStatus& m) {
    status.query = m.query;
    return reads.on_status(session, std::move(status)), Done{};
  }
  Done operator()(msg::ReadLog& m) { return logs.on_read(session, m), Done{}; }
  Done operator()(msg::Watch& m) { return watches.on_watch(session, m), Done{}; }
  Done operator()(msg::Unwatch& m) { return watches.on_unwatch(session, m), Done{}; }
  Done operator()(msg::WatchCredit& m) { return watches.on_credit(session, m), Done{}; }
  template <class Other>
  Done operator()(Other&) {
    CHECK(false);  // message_rule() lets nothing else through.
  }
};

}  // namespace

void Server::on_frame(net::PeerId peer, const net::Identity& identity, std::string_view frame) {
  Impl& s = *impl_;
  if (const auto foreign = api::foreign_protocol(frame)) {
    if (s.sessions.count_refused())
      log::warn("peer.refused", {{"name", identity.name},
                                 {"address", s.doors.host.address_of(peer)},
                                 {"reason", protocol_reason(*foreign)}});
    return s.sessions.refuse(peer, Errc::Protocol, protocol_reason(*foreign));
  }
  Result<msg::Message> message = wire::decode(frame);
  if (!message) {
    if (s.sessions.count_refused())
      log::warn("message.refused", {{"name", identity.name},
                                    {"address", s.doors.host.address_of(peer)},
                                    {"bytes", frame.size()},
                                    {"reason", message.error().message}});
    return;
  }
  s.sessions.hear(peer, message->session, s.ledger.now());
  s.inbox.push_back({peer, identity, std::move(*message), false});
}

void Server::on_closed(net::PeerId peer) {
  impl_->inbox.push_back({peer, {}, {}, true});
}

Result<void> Server::Impl::take_messages() {
  for (std::size_t taken = 0; taken < limits::kMessagesPerTurn && !inbox.empty(); ++taken) {
    if (ledger.is_full()) break;
    if (needs_tables(inbox.front().message.body)) {
      // What this batch changed must be there first.
      if (!ledger.empty()) break;
      TRY(ledger.bring_up(doors.store));
    }
    Frame frame = std::move(inbox.front());
    inbox.pop_front();
    if (frame.closed)
      sessions.on_closed(frame.peer);
    else
      TRY(dispatch(frame));
  }
  return {};
}

void Server::Impl::refuse_role(const Frame& frame) {
  const std::string reason = role_reason(frame.identity.role, frame.message.body);
  if (sessions.count_refused())
    log::warn("message.refused", {{"name", frame.identity.name},
                                  {"address", doors.host.address_of(frame.peer)},
                                  {"reason", reason}});
  sessions.refuse(frame.peer, Errc::NotAllowed, reason);
}

Result<void> Server::Impl::dispatch(Frame& frame) {
  const api::MessageRule& rule = api::message_rule(frame.message.body);
  if ((rule.roles & api::role_bit(frame.identity.role)) == 0) {
    refuse_role(frame);
    return {};
  }
  if (!rule.in_session) return dispatch_hello(frame);
  api::Session* session = sessions.accept(frame.peer, frame.message);
  if (session == nullptr) return {};
  InSession handler{workers, clients,  reads,       watches,  logs, retention,
                    backups, sessions, ledger.at(), *session, {}};
  if (std::holds_alternative<msg::GetStatus>(frame.message.body)) handler.status = own_status(0);
  return std::visit(handler, frame.message.body);
}

Result<void> Server::Impl::dispatch_hello(Frame& frame) {
  const auto& keys = ledger.queue().keys();
  if (const auto key = keys.find(frame.identity.public_key);
      key != keys.end() && key->second.revoked_at.us != 0) {
    // It was let in before, and its frames were waiting here.
    sessions.refuse(frame.peer, Errc::NotAllowed,
                    "the key of " + key->second.name + " was revoked by " + key->second.revoked_by);
    return {};
  }
  if (auto* hello = std::get_if<msg::WorkerHello>(&frame.message.body))
    workers.on_hello(frame.peer, frame.identity, std::move(*hello));
  else if (const auto* enrol = std::get_if<msg::Enrol>(&frame.message.body))
    workers.on_enrol(frame.peer, *enrol);
  else if (std::holds_alternative<msg::ClientHello>(frame.message.body))
    clients.on_hello(frame.peer, frame.identity);
  return {};
}

// --- The turn ------------------------------------------------------------------------------------

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
  workers.follow(watches.followed());
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
  planner::Plan plan = planner::plan(ledger.queue(), sessions.presence(), options.silence,
                                     planner::Now{ledger.at(), ledger.wall()});
  for (Command& command : plan.commands) ledger.commit(std::move(command));
  plan_at = plan.deadline;
}

/// False: it was shipped, and nothing of it may be told yet.
Result<bool> Server::Impl::write() {
  const bool was_draining = ledger.is_draining();
  const bool ships = doors.replication.is_replicated() && !ledger.empty();
  api::Ledger::Written written;
  if (ships) {
    TRY(ledger.write_shipped(doors.store, doors.replication));
  } else {
    written = TRY(ledger.write(doors.store));
  }
  if (ledger.is_draining() && !was_draining)
    log::error("disk.full", {{"reason", "the ballast is used up: no more submissions"}});
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
  if (ledger.at() >= beat_at) {
    sessions.beat();
    sessions.expire_clients(ledger.at() - options.silence.lost_after);
    check_disk();
    backups.expire(ledger.at());
    beat_at = ledger.at() + options.heartbeat_every;
  }
  note_suspects();
}

void Server::Impl::check_disk() {
  const api::Host::Disk disk = doors.host.disk();
  const std::uint64_t reserve = disk_reserve(options.disk_reserve_bytes, disk);
  const std::string figures = disk_figures(disk);
  // Leaving needs clearly more than entering: or it would go to and fro.
  const std::uint64_t enough = reserve + std::max<std::uint64_t>(reserve / 4, kDiskStepBytes);
  if (disk.free_bytes < reserve || (ledger.is_draining() && disk.free_bytes < enough)) {
    if (!ledger.is_draining())
      log::error("disk.low", {{"free_bytes", disk.free_bytes}, {"reason", "no more submissions"}});
    ledger.drain(figures);
  } else if (ledger.is_draining()) {
    ledger.end_drain();
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

std::vector<Alarm> Server::Impl::alarms() const {
  std::vector<Alarm> alarms = doors.replication.alarms();
  if (ledger.is_draining()) alarms.push_back({"disk", ledger.drain_reason()});
  return alarms;
}

msg::StatusReply Server::Impl::own_status(std::uint64_t query) const {
  msg::StatusReply reply;
  reply.query = query;
  reply.version = kVersion;
  reply.master = options.node;
  reply.cluster = sessions.cluster().id;
  reply.epoch = ledger.epoch();
  reply.seq = ledger.queue().last_seq();
  reply.uptime = ledger.at() - began_at;
  reply.refused_messages = sessions.refused_messages();
  reply.refused_connections = doors.host.refused_connections();
  reply.memory_bytes = doors.host.memory_bytes();
  reply.database_bytes = doors.store.database_bytes();
  reply.disk_free_bytes = doors.host.disk().free_bytes;
  reply.alarms = texts_of(alarms());
  return reply;
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

web::StatusSnapshot Server::status() const {
  const Impl& s = *impl_;
  const api::Overview all =
      api::overview(s.ledger.queue(), s.sessions, s.options.silence, s.ledger.at());
  web::StatusSnapshot snapshot;
  snapshot.turned_at = s.steady_turned_at;
  snapshot.primary = s.began;
  snapshot.store_ok = !s.ledger.is_draining();
  snapshot.node = s.options.node;
  snapshot.epoch = s.ledger.epoch();
  snapshot.seq = s.ledger.durable();
  snapshot.workers_up = all.workers_up;
  snapshot.workers_away = all.workers_away;
  snapshot.cpus = all.cpus;
  snapshot.cpus_running = all.cpus_running;
  snapshot.jobs_live = all.jobs_live;
  snapshot.tasks = all.tasks;
  snapshot.alarms = s.alarms();
  return snapshot;
}

}  // namespace capstan
