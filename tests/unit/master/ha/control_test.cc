// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "tests/unit/master/ha/cluster.h"

namespace capstan::test {

TEST_SUITE_BEGIN("master/ha/control");

using msg::ClusterVerb;

TEST_CASE("a planned switch-over takes well under a second and loses nothing") {
  Cluster c;
  c.world.submit();
  const auto answer = c.tell(c.primary, {.verb = ClusterVerb::FailOver});
  CHECK(answer.ok);
  CHECK(c.comes_to_lead(c.standby, milliseconds(300)));
  CHECK(c.comes_in_sync(seconds(3)));
  CHECK(c.leads(c.standby));
}

TEST_CASE("a switch-over has succeeded, too, when the witness is the first to tell of it") {
  Cluster c;  // The masters are far apart, and the witness is near both.
  c.world.cut(c.standby, c.primary);
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::FailOver}).ok);
  CHECK(c.comes_to_lead(c.standby, seconds(1)));
}

TEST_CASE("a switch-over to a node that is not in sync is refused") {
  Cluster c;
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::FailOver}).ok);
  CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::FailOver, .node = c.standby}).ok);
  CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::FailOver, .node = c.witness}).ok);
  CHECK_FALSE(c.tell(c.witness, {.verb = ClusterVerb::FailOver}).ok);
}

TEST_CASE("a switch-over that does not happen is given up, and the intake opens again") {
  Cluster c;
  c.world.pause(c.standby);
  c.world.control(c.primary, {.verb = ClusterVerb::FailOver});
  CHECK_FALSE(c.world.node(c.primary).has_intake);
  CHECK(c.world.run_until([&] { return !c.world.answers().empty(); }, seconds(5)));
  CHECK(c.world.answers().back().code == Errc::Timeout);
  CHECK(c.world.node(c.primary).has_intake);
}

TEST_CASE("one order at a time") {
  Cluster c;
  c.world.pause(c.standby);
  c.world.control(c.primary, {.verb = ClusterVerb::FailOver});
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::FailOver}).code == Errc::Unavailable);
}

TEST_CASE("an override is refused where it makes no sense") {
  Cluster c;
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::FailOverWithLoss}).code == Errc::Invalid);
  CHECK(c.tell(c.witness, {.verb = ClusterVerb::FailOverWithLoss}).code == Errc::Invalid);
  // Nobody is given up while enough of them vote.
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::FailOverWithLoss, .lost = {c.standby}}).code ==
        Errc::Conflict);
  // The primary is heard: it is not off, whatever the operator says.
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss}).code == Errc::Conflict);
}

TEST_CASE("an override without a majority needs to be told which voters are lost") {
  Cluster c;
  c.world.crash(c.primary);
  c.world.crash(c.witness);
  c.world.run_for(seconds(5));
  CHECK_FALSE(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss}).ok);
  CHECK_FALSE(c.leads(c.standby));
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss, .lost = {c.primary, c.witness}})
            .ok);
  CHECK(c.leads(c.standby));
  CHECK(c.commits());
  // They come back as what they are: without their votes.
  c.world.lose_vote(c.witness, true);
  c.world.lose_vote(c.primary, false);
  c.world.lose_database(c.primary);
  c.world.start(c.witness);
  c.world.start(c.primary);
  c.world.run_for(seconds(5));
  CHECK(c.leads(c.standby));
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.primary}).ok);
  CHECK(c.comes_in_sync());
  c.world.crash(c.standby);
  CHECK(c.comes_to_lead(c.primary, seconds(1)));
}

TEST_CASE("a voter that lost its votes abstains until it is re-seeded") {
  Cluster c;
  bool back_to_init = false;
  SUBCASE("its vote file is gone") {}
  SUBCASE("its vote file is a copy of what init wrote") {
    back_to_init = true;
  }
  c.restart_without_votes(c.witness, back_to_init);
  c.world.run_for(seconds(1));
  CHECK(c.machine(c.witness).abstains());
  c.world.crash(c.primary);
  CHECK_FALSE(c.comes_to_lead(c.standby, seconds(20)));  // One vote is no majority.
  c.world.start(c.primary);
  REQUIRE(c.world.run_until([&] { return c.world.leader() != 0; }, seconds(10)));
  REQUIRE(c.comes_in_sync());
  const NodeId leader = c.world.leader();
  CHECK(c.tell(leader, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  c.world.run_for(seconds(1));
  CHECK_FALSE(c.machine(c.witness).abstains());
  c.world.crash(leader);
  CHECK(c.comes_to_lead(static_cast<NodeId>(3 - leader), seconds(1)));
}

TEST_CASE("a reseed needs the word of every other voter") {
  Cluster c;
  c.restart_without_votes(c.witness);
  CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.standby}).ok);
  c.world.pause(c.standby);
  CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  CHECK(c.machine(c.witness).abstains());
}

