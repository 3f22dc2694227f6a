// SPDX-License-Identifier: MIT
//
// Wiring, and the loop. See daemon.h.
#include "master/daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/addresses.h"
#include "common/net/event_loop.h"
#include "common/net/zmq_transport.h"
#include "common/wire/version.h"
#include "master/api/read_thread.h"
#include "master/backup_door.h"
#include "master/process_doors.h"
#include "master/server.h"
#include "master/state_dir.h"
#include "master/store/sqlite_store.h"
#include "master/store/sqlite_tables.h"
#include "master/store/vote_file.h"
#include "master/web/http_server.h"

namespace capstan {
namespace {

constexpr std::uint8_t kNodeId = 1;  ///< The only voter of a single master.
constexpr Micros kNoteEvery = std::chrono::seconds(1);
constexpr Micros kPublishEvery = std::chrono::milliseconds(200);

std::uint64_t random_number() {
  std::uint64_t number = 0;
  for (const std::uint8_t byte : Uuid::random().bytes) number = number << 8U ^ byte ^ number >> 56U;
  return number;
}

/// What is opened in this order, and closed in the other one.
struct Process {
  const DaemonOptions& options;
  SystemClock clock;
  net::EventLoop loop;
  std::optional<StateDir> dir;
  store::Opened opened;
  std::unique_ptr<store::SqliteStore> store;
  net::KeyRing ring;
  std::unique_ptr<net::ZmqContext> context;
  std::unique_ptr<net::ZmqListener> listener;
  std::unique_ptr<web::HttpServer> http;
  std::unique_ptr<KeyDoor> keys;
  std::unique_ptr<HostDoor> host;
  std::unique_ptr<api::ReadThread> reads;
  std::unique_ptr<LogDoor> logs;
  std::unique_ptr<BackupDoor> backups;
  std::unique_ptr<Server> server;
  std::vector<Member> members;
  std::vector<net::Identity> own_keys;
  bool stopping = false;
  std::optional<Error> failed;
  TimePoint publish_at;
  TimePoint note_at;
  net::ListenerCounters refusals;  // As they were logged last.

  explicit Process(const DaemonOptions& o) : options(o) {}
  ~Process() {
    // Their threads first: no completion may come when the server is gone.
    reads.reset();
    backups.reset();
    logs.reset();
    server.reset();
  }

