// SPDX-License-Identifier: MIT
//
// As leader: what the other data nodes have of the journal, and what is committed by that.
#include <algorithm>

#include "master/ha/machine_impl.h"

namespace capstan::ha {

namespace {

/// A message takes batches up to about the size of one full batch: a frame has an end.
std::vector<std::vector<SealedBatch>> in_messages(std::vector<SealedBatch> batches) {
  std::vector<std::vector<SealedBatch>> messages;
  std::size_t bytes = 0;
  for (SealedBatch& batch : batches) {
    if (messages.empty() || bytes + batch.entries.size() > limits::kBatchBytes) {
      messages.emplace_back();
      bytes = 0;
    }
    bytes += batch.entries.size();
    messages.back().push_back(std::move(batch));
  }
  return messages;
}

}  // namespace

// --- Our own journal grows -----------------------------------------------------------------------

/// R3: shipped while it is being written here.
void Machine::Impl::on(const event::Sealed& event) {
  const SealedBatch& batch = event.batch;
  if (role_ != Role::Leader || batch.first != last().seq.next()) return;
  const JournalEnd prev = last();
  if (written_ == prev) sealed_at_ = now_;
  ends_ = {batch.end};
  for (Peer& peer : peers_) {
    if (!peer.is_data()) continue;
    if (peer.matched >= prev.seq) peer.progress_at = now_;
    const bool is_level = peer.is_connected && peer.is_streaming && peer.sent == prev;
    if (is_level && peer.in_flight.size() < limits::kAppendWindow) send_append(peer, prev, {batch});
  }
}

void Machine::Impl::on(const event::Written& event) {
  if (role_ != Role::Leader) return follower_written(event.end);
  if (event.end.seq <= written_.seq || event.end.seq > last().seq) return;
  written_ = event.end;
  sealed_at_ = now_;
  for (Peer& peer : peers_) pump(peer);
  commit_what_can();
}

Seq Machine::Impl::committable() const {
  Seq upto = written_.seq;
  if (is_mutant(Mutant::AckLocally)) return upto;
  std::vector<Seq> copies;
  for (const Peer& peer : peers_) {
    if (is_required(peer)) upto = std::min(upto, peer.matched);
    if (peer.is_data()) copies.push_back(peer.matched);
  }
  if (min_copies_ > 1) {
    std::sort(copies.begin(), copies.end(), std::greater<>());
    upto = std::min(upto, copies.at(min_copies_ - 2));
  }
  return upto;
}

void Machine::Impl::commit_what_can() {
  if (role_ != Role::Leader) return;
  const Seq upto = committable();
  if (upto <= commit_) return;
  commit_ = upto;
  out_.emplace_back(action::Commit{commit_});
}

// --- A peer's journal (R9, R9a) ------------------------------------------------------------------

void Machine::Impl::forget_stream(Peer& peer) {
  peer.matched = Seq{};
  peer.sent = written_;
  peer.in_flight.clear();
  peer.is_streaming = false;
  peer.needs_snapshot = false;
  peer.is_diverged = false;
  peer.is_joining = false;
  peer.progress_at = now_;
  peer.steady_since = now_;
}

void Machine::Impl::send_append(Peer& peer, const JournalEnd& prev,
                                std::vector<SealedBatch> batches) {
  if (!batches.empty()) {
    peer.sent = batches.back().end;
    peer.in_flight.push_back(peer.sent.seq);
  }
  send(peer, epoch_,
       msg::Append{peer.life(), peer.round, prev, commit_, level_of_all(), std::move(batches)});
}

/// More for a peer that has room for it: what is not there yet in memory comes from the journal.
void Machine::Impl::pump(Peer& peer) {
  if (!peer.is_data() || !peer.is_connected || !peer.is_streaming) return;
  if (peer.in_flight.size() >= limits::kAppendWindow || peer.sent.seq >= written_.seq) return;
  out_.emplace_back(action::ReadJournal{peer.id(), peer.sent});
}

void Machine::Impl::on(const event::JournalRead& event) {
  Peer* peer = find(event.peer);
  if (role_ != Role::Leader || peer == nullptr || !peer->is_streaming) return;
  if (event.prev != peer->sent) return;
  if (event.is_gone) return need_snapshot(*peer);
  if (event.batches.empty()) return;
  JournalEnd prev = event.prev;
  for (std::vector<SealedBatch>& batches : in_messages(event.batches)) {
    const JournalEnd end = batches.back().end;
    send_append(*peer, prev, std::move(batches));
    prev = end;
  }
  pump(*peer);
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Appended& appended) {
  if (role_ != Role::Leader || epoch != epoch_) return;
  // Whoever abstains answers no append, and nobody begins to abstain within a life: a hello that
  // says so was said before, and came late.
  if (from.hello && appended.life == from.life()) from.hello->abstains = from.hello->fresh = false;
  if (!from.is_data() || !counts(from, appended.life) || appended.upto > last().seq) return;
  // A late word of a life that is over? Only one that lives answers what was asked last (R9a).
  if (appended.round != from.round && !is_mutant(Mutant::IgnoreLives)) return;
  from.earlier_lives.erase(appended.life);
  while (!from.in_flight.empty() && from.in_flight.front() <= appended.upto) {
    from.in_flight.pop_front();
  }
  if (appended.is_diverged) {
    if (from.needs_snapshot) return;
    from.is_diverged = true;
    note(action::Note::Level::Error, "peer.diverged",
         from.voter.name + " has other rows than this node at the same entry: a snapshot");
    return need_snapshot(from);
  }
  if (from.needs_snapshot) return;
  if (appended.upto > from.matched || appended.upto == last().seq) from.progress_at = now_;
  from.matched = std::max(from.matched, appended.upto);
  from.is_streaming = from.is_connected;
  if (from.offer && appended.upto >= from.offer->seq) {
    from.offer.reset();
    out_.emplace_back(action::DropSnapshot{from.id()});
  }
  commit_what_can();
  pump(from);
}

/// R9: it has no batch that ends where we believed. Which of its ends do we have?
void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Behind& behind) {
  if (role_ != Role::Leader || epoch != epoch_ || !from.is_data()) return;
  if (!counts(from, behind.life) || from.needs_snapshot || behind.ends.empty()) return;
  // Each append on its way says so: what is sent anew for the first of them is not sent for all.
  if (behind.round != from.round && !is_mutant(Mutant::IgnoreLives)) return;
  from.is_streaming = false;
  out_.emplace_back(action::FindCommon{from.id(), behind.ends});
}