TEST_CASE("a reseed for an earlier loss of the votes counts for nothing") {
  Cluster c;
  c.restart_without_votes(c.witness);
  std::uint64_t life = 0;
  for (const auto& peer : c.machine(c.primary).peers()) {
    if (peer.id == c.witness) life = peer.life;
  }
  const auto votes_after = [&](std::uint64_t meant_for) {
    msg::Message message;
    message.epoch = c.machine(c.primary).epoch();
    message.body = msg::Reseed{c.machine(c.primary).vote().reg, meant_for};
    (void)c.machine(c.witness).step(ha::event::Received{c.primary, message}, c.world.now());
    return !c.machine(c.witness).abstains();
  };
  CHECK_FALSE(votes_after(life + 1));
  CHECK(votes_after(life));
}

TEST_CASE(
    "a data node that lost its votes follows nobody until it is re-seeded, and does not lead "
    "before it has caught up") {
  Cluster c;
  c.world.crash(c.standby);
  c.world.lose_vote(c.standby, true);
  c.world.start(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(5)));
  REQUIRE(c.commits());
  CHECK(c.machine(c.standby).committed() < c.machine(c.primary).committed());
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.standby}).ok);
  CHECK(c.comes_in_sync());
  CHECK(c.machine(c.standby).is_complete());
}

TEST_CASE("the only copy, without its votes, leads again by an override") {
  Cluster c;
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  REQUIRE(c.commits());
  const std::size_t before = c.world.acknowledged();
  c.world.crash(c.primary);
  c.world.lose_vote(c.primary, false);
  c.world.start(c.primary);
  c.world.run_for(seconds(10));
  CHECK_FALSE(c.leads(c.primary));
  bool is_done = false;
  for (int i = 0; i < 3 && !is_done; ++i) {  // The first one learns which epochs were promised.
    is_done = c.tell(c.primary, {.verb = ClusterVerb::FailOverWithLoss}).ok;
  }
  CHECK(is_done);
  CHECK(c.world.acknowledged() >= before);
  c.world.start(c.standby);
  CHECK(c.comes_in_sync());
}

TEST_CASE("a primary that serves alone among voters without votes gets them back") {
  Cluster c;
  c.world.crash(c.standby);
  REQUIRE(c.becomes_solo(c.primary, seconds(1)));
  c.world.crash(c.witness);
  c.world.lose_vote(c.standby, true);
  c.world.lose_vote(c.witness, false);
  c.world.start(c.standby);
  c.world.start(c.witness);
  c.world.run_for(seconds(5));
  CHECK(c.leads(c.primary));
  // No majority is left that could record anything.
  CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  // They may have forgotten another leader: it leads again, in an epoch above any that they knew.
  const ha::event::Control order{.verb = ClusterVerb::FailOverWithLoss,
                                 .lost = {c.standby, c.witness}};
  const Epoch before = c.machine(c.primary).epoch();
  CHECK(c.tell(c.primary, order).code == Errc::Unavailable);
  c.world.run_for(seconds(1));
  CHECK_FALSE(c.leads(c.primary));
  CHECK(c.tell(c.primary, order).ok);
  CHECK(c.machine(c.primary).epoch().value > before.value + std::uint64_t{256} * 1'750'000'000'000);
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.standby}).ok);
  CHECK(c.comes_in_sync());
}

TEST_CASE("an override is above one that its node knows nothing of, if clocks are right") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Cluster c({.seed = seed});
    c.give_up_all_but_standby();
    const Epoch first = c.machine(c.standby).epoch();
    c.world.crash(c.standby);
    c.restart_without_votes(c.primary);
    c.restart_without_votes(c.witness);
    REQUIRE(c.tell(c.primary, {.verb = ClusterVerb::FailOverWithLoss, .lost = {c.standby}}).ok);
    CHECK(c.machine(c.primary).epoch() > first);
  }
}

