// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "tests/unit/worker/core/agent_bench.h"

namespace capstan {
namespace {

using namespace std::chrono_literals;
using test::an_item;
using test::instance_of;
using test::key_of;
using Bench = test::AgentBench;

TEST_SUITE("worker/core/agent sessions") {
  TEST_CASE("HELLO is said when it is connected and knows everything, and lists all of it") {
    Bench bench;
    bench.say(agent::Connected{0});
    CHECK(bench.sent<msg::WorkerHello>().empty());
    bench.sync({{key_of(1), true, {}}, {key_of(2), false, {}}}, {an_item(3)});
    const auto hellos = bench.taken<agent::Send>();
    REQUIRE(hellos.size() == 1);
    CHECK(hellos[0].message.session == SessionId{});
    CHECK(hellos[0].message.n == 0);
    const auto& hello = std::get<msg::WorkerHello>(hellos[0].message.body);
    CHECK(hello.protocol == kProtocol);
    CHECK(hello.instance == instance_of(1));
    CHECK(hello.cpus == 2);
    CHECK(hello.held == std::vector<msg::HeldAttempt>{{key_of(1), true}, {key_of(2), false}});
    CHECK(hello.spooled == std::vector{key_of(3)});
  }

  TEST_CASE("an unanswered HELLO is said again, more and more rarely") {
    Bench bench;
    bench.sync();
    bench.say(agent::Connected{0});
    std::vector<Micros> pauses;
    bench.sent<msg::WorkerHello>();
    for (int i = 0; i < 4; ++i) {
      const TimePoint due = bench.agent.next_deadline();
      pauses.push_back(due - bench.now);
      bench.tick(due - bench.now);
      CHECK(bench.sent<msg::WorkerHello>().size() == 1);
    }
    CHECK(pauses == std::vector<Micros>{2s, 4s, 8s, 10s});
  }

  TEST_CASE("every Welcome is answered with all results that nobody acknowledged") {
    Bench bench;
    bench.sync({}, {an_item(1), an_item(2)});
    bench.say(agent::Connected{0});
    for (const std::uint64_t session : {1, 2}) {
      bench.reconnect();
      bench.welcome(session);
      bench.tick();
      const auto results = bench.sent<msg::Results>();
      REQUIRE(results.size() == 1);
      REQUIRE(results[0].results.size() == 2);
      CHECK(results[0].results[0].key == key_of(1));
    }
    bench.master_says(msg::ResultAck{runs_of({key_of(1)})});
    CHECK(bench.told<pair::Acked>().at(0).keys == std::vector{key_of(1)});
    bench.reconnect();
    bench.welcome(3);
    bench.tick();
    const auto results = bench.sent<msg::Results>();
    REQUIRE(results.size() == 1);
    CHECK(results[0].results.size() == 1);
    CHECK(results[0].results[0].key == key_of(2));
  }

  TEST_CASE("messages are numbered from 1 in each session and carry its epoch") {
    Bench bench;
    bench.sync({}, {an_item(1)});
    bench.say(agent::Connected{0});
    for (const std::uint64_t session : {4, 5}) {
      bench.reconnect();
      bench.welcome(session);
      bench.taken<agent::Send>();
      bench.tick();
      bench.tick(2s);
      const auto sent = bench.taken<agent::Send>();
      REQUIRE(sent.size() == 2);
      CHECK(sent[0].message.session == SessionId(session));
      CHECK(sent[0].message.n == 1);
      CHECK(sent[1].message.n == 2);
      CHECK(sent[1].message.epoch == Epoch(257));
      CHECK(std::get<msg::Heartbeat>(sent[1].message.body).seen == 1);
    }
  }

  TEST_CASE("a gap ends the session with a HELLO; what is of no session is ignored") {
    Bench bench;
    bench.open();
    bench.start(1);
    CHECK(bench.runs().size() == 1);
    bench.skip_one();
    bench.start(2);
    CHECK(bench.runs().empty());
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
    CHECK_FALSE(bench.agent.is_open());
    bench.start(3);
    CHECK(bench.runs().empty());
    CHECK(bench.sent<msg::WorkerHello>().empty());
    bench.welcome(1);  // An old one: ids only grow.
    CHECK_FALSE(bench.agent.is_open());
    bench.welcome(2);
    CHECK(bench.agent.is_open());
  }

  TEST_CASE("welcomed twice: what the second one was about is out of date, HELLO again") {
    Bench bench;
    bench.open();
    bench.welcome(2);
    CHECK_FALSE(bench.agent.is_open());
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
    bench.welcome(3);
    CHECK(bench.agent.is_open());
  }

  TEST_CASE("what was returned, or changed, between HELLO and Welcome is told after it") {
    Bench bench;
    bench.sync({{key_of(1), false, {}}});
    bench.say(agent::Connected{0});
    bench.shepherd(pair::Notice{true, false});
    bench.shepherd(pair::Returned{{key_of(1)}});
    CHECK(bench.sent<msg::Returned>().empty());
    bench.welcome(1);
    const auto sent = bench.taken<agent::Send>();
    REQUIRE(sent.size() == 2);
    CHECK(std::get<msg::Returned>(sent[0].message.body).keys == std::vector{key_of(1)});
    CHECK(std::get<msg::WorkerNotice>(sent[1].message.body).leaving);
  }

  TEST_CASE("what an earlier HELLO did not say is told when that one is answered") {
    Bench bench;
    bench.open_between_hellos({{key_of(1), false, {}}});
    bench.shepherd(pair::Returned{{key_of(1)}});
    CHECK(bench.sent<msg::Returned>().size() == 1);  // In a session that the master ended already.
    bench.need_hello(1);
    const auto third = bench.sent<msg::WorkerHello>();
    REQUIRE(third.size() == 1);
    CHECK(third[0].held.empty());
    SUBCASE("the second") {
      bench.answered = 2;
      bench.welcome(2);
      REQUIRE(bench.agent.is_open());
      const auto returned = bench.sent<msg::Returned>();
      REQUIRE(returned.size() == 1);
      CHECK(returned[0].keys == std::vector{key_of(1)});
    }
    SUBCASE("the third") {
      bench.answered = third[0].number;
      bench.welcome(2);
      CHECK(bench.agent.is_open());
      CHECK(bench.sent<msg::Returned>().empty());
    }
    SUBCASE("one that is not known any more: it is asked again") {
      bench.answered = 99;
      bench.welcome(2);
      CHECK_FALSE(bench.agent.is_open());
      CHECK(bench.sent<msg::WorkerHello>().size() == 1);
    }
  }

  TEST_CASE("an earlier HELLO that leaves out what was given since is not taken up again") {
    Bench bench;
    bench.open_between_hellos();
    JobSpec spec;
    spec.argv = {"true"};
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.start(1);
    CHECK(bench.runs().size() == 1);
    bench.need_hello(1);
    (void)bench.sent<msg::WorkerHello>();
    bench.answered = 2;
    bench.welcome(2);
    CHECK_FALSE(bench.agent.is_open());
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
  }

  TEST_CASE("a repeat ends the session too") {
    Bench bench;
    bench.open();
    bench.say(agent::Received{0, {SessionId(1), 1, bench.epoch, msg::Heartbeat{}}});
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
  }

  TEST_CASE("mutants take what the rules refuse") {
    Bench ids(
        {.version = "t", .name = "w", .environment = {}, .mutant = AgentMutant::NoSessionIds});
    ids.open();
    ids.say(agent::Received{
        0,
        {SessionId(9), 7, ids.epoch, msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(1), {"x"}}}}}});
    CHECK(ids.runs().size() == 1);
    Bench gap({.version = "t", .name = "w", .environment = {}, .mutant = AgentMutant::NoGapCheck});
    gap.open();
    gap.skip_one();
    gap.start(1);
    CHECK(gap.runs().size() == 1);
    Bench early(
        {.version = "t", .name = "w", .environment = {}, .mutant = AgentMutant::DropSpoolEarly});
    early.open();
    early.shepherd(pair::Ended{{an_item(1)}});
    early.tick();
    CHECK(early.told<pair::Acked>().size() == 1);
    CHECK(early.agent.unacknowledged_count() == 0);
  }

  TEST_CASE("a Welcome for another instance is not ours") {
    Bench bench;
    bench.sync();
    bench.say(agent::Connected{0});
    bench.welcome(1, instance_of(9));
    CHECK_FALSE(bench.agent.is_open());
  }

  TEST_CASE("NeedHello renews an open session, once") {
    Bench bench;
    bench.open();
    bench.need_hello(0);
    bench.need_hello(0);
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
    bench.welcome(2);
    bench.need_hello(1);
    CHECK(bench.agent.is_open());  // It was about the former one.
  }

  TEST_CASE("silence of the master is answered with HELLO, heartbeats are not silence") {
    Bench bench;
    bench.open();
    for (int i = 0; i < 10; ++i) {
      bench.tick(2s);
      bench.master_says(msg::Heartbeat{static_cast<std::uint64_t>(i)});
    }
    CHECK(bench.sent<msg::WorkerHello>().empty());
    bench.tick(limits::kMasterSilent);
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
  }

  TEST_CASE("a master that misses what was sent long ago gets a HELLO") {
    Bench bench;
    bench.open();
    for (int i = 0; i < 3; ++i) {
      bench.tick(2s);
      bench.master_says(msg::Heartbeat{0});
    }
    CHECK(bench.sent<msg::WorkerHello>().empty());
    bench.tick(2s);
    bench.master_says(msg::Heartbeat{0});
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
  }

  TEST_CASE("a connection that closed and came back says HELLO at once") {
    Bench bench;
    bench.open();
    bench.say(agent::Closed{0});
    CHECK_FALSE(bench.agent.is_open());
    bench.tick(20s);
    CHECK(bench.sent<msg::WorkerHello>().empty());
    bench.say(agent::Connected{0});
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
  }

  TEST_CASE("the highest epoch is followed, lower ones are refused") {
    Bench bench({.version = "t", .name = "w", .environment = {}, .masters = 2});
    bench.sync();
    bench.say(agent::Connected{0});
    bench.say(agent::Connected{1});
    CHECK(bench.sent<msg::WorkerHello>().size() == 2);
    bench.epoch = Epoch(513);
    bench.welcome(1, instance_of(1), 1);
    CHECK(bench.agent.highest_epoch() == Epoch(513));
    bench.epoch = Epoch(257);
    bench.welcome(9, instance_of(1), 0);
    CHECK(bench.taken<agent::SessionOpened>().size() == 1);
    bench.epoch = Epoch(769);
    bench.welcome(1, instance_of(1), 0);
    const auto opened = bench.taken<agent::SessionOpened>();
    REQUIRE(opened.size() == 1);
    CHECK(opened[0].master == 0);
    CHECK(bench.taken<agent::SessionEnded>().size() == 1);
  }

  TEST_CASE("another generation: with work the shepherd sets it aside, without it is taken") {
    Bench idle;
    idle.generation = {1, 1};
    idle.welcome_generation = {2, 2};
    idle.sync();
    idle.say(agent::Connected{0});
    idle.epoch = Epoch(1);
    idle.welcome(1);
    CHECK(idle.agent.is_open());

    Bench busy;
    busy.generation = {1, 1};
    busy.welcome_generation = {2, 2};
    busy.sync({{key_of(1), true, {}}});
    busy.say(agent::Connected{0});
    busy.welcome(1);
    CHECK_FALSE(busy.agent.is_open());
    CHECK(busy.told<pair::NewGeneration>().at(0).generation == Generation{2, 2});
    busy.actions.clear();
    pair::State fresh{.instance = instance_of(5), .cpus = 2, .generation = {2, 2}, .held = {}};
    busy.shepherd(fresh);
    busy.shepherd(pair::Synced{});
    const auto hellos = busy.sent<msg::WorkerHello>();
    REQUIRE(hellos.size() == 1);
    CHECK(hellos[0].instance == instance_of(5));
    CHECK(hellos[0].held.empty());

    Bench older;
    older.generation = {3, 3};
    older.welcome_generation = {2, 2};
    older.sync();
    older.say(agent::Connected{0});
    older.welcome(1);
    CHECK_FALSE(older.agent.is_open());
  }

  TEST_CASE("results of an earlier start are told in its name, and no work is taken in it") {
    Bench bench;
    bench.sync({{key_of(9), true, {}}}, {an_item(1, 7), an_item(2, 1)});
    bench.say(agent::Connected{0});
    auto hellos = bench.sent<msg::WorkerHello>();
    REQUIRE(hellos.size() == 1);
    CHECK(hellos[0].instance == instance_of(7));
    CHECK(hellos[0].held.empty());
    CHECK(hellos[0].leaving);
    CHECK(hellos[0].spooled == std::vector{key_of(1)});
    bench.welcome(1, instance_of(7));
    bench.master_says(msg::JobTemplate{JobId(1), {}});
    bench.start(5);
    CHECK(bench.runs().empty());
    bench.tick();
    auto results = bench.sent<msg::Results>();
    REQUIRE(results.size() == 1);
    REQUIRE(results[0].results.size() == 1);
    CHECK(results[0].results[0].key == key_of(1));
    bench.master_says(msg::ResultAck{runs_of({key_of(1)})});
    bench.tick();
    hellos = bench.sent<msg::WorkerHello>();
    REQUIRE(hellos.size() == 1);
    CHECK(hellos[0].instance == instance_of(1));
    CHECK(hellos[0].held.size() == 1);
    CHECK_FALSE(hellos[0].leaving);
    bench.welcome(2);
    bench.tick();
    results = bench.sent<msg::Results>();
    REQUIRE(results.size() == 1);
    CHECK(results[0].results[0].key == key_of(2));
  }

  TEST_CASE("a master that does not hear of an earlier start does not stop this one") {
    Bench bench;
    bench.sync({}, {an_item(1, 7)});
    bench.say(agent::Connected{0});
    for (int i = 0; i < limits::kHelloTries; ++i) bench.tick(10s);
    const auto hellos = bench.sent<msg::WorkerHello>();
    CHECK(hellos.back().instance == instance_of(1));
    CHECK(bench.told<pair::Acked>().size() == 1);
    // It answers after all, one after the other: first about the earlier start.
    bench.tick(limits::kMasterSilent);
    const agent::Received refused{
        0, {SessionId{}, 0, bench.epoch, msg::Refused{Errc::Conflict, "another took over"}}};
    for (const msg::WorkerHello& hello : hellos) {
      if (hello.instance == instance_of(7)) bench.say(refused);
    }
    bench.say(refused);  // One of them had come twice.
    CHECK(bench.told<pair::Fatal>().empty());
    bench.tick(limits::kHelloRetry);
    bench.say(refused);
    CHECK(bench.told<pair::Fatal>().size() == 1);
  }

  TEST_CASE("turned away: the shepherd is told to stop") {
    Bench bench;
    bench.open();
    bench.say(
        agent::Received{0, {SessionId{}, 0, bench.epoch, msg::Refused{Errc::NotAllowed, "no"}}});
    CHECK(bench.told<pair::Fatal>().at(0).exit_code == 3);
    CHECK(bench.taken<agent::Stop>().at(0).exit_code == 3);
    CHECK(bench.agent.next_deadline() == TimePoint::never());
  }
}

}  // namespace
}  // namespace capstan
