// SPDX-License-Identifier: MIT
//
// What was committed, as one history: every batch, in the order in which whoever led committed it,
// and the queue and the tables that come of it. Both masters are held against it: a leader must
// have all of it, its reign goes on from there, and a standby takes nothing for committed that is
// not in it. What is said to workers and users is held against its queue.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/voting.h"
#include "common/net/transport.h"
#include "common/wire/message.h"
#include "master/core/queue.h"
#include "tests/sim/checked_store.h"
#include "tests/support/memory_store.h"

namespace capstan::sim {

class Truth {
 public:
  using Count = std::function<void(std::string_view)>;
  /// `count` is told what each HELLO's reconciliation had to do.
  explicit Truth(Count count);

  /// One time that somebody leads.
  struct Reign {
    NodeId node = 0;
    std::uint64_t life = 0;  ///< Of the node.
    Epoch epoch;
    bool operator==(const Reign&) const = default;
  };
  /// It says that everything in its journal up to here is committed. "" or what is wrong.
  std::string commit_as_leader(const Reign& reign, store::Store& journal, Seq upto);
  std::string commit_as_standby(store::Store& journal, Seq upto) const;
  /// An operator said so: what this journal does not have is lost. True: something was.
  bool cut_back_to(store::Store& journal);

  /// What is said to somebody in this reign. "" or what is wrong: that is not committed.
  [[nodiscard]] std::string check_told(const Reign& reign, const net::Identity& to,
                                       const msg::Message& message) const;

  [[nodiscard]] JournalEnd end() const { return end_; }
  [[nodiscard]] std::uint64_t entries() const { return end_.seq.value; }
  [[nodiscard]] const Queue& queue() const { return queue_; }
  [[nodiscard]] store::Tables& tables() { return *store_; }
  [[nodiscard]] const test::MemoryStore& memory() const { return *store_; }
  [[nodiscard]] const std::string& complaint() const { return checked_->complaint(); }
  [[nodiscard]] bool has_lost_a_worker() const { return checked_->has_lost_a_worker(); }

  /// A batch told of other rows than its entries make: from now on they cannot be asked for.
  void expect_other_rows() { has_other_rows_ = true; }
  /// The next batch. "" or what is wrong.
  std::string take(SealedBatch sealed);

 private:
  void note_reconciliation(const cmd::WorkerJoined& hello) const;
  void begin();

  Count count_;
  std::vector<SealedBatch> batches_;
  std::unique_ptr<test::MemoryStore> store_;
  std::unique_ptr<CheckedStore> checked_;
  Queue queue_;
  JournalEnd end_;
  bool has_other_rows_ = false;
  std::map<Epoch, Reign> reigns_;
};

}  // namespace capstan::sim
