// SPDX-License-Identifier: MIT
//
// Snapshots between nodes: the leader makes one beside its loop and reads pieces of it; the
// follower asks for them one after the other, and begins a new life with the whole.
#include <utility>

#include "common/base/log.h"
#include "common/wire/codec.h"
#include "master/node_impl.h"

namespace capstan {

void Node::Impl::send_to(NodeId peer, msg::Body body) {
  msg::Message message;
  message.epoch = machine.epoch();
  message.body = std::move(body);
  doors.peers.send(peer, wire::encode(message));
}

// --- Given ---------------------------------------------------------------------------------------

Result<void> Node::Impl::act(ha::action::MakeSnapshot& a) {
  if (doors.snapshots == nullptr || !server) return {};
  TRY(server->bring_up());
  doors.store->hold_journal(committed_seq);
  const Uuid id = Uuid::random();
  given = id;
  log::info("snapshot.begun", {{"node", voter(a.peer).name}, {"seq", committed_seq.value}});
  doors.snapshots->make(id, [this, id, peer = a.peer](Result<Snapshots::Made> made) {
    if (given != id) return;
    if (!made) log::error("snapshot.failed", {{"reason", made.error().message}});
    const Snapshots::Made what = made ? std::move(*made) : Snapshots::Made{};
    feed_later(ha::event::SnapshotMade{peer, id, what.seq, what.bytes, what.digest});
  });
  return {};
}

Result<void> Node::Impl::act(ha::action::DropSnapshot&) {
  given.reset();
  doors.store->release_journal();
  if (doors.snapshots != nullptr) doors.snapshots->drop();
  return {};
}

void Node::Impl::give(NodeId to, const msg::SnapshotAsk& ask) {
  if (given != ask.id) return send_to(to, msg::SnapshotData{ask.id, ask.offset, {}});
  doors.snapshots->read(ask.id, ask.offset, [this, to, ask](Bytes data) {
    send_to(to, msg::SnapshotData{ask.id, ask.offset, std::move(data)});
  });
}

// --- Fetched -------------------------------------------------------------------------------------

Result<void> Node::Impl::act(ha::action::FetchSnapshot& a) {
  if (doors.snapshots == nullptr) return {};
  fetch.offer = a.offer;
  fetch.from = a.peer;
  fetch.have = doors.snapshots->begin_fetch(a.offer);
  log::info("snapshot.offered", {{"node", voter(a.peer).name},
                                 {"seq", a.offer.seq.value},
                                 {"bytes", a.offer.bytes},
                                 {"have", fetch.have}});
  ask_on();
  return {};
}

void Node::Impl::ask_on() {
  send_to(fetch.from, msg::SnapshotAsk{fetch.offer.id, fetch.have});
}

Result<void> Node::Impl::take(NodeId from, msg::SnapshotData data) {
  if (from != fetch.from || data.id != fetch.offer.id || data.offset != fetch.have) return {};
  if (data.data.empty()) {  // Gone: another offer will come.
    fetch.from = 0;
    return {};
  }
  fetch.have += data.data.size();
  const Result<void> taken = doors.snapshots->take(data.data);
  if (!taken && taken.error().code == Errc::Corrupt) {
    log::error("snapshot.refused", {{"reason", taken.error().message}});
    fetch.from = 0;
    return {};
  }
  TRY(taken);
  if (fetch.have < fetch.offer.bytes) {
    ask_on();
    return {};
  }
  log::info("snapshot.fetched", {{"bytes", fetch.have}, {"seq", fetch.offer.seq.value}});
  restarting = true;
  return {};
}

}  // namespace capstan
