// SPDX-License-Identifier: MIT
#include "tests/sim/truth.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/model/limits.h"
#include "master/core/invariants.h"
#include "master/core/reconcile.h"
#include "master/store/entry_codec.h"
#include "tests/sim/told.h"

namespace capstan::sim {

Truth::Truth(Count count) : count_(std::move(count)) {
  begin();
}

void Truth::begin() {
  store_ = std::make_unique<test::MemoryStore>();
  checked_ = std::make_unique<CheckedStore>(*store_);
  queue_ = Queue();
  end_ = {};
  (void)store_->open();
}

std::string Truth::commit_as_leader(const Reign& reign, store::Store& journal, Seq upto) {
  const auto known = reigns_.emplace(reign.epoch, reign).first;
  if (known->second != reign) return "I1: two reigns in one epoch";
  while (end_.seq < upto) {
    const auto read = journal.read_batches(end_, limits::kBatchBytes);
    if (!read || read->gone) return "I2: a leader lacks an acknowledged entry";
    if (read->batches.empty()) return "a leader commits what is not in its journal";
    for (const SealedBatch& sealed : read->batches) {
      if (sealed.end.seq > upto) break;
      if (std::string wrong = take(sealed); !wrong.empty()) return wrong;
    }
  }
  return commit_as_standby(journal, upto);
}

std::string Truth::commit_as_standby(store::Store& journal, Seq upto) const {
  if (upto > end_.seq) return "a standby takes for committed what was never acknowledged";
  const auto batch =
      std::lower_bound(batches_.begin(), batches_.end(), upto,
                       [](const SealedBatch& each, Seq seq) { return each.end.seq < seq; });
  const JournalEnd expected = upto == Seq{} ? JournalEnd{} : batch->end;
  const auto found = journal.find_end(upto);
  return found && *found == expected ? "" : "I3: two entries acknowledged at one seq";
}

std::string Truth::take(SealedBatch sealed) {
  const auto entries = store::open_batch(end_, sealed);
  if (!entries) return "I6: " + entries.error().message;
  std::vector<Effect> effects;
  RowChanges rows;
  for (const Entry& entry : *entries) {
    if (const auto* hello = std::get_if<cmd::WorkerJoined>(&entry.command))
      note_reconciliation(*hello);
    queue_.apply(entry, effects, rows);
  }
  rows.tasks.sort();
  if (!has_other_rows_ && store_->seal(*entries, rows).rows_chain != sealed.rows_chain)
    return "I7: the rows of a batch are not those that its leader had";
  if (!checked_->append(sealed, *entries, rows, sealed.end.seq)) return "the truth is full";
  end_ = sealed.end;
  batches_.push_back(std::move(sealed));
  return broken_invariant(queue_);
}

bool Truth::cut_back_to(store::Store& journal) {
  std::size_t kept = batches_.size();
  while (kept > 0) {
    const JournalEnd& end = batches_[kept - 1].end;
    const auto found = journal.find_end(end.seq);
    if (found && *found == end) break;
    --kept;
  }
  if (kept == batches_.size()) return false;
  std::vector<SealedBatch> batches = std::move(batches_);
  batches.resize(kept);
  batches_.clear();
  begin();
  for (SealedBatch& batch : batches) (void)take(std::move(batch));
  return true;
}

void Truth::note_reconciliation(const cmd::WorkerJoined& hello) const {
  const auto worker = queue_.workers().find(hello.worker);
  if (worker == queue_.workers().end()) return;
  const Reconciliation plan = reconcile(queue_, worker->second, hello);
  if (!plan.lose.empty()) count_("hello: lost with an earlier instance");
  if (!plan.adopt.empty()) count_("hello: adopted again");
  if (!plan.cancelled_now.empty()) count_("hello: cancelled, never had");
  if (!plan.start.empty()) count_("hello: started again");
  if (!plan.cancel.empty()) count_("hello: cancelled again");
  if (!plan.recall.empty()) count_("hello: recalled again");
  if (!plan.kill.empty()) count_("hello: killed");
  const bool goes_on = std::any_of(hello.held.begin(), hello.held.end(), [&](const auto& held) {
    return worker->second.granted.contains(held.key);
  });
  if (goes_on) count_("hello: goes on");
}

std::string Truth::check_told(const Reign& reign, const net::Identity& to,
                              const msg::Message& message) const {
  if (const auto* start = std::get_if<msg::Start>(&message.body)) {
    // Of a reign that is over, it may be what the next one took back; nobody obeys it then.
    std::set<AttemptKey> doomed;
    return end_.epoch > reign.epoch ? "" : check_start(queue_, to.name, *start, doomed);
  }
  if (const auto* ack = std::get_if<msg::ResultAck>(&message.body)) {
    const capstan::Worker* known = queue_.find_worker_by_name(to.name);
    for (const AttemptKey& key : keys_of(ack->runs)) {
      if (known != nullptr && known->granted.contains(key))
        return "R4: a result was acknowledged before its commit: " + to_string(key);
    }
  }
  if (const auto* submitted = std::get_if<msg::Submitted>(&message.body)) {
    const auto found = store_->find_request({to.name, submitted->request});
    if (!found || !*found) return "R4: a submission was acknowledged before its commit";
  }
  if (const auto* events = std::get_if<msg::WatchEvents>(&message.body)) {
    if (events->seq > end_.seq) return "R4: a watch told what is not committed";
  }
  return "";
}

}  // namespace capstan::sim