void Machine::Impl::on(const event::Common& event) {
  Peer* peer = find(event.peer);
  if (role_ != Role::Leader || peer == nullptr || peer->needs_snapshot) return;
  if (!event.end) {
    if (!event.is_trimmed) {
      peer->is_diverged = true;
      note(action::Note::Level::Warn, "peer.diverged",
           peer->voter.name + " has other entries in its tables than this node: a snapshot");
    }
    return need_snapshot(*peer);
  }
  ++peer->round;
  peer->sent = *event.end;
  peer->in_flight.clear();
  peer->is_streaming = peer->is_connected;
  if (peer->sent.seq < written_.seq) return pump(*peer);
  beat(*peer);
}

// --- Snapshots -----------------------------------------------------------------------------------

void Machine::Impl::need_snapshot(Peer& peer) {
  peer.needs_snapshot = true;
  peer.is_streaming = false;
  peer.in_flight.clear();
  peer.offer_at = now_;
  note(action::Note::Level::Info, "snapshot.needed",
       peer.voter.name + " cannot be brought up from the journal");
  tend_snapshot(peer);
}

void Machine::Impl::tend_snapshot(Peer& peer) {
  const TimePoint heard = std::max(peer.heard_at.value_or(led_since_), led_since_);
  if (peer.offer && now_ - heard >= config_.timers.snapshot_hold) {
    peer.offer.reset();
    peer.needs_snapshot = false;
    out_.emplace_back(action::DropSnapshot{peer.id()});
  }
  if (!peer.needs_snapshot || peer.is_making || now_ < peer.offer_at) return;
  if (peer.offer) return offer_snapshot(peer);
  peer.is_making = true;
  out_.emplace_back(action::MakeSnapshot{peer.id()});
}

void Machine::Impl::offer_snapshot(Peer& peer) {
  peer.offer->life = peer.life();
  peer.offer_at = now_ + config_.timers.resend;
  send(peer, epoch_, *peer.offer);
}

void Machine::Impl::on(const event::SnapshotMade& event) {
  Peer* peer = find(event.peer);
  if (role_ != Role::Leader || peer == nullptr || !peer->is_making) return;
  peer->is_making = false;
  if (event.bytes == 0) {  // The shell has said why. Not at once again: disks do not empty so soon.
    peer->offer_at = now_ + config_.timers.grow_after;
    return;
  }
  peer->offer = msg::SnapshotOffer{peer->life(), event.id, event.seq, event.bytes, event.digest};
  if (peer->needs_snapshot) offer_snapshot(*peer);
}

}  // namespace capstan::ha
