// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <set>
#include <variant>

#include "common/wire/version.h"
#include "tests/unit/master/ha/cluster.h"

namespace capstan::test {

TEST_SUITE_BEGIN("master/ha/machine");

TEST_CASE("the table has one row for a role and a cause, and leads everywhere") {
  std::set<std::pair<ha::Role, ha::Cause>> seen;
  std::set<ha::Role> reached;
  for (const ha::Transition& row : ha::transitions()) {
    CHECK(seen.insert({row.from, row.cause}).second);
    CHECK(&ha::transition(row.from, row.cause) == &row);
    CHECK(std::string(row.sentence) != "");
    reached.insert(row.to);
  }
  CHECK(reached.size() == 5);
  CHECK(std::string(ha::to_string(ha::Role::Claiming)) == "claiming");
}

TEST_CASE("a new cluster elects its first leader as soon as all voters are there") {
  HaWorld world({});
  world.start(1);
  world.start(3);
  world.run_for(seconds(10));
  CHECK(world.leader() == 0);  // A voter that comes later would not know whether it forgot a vote.
  world.start(2);
  CHECK(world.run_until([&] { return world.leader() != 0; }, seconds(2)));
  CHECK(world.error() == "");
}

TEST_CASE("after a failover the old primary's unacknowledged tail makes way") {
  Cluster c;
  c.world.cut(c.primary, c.standby);
  c.world.cut(c.primary, c.witness);
  REQUIRE(c.world.submit());  // Written at the primary only: never acknowledged.
  REQUIRE(c.comes_to_lead(c.standby, seconds(6)));
  REQUIRE(c.commits());
  c.world.heal_all();
  CHECK(c.comes_in_sync());
  CHECK(c.world.hits().contains("journal.truncated"));
  CHECK(c.world.has_everything(c.primary));
}

TEST_CASE("after a shrink the isr grows only when the standby was steady for ten seconds") {
  Cluster c;
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  c.world.start(c.standby);
  c.world.run_for(seconds(9));
  CHECK(c.machine(c.primary).is_solo());
  CHECK(c.comes_in_sync(seconds(3)));
}

TEST_CASE("a standby far away joins a primary that never pauses") {
  HaOptions far;
  far.latency = milliseconds(40);
  Cluster c(far);
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(2)));
  c.world.start(c.standby);
  bool joined = false;
  for (int i = 0; i < 15'000 && !joined; ++i) {
    c.world.submit();
    c.world.run_for(milliseconds(1));
    joined = c.machine(c.primary).is_in_sync();
  }
  CHECK(joined);
}

TEST_CASE("a standby whose rows differ gets a snapshot, and does not lead before it") {
  Cluster c;
  c.world.diverge(c.standby);
  CHECK_FALSE(c.machine(c.standby).is_complete());
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  CHECK(c.comes_in_sync());
  CHECK(c.machine(c.standby).is_complete());
  CHECK(c.world.hits().contains("FetchSnapshot"));
}

