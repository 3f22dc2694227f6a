// SPDX-License-Identifier: MIT
//
// The fields of the messages between masters (fields.h), in the order of peer_message.h. Internal
// to common/wire.
#pragma once

#include "common/wire/message_fields.h"

namespace capstan::wire {

auto fields(Shape, Is<Register> auto& m) {
  return all(m.epoch, m.ver, m.leader, m.isr);
}
auto fields(Shape, Is<JournalEnd> auto& m) {
  return all(m.seq, m.epoch, m.chain);
}
auto fields(Shape, Is<SealedBatch> auto& m) {
  return all(m.first, m.end, m.wall, m.rows_chain, bin(m.entries, limits::kAnyFrameBytes));
}
auto fields(Shape, Is<msg::PeerHello> auto& m) {
  return all(m.protocol, m.protocol_oldest, words(m.version, kNameBytes), m.level, m.cluster,
             m.generation, m.life, m.number, m.promised, m.reg, m.fresh, m.abstains, m.is_complete,
             m.last, m.is_leaving);
}
auto fields(Shape, Is<msg::PreVote> auto& m) {
  return all(m.last, m.saw_closed, m.reg);
}
auto fields(Shape, Is<msg::PreVoted> auto& m) {
  return all(m.granted, m.promised);
}
auto fields(Shape, Is<msg::Prepare> auto& m) {
  return all(m.last, m.forced);
}
auto fields(Shape, Is<msg::Promised> auto& m) {
  return all(m.reg);
}
auto fields(Shape, Is<msg::Rejected> auto& m) {
  return all(m.promised, words(m.reason, kWordsBytes), m.abstains);
}
auto fields(Shape, Is<msg::Accept> auto& m) {
  return all(m.reg);
}
auto fields(Shape, Is<msg::RegisterAccepted> auto& m) {
  return all(m.ver);
}
auto fields(Shape, Is<msg::Append> auto& m) {
  return all(m.life, m.round, m.prev, m.commit, m.level, m.batches);
}
auto fields(Shape, Is<msg::Appended> auto& m) {
  return all(m.life, m.round, m.upto, m.applied, m.is_diverged);
}
auto fields(Shape, Is<msg::Behind> auto& m) {
  return all(m.life, m.round, m.ends);
}
auto fields(Shape, Is<msg::SnapshotOffer> auto& m) {
  return all(m.life, m.id, m.seq, m.bytes, bin(m.digest, kNameBytes));
}
auto fields(Shape, Is<msg::SnapshotAsk> auto& m) {
  return all(m.id, m.offset);
}
auto fields(Shape, Is<msg::SnapshotData> auto& m) {
  return all(m.id, m.offset, bin(m.data, limits::kMessageBytes));
}
auto fields(Shape, Is<msg::TakeOver> auto& m) {
  return all(m.upto);
}
auto fields(Shape, Is<msg::Reseed> auto& m) {
  return all(m.reg, m.life);
}
auto fields(Shape, Is<msg::LogRelay> auto& m) {
  return all(m.life, m.number, m.key, stream(m.stream), m.prev, m.offset,
             bin(m.data, limits::kLogChunkBytes), m.last);
}
auto fields(Shape, Is<msg::LogRelayed> auto& m) {
  return all(m.number, m.ok, m.upto, m.last);
}
auto fields(Shape, Is<msg::AskCluster> auto& m) {
  return all(m.query);
}
auto fields(Shape, Is<msg::NodeView> auto& m) {
  return all(text(m.name, kNameBytes), m.role, texts(m.addresses, kNameBytes), m.reachable, m.seq,
             m.lag, m.last_contact);
}
auto fields(Shape, Is<msg::ClusterView> auto& m) {
  return all(m.query, text(m.name, kNameBytes), text(m.primary, kNameBytes), m.in_sync, m.solo,
             m.min_copies, m.failover, words(m.at_risk, kWordsBytes), m.nodes,
             all_words(m.alarms, kWordsBytes));
}
auto fields(Shape, Is<msg::ClusterControl> auto& m) {
  return all(m.query, one_of(m.verb, msg::ClusterVerb::FailOver, msg::ClusterVerb::SetMinCopies),
             text(m.node, kNameBytes), texts(m.lost, kNameBytes), m.value);
}
auto fields(Shape, Is<msg::ClusterDone> auto& m) {
  return all(m.query, m.ok, errc(m.code), words(m.reason, kWordsBytes));
}

}  // namespace capstan::wire
