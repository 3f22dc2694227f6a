// SPDX-License-Identifier: MIT
//
// As follower: the leader's batches into our journal, and when this node has everything again.
#include <algorithm>

#include "master/ha/machine_impl.h"

namespace capstan::ha {

std::optional<std::size_t> Machine::Impl::find_end(const JournalEnd& end) const {
  const auto at =
      std::lower_bound(ends_.begin(), ends_.end(), end,
                       [](const JournalEnd& a, const JournalEnd& b) { return a.seq < b.seq; });
  if (at == ends_.end() || *at != end) return std::nullopt;
  return static_cast<std::size_t>(at - ends_.begin());
}

/// Somebody leads in `epoch`, or is about to: R5 for our own reign, and patience for R1.
void Machine::Impl::hear_leader(Peer& from, Epoch epoch) {
  if (epoch < vote_.promised && !is_mutant(Mutant::AckBelowPromise)) return;
  if (role_ == Role::Leader) {
    if (epoch > epoch_) give_way(epoch);
    return;
  }
  if (role_ != Role::Follower) yield(Cause::LeaderHeard);
  if (epoch != epoch_) {
    epoch_ = epoch;
    heard_commit_ = Seq{};
    append_round_ = 0;
    is_verified_ = false;
    has_asked_after_close_ = false;
  }
  leader_ = from.id();
  leader_heard_at_ = now_;
  leader_restarted_ = false;
  wait_for_leader();
}

/// False: it is not to be followed, and was told why.
bool Machine::Impl::follow(Peer& from, Epoch epoch) {
  // R5. A voter that abstains does not know what it promised: it obeys nobody until it does (R10).
  if (may_vote() && epoch < vote_.promised && !is_mutant(Mutant::AckBelowPromise)) {
    reject(from, epoch, "it promised a higher epoch");
    return false;
  }
  if (may_vote() && epoch > vote_.promised) {
    vote_.promised = epoch;
    save_vote();
  }
  hear_leader(from, epoch);
  return !has_ended_ && leader_ == from.id() && epoch_ == epoch;
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::Append& append) {
  if (node_of(epoch) != from.id() || !from.is_data() || !follow(from, epoch)) return;
  // R9a: what is meant for an earlier life was decided by what that one had.
  const bool is_ours = append.life == life_ || is_mutant(Mutant::IgnoreLives);
  if (!is_ours || !may_vote()) return say_hello(from);
  append_life_ = append.life;
  // The leader began anew since it said this.
  if (append.round < append_round_ && !is_mutant(Mutant::IgnoreLives)) return;
  append_round_ = append.round;
  heard_commit_ = std::max(heard_commit_, append.commit);
  heard_commit_max_ = std::max(heard_commit_max_, append.commit);
  if (is_witness()) return say_appended(from);
  if (is_mutant(Mutant::KeepDivergedTail)) return take_by_position(from, append);
  take_batches(from, epoch, append);
}

void Machine::Impl::take_batches(Peer& from, Epoch epoch, const msg::Append& append) {
  std::optional<std::size_t> at = find_end(append.prev);
  if (!at) return say_behind(from);
  JournalEnd end = append.prev;
  std::vector<SealedBatch> missing;
  for (const SealedBatch& batch : append.batches) {
    if (batch.first != end.seq.next() || batch.end.seq < batch.first || batch.end.epoch > epoch ||
        batch.end.epoch < end.epoch) {
      return;  // Not a piece of any journal.
    }
    end = batch.end;
    if (missing.empty() && *at + 1 < ends_.size() && ends_[*at + 1] == end) {
      ++*at;
    } else {
      missing.push_back(batch);
    }
  }
  const bool has_more = !missing.empty();
  if (has_more) {
    if (ends_[*at].seq < commit_) {  // Only after an override (R12), and a new life sorts it out.
      is_diverged_ = true;
      note(action::Note::Level::Warn, "journal.diverged",
           "the leader has other entries than what is committed here: a snapshot");
      return say_appended(from);
    }
    store(*at, std::move(missing));
  }
  if (!is_verified_ || verified_.seq < end.seq) verified_ = end;
  is_verified_ = true;
  follow_commit();
  if (!has_more) say_appended(from);
}

/// R9: what is behind `keep` was never acknowledged, and goes.
void Machine::Impl::store(std::size_t keep, std::vector<SealedBatch> batches) {
  const JournalEnd kept = ends_[keep];
  if (keep + 1 < ends_.size()) {
    note(action::Note::Level::Info, "journal.truncated",
         "entries that were never acknowledged make way for the leader's");
  }
  ends_.resize(keep + 1);
  if (written_.seq > kept.seq) written_ = kept;
  for (const SealedBatch& batch : batches) ends_.push_back(batch.end);
  out_.emplace_back(action::Store{kept, std::move(batches)});
}

/// The mutant KeepDivergedTail: whatever is there already is taken for the leader's.
void Machine::Impl::take_by_position(Peer& from, const msg::Append& append) {
  if (append.prev.seq > last().seq) return say_behind(from);
  std::vector<SealedBatch> missing;
  verified_ = append.prev;
  for (const SealedBatch& batch : append.batches) {
    verified_ = batch.end;
    if (batch.first > last().seq) missing.push_back(batch);
  }
  is_verified_ = true;
  const bool has_more = !missing.empty();
  if (has_more) store(ends_.size() - 1, std::move(missing));
  follow_commit();
  if (!has_more) say_appended(from);
}

void Machine::Impl::follower_written(const JournalEnd& end) {
  if (!find_end(end)) return;  // It made way for something else in the meantime.
  if (end.seq > written_.seq) written_ = end;
  const Peer* leader = find(leader_);
  if (role_ != Role::Follower || leader == nullptr) return;
  follow_commit();
  say_appended(*leader);
}

/// R9a: a database that was lost is whole again when it equals, durably, an established leader's
/// journal up to what that leader told this life to be committed.
void Machine::Impl::follow_commit() {
  if (!is_verified_) return;
  const Seq equal = std::min(verified_.seq, written_.seq);
  if (!is_complete_ && !is_diverged_ && equal >= heard_commit_) {
    is_complete_ = true;
    vote_.nonce = nonce_;
    save_vote();
    note(action::Note::Level::Info, "database.complete",
         "this node has again everything that was acknowledged");
    say_hello_to_all();
  }
  const Seq upto = std::min(equal, heard_commit_);
  if (upto <= commit_) return;
  commit_ = upto;
  out_.emplace_back(action::Commit{commit_});
}

void Machine::Impl::say_appended(const Peer& peer) {
  const Seq upto = is_verified_ ? std::min(verified_.seq, written_.seq) : Seq{};
  const std::uint64_t life = is_mutant(Mutant::IgnoreLives) ? append_life_ : life_;
  send(peer, epoch_, msg::Appended{life, append_round_, upto, ends_.front().seq, is_diverged_});
}

/// From where the tables are, which is never taken back, to the last that is durable.
void Machine::Impl::say_behind(const Peer& peer) {
  std::vector<JournalEnd> ends{ends_.front()};
  const std::size_t skip = ends_.size() > limits::kPeerEnds ? ends_.size() - limits::kPeerEnds : 0;
  for (std::size_t at = skip + 1; at < ends_.size() && ends_[at].seq <= written_.seq; ++at) {
    ends.push_back(ends_[at]);
  }
  send(peer, epoch_, msg::Behind{life_, append_round_, std::move(ends)});
}

void Machine::Impl::on(const event::Applied& event) {
  const auto keep = std::find_if(ends_.begin(), std::prev(ends_.end()),
                                 [&](const JournalEnd& end) { return end.seq >= event.seq; });
  ends_.erase(ends_.begin(), keep);
}

void Machine::Impl::on(const event::Diverged&) {
  if (is_diverged_) return;
  is_diverged_ = true;
  note(action::Note::Level::Error, "rows.diverged",
       "the tables here differ from the leader's at the same entry: a snapshot");
  const bool stands = role_ != Role::Follower && role_ != Role::Leader;
  if (stands && !is_override_) yield(Cause::Unanswered);
  say_hello_to_all();
  if (const Peer* leader = find(leader_)) say_appended(*leader);
}

void Machine::Impl::on_message(Peer& from, Epoch epoch, const msg::SnapshotOffer& offer) {
  const bool is_from_leader = role_ == Role::Follower && leader_ == from.id() && epoch_ == epoch;
  if (!is_from_leader || is_witness() || offer.life != life_ || !may_vote()) return;
  hear_leader(from, epoch);
  out_.emplace_back(action::FetchSnapshot{from.id(), offer});
}

}  // namespace capstan::ha