TEST_CASE("a snapshot that could not be made is tried again") {
  Cluster c;
  c.world.fail_next_snapshot();
  c.world.diverge(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  CHECK(c.comes_in_sync(seconds(60)));
  CHECK(c.world.hits().at("MakeSnapshot") == 2);
}

TEST_CASE("two data nodes and three witnesses live with two dead witnesses") {
  Cluster c({.data_nodes = 2, .witnesses = 3});
  c.world.crash(4);
  c.world.crash(5);
  c.world.crash(c.primary);
  CHECK(c.world.leader() == 0);
  c.world.run_for(seconds(10));
  CHECK(c.world.leader() == 0);  // Two of five are no majority …
  c.world.start(4);
  CHECK(c.comes_to_lead(c.standby, seconds(5)));  // … three are.
}

TEST_CASE("what comes from another cluster or speaks another protocol does not count") {
  Cluster c;
  ha::Machine& machine = c.machine(c.primary);
  msg::PeerHello hello;
  hello.protocol = kProtocol;
  hello.cluster = Uuid{{2}};
  (void)machine.step(ha::event::Received{c.standby, {{}, 0, {}, hello}}, c.world.now());
  const Epoch higher(machine.epoch().value + 256 * 9 + c.standby - c.primary);
  const ha::Actions actions =
      machine.step(ha::event::Received{c.standby, {{}, 0, higher, msg::Prepare{}}}, c.world.now());
  CHECK(actions.empty());
  CHECK(machine.is_leader());
}

TEST_CASE("what makes no sense changes nothing") {
  Cluster c;
  ha::Machine& machine = c.machine(c.standby);
  const TimePoint now = c.world.now();
  const Epoch epoch = machine.epoch();
  const auto says = [&](NodeId peer, Epoch about, msg::Body body) {
    return machine.step(ha::event::Received{peer, {{}, 0, about, std::move(body)}}, now);
  };
  CHECK(machine.step(ha::event::Received{9, {{}, 0, epoch, msg::Prepare{}}}, now).empty());
  CHECK(says(c.witness, epoch, msg::Prepare{}).empty());  // Not its epoch, nor could it lead.
  CHECK(says(c.primary, epoch, msg::Heartbeat{}).empty());
  CHECK(says(c.primary, epoch, msg::Accept{{epoch, 99, 7, {}}}).empty());
  CHECK(says(c.primary, epoch, msg::Appended{}).empty());
  CHECK(says(c.primary, epoch, msg::Behind{}).empty());
  CHECK(says(c.witness, epoch, msg::TakeOver{}).empty());
  CHECK(says(c.witness, epoch, msg::Reseed{}).empty());
  CHECK(machine.step(ha::event::Sealed{}, now).empty());
  CHECK(machine.step(ha::event::JournalRead{c.primary, {}, true, {}}, now).empty());
  CHECK(machine.step(ha::event::Common{c.primary, {}}, now).empty());
  CHECK(machine.step(ha::event::SnapshotMade{c.primary, {}, {}, 1, ""}, now).empty());
  CHECK(machine.step(ha::event::Connected{9}, now).empty());
  CHECK(machine.step(ha::event::Closed{9}, now).empty());
  CHECK_FALSE(machine.is_leader());
}

TEST_CASE("the nonce of a start is in the vote file before anything else is done") {
  ha::Config config;
  config.self = 1;
  config.voters = {{1, "a", false}, {2, "b", false}, {3, "w", true}};
  ha::Start start;
  start.life = 7;
  start.vote.nonce = start.nonce = 5;
  start.vote.fresh = false;
  const auto saved = [&]() -> std::optional<std::uint64_t> {
    ha::Machine machine(config, start);
    const ha::Actions actions = machine.step(ha::event::Tick{}, TimePoint{});
    if (actions.empty()) return std::nullopt;
    REQUIRE(std::holds_alternative<ha::action::SaveVote>(actions.front()));
    return std::get<ha::action::SaveVote>(actions.front()).vote.nonce;
  };
  CHECK(saved() == 5);
  SUBCASE("of a start before the first vote, too: it is one of those that a copy may be of") {
    start.vote.fresh = true;
    start.vote.reg.isr = {1, 2};
    CHECK(saved() == 5);
    return;
  }
  SUBCASE("but not that of a database which is not the one that it had") {
    start.is_complete = false;
  }
  SUBCASE("but there is no file when the votes are lost") {
    start.has_vote = false;
  }
  SUBCASE("but a witness has no database") {
    config.self = 3;
  }
  CHECK_FALSE(saved().has_value());
}

TEST_CASE("a hello of an earlier life that comes late holds nothing up for good") {
  Cluster c;
  msg::PeerHello late;
  late.protocol = kProtocol;
  late.cluster = c.world.node(c.standby).config.cluster;
  late.life = 4711;  // Of a process that is long gone; this leader never heard of it.
  (void)c.machine(c.primary).step(ha::event::Received{c.standby, {{}, 0, {}, late}}, c.world.now());
  for (int i = 0; i < 40; ++i) {
    c.world.submit();
    c.world.run_for(seconds(1));
  }
  CHECK(c.machine(c.primary).is_in_sync());
  CHECK(c.commits());
}

TEST_CASE("what an earlier life confirmed does not count for the present one") {
  Cluster c;
  const std::uint64_t before = c.world.node(c.standby).process;
  c.world.pause(c.standby);
  REQUIRE(c.world.submit());
  c.world.run_for(milliseconds(100));
  const Seq end = c.world.node(c.primary).database.last().seq;
  const Epoch epoch = c.machine(c.primary).epoch();
  CHECK(c.machine(c.primary).committed() < end);
  // The life that is told here is not the standby's.
  (void)c.machine(c.primary).step(
      ha::event::Received{c.standby, {{}, 0, epoch, msg::Appended{1, 1, end, Seq{}, false}}},
      c.world.now());
  CHECK(c.machine(c.primary).committed() < end);
  c.world.resume(c.standby);
  CHECK(c.world.run_until([&] { return c.machine(c.primary).committed() >= end; }, seconds(1)));
  CHECK(c.world.node(c.standby).process == before);
}

TEST_CASE("a primary whose disk is stuck falls silent, and the standby leads") {
  Cluster c;
  HaOptions stuck = c.world.options();
  stuck.sync = seconds(60);
  c.world.set_options(stuck);
  REQUIRE(c.world.submit());
  c.world.set_options({});
  CHECK(c.comes_to_lead(c.standby, seconds(8)));
}

TEST_CASE("the level is the lowest that all data nodes understand") {
  HaWorld world({});
  world.node(1).config.level = 7;
  world.node(2).config.level = 5;
  world.start(1);
  CHECK(world.node(1).machine->level() == 1);  // Of the other one nothing is known yet.
  world.start(2);
  world.start(3);
  world.run_for(seconds(3));
  CHECK(world.node(1).machine->level() == 5);
}

TEST_CASE("people see who is where") {
  Cluster c;
  c.world.run_for(seconds(1));
  const auto peers = c.machine(c.primary).peers();
  REQUIRE(peers.size() == 2);
  CHECK(peers[0].id == c.standby);
  CHECK(peers[0].is_connected);
  CHECK(peers[0].is_in_isr);
  CHECK(peers[0].is_streaming);
  CHECK(peers[0].seq == c.machine(c.primary).committed());
  CHECK(c.machine(c.primary).alarms(c.world.now()).empty());
  CHECK(c.machine(c.standby).alarms(c.world.now()).empty());
  CHECK(c.machine(c.standby).leader() == c.primary);
  CHECK(c.machine(c.standby).epoch() == c.machine(c.primary).epoch());
}

TEST_CASE("the same seed gives the same run") {
  const auto run = [](std::uint64_t seed) {
    HaWorld world({.seed = seed});
    world.start_all();
    world.run_for(seconds(5));
    world.crash(world.leader());
    world.run_for(seconds(5));
    return world.trace_hash();
  };
  CHECK(run(3) == run(3));
  CHECK(run(3) != run(4));
}

TEST_SUITE_END();

}  // namespace capstan::test
