// SPDX-License-Identifier: MIT
#include "master/replica.h"
#include "common/wire/version.h"

#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "tests/support/memory_store.h"

namespace capstan::test {
namespace {

/// A leader's queue and store, and a follower that takes what it seals.
class Pair {
 public:
  Pair() {
    REQUIRE(ahead_.open());
    auto opened = behind_.open();
    REQUIRE(opened);
    auto taken = Replica::open(behind_, std::move(*opened));
    REQUIRE(taken);
    follower_.emplace(std::move(*taken));
  }

  /// Enrols a worker. `is_alone`: by a leader that has no follower yet.
  SealedBatch lead(const std::string& worker, bool is_alone = false) {
    RowChanges rows;
    std::vector<Effect> effects;
    const store::Batch batch{
        {.seq = queue_.last_seq().next(),
         .epoch = Epoch(257),
         .at = {1},
         .wall = {1},
         .level = kEntryLevel,
         .command = cmd::WorkerEnrolled{
             .worker = queue_.next_worker(), .name = worker, .public_key = "key of " + worker}}};
    queue_.apply(batch.front(), effects, rows);
    SealedBatch sealed = is_alone ? ahead_.seal_alone(batch) : ahead_.seal(batch, rows);
    REQUIRE(ahead_.append(sealed, batch, rows, queue_.last_seq()));
    return sealed;
  }
  void follow(const SealedBatch& sealed) {
    REQUIRE(follower_->store(follower_->last(), {sealed}));
    REQUIRE(follower_->commit(sealed.end.seq, {}));
  }
  [[nodiscard]] const Replica& follower() const { return *follower_; }

 private:
  MemoryStore ahead_, behind_;
  Queue queue_;
  std::optional<Replica> follower_;
};

TEST_SUITE_BEGIN("master/replica");

TEST_CASE("rows that are not the leader's are noticed, at the first batch that has them") {
  Pair pair;
  pair.follow(pair.lead("w1"));
  CHECK_FALSE(pair.follower().diverged());
  SealedBatch other = pair.lead("w2");
  other.rows_chain.bytes[0] ^= 1;
  const Seq seq = other.end.seq;
  pair.follow(other);
  CHECK(pair.follower().diverged() == seq);
  pair.follow(pair.lead("w3"));
  CHECK(pair.follower().diverged() == seq);
}

TEST_CASE("what a master wrote while it was alone is not compared, and all behind it is") {
  Pair pair;
  pair.follow(pair.lead("w1"));
  const SealedBatch alone = pair.lead("w2", true);
  CHECK(alone.rows_chain == Digest{});
  pair.follow(alone);
  pair.follow(pair.lead("w3"));
  CHECK_FALSE(pair.follower().diverged());
  SealedBatch other = pair.lead("w4");
  other.rows_chain.bytes[0] ^= 1;
  pair.follow(other);
  CHECK(pair.follower().diverged() == other.end.seq);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
