// SPDX-License-Identifier: MIT
//
// Wiring, and the loop. See daemon.h.
#include "master/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/print_error.h"
#include "common/net/addresses.h"
#include "common/net/event_loop.h"
#include "common/net/zmq_transport.h"
#include "common/wire/version.h"
#include "master/alarms.h"
#include "master/api/read_thread.h"
#include "master/backup_door.h"
#include "master/node.h"
#include "master/node_doors.h"
#include "master/process_doors.h"
#include "master/replica.h"
#include "master/state_dir.h"
#include "master/store/sqlite_store.h"
#include "master/store/sqlite_tables.h"
#include "master/store_check.h"
#include "master/web/http_server.h"

namespace capstan {
namespace {

constexpr Micros kNoteEvery = std::chrono::seconds(1);
constexpr Micros kPublishEvery = std::chrono::milliseconds(200);
constexpr std::array kStopSignals = {SIGTERM, SIGINT};

/// One life: what is opened in this order, and closed in the other one.
struct Process {
  const DaemonOptions& options;
  std::optional<Alarms>& alarms;  ///< Of all lives.
  SystemClock clock;
  net::EventLoop loop;
  std::optional<StateDir> dir;
  std::optional<VoteDoor> vote;
  bool clean = true;
  bool is_new = false;
  ha::Start start;
  std::unique_ptr<store::SqliteStore> store;  ///< None: a witness.
  std::optional<Replica> replica;             ///< Until the node has it.
  net::KeyRing ring;
  std::unique_ptr<net::ZmqContext> context;
  std::unique_ptr<net::ZmqListener> listener;
  std::unique_ptr<web::HttpServer> http;
  std::unique_ptr<KeyDoor> keys;
  std::unique_ptr<HostDoor> host;
  std::unique_ptr<StoreCheck> check;
  std::unique_ptr<api::ReadThread> reads;
  std::unique_ptr<LogDoor> logs;
  std::unique_ptr<BackupDoor> backups;
  std::unique_ptr<SnapshotDoor> snapshots;
  std::unique_ptr<PeersDoor> peers;
  std::unique_ptr<Node> node;
  std::vector<Member> members;
  std::vector<net::Identity> own_keys;
  bool stopping = false;
  std::optional<Error> failed;
  TimePoint publish_at;
  TimePoint note_at;
  net::ListenerCounters refusals;  // As they were logged last.

  Process(const DaemonOptions& o, std::optional<Alarms>& a) : options(o), alarms(a) {}
  ~Process() {
    // Their threads first: no completion may come when the server is gone.
    reads.reset();
    backups.reset();
    snapshots.reset();
    logs.reset();
    node.reset();
  }

