// SPDX-License-Identifier: MIT
//
// The table of docs/failover.md: what each fault must lead to. Rows begin in sync.
#include <doctest/doctest.h>

#include "tests/unit/master/ha/cluster.h"

namespace capstan::test {

TEST_SUITE_BEGIN("master/ha/faults");

TEST_CASE("the primary's process dies: the standby leads within a second, and nothing is lost") {
  Cluster c;
  const std::size_t before = c.world.acknowledged();
  c.world.crash(c.primary);
  CHECK(c.comes_to_lead(c.standby, seconds(1)));
  CHECK(c.world.acknowledged() >= before);
  CHECK(c.commits());
}

TEST_CASE("the primary's machine goes silent: the same in 3.5 to 5.5 seconds") {
  Cluster c;
  c.world.silence(c.primary);
  CHECK_FALSE(c.comes_to_lead(c.standby, milliseconds(2'500)));
  CHECK(c.comes_to_lead(c.standby, seconds(3)));
  CHECK(c.commits());
}

TEST_CASE("the primary dies while solo: the standby may not lead") {
  Cluster c;
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  REQUIRE(c.commits());
  c.world.crash(c.primary);
  c.world.start(c.standby);
  CHECK_FALSE(c.comes_to_lead(c.standby, seconds(30)));
  SUBCASE("until the primary is back") {
    c.world.start(c.primary);
    CHECK(c.comes_to_lead(c.primary, seconds(2)));
    CHECK(c.comes_in_sync());
  }
  SUBCASE("or an operator says that what only the primary has is lost") {
    CHECK(c.tell(c.standby, {.verb = msg::ClusterVerb::FailOverWithLoss}).ok);
    CHECK(c.leads(c.standby));
    CHECK(c.commits());
    c.world.start(c.primary);  // Its tables have what was lost: only a snapshot helps.
    CHECK(c.comes_in_sync());
    CHECK(c.world.leader() == c.standby);
  }
}

TEST_CASE("the witness dies as well while the primary is solo: it serves on") {
  Cluster c;
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  c.world.crash(c.witness);
  c.world.run_for(seconds(20));
  CHECK(c.leads(c.primary));
  CHECK(c.commits());
}

TEST_CASE(
    "the primary comes back with an empty or older database: it may not lead before it has "
    "caught up") {
  Cluster c;
  c.world.keep_copy(c.primary);
  c.world.crash(c.primary);
  REQUIRE(c.comes_to_lead(c.standby, seconds(1)));
  REQUIRE(c.commits());
  SUBCASE("empty") {
    c.world.lose_database(c.primary);
  }
  SUBCASE("older") {
    c.world.start(c.primary);
    c.world.crash(c.primary);
    REQUIRE(c.world.put_copy_back(c.primary));
  }
  c.world.crash(c.standby);
  c.world.start(c.primary);
  CHECK_FALSE(c.comes_to_lead(c.primary, seconds(20)));
  CHECK_FALSE(c.machine(c.primary).is_complete());
  c.world.start(c.standby);
  CHECK(c.comes_to_lead(c.standby, seconds(5)));
  CHECK(c.comes_in_sync());
  CHECK(c.machine(c.primary).is_complete());
  c.world.crash(c.standby);
  CHECK(c.comes_to_lead(c.primary, seconds(1)));
}

TEST_CASE("an empty database whose journal is trimmed at the leader gets a snapshot") {
  Cluster c;
  for (int i = 0; i < 5; ++i) REQUIRE(c.commits());
  c.world.run_for(seconds(2));
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  c.world.lose_database(c.standby);
  c.world.trim(c.primary);
  c.world.start(c.standby);
  CHECK(c.comes_in_sync());
  CHECK(c.world.hits().contains("FetchSnapshot"));
  CHECK(c.world.hits().contains("DropSnapshot"));
  CHECK(c.world.node(c.standby).database.begin > 0);
}

TEST_CASE("the standby dies: a pause of writes, then solo") {
  Cluster c;
  SUBCASE("its process: 0.5 s") {
    c.world.crash(c.standby);
    CHECK_FALSE(c.may_commit_within(milliseconds(250)));
    CHECK(c.becomes_solo(c.primary, milliseconds(250)));
  }
  SUBCASE("its machine goes silent: 2 to 2.5 s") {
    c.world.silence(c.standby);
    CHECK_FALSE(c.may_commit_within(milliseconds(1'400)));
    CHECK(c.becomes_solo(c.primary, milliseconds(1'200)));
  }
  c.world.run_for(milliseconds(50));
  CHECK(c.commits());
}

TEST_CASE("the witness dies: service goes on, no shrink until it is back") {
  Cluster c;
  c.world.crash(c.witness);
  c.world.run_for(seconds(10));
  CHECK(c.leads(c.primary));
  CHECK(c.commits());
  CHECK_FALSE(c.machine(c.primary).alarms(c.world.now()).empty());
  c.world.crash(c.standby);
  CHECK_FALSE(c.may_commit_within(seconds(3)));
  c.world.start(c.witness);
  CHECK(c.becomes_solo(c.primary, seconds(10)));
  CHECK(c.commits());
}

TEST_CASE("the primary alone on one side: the standby leads, the old primary commits nothing") {
  Cluster c;
  c.world.silence(c.primary);
  REQUIRE(c.comes_to_lead(c.standby, seconds(6)));
  CHECK(c.commits());
  c.world.run_for(seconds(5));
  CHECK_FALSE(c.leads(c.primary));
  c.world.heal_all();
  CHECK(c.comes_in_sync());
}

TEST_CASE("the standby alone on one side: the primary shrinks and goes on") {
  Cluster c;
  c.world.silence(c.standby);
  CHECK(c.becomes_solo(c.primary, seconds(3)));
  CHECK(c.commits());
  c.world.run_for(seconds(20));
  CHECK(c.leads(c.primary));
  c.world.heal_all();
  CHECK(c.comes_in_sync());
  CHECK(c.leads(c.primary));
}

TEST_CASE("only the data nodes are cut: the witness refuses the standby, the primary shrinks") {
  Cluster c;
  c.world.cut(c.primary, c.standby);
  c.world.cut(c.standby, c.primary);
  CHECK(c.becomes_solo(c.primary, seconds(3)));
  c.world.run_for(seconds(20));
  CHECK(c.leads(c.primary));
  CHECK(c.commits());
}

TEST_CASE("one way between the data nodes is lost: the primary keeps leading and shrinks") {
  Cluster c;
  SUBCASE("to the standby") {
    c.world.cut(c.primary, c.standby);
  }
  SUBCASE("from the standby") {
    c.world.cut(c.standby, c.primary);
  }
  c.world.submit();
  CHECK(c.becomes_solo(c.primary, seconds(5)));
  c.world.run_for(seconds(20));
  CHECK(c.leads(c.primary));
  CHECK(c.commits());
  c.world.heal_all();
  CHECK(c.comes_in_sync());
}

TEST_CASE("everything that the primary says is lost: the standby leads") {
  Cluster c;
  c.world.cut(c.primary, c.standby);
  c.world.cut(c.primary, c.witness);
  CHECK(c.comes_to_lead(c.standby, seconds(6)));
  CHECK(c.commits());
}

TEST_CASE("the primary is paused: the standby leads, and what the old one says is rejected") {
  Cluster c;
  c.world.pause(c.primary);
  CHECK(c.comes_to_lead(c.standby, seconds(6)));
  CHECK(c.commits());
  c.world.resume(c.primary);
  CHECK_FALSE(c.leads(c.primary));
  CHECK(c.comes_in_sync());
  CHECK(c.leads(c.standby));
}

TEST_CASE("every node alone: nobody serves; together again, somebody does") {
  Cluster c;
  c.world.silence(c.primary);
  c.world.silence(c.standby);
  c.world.run_for(seconds(20));
  CHECK_FALSE(c.may_commit_within(seconds(5)));
  CHECK(c.world.leader() == 0);
  c.world.heal_all();
  CHECK(c.comes_in_sync());
  CHECK(c.commits());
}

TEST_CASE("a single node leads at once, alone, with full durability") {
  HaWorld world({.data_nodes = 1, .witnesses = 0});
  world.lose_vote(1, false);  // It needs none: nobody else could know better.
  world.start_all();
  CHECK(world.leader() == 1);
  CHECK(world.run_until([&] { return world.node(1).awaited == Seq{}; }, seconds(1)));
  CHECK(world.submit());
  CHECK(world.run_until([&] { return world.acknowledged() == 2; }, seconds(1)));
  const Epoch before = world.node(1).machine->epoch();
  world.crash(1);
  world.start(1);
  CHECK(world.leader() == 1);
  CHECK(world.node(1).machine->epoch() > before);
  CHECK(world.error() == "");
}

TEST_CASE("a leader has other entries than what is committed here: none is taken, a snapshot is") {
  Cluster c;
  REQUIRE(c.commits());
  REQUIRE(c.commits());
  c.world.crash(c.primary);
  c.world.crash(c.standby);
  VirtualNode& node = c.world.node(c.standby);
  constexpr std::uint64_t kLife = 77;
  node.start(kLife);
  const auto hears = [&](Epoch epoch, msg::Append append) {
    append.life = kLife;
    append.round = 1;
    return node.machine->step(ha::event::Received{c.primary, {{}, 0, epoch, std::move(append)}},
                              c.world.now());
  };
  msg::Append known;
  known.prev = node.database.last();
  known.commit = known.prev.seq;
  (void)hears(node.vote.promised, known);
  REQUIRE(node.machine->committed() == known.commit);
  msg::Append other;  // As after an override that lost what is committed here.
  const Epoch higher((node.vote.promised.value / 256 + 9) * 256 + c.primary);
  other.prev = node.database.end_of(node.database.applied);
  other.batches = {virtual_batch(other.prev, higher, 1, 1)};
  const ha::Actions actions = hears(higher, other);
  bool is_noted = false;
  for (const ha::Action& action : actions) {
    CHECK_FALSE(std::holds_alternative<ha::action::Store>(action));
    if (const auto* note = std::get_if<ha::action::Note>(&action))
      is_noted |= std::string(note->event) == "journal.diverged";
  }
  CHECK(is_noted);
  c.world.crash(c.standby);
}

TEST_SUITE_END();

}  // namespace capstan::test