  Result<void> open_store();
  Result<void> open_sockets();
  void admit(const std::map<std::string, KeyRow>& known);
  Result<void> open_threads();
  Result<void> begin();
  void say_ready() const;
  void check_after_crash();
  void note_refusals();
  Result<void> run();
};

Result<void> Process::open_store() {
  // What was typed wrong is said before anything is made in the directory.
  TRY(net::parse_address(options.listen));
  TRY(net::parse_address(options.http));
  TRY(loop.on_signals({SIGTERM, SIGINT}, [this](int signal) {
    log::info("master.stopping", {{"signal", signal}});
    stopping = true;
  }));
  dir = TRY(StateDir::open(options.dir));
  store::StoreOptions store_options;
  store_options.dir = dir->path();
  store_options.nonce = random_number();
  store_options.cluster = dir->server().cluster;
  store_options.db_uuid = Uuid::random();
  store_options.generation = {clock.wall().us, random_number()};
  store = TRY(store::SqliteStore::open(store_options, opened));
  if (opened.meta.cluster != dir->server().cluster)
    return fail(Errc::Invalid,
                dir->path() + ": the database is of another cluster than master.key");
  return {};
}

Result<void> Process::open_sockets() {
  const net::HostPort http_at = TRY(net::parse_address(options.http));
  context = std::make_unique<net::ZmqContext>();
  own_keys = {{Role::Admin, dir->admin().name, dir->admin().keys.public_key},
              {Role::Enrolment, "invitation", dir->invitation().keys.public_key}};
  for (const net::Identity& own : own_keys) ring.add(own);
  for (const auto& [id, worker] : opened.state.workers) {
    if (!worker.removed) ring.add({Role::Worker, worker.name, worker.public_key});
  }
  admit(opened.state.keys);
  net::ZmqListener::Handler handler;
  // Frames come in poll(), when the server is there.
  handler.on_frame = [this](net::PeerId peer, const net::Identity& identity,
                            std::string_view frame) { server->on_frame(peer, identity, frame); };
  handler.on_closed = [this](net::PeerId peer) { server->on_closed(peer); };
  listener = TRY(net::ZmqListener::open(*context, loop, ring, {options.listen, dir->server().keys},
                                        std::move(handler)));
  http = TRY(web::HttpServer::open({http_at.host, http_at.port}, clock));
  return {};
}

/// What an admin said of keys: those that are valid, and none that is not.
void Process::admit(const std::map<std::string, KeyRow>& known) {
  for (const auto& [public_key, key] : known) {
    if (key.revoked_at.us == 0)
      ring.add({key.role, key.name, public_key});
    else
      ring.remove(public_key);
  }
}

Result<void> Process::open_threads() {
  reads = std::make_unique<api::ReadThread>(TRY(store::SqliteTables::open(dir->path())), [this] {
    loop.post([this] { reads->run_completions(); });
  });
  logs = std::make_unique<LogDoor>(dir->logs_dir(),
                                   [this] { loop.post([this] { logs->run_completions(); }); });
  backups = TRY(BackupDoor::open(dir->path(), clock,
                                 [this] { loop.post([this] { backups->run_completions(); }); }));
  keys = std::make_unique<KeyDoor>(ring);
  host = std::make_unique<HostDoor>(*listener, dir->path());
  return {};
}

Result<void> Process::begin() {
  members = {Member{"a", TRY(addresses_to_dial({listener->bound_address(), options.advertise})),
                    dir->server().keys.public_key}};
  const Epoch above = opened.meta.last_epoch;
  const Epoch epoch =
      TRY(store::begin_reign(dir->vote_file(), {kNodeId, above, opened.meta.nonce}));
  Server::Options server_options;
  server_options.members = members;
  server_options.silence = {options.suspect_after, options.lost_after, options.closed_grace};
  // Four missed heartbeats make a suspect, also with limits of a second or two.
  server_options.heartbeat_every =
      std::min(Micros(limits::kHeartbeatEvery), options.suspect_after / 4);
  server_options.retention = {options.retain, options.retain_jobs, options.retain_bytes};
  server_options.disk_reserve_bytes = options.disk_reserve_bytes;
  server_options.own_keys = own_keys;
  const bool clean = opened.clean;
  const bool is_new = opened.meta.last_seq == Seq{};
  server = std::make_unique<Server>(
      std::move(server_options),
      Server::Doors{*store, *listener, *reads, *logs, *keys, *host, clock, backups.get()},
      std::move(opened), epoch);
  // What changed in the journal's tail.
  for (const auto& [id, worker] : server->queue().workers()) {
    if (worker.row.removed)
      ring.remove(worker.row.public_key);
    else
      ring.add({Role::Worker, worker.row.name, worker.row.public_key});
  }
  admit(server->queue().keys());
  TRY(server->turn());
  TRY(dir->tell_addresses(members));
  http->publish(server->status());
  if (!clean && !is_new) check_after_crash();
  return {};
}

/// Off the loop, while it serves.
void Process::check_after_crash() {
  log::info("store.checking", {{"reason", "the last end was not a clean one"}});
  reads->post([this, path = dir->path()](store::Tables&) -> api::Reads::Completion {
    return [this, checked = store::quick_check(path)] {
      if (checked) return log::info("store.checked");
      log::error("store.damaged", {{"reason", checked.error().message}});
      failed = checked.error();
    };
  });
}

void Process::say_ready() const {
  const std::string at = listener->bound_address();
  const net::HostPort bound = net::parse_address(at).value_or(net::HostPort{});
  log::info("master.ready", {{"address", at},
                             {"http", http->port()},
                             {"dir", dir->path()},
                             {"version", kVersion},
                             {"epoch", server->epoch().value},
                             {"seq", server->committed().value},
                             {"jobs", server->queue().jobs().size()}});
  if (net::is_loopback(bound.host)) {
    fmt::print(stderr,
               "capstan-master ready on {} (this machine only; to let others in: --listen "
               "0.0.0.0:{})\n",
               at, bound.port);
    return;
  }
  std::string dial;
  for (const std::string& address : members.front().addresses)
    dial += (dial.empty() ? "" : ", ") + address;
  fmt::print(stderr,
             "capstan-master ready on {} (others dial {}; to let a worker in: copy {} to it and "
             "run capstan-worker --access worker.access)\n",
             at, dial, dir->worker_access());
}

/// Strangers at the door: told together, however many come.
void Process::note_refusals() {
  const net::ListenerCounters now = listener->counters();
  const auto sum = [](const net::ListenerCounters& c) {
    return c.refused_connections + c.failed_handshakes + c.dropped_messages;
  };
  if (sum(now) == sum(refusals) || clock.now() < note_at) return;
  note_at = clock.now() + kNoteEvery;
  refusals = now;
  log::warn("peer.refused", {{"connections", now.refused_connections},
                             {"handshakes", now.failed_handshakes},
                             {"messages", now.dropped_messages}});
}

Result<void> Process::run() {
  while (!stopping) {
    const bool is_behind = server->inbox_size() >= limits::kInboxFrames;
    listener->set_frames_per_poll(is_behind ? 1 : limits::kFramesPerPoll);
    loop.poll(server->next_deadline());
    if (failed) return tl::unexpected(*failed);
    TRY(server->turn());
    if (clock.now() < publish_at) continue;
    publish_at = clock.now() + kPublishEvery;
    http->publish(server->status());
    note_refusals();
  }
  return {};
}

}  // namespace

Result<void> run_master(const DaemonOptions& options) {
  Process process(options);
  TRY(process.open_store());
  TRY(process.open_sockets());
  TRY(process.open_threads());
  TRY(process.begin());
  process.say_ready();
  if (const Result<void> ended = process.run(); !ended) {
    log::error("master.failed", {{"reason", ended.error().message}});
    return fail(Errc::Io, "stopped: " + ended.error().message);
  }
  process.reads.reset();  // A reader would keep the WAL.
  process.backups.reset();
  TRY(process.server->finish());
  TRY(process.store->close());
  log::info("master.stopped", {{"seq", process.server->committed().value}});
  return {};
}

}  // namespace capstan
