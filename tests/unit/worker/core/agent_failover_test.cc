// SPDX-License-Identifier: MIT
//
// The agent with two masters, of which one leads.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>

#include "common/model/limits.h"
#include "tests/unit/worker/core/agent_bench.h"

namespace capstan {
namespace {

using namespace std::chrono_literals;
using test::an_item;
using test::instance_of;
using test::key_of;

constexpr Epoch kFirst{257};   // Of master 0 ("a", node 1).
constexpr Epoch kSecond{514};  // Of master 1, above it.

struct Pair : test::AgentBench {
  explicit Pair(std::string name = "w")
      : AgentBench({.version = "test", .name = std::move(name), .environment = {}, .masters = 2}) {}

  void not_now(std::size_t master) {
    say(agent::Received{
        master, {SessionId{}, 0, Epoch{}, msg::Refused{Errc::Unavailable, "this is the standby"}}});
  }
  void refuse(std::size_t master, Epoch of) {
    say(agent::Received{master, {SessionId{}, 0, of, msg::Refused{Errc::NotAllowed, "no"}}});
  }
  /// HELLOs said since the last look, by master.
  std::vector<std::size_t> hellos() {
    std::vector<std::size_t> masters;
    for (const auto& each : taken<agent::Send>()) {
      if (!std::holds_alternative<msg::WorkerHello>(each.message.body)) continue;
      masters.push_back(each.master);
      last_hello = std::get<msg::WorkerHello>(each.message.body);
    }
    return masters;
  }
  /// Master 0 leads, master 1 is its standby.
  void open_first() {
    sync();
    say(agent::Connected{0});
    say(agent::Connected{1});
    welcome(1);
    not_now(1);
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"true"};
    master_says(msg::JobTemplate{JobId(1), spec});
    actions.clear();
  }
  void welcome_second(std::uint64_t session = 1) {
    epoch = kSecond;
    welcome(session, instance_of(1), 1);
  }
  using Masters = std::vector<std::size_t>;
  msg::WorkerHello last_hello;
};

bool is_asked_soon(const Pair& pair) {
  const Micros pause = pair.agent.next_deadline() - pair.now;
  return pause >= limits::kAskStandby / 2 && pause <= limits::kAskStandby;
}

TEST_SUITE("worker/core/agent with two masters") {
  TEST_CASE("both are asked, and the one that welcomes is followed") {
    Pair pair;
    pair.sync();
    pair.say(agent::Connected{0});
    pair.say(agent::Connected{1});
    CHECK(pair.hellos() == Pair::Masters{0, 1});
    pair.not_now(0);
    CHECK_FALSE(pair.agent.is_open());
    pair.welcome(1, instance_of(1), 1);
    CHECK(pair.agent.is_open());
    CHECK(pair.taken<agent::SessionOpened>().at(0).master == 1);
  }

  TEST_CASE("workers that are turned away together do not come back together") {
    std::set<TimePoint> due;
    for (int i = 0; i < 100; ++i) {
      Pair pair("w" + std::to_string(i));
      pair.sync();
      pair.say(agent::Connected{1});
      pair.not_now(1);
      CHECK(is_asked_soon(pair));
      due.insert(pair.agent.next_deadline());
    }
    CHECK(due.size() > 90);
    CHECK(*due.rbegin() - *due.begin() > limits::kAskStandby / 3);
  }

  TEST_CASE("while nobody leads a standby is asked some times a second, and never given up") {
    Pair pair;
    pair.sync({}, {an_item(1, 7)});  // With results of an earlier start, which must not be lost.
    pair.say(agent::Connected{0});
    pair.say(agent::Connected{1});
    pair.hellos();
    for (int i = 0; i < 50; ++i) {
      pair.not_now(0);
      pair.not_now(1);
      CHECK(pair.agent.next_deadline() - pair.now >= Micros(limits::kAskStandby) / 2);
      pair.tick(limits::kAskStandby);
      CHECK(pair.hellos() == Pair::Masters{0, 1});
    }
    CHECK(pair.agent.unacknowledged_count() == 1);
    CHECK(pair.taken<agent::Stop>().empty());
  }

  TEST_CASE("a standby is left alone while the master that leads is heard") {
    Pair pair;
    pair.open_first();
    for (std::uint64_t i = 0; i < 10; ++i) {
      pair.tick(2s);
      pair.master_says(msg::Heartbeat{i});
      CHECK(pair.hellos().empty());
    }
    pair.tick(2s);
    CHECK(pair.hellos().empty());
    pair.tick(1s);  // A beat and a half without a word.
    CHECK(pair.hellos() == Pair::Masters{1});
    CHECK(pair.agent.is_open());  // It may only be slow.
    pair.not_now(1);
    CHECK(is_asked_soon(pair));
  }

  TEST_CASE("a closed connection: the other one is asked at once") {
    Pair pair;
    pair.open_first();
    pair.say(agent::Closed{0});
    pair.tick();
    CHECK(pair.hellos() == Pair::Masters{1});
    pair.not_now(1);
    CHECK(is_asked_soon(pair));
  }

  TEST_CASE("it fails over: running attempts are listed and results are said again") {
    Pair pair;
    pair.open_first();
    for (const std::uint32_t task : {1, 2}) {
      pair.master_says(msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(task), {}}}});
    }
    pair.shepherd(pair::StartedAt{key_of(2), pair.now});
    pair.shepherd(pair::Ended{{an_item(1)}});
    pair.tick();
    CHECK(pair.sent<msg::Results>().size() == 1);  // The first master dies before it says a word.
    pair.say(agent::Closed{0});
    pair.tick();
    CHECK(pair.hellos() == Pair::Masters{1});
    CHECK(pair.last_hello.held == std::vector<msg::HeldAttempt>{{key_of(2), true}});
    CHECK(pair.last_hello.spooled == std::vector{key_of(1)});
    CHECK(pair.last_hello.highest_epoch == kFirst);
    pair.welcome_second();
    pair.tick();
    const auto results = pair.sent<msg::Results>();
    REQUIRE(results.size() == 1);
    CHECK(results[0].results[0].key == key_of(1));
    CHECK(pair.agent.highest_epoch() == kSecond);
    CHECK(pair.agent.held_count() == 1);
  }

  TEST_CASE(
      "a higher epoch is followed while the former master still speaks, which is not obeyed") {
    Pair pair;
    pair.open_first();
    pair.tick(3s);
    CHECK(pair.hellos() == Pair::Masters{1});
    pair.welcome_second();
    CHECK(pair.taken<agent::SessionEnded>().at(0).master == 0);
    CHECK(pair.agent.is_open());
    pair.epoch = kFirst;
    pair.master_says(msg::Cancel{CancelWhy::User, {key_of(1)}}, 0);
    pair.say(agent::Received{0, {SessionId(1), 3, kFirst, msg::Start{JobId(1), AttemptNo(1), {}}}});
    CHECK(pair.runs().empty());
    CHECK(pair.told<pair::Cancel>().empty());
    pair.say(agent::Closed{0});
    pair.say(agent::Connected{0});
    CHECK(pair.hellos() == Pair::Masters{0});
    pair.welcome(9);  // With its old epoch.
    CHECK(pair.agent.highest_epoch() == kSecond);
    CHECK(pair.agent.is_open());
  }

  TEST_CASE("a Welcome to a HELLO that is out of date is answered with a new one") {
    Pair pair;
    pair.open_first();
    pair.tick(3s);
    CHECK(pair.hellos() == Pair::Masters{1});
    // The first master was only slow: it gives us something that the HELLO does not list.
    pair.master_says(msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(1), {}}}});
    CHECK(pair.runs().size() == 1);
    pair.welcome_second(1);
    CHECK_FALSE(pair.agent.is_open());
    CHECK(pair.hellos() == Pair::Masters{1});
    CHECK(pair.last_hello.held.size() == 1);
    pair.welcome_second(2);
    CHECK(pair.agent.is_open());
  }

  TEST_CASE("what was returned in the former master's last moments is told to the new one") {
    Pair pair;
    pair.open_first();
    pair.master_says(msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(1), {}}, {TaskIndex(2), {}}}});
    pair.tick(3s);
    CHECK(pair.hellos() == Pair::Masters{1});
    CHECK(pair.last_hello.held.size() == 2);
    pair.shepherd(pair::Returned{{key_of(2)}});
    pair.shepherd(pair::StartedAt{key_of(1), pair.now});
    pair.tick();
    CHECK(pair.sent<msg::Returned>().size() == 1);  // To the first, which is gone by now.
    pair.welcome_second();
    pair.tick();
    const auto sent = pair.taken<agent::Send>();
    REQUIRE(sent.size() == 2);
    CHECK(sent[0].master == 1);
    CHECK(std::get<msg::Returned>(sent[0].message.body).keys == std::vector{key_of(2)});
    CHECK(std::get<msg::Started>(sent[1].message.body).started.at(0).key == key_of(1));
  }

  TEST_CASE("the word of the master that leads is that of its standby") {
    Pair pair;
    pair.open_first();
    pair.refuse(0, kFirst);
    CHECK(pair.taken<agent::Stop>().at(0).exit_code == 3);
  }

  TEST_CASE("turned away by one of them, it stays with the other") {
    Pair pair;
    pair.open_first();
    pair.say(agent::Closed{1});
    pair.refuse(0, kFirst);
    CHECK(pair.taken<agent::Stop>().empty());
    pair.say(agent::Connected{1});
    CHECK(pair.hellos() == Pair::Masters{1});
    pair.welcome_second();
    CHECK(pair.agent.is_open());
    pair.say(agent::Connected{0});
    pair.refuse(0, kFirst);  // A deposed master's word does not count.
    CHECK(pair.taken<agent::Stop>().empty());
    CHECK(pair.agent.is_open());
  }

  TEST_CASE("the list of masters is told with its version") {
    Pair pair;
    pair.sync();
    pair.say(agent::Connected{1});
    msg::Welcome body;
    body.protocol = kProtocol;
    body.instance = instance_of(1);
    body.generation = {1, 1};
    body.members = {{"a", {"x:1"}, "k"}, {"b", {"y:1"}, "l"}};
    body.members_version = 2;
    pair.say(agent::Received{1, {SessionId(1), 1, kFirst, body}});
    const auto changed = pair.taken<agent::MembersChanged>();
    REQUIRE(changed.size() == 1);
    CHECK(changed[0].members.size() == 2);
    CHECK(changed[0].version == 2);
  }
}

}  // namespace
}  // namespace capstan