TEST_CASE("an override where a clock is behind is above all that its node knows") {
  Cluster c({.clocks_apart = seconds(1'000'000'000)});
  const std::vector<NodeId> lost{c.primary, c.witness};
  c.world.crash(c.primary);
  c.world.crash(c.witness);
  Epoch before = c.machine(c.standby).epoch();
  for (int i = 0; i < 20; ++i) {
    c.world.run_for(seconds(5));
    REQUIRE(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss, .lost = lost}).ok);
    CHECK(c.machine(c.standby).epoch() > before);
    before = c.machine(c.standby).epoch();
    c.world.crash(c.standby);
    c.world.start(c.standby);
  }
}

TEST_CASE("a second override whose clock is behind leads all the same") {
  Cluster c;
  c.world.crash(c.primary);
  c.restart_without_votes(c.witness);
  REQUIRE(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss, .lost = {c.primary}}).ok);
  const Epoch first = c.machine(c.standby).epoch();
  c.world.crash(c.standby);
  c.restart_without_votes(c.primary);
  const ha::event::Control order{
      .verb = ClusterVerb::FailOverWithLoss, .lost = {c.standby}, .wall = {1}};
  CHECK(c.tell(c.primary, order).ok);  // The witness knows of the other epoch, though it abstains.
  CHECK(c.machine(c.primary).epoch() > first);
  c.world.run_for(seconds(5));
  CHECK(c.leads(c.primary));
  CHECK(c.commits());
}

TEST_CASE("an override before a cluster has begun is refused, and spoils nothing") {
  HaWorld world{HaOptions{}};
  world.start(1);
  world.run_for(seconds(5));
  world.control(1, {.verb = ClusterVerb::FailOverWithLoss});
  REQUIRE(world.answers().size() == 1);
  CHECK_FALSE(world.answers().back().ok);
  world.start_all();
  CHECK(world.run_until([&] { return world.leader() != 0; }, seconds(5)));
}

TEST_CASE("the first election does not wait for a voter that was heard once and is gone") {
  HaWorld world{HaOptions{}};
  world.start(1);
  world.start(2);
  world.run_for(seconds(2));
  world.start(3);  // It dials them before they dial it once more.
  const auto have_begun = [&] { return !world.node(1).vote.fresh && !world.node(2).vote.fresh; };
  while (!have_begun()) world.run_for(milliseconds(1));
  REQUIRE(world.node(3).vote.fresh);
  world.crash(3);
  CHECK(world.run_until([&] { return world.leader() != 0; }, seconds(30)));
}

TEST_CASE("vote files as init wrote them beside a used database are no first ones") {
  Cluster c;
  for (NodeId id = 1; id <= 3; ++id) {
    c.world.crash(id);
    c.world.lose_vote(id, true);
  }
  c.world.lose_database(c.primary);
  c.world.start_all();
  c.world.run_for(seconds(30));
  CHECK(c.world.leader() == 0);
  for (const Alarm& alarm : c.machine(c.standby).alarms(c.world.now())) {
    CHECK(alarm.text.find("not heard") == std::string::npos);  // All are there.
  }
  const std::vector<NodeId> lost{c.primary, c.witness};
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss, .lost = lost}).ok);
}

TEST_CASE("a re-seed that no majority is left to record says how to go on") {
  Cluster c;
  c.world.crash(c.primary);
  c.restart_without_votes(c.witness);
  c.world.run_for(seconds(5));
  const ha::event::Control order{.verb = ClusterVerb::FailOverWithLoss, .lost = {c.primary}};
  REQUIRE(c.tell(c.standby, order).ok);
  c.restart_without_votes(c.primary);
  const ha::event::Control reseed{.verb = ClusterVerb::Reseed, .node = c.primary};
  CHECK(c.tell_unheard(c.standby, reseed).ok);
  c.restart_without_votes(c.primary);
  CHECK_FALSE(c.tell(c.standby, reseed).ok);
  CHECK(c.tell(c.standby, reseed).reason.find("--lost-voters") != std::string::npos);
  CHECK_FALSE(c.tell(c.standby, order).ok);  // It begins anew.
  c.world.run_for(seconds(1));
  CHECK(c.tell(c.standby, order).ok);
  CHECK(c.tell(c.standby, reseed).ok);
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  CHECK(c.comes_in_sync());
}

TEST_CASE("who abstained for an override is not re-seeded by a reign before it") {
  Cluster c;
  c.restart_without_votes(c.witness);
  c.world.cut(c.primary, c.witness);
  REQUIRE(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  // The operator is wrong: the old primary is only cut off, and what it said is on its way.
  c.world.cut(c.primary, c.standby);
  c.world.cut(c.standby, c.primary);
  c.world.run_for(seconds(6));
  REQUIRE(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss, .lost = {c.primary}}).ok);
  c.world.heal(c.primary, c.witness);
  c.world.run_for(milliseconds(500));
  CHECK(c.machine(c.witness).abstains());
}