  Result<void> open_store();
  [[nodiscard]] Result<void> require_database() const;
  Result<void> open_database();
  Result<void> open_sockets();
  void admit_all(const Queue& queue);
  void know_keys();
  void admit(const std::map<std::string, KeyRow>& known);
  Result<void> open_threads();
  Result<void> begin();
  [[nodiscard]] ha::Config ha_config() const;
  [[nodiscard]] Server::Options server_options() const;
  void say_ready() const;
  void warn_of_shared_machines() const;
  Result<void> check_after_crash();
  void note_refusals();
  void publish();
  [[nodiscard]] TimePoint next_deadline() const;
  Result<Node::Turned> run();
};

Result<void> Process::open_store() {
  // What was typed wrong is said before anything is made in the directory.
  TRY(net::parse_address(options.listen));
  TRY(net::parse_address(options.http));
  TRY(loop.on_signals({kStopSignals.begin(), kStopSignals.end()}, [this](int signal) {
    log::info("master.stopping", {{"signal", signal}});
    stopping = true;
  }));
  dir = TRY(StateDir::open(options.dir));
  if (!alarms) alarms.emplace(options.on_alarm, dir->server().name);
  if (store::make_room(dir->path()))
    log::error("disk.full", {{"reason", "the ballast is used up, for the start"}});
  if (dir->cluster() && !options.advertise.empty())
    return fail(Errc::Invalid, "--advertise: what others dial is in " + dir->path() + "/cluster");
  vote = TRY(VoteDoor::open(dir->vote_file()));
  start.life = random_number() | 1U;
  start.vote = vote->vote();
  // A single master makes its own; a node's was made by init, or its votes are lost.
  start.has_vote = vote->is_there() || !dir->cluster();
  return dir->is_witness() ? Result<void>{} : open_database();
}

/// Of a single master. A node of a pair may have lost its database: it gets it from the other one.
Result<void> Process::require_database() const {
  const bool has_led = vote->is_there() && vote->vote().reg.leader != 0;
  const std::string path = store::database_path(dir->path());
  if (dir->cluster() || !has_led || ::access(path.c_str(), F_OK) == 0) return {};
  return fail(Errc::NotAllowed,
              path +
                  " is missing, and this master has led before: put it back, or restore a backup "
                  "into another directory (capstan restore FILE DIR). To begin with an empty "
                  "queue give another --dir");
}

Result<void> Process::open_database() {
  TRY(require_database());
  const Uuid cluster = dir->server().cluster;
  store::StoreOptions store_options;
  store_options.dir = dir->path();
  store_options.nonce = random_number();
  store_options.cluster = cluster;
  store_options.db_uuid = Uuid::random();
  store_options.generation = {clock.wall().us, random_number()};
  if (dir->cluster()) {
    store_options.generation = dir->cluster()->generation;
    store_options.vote = vote->vote();
    TRY(install_fetched({dir->path(), cluster, store_options.generation}));
  }
  store::Opened opened;
  store = TRY(store::SqliteStore::open(store_options, opened));
  if (opened.meta.cluster != cluster)
    return fail(Errc::Invalid,
                dir->path() + ": the database is of another cluster than master.key");
  if (dir->cluster() && opened.meta.generation != dir->cluster()->generation)
    return fail(Errc::Invalid, dir->path() +
                                   ": the database is of another generation than the cluster's "
                                   "file; a restored master begins a new pair with "
                                   "capstan-master init --adopt");
  clean = opened.clean;
  is_new = opened.meta.last_seq == Seq{};
  start.is_diverged = is_marked_diverged(dir->path());
  start_with(opened, start);
  if (!dir->cluster()) start.vote.promised = std::max(start.vote.promised, opened.meta.last_epoch);
  replica = TRY(Replica::open(*store, std::move(opened)));
  return {};
}

Result<void> Process::open_sockets() {
  const net::HostPort http_at = TRY(net::parse_address(options.http));
  context = std::make_unique<net::ZmqContext>();
  if (!dir->is_witness()) {
    own_keys = {{Role::Admin, dir->admin().name, dir->admin().keys.public_key},
                {Role::Enrolment, "invitation", dir->invitation().keys.public_key}};
    for (const net::Identity& own : own_keys) ring.add(own);
    admit_all(replica->queue());
  }
  if (dir->cluster()) {
    for (const ClusterNode& other : dir->cluster()->nodes) {
      if (other.id == dir->self()) continue;
      ring.add({other.is_witness ? Role::Witness : Role::Master, other.member.name,
                other.member.public_key});
    }
  }
  net::ZmqListener::Handler handler;
  // Frames come in poll(), when the node is there.
  handler.on_frame = [this](net::PeerId peer, const net::Identity& identity,
                            std::string_view frame) { node->on_frame(peer, identity, frame); };
  handler.on_closed = [this](net::PeerId peer) { node->on_closed(peer); };
  listener = TRY(net::ZmqListener::open(*context, loop, ring, {options.listen, dir->server().keys},
                                        std::move(handler)));
  http = TRY(web::HttpServer::open({http_at.host, http_at.port}, clock));
  return {};
}

void Process::admit_all(const Queue& queue) {
  for (const auto& [id, worker] : queue.workers()) {
    if (worker.row.removed)
      ring.remove(worker.row.public_key);
    else
      ring.add({Role::Worker, worker.row.name, worker.row.public_key});
  }
  admit(queue.keys());
}

/// Who does not lead may lack the last keys, or all of them: nobody is turned away for good there.
void Process::know_keys() {
  ring.set_complete(dir->is_witness() || node->machine().is_leader());
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
  keys = std::make_unique<KeyDoor>(ring);
  host = std::make_unique<HostDoor>(*listener, dir->path());
  if (dir->cluster()) {
    peers = TRY(PeersDoor::open({*context, loop, dir->server().keys}, *dir->cluster(),
                                [this](NodeId id, bool connected) {
                                  if (node) node->on_dialled(id, connected);
                                }));
  } else {
    peers = std::make_unique<PeersDoor>();
  }
  if (dir->is_witness()) return {};
  reads = std::make_unique<api::ReadThread>(TRY(store::SqliteTables::open(dir->path())), [this] {
    loop.post([this] { reads->run_completions(); });
  });
  logs = std::make_unique<LogDoor>(dir->logs_dir(),
                                   [this] { loop.post([this] { logs->run_completions(); }); });
  backups = TRY(BackupDoor::open(dir->path(), clock,
                                 [this] { loop.post([this] { backups->run_completions(); }); }));
  if (dir->cluster()) {
    snapshots = TRY(SnapshotDoor::open(
        dir->path(), [this] { loop.post([this] { snapshots->run_completions(); }); }));
  }
  return {};
}

ha::Config Process::ha_config() const {
  ha::Config config;
  config.self = dir->self();
  config.voters = dir->voters();
  config.cluster = dir->server().cluster;
  if (dir->cluster()) config.generation = dir->cluster()->generation;
  config.version = kVersion;
  config.seed = start.life;
  return config;
}

Server::Options Process::server_options() const {
  Server::Options server_options;
  server_options.node = dir->server().name;
  server_options.members = members;
  server_options.members_version = dir->members_version();
  server_options.silence = {options.suspect_after, options.lost_after, options.closed_grace};
  // Four missed heartbeats make a suspect, also with limits of a second or two.
  server_options.heartbeat_every =
      std::min(Micros(limits::kHeartbeatEvery), options.suspect_after / 4);
  server_options.retention = {options.retain, options.retain_jobs, options.retain_bytes};
  server_options.disk_reserve_bytes = options.disk_reserve_bytes;
  server_options.own_keys = own_keys;
  return server_options;
}

Result<void> Process::begin() {
  members = {Member{"a", TRY(addresses_to_dial({listener->bound_address(), options.advertise})),
                    dir->server().keys.public_key}};
  if (dir->cluster()) members = dir->cluster()->masters();
  node = std::make_unique<Node>(
      Node::Options{ha_config(), start, server_options()},
      Node::Doors{store.get(), *listener, *vote, *peers, snapshots.get(), reads.get(), logs.get(),
                  keys.get(), backups.get(), *host, clock},
      std::exchange(replica, std::nullopt));
  TRY(node->turn());
  know_keys();
  if (!dir->is_witness()) TRY(dir->tell_addresses(members));
  http->publish(node->status());
  if (!clean && !is_new) TRY(check_after_crash());
  return {};
}

/// Off the loop, while it serves.
Result<void> Process::check_after_crash() {
  log::info("store.checking", {{"reason", "the last end was not a clean one"}});
  check = TRY(StoreCheck::begin(dir->path(), [this](Result<void> checked) {
    loop.post([this, checked = std::move(checked)] {
      if (checked) return log::info("store.checked");
      log::error("store.damaged", {{"reason", checked.error().message}});
      failed = checked.error();
    });
  }));
  return {};
}

void Process::warn_of_shared_machines() const {
  if (!dir->cluster()) return;
  std::vector<Member> nodes;
  for (const ClusterNode& each : dir->cluster()->nodes) nodes.push_back(each.member);
  for (const std::string& sentence : shared_machines(nodes))
    log::warn("cluster.shares_machine", {{"reason", sentence}});
}

void Process::say_ready() const {
  const std::string at = listener->bound_address();
  const net::HostPort bound = net::parse_address(at).value_or(net::HostPort{});
  log::info("master.ready", {{"address", at},
                             {"http", http->port()},
                             {"dir", dir->path()},
                             {"version", kVersion},
                             {"epoch", node->machine().epoch().value},
                             {"seq", node->status().seq.value},
                             {"jobs", node->queue() ? node->queue()->jobs().size() : 0}});
  if (dir->cluster()) {
    print_error("capstan-master ready on {} (node {} of a cluster{})\n", at, dir->server().name,
                dir->is_witness() ? ", its witness" : "");
    return;
  }
  if (net::is_loopback(bound.host)) {
    print_error(
        "capstan-master ready on {} (this machine only; to let others in: --listen "
        "0.0.0.0:{})\n",
        at, bound.port);
    return;
  }
  std::string dial;
  for (const std::string& address : members.front().addresses)
    dial += (dial.empty() ? "" : ", ") + address;
  print_error(
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

void Process::publish() {
  publish_at = clock.now() + kPublishEvery;
  web::StatusSnapshot status = node->status();
  alarms->update(status.alarms, clock.now());
  http->publish(std::move(status));
  note_refusals();
}

TimePoint Process::next_deadline() const {
  return std::min(node->next_deadline(), std::max(alarms->next_deadline(), publish_at));
}

Result<Node::Turned> Process::run() {
  while (!stopping) {
    const bool is_behind = node->inbox_size() >= limits::kInboxFrames;
    listener->set_frames_per_poll(is_behind ? 1 : limits::kFramesPerPoll);
    loop.poll(next_deadline());
    if (failed) return tl::unexpected(*failed);
    if (TRY(node->turn()) == Node::Turned::Restart) return Node::Turned::Restart;
    know_keys();
    if (clock.now() < publish_at) continue;
    publish();
  }
  return Node::Turned::Again;
}

/// From the disk to the end, or to where another life begins.
Result<Node::Turned> live(const DaemonOptions& options, std::optional<Alarms>& alarms) {
  Process process(options, alarms);
  TRY(process.open_store());
  TRY(process.open_sockets());
  TRY(process.open_threads());
  TRY(process.begin());
  process.warn_of_shared_machines();
  process.say_ready();
  const Result<Node::Turned> ended = process.run();
  if (!ended) {
    log::error("master.failed", {{"reason", ended.error().message}});
    return fail(Errc::Io, "stopped: " + ended.error().message);
  }
  process.check.reset();  // A reader would keep the WAL.
  process.reads.reset();
  process.backups.reset();
  process.snapshots.reset();
  if (*ended != Node::Turned::Restart) TRY(process.node->leave());
  TRY(process.node->finish());
  if (process.store) TRY(process.store->close());
  log::info("master.stopped", {{"seq", process.node->status().seq.value}});
  return ended;
}

}  // namespace

Result<void> run_master(const DaemonOptions& options) {
  // Also between two lives: the next one is told.
  sigset_t stops;
  ::sigemptyset(&stops);
  for (const int signal : kStopSignals) ::sigaddset(&stops, signal);
  ::pthread_sigmask(SIG_BLOCK, &stops, nullptr);
  std::optional<Alarms> alarms;
  while (TRY(live(options, alarms)) == Node::Turned::Restart) {}
  return {};
}

}  // namespace capstan
