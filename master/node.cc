// SPDX-License-Identifier: MIT
//
// The machine's actions, done; frames, handed on. See node.h.
#include "master/node.h"

#include <deque>
#include <utility>
#include <variant>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "master/node_impl.h"

namespace capstan {

void start_with(const store::Opened& opened, ha::Start& start) {
  start.is_complete = opened.is_complete;
  // In the file with the machine's first step: until then the database is one step ahead of it.
  if (opened.is_complete) start.vote.nonce = opened.meta.nonce;
  start.nonce = opened.meta.nonce;
  start.ends = opened.ends;
}

Node::Impl::Impl(Options o, Doors d, std::optional<Replica> r)
    : options(std::move(o)),
      doors(d),
      machine(options.ha, options.start),
      replica(std::move(r)),
      fetch(d.snapshots),
      backups(d.backups) {
  for (const Voter& voter : options.ha.voters) ids[voter.name] = voter.id;
  open_relay();
  find_orphans();
}

bool Node::Impl::is_alone() const {
  return options.ha.voters.size() == 1;
}

const Voter& Node::Impl::voter(NodeId id) const {
  for (const Voter& each : options.ha.voters) {
    if (each.id == id) return each;
  }
  CHECK(false);
}

// --- The machine ---------------------------------------------------------------------------------

/// Events that come while actions are done (a write, a read) are behind those that wait already.
Result<void> Node::Impl::feed(ha::Event event) {
  events.push_back(std::move(event));
  if (feeding) return {};
  feeding = true;
  Result<void> fed = drain();
  feeding = false;
  return fed;
}

Result<void> Node::Impl::drain() {
  while (!events.empty()) {
    const ha::Event event = std::move(events.front());
    events.pop_front();
    for (ha::Action& action : machine.step(event, doors.clock.now())) {
      TRY(std::visit([this](auto& a) { return act(a); }, action));
    }
  }
  return {};
}

/// An answer to an action stands before everything that waits.
void Node::Impl::answer(ha::Event event) {
  events.push_front(std::move(event));
}

Result<void> Node::Impl::act(ha::action::SaveVote& a) {
  return doors.votes.save(a.vote);
}

Result<void> Node::Impl::act(ha::action::Send& a) {
  doors.peers.send(a.peer, wire::encode(a.message));
  return {};
}

Result<void> Node::Impl::act(ha::action::Lead& a) {
  CHECK(replica && !server);
  TRY(replica->commit(replica->last().seq, doors.clock.now()));
  TRY(admit());
  if (replica->diverged()) {
    // Too late to stand back: nobody else may lead now. The other one gets these rows.
    log::error("replica.diverged", {{"seq", replica->diverged()->value},
                                    {"reason",
                                     "its rows are not those that the primary before had, and it "
                                     "leads: keep both databases and report it"}});
  }
  api::Logs& logs = relay ? *relay : *doors.logs;
  Server::Doors server_doors{*doors.store, doors.listener, *doors.reads, logs,         *doors.keys,
                             doors.host,   doors.clock,    *this,        doors.backups};
  committed_seq = replica->last().seq;
  if (a.is_override) {
    options.server.reign_note = "in place of epoch " + std::to_string(a.replaced.value) +
                                ", of which entry " + std::to_string(a.heard_commit.value) +
                                " was known; this journal ended at epoch " +
                                std::to_string(replica->last().epoch.value) + ", entry " +
                                std::to_string(replica->last().seq.value);
  }
  if (a.may_lack) options.server.jobs_skipped = limits::kJobsSkipped;
  server = std::make_unique<Server>(options.server, server_doors, replica->take(), a.epoch);
  replica.reset();
  answer(ha::event::MinCopies{server->queue().min_copies()});
  return {};
}

Result<void> Node::Impl::act(ha::action::Restart& a) {
  log::warn("life.ended", {{"reason", a.why}});
  restarting = true;
  return {};
}

Result<void> Node::Impl::act(ha::action::Commit& a) {
  committed_seq = std::max(committed_seq, a.seq);
  if (!replica) return {};
  TRY(replica->commit(a.seq, doors.clock.now()));
  if (replica->diverged() && !told_diverged) {
    told_diverged = true;
    log::error("replica.diverged",
               {{"seq", replica->diverged()->value},
                {"reason", "its rows are not the primary's: a new snapshot is needed"}});
    if (doors.snapshots != nullptr) doors.snapshots->mark_diverged();
    feed_later(ha::event::Diverged{*replica->diverged()});
  }
  for (const JobId job : replica->take_deleted()) unwanted.push_back(job);
  return admit();
}

/// Who may come in is known here as well, before anybody dials us: keys are told in entries.
Result<void> Node::Impl::admit() {
  for (const Effect& effect : replica->take_keys()) {
    if (const auto* added = std::get_if<effect::KeyAdded>(&effect))
      doors.keys->add({added->role, added->name, added->public_key});
    else if (const auto* removed = std::get_if<effect::KeyRemoved>(&effect))
      doors.keys->remove(removed->public_key);
  }
  return {};
}

Result<void> Node::Impl::act(ha::action::Store& a) {
  if (!replica) return {};
  const Result<void> stored = replica->store(a.keep, std::move(a.batches));
  if (!stored && stored.error().code == Errc::Corrupt) {
    // Somebody's mistake on the way; nothing was written, and it will be sent again.
    log::error("append.refused", {{"reason", stored.error().message}});
    return {};
  }
  TRY(stored);
  answer(ha::event::Written{replica->last()});
  return {};
}

Result<void> Node::Impl::act(ha::action::ReadJournal& a) {
  store::JournalBatches read = TRY(doors.store->read_batches(a.prev, limits::kBatchBytes));
  answer(ha::event::JournalRead{a.peer, a.prev, read.gone, std::move(read.batches)});
  return {};
}

Result<void> Node::Impl::act(ha::action::FindCommon& a) {
  ha::event::Common common{a.peer, std::nullopt, false};
  for (auto end = a.ends.rbegin(); end != a.ends.rend() && !common.end; ++end) {
    const auto ours = TRY(doors.store->find_end(end->seq));
    if (ours && *ours == *end) common.end = *end;
    if (!ours && end == a.ends.rend() - 1) common.is_trimmed = true;
  }
  answer(std::move(common));
  return {};
}

Result<void> Node::Impl::act(ha::action::Intake& a) {
  if (server) server->set_intake(a.is_open);
  return {};
}

Result<void> Node::Impl::act(ha::action::KeepMinCopies& a) {
  if (server) server->set_min_copies(a.copies);
  return {};
}

Result<void> Node::Impl::act(ha::action::Answer& a) {
  if (!asker) return {};
  msg::ClusterDone done{asker->query, a.ok, a.ok ? Errc::Unavailable : a.code, a.reason};
  reply(asker->peer, std::move(done));
  asker.reset();
  return {};
}

Result<void> Node::Impl::act(ha::action::Note& a) {
  const log::Fields fields{{"epoch", a.epoch.value}, {"reason", a.sentence}};
  switch (a.level) {
    case ha::action::Note::Level::Info:
      log::info(a.event, fields);
      break;
    case ha::action::Note::Level::Warn:
      log::warn(a.event, fields);
      break;
    case ha::action::Note::Level::Error:
      log::error(a.event, fields);
      break;
  }
  return {};
}

// --- What the Server asks of the others ----------------------------------------------------------

void Node::Impl::ship(const SealedBatch& batch) {
  keep(feed(ha::event::Sealed{batch}));
}

void Node::Impl::written(const JournalEnd& end) {
  keep(feed(ha::event::Written{end}));
}

void Node::Impl::min_copies_set(std::uint32_t copies) {
  keep(feed(ha::event::MinCopies{copies}));
}

/// What fails inside a call of the Server's ends the process with this turn.
void Node::Impl::keep(Result<void> done) {
  if (!done && !failed) failed = std::move(done).error();
}

// --- Frames --------------------------------------------------------------------------------------

void Node::on_frame(net::PeerId peer, const net::Identity& identity, std::string_view frame) {
  Impl& s = *impl_;
  if (identity.role == Role::Master || identity.role == Role::Witness)
    return s.on_peer_frame(identity, frame);
  if (s.is_about_cluster(frame)) return s.on_cluster_frame(peer, identity, frame);
  if (s.server) return s.server->on_frame(peer, identity, frame);
  s.refuse_follower(peer, frame);
}

void Node::on_closed(net::PeerId peer) {
  if (impl_->server) impl_->server->on_closed(peer);
}

void Node::on_dialled(NodeId node, bool connected) {
  if (connected)
    impl_->feed_later(ha::event::Connected{node});
  else
    impl_->feed_later(ha::event::Closed{node});
}

void Node::Impl::on_peer_frame(const net::Identity& identity, std::string_view frame) {
  const auto known = ids.find(identity.name);
  if (known == ids.end()) return;
  Result<msg::Message> message = wire::decode(frame);
  if (!message) {
    log::warn("message.refused", {{"name", identity.name}, {"reason", message.error().message}});
    return;
  }
  const NodeId from = known->second;
  if (const auto* ask = std::get_if<msg::SnapshotAsk>(&message->body)) return give(from, *ask);
  if (auto* data = std::get_if<msg::SnapshotData>(&message->body))
    return keep(take(from, std::move(*data)));
  if (auto* piece = std::get_if<msg::LogRelay>(&message->body))
    return take_output(from, message->epoch, std::move(*piece));
  if (const auto* answer = std::get_if<msg::LogRelayed>(&message->body)) {
    if (relay) relay->on_relayed(*answer);
    return;
  }
  feed_later(ha::event::Received{from, std::move(*message)});
}

/// Who leads is asked elsewhere: every client and worker has the addresses of all masters.
void Node::Impl::refuse_follower(net::PeerId peer, std::string_view frame) {
  const Result<msg::Message> message = wire::decode(frame);
  if (!message) return;
  const bool greets = std::holds_alternative<msg::ClientHello>(message->body) ||
                      std::holds_alternative<msg::WorkerHello>(message->body) ||
                      std::holds_alternative<msg::Enrol>(message->body);
  if (greets) reply(peer, msg::Refused{Errc::Unavailable, not_primary()});
}

std::string Node::Impl::not_primary() const {
  const Voter& self = voter(options.ha.self);
  if (self.is_witness) return self.name + " is the witness of the cluster";
  const NodeId leader = machine.leader();
  if (leader == 0) return self.name + " does not lead, and knows nobody who does";
  if (leader == self.id) return self.name + " begins to lead";
  return self.name + " is the standby; the primary is " + voter(leader).name;
}

void Node::Impl::reply(net::PeerId peer, msg::Body body) {
  msg::Message message;
  message.epoch = std::max(machine.epoch(), machine.vote().reg.epoch);
  message.body = std::move(body);
  doors.listener.send(peer, wire::encode(message));
}

// --- The turn ------------------------------------------------------------------------------------

Node::Node(Options options, Doors doors, std::optional<Replica> replica)
    : impl_(std::make_unique<Impl>(std::move(options), doors, std::move(replica))) {}
Node::~Node() = default;

Result<Node::Turned> Node::turn() {
  Impl& s = *impl_;
  TRY(s.feed(ha::event::Tick{}));
  if (s.replica && s.doors.clock.now() >= s.replica->bring_up_due()) TRY(s.replica->bring_up());
  if (s.replica && s.doors.store != nullptr) {
    TRY(s.tell_applied());
    TRY(s.doors.store->maintain());
  }
  if (s.server && !s.restarting) TRY(s.server->turn());
  s.tend_output();
  s.backups.expire(s.doors.clock.now());
  if (s.failed) return tl::unexpected(*s.failed);
  return s.restarting ? Turned::Restart : Turned::Again;
}

/// What is in the tables cannot be taken back: the leader is told, and need not offer older ends.
Result<void> Node::Impl::tell_applied() {
  if (replica->applied() == told_applied) return {};
  told_applied = replica->applied();
  return feed(ha::event::Applied{told_applied});
}

Result<void> Node::leave() {
  return impl_->feed(ha::event::Leave{});
}

Result<void> Node::finish() {
  if (impl_->server) return impl_->server->finish();
  if (impl_->replica) return impl_->replica->bring_up();
  return {};
}

TimePoint Node::next_deadline() const {
  const Impl& s = *impl_;
  if (!s.events.empty() || s.restarting) return s.doors.clock.now();
  TimePoint next = s.machine.next_deadline();
  if (s.server) next = std::min(next, s.server->next_deadline());
  if (s.relay) next = std::min(next, s.relay->next_deadline());
  if (s.replica) next = std::min(next, s.replica->bring_up_due());
  return next;
}

std::size_t Node::inbox_size() const {
  return impl_->events.size() + (impl_->server ? impl_->server->inbox_size() : 0);
}
const Server* Node::server() const {
  return impl_->server.get();
}
const ha::Machine& Node::machine() const {
  return impl_->machine;
}
const Queue* Node::queue() const {
  if (impl_->server) return &impl_->server->queue();
  return impl_->replica ? &impl_->replica->queue() : nullptr;
}

web::StatusSnapshot Node::status() const {
  const Impl& s = *impl_;
  web::StatusSnapshot snapshot;
  if (s.server) {
    snapshot = s.server->status();
  } else {
    snapshot.turned_at = s.doors.clock.now();
    snapshot.store_ok = true;
    snapshot.node = s.voter(s.options.ha.self).name;
    snapshot.epoch = s.machine.epoch();
    if (s.replica) snapshot.seq = s.replica->last().seq;
  }
  snapshot.alarms = s.all_alarms();
  return snapshot;
}

std::vector<Alarm> Node::Impl::all_alarms() const {
  if (server) return server->alarms();
  std::vector<Alarm> all = alarms();
  if (!replica) return all;
  const api::Host::Disk disk = doors.host.disk();
  if (disk.free_bytes < disk_reserve(options.server.disk_reserve_bytes, disk))
    all.push_back({"disk", "the disk of " + voter(options.ha.self).name +
                               " is nearly full: " + disk_figures(disk)});
  return all;
}

}  // namespace capstan