TEST_CASE("an override asks a voter that was heard to have no votes: it may have them again") {
  Cluster c;
  c.restart_without_votes(c.witness);
  c.world.cut(c.witness, c.standby);
  c.world.cut(c.standby, c.witness);
  REQUIRE(c.tell(c.primary, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  c.world.run_for(seconds(1));
  c.world.crash(c.primary);
  c.world.run_for(seconds(5));
  const ha::event::Control order{.verb = ClusterVerb::FailOverWithLoss, .lost = {c.primary}};
  const ha::action::Answer refused = c.tell(c.standby, order);
  CHECK_FALSE(refused.ok);
  CHECK(refused.reason == "not agreed: w (last heard without votes)");
  CHECK_FALSE(c.leads(c.standby));
  c.world.heal_all();
  CHECK(c.tell(c.standby, order).ok);
}

TEST_CASE("an override goes on without a voter that answers that it has no votes") {
  Cluster c;
  c.restart_without_votes(c.witness);
  c.world.crash(c.primary);
  c.world.run_for(seconds(5));
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::FailOverWithLoss, .lost = {c.primary}}).ok);
  CHECK(c.commits());
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
}

TEST_CASE("a voter that was given up must agree from its re-seed on, heard or not") {
  Cluster c;
  c.give_up_all_but_standby();
  c.restart_without_votes(c.primary);
  c.restart_without_votes(c.witness);
  c.world.cut(c.primary, c.standby);
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.primary}).ok);
  CHECK_FALSE(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  c.world.heal_all();
  c.world.run_for(seconds(2));
  CHECK(c.tell(c.standby, {.verb = ClusterVerb::Reseed, .node = c.witness}).ok);
  CHECK(c.comes_in_sync());
}

TEST_CASE("a re-seed that was lost on its way is said again") {
  Cluster c;
  c.give_up_all_but_standby();
  c.restart_without_votes(c.witness);
  const ha::event::Control reseed{.verb = ClusterVerb::Reseed, .node = c.witness};
  CHECK(c.tell_unheard(c.standby, reseed).ok);
  c.world.run_for(seconds(1));
  REQUIRE(c.machine(c.witness).abstains());
  CHECK(c.tell(c.standby, reseed).ok);
  c.world.run_for(seconds(1));
  CHECK_FALSE(c.machine(c.witness).abstains());
}

TEST_CASE("min_copies 2: nothing is acknowledged alone") {
  Cluster c({.min_copies = 2});
  c.world.crash(c.standby);
  CHECK_FALSE(c.may_commit_within(seconds(10)));
  CHECK(c.leads(c.primary));
  SUBCASE("until the standby is back") {
    c.world.start(c.standby);
  }
  SUBCASE("or a person allows it") {
    CHECK(c.tell(c.primary, {.verb = ClusterVerb::SetMinCopies, .value = 1}).ok);
    CHECK_FALSE(c.tell(c.primary, {.verb = ClusterVerb::SetMinCopies, .value = 3}).ok);
  }
  SUBCASE("which is the primary's to take") {
    CHECK_FALSE(c.tell(c.witness, {.verb = ClusterVerb::SetMinCopies, .value = 1}).ok);
    CHECK_FALSE(c.may_commit_within(seconds(10)));
    CHECK(c.tell(c.primary, {.verb = ClusterVerb::SetMinCopies, .value = 1}).ok);
  }
  const std::size_t before = c.world.acknowledged();
  CHECK(c.world.run_until([&] { return c.world.acknowledged() > before; }, seconds(5)));
}

TEST_CASE("min_copies can be raised while the primary serves alone: then it waits") {
  Cluster c;
  c.world.crash(c.standby);
  CHECK(c.may_commit_within(seconds(10)));
  CHECK(c.tell(c.primary, {.verb = ClusterVerb::SetMinCopies, .value = 2}).ok);
  CHECK(c.world.node(c.primary).machine->min_copies() == 2);
  CHECK_FALSE(c.may_commit_within(seconds(10)));
  c.world.start(c.standby);
  CHECK(c.may_commit_within(seconds(20)));
}

TEST_SUITE_END();

}  // namespace capstan::test
