// SPDX-License-Identifier: MIT
#include "master/node.h"
#include "common/wire/version.h"

#include <doctest/doctest.h>

#include <string>

#include "common/base/log.h"
#include "tests/support/memory_store.h"
#include "tests/unit/master/fakes.h"

namespace capstan::test {
namespace {

/// A node whose peers, if it has any, hear nothing.
struct Single final : Votes, Peers {
  MemoryStore store;
  FakeClock clock;
  FakeListener listener;
  InlineReads reads{store};
  FakeLogs logs;
  FakeKeys keys;
  FakeHost host;
  Vote saved;

  Result<void> save(const Vote& vote) override {
    saved = vote;
    return {};
  }
  bool send(NodeId, std::string) override { return false; }
  [[nodiscard]] std::vector<std::string> addresses_of(NodeId) const override { return {}; }

  /// A batch behind the tables; `tampers`: with other rows than its entries make.
  void write(bool tampers) {
    REQUIRE(store.open());
    RowChanges rows;
    std::vector<Effect> effects;
    Queue queue;
    const store::Batch batch{
        {.seq = Seq(1),
         .epoch = Epoch(257),
         .at = {1},
         .wall = {1},
         .level = kEntryLevel,
         .command = cmd::WorkerEnrolled{
             .worker = queue.next_worker(), .name = "w1", .public_key = "key of w1"}}};
    queue.apply(batch.front(), effects, rows);
    SealedBatch sealed = store.seal(batch, rows);
    if (tampers) sealed.rows_chain.bytes[0] ^= 1U;
    REQUIRE(store.append(sealed, batch, {}, Seq{}));
    store.close();
  }

  Node begin(std::vector<Voter> voters) {
    auto opened = store.open();
    REQUIRE(opened);
    ha::Start start;
    start.life = 1;
    start_with(*opened, start);
    auto replica = Replica::open(store, std::move(*opened));
    REQUIRE(replica);
    ha::Config config;
    config.self = 1;
    config.voters = std::move(voters);
    return {{config, start, {}},
            {.store = &store,
             .listener = listener,
             .votes = *this,
             .peers = *this,
             .reads = &reads,
             .logs = &logs,
             .keys = &keys,
             .host = host,
             .clock = clock},
            std::move(*replica)};
  }

  /// The events of the log while it comes to lead, with its first turn.
  std::string lead() {
    std::string events;
    log::observe([&](log::Level, std::string_view event, log::Fields) {
      events += std::string(event) + " ";
      return false;
    });
    Node node = begin({{1, "a", false}});
    CHECK(node.turn());
    CHECK(node.server() != nullptr);
    log::observe(nullptr);
    return events;
  }
};

TEST_SUITE_BEGIN("master/node");

TEST_CASE("a leader whose rows are not those that the primary before had says so") {
  Single same;
  same.write(false);
  CHECK(same.lead().find("replica.diverged") == std::string::npos);
  Single other;
  other.write(true);
  CHECK(other.lead().find("replica.diverged") != std::string::npos);
}

TEST_CASE("a node that does not lead says so when its own disk is nearly full") {
  Single single;
  single.host.state = {.free_bytes = 100ULL << 30, .total_bytes = 200ULL << 30};
  Node node = single.begin({{1, "a", false}, {2, "b", false}, {3, "w", true}});
  REQUIRE(node.turn());
  REQUIRE(node.server() == nullptr);
  const auto is_raised = [&node] {
    for (const Alarm& alarm : node.status().alarms) {
      if (alarm.name == "disk") return alarm.text.find("the disk of a") != std::string::npos;
    }
    return false;
  };
  CHECK_FALSE(is_raised());
  single.host.state.free_bytes = 100ULL << 20;
  CHECK(is_raised());
}

TEST_CASE("output of jobs that are gone is removed by the next start") {
  Single single;
  REQUIRE(single.store.open());
  RowChanges rows;
  rows.next_job = JobId(5);
  const store::Batch batch{{.seq = Seq(1),
                            .epoch = Epoch(257),
                            .at = {1},
                            .wall = {1},
                            .level = kEntryLevel,
                            .command = cmd::ReignBegan{.node = "a"}}};
  REQUIRE(single.store.append(single.store.seal(batch, rows), batch, rows, Seq(1)));
  single.store.close();
  // One of a job that was, and one of a job whose entry has not come to the tables yet.
  for (const std::uint64_t job : {3, 7})
    single.logs.append({a_key(job, 1, 1), Stream::Stdout, 0, "output", true}, [](Result<void>) {});
  Node node = single.begin({{1, "a", false}});
  REQUIRE(node.turn());
  REQUIRE(node.turn());
  CHECK(single.logs.removed == std::vector{JobId(3)});
}

TEST_CASE("a database that the vote file knows is in the next vote, one that it does not is not") {
  store::Opened opened;
  opened.meta.nonce = 7;
  ha::Start start;
  start.vote.nonce = 6;
  start_with(opened, start);
  CHECK(start.vote.nonce == 7);
  CHECK(start.is_complete);
  opened.is_complete = false;
  opened.meta.nonce = 9;
  start_with(opened, start);
  CHECK(start.vote.nonce == 7);
  CHECK(start.nonce == 9);
  CHECK_FALSE(start.is_complete);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
