// SPDX-License-Identifier: MIT
#include "tests/support/ha_node.h"

#include <algorithm>
#include <cstring>

#include "common/base/rng.h"
#include "master/store/vote_file.h"

namespace capstan::test {

namespace {

Digest mixed_chain(const JournalEnd& prev, Epoch epoch, const Bytes& entries) {
  std::uint64_t before = 0;
  std::uint64_t number = 0;
  std::memcpy(&before, prev.chain.bytes, sizeof before);
  std::memcpy(&number, entries.data(), std::min(sizeof number, entries.size()));
  const std::uint64_t mixed = mix64(before ^ mix64(number ^ mix64(epoch.value ^ prev.seq.value)));
  Digest chain;
  std::memcpy(chain.bytes, &mixed, sizeof mixed);
  return chain;
}

}  // namespace

SealedBatch virtual_batch(const JournalEnd& prev, Epoch epoch, std::uint64_t number,
                          std::uint64_t count) {
  SealedBatch batch;
  batch.first = prev.seq.next();
  batch.entries = Bytes(sizeof number, '\0');
  std::memcpy(batch.entries.data(), &number, sizeof number);
  batch.end = {Seq(prev.seq.value + count), epoch, mixed_chain(prev, epoch, batch.entries)};
  return batch;
}

bool follows(const JournalEnd& prev, const SealedBatch& batch) {
  return batch.first == prev.seq.next() && batch.end.seq >= batch.first &&
         batch.end.epoch >= prev.epoch &&
         batch.end.chain == mixed_chain(prev, batch.end.epoch, batch.entries);
}

// --- The database --------------------------------------------------------------------------------

JournalEnd VirtualDatabase::end_of(std::size_t batches) const {
  return batches == 0 ? JournalEnd{} : journal[batches - 1].end;
}

std::optional<std::size_t> VirtualDatabase::find(Seq seq) const {
  if (seq == Seq{}) return 0;
  const auto at =
      std::lower_bound(journal.begin(), journal.end(), seq,
                       [](const SealedBatch& batch, Seq s) { return batch.end.seq < s; });
  if (at == journal.end() || at->end.seq != seq) return std::nullopt;
  return static_cast<std::size_t>(at - journal.begin()) + 1;
}

std::optional<std::size_t> VirtualDatabase::find(const JournalEnd& end) const {
  const std::optional<std::size_t> batches = find(end.seq);
  if (!batches || end_of(*batches) != end) return std::nullopt;
  return batches;
}

void VirtualDatabase::truncate(std::size_t batches) {
  journal.resize(batches);
  applied = std::min(applied, batches);
  begin = std::min(begin, batches);
}

// --- The node ------------------------------------------------------------------------------------

void VirtualNode::start(std::uint64_t life) {
  const std::uint64_t random = mix64(database.nonce ^ life);
  const store::NonceChoice choice =
      has_vote ? store::choose_nonce(vote, {database.nonce, database.last().seq, random})
               : store::NonceChoice{false, random};
  const bool is_complete = is_witness || choice.is_complete;
  database.nonce = choice.nonce;
  Vote told = vote;  // In the file when the machine saves it.
  if (is_complete) told.nonce = database.nonce;
  ha::Start start{.vote = told,
                  .life = life,
                  .has_vote = has_vote,
                  .is_complete = is_complete,
                  .is_diverged = database.is_diverged,
                  .nonce = database.nonce};
  if (!is_witness) {
    for (std::size_t at = database.applied; at <= database.journal.size(); ++at) {
      start.ends.push_back(database.end_of(at));
    }
  }
  ++process;
  leads = overrides = has_intake = has_hold = is_paused = false;
  awaited = Seq{};
  fetching = Uuid{};
  timer_at = TimePoint::never();
  machine = std::make_unique<ha::Machine>(config, std::move(start));
}

void VirtualNode::stop(std::size_t synced) {
  for (; synced > 0 && !writing.empty(); --synced) (void)finish_write();
  writing.clear();
  held_back.clear();
  is_paused = leads = overrides = false;
  machine.reset();
}

bool VirtualNode::finish_write() {
  const ha::action::Store store = std::move(writing.front());
  writing.pop_front();
  const std::optional<std::size_t> keep = database.find(store.keep);
  if (!keep || *keep < database.applied) return false;
  database.truncate(*keep);
  for (const SealedBatch& batch : store.batches) {
    if (!follows(database.last(), batch)) return false;
    database.journal.push_back(batch);
  }
  return true;
}

ha::event::JournalRead VirtualNode::read_journal(const ha::action::ReadJournal& read) const {
  constexpr std::size_t kAtOnce = 4;
  ha::event::JournalRead answer{read.peer, read.prev, false, {}};
  const std::optional<std::size_t> from = database.find(read.prev);
  answer.is_gone = !from || *from < database.begin;
  if (answer.is_gone) return answer;
  for (std::size_t at = *from; at < database.journal.size() && at < *from + kAtOnce; ++at) {
    answer.batches.push_back(database.journal[at]);
  }
  return answer;
}

ha::event::Common VirtualNode::find_common(const ha::action::FindCommon& ends) const {
  ha::event::Common answer{ends.peer, std::nullopt, true};
  for (const JournalEnd& end : ends.ends) {
    if (end.seq >= database.end_of(database.begin).seq) answer.is_trimmed = false;
    const std::optional<std::size_t> at = database.find(end);
    if (at && *at >= database.begin) answer.end = end;
  }
  return answer;
}

}  // namespace capstan::test
