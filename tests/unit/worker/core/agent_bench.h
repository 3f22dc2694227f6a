// SPDX-License-Identifier: MIT
//
// The agent between a shepherd and masters that are written down: what tests of it share.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "common/model/limits.h"
#include "common/wire/version.h"
#include "tests/support/taken.h"
#include "worker/core/agent.h"

namespace capstan::test {

inline Instance instance_of(std::uint8_t n) {
  Instance instance;
  instance.bytes[15] = n;
  return instance;
}
inline AttemptKey key_of(std::uint32_t task, std::uint32_t attempt = 1) {
  return {JobId(1), TaskIndex(task), AttemptNo(attempt)};
}
inline pair::SpoolItem an_item(std::uint32_t task, std::uint8_t instance = 1) {
  pair::SpoolItem item;
  item.instance = instance_of(instance);
  item.result.key = key_of(task);
  item.delivered = {true, true};
  return item;
}

/// The agent between a shepherd and masters that are written down.
struct AgentBench {
  explicit AgentBench(agent::Config config = {.version = "test", .name = "w", .environment = {}})
      : agent(config) {}

  void say(const agent::Event& event) {
    for (agent::Action& action : agent.step(event, now)) actions.push_back(std::move(action));
  }
  void shepherd(const pair::ToAgent& message) { say(agent::FromShepherd{message}); }
  void tick(Micros later = Micros{0}) {
    now = now + later;
    say(agent::Tick{});
  }
  /// The shepherd's first words.
  void sync(std::vector<pair::Held> held = {}, std::vector<pair::SpoolItem> spool = {}) {
    pair::State state{.instance = instance_of(1), .cpus = 2, .held = std::move(held)};
    state.generation = generation;
    shepherd(state);
    if (!spool.empty()) shepherd(pair::Spooled{std::move(spool)});
    shepherd(pair::Synced{});
  }
  /// A connection that broke: no session, and a HELLO is said.
  void reconnect() {
    say(agent::Closed{0});
    say(agent::Connected{0});
  }
  void welcome(std::uint64_t session, Instance instance = instance_of(1), std::size_t master = 0) {
    msg::Welcome body;
    body.protocol = kProtocol;
    body.instance = instance;
    body.generation = welcome_generation;
    body.heartbeat_every = std::chrono::seconds(2);
    body.name = "w";
    body.hello = answered;
    say(agent::Received{master, {SessionId(session), 1, epoch, body}});
    n_ = 1;
    session_ = session;
  }
  /// Two HELLOs are said before the first is answered: session 1.
  void open_between_hellos(std::vector<pair::Held> held = {}) {
    sync(std::move(held));
    say(agent::Connected{0});
    tick(limits::kHelloRetryMax);
    REQUIRE(sent<msg::WorkerHello>().size() == 2);
    answered = 1;
    welcome(1);
  }
  /// The master does not know that session (any more).
  void need_hello(std::uint64_t session) {
    say(agent::Received{0, {SessionId(session), 0, epoch, msg::NeedHello{}}});
  }
  /// The master's next message in its session.
  void master_says(msg::Body body, std::size_t master = 0) {
    say(agent::Received{master, {SessionId(session_), ++n_, epoch, std::move(body)}});
  }
  void skip_one() { ++n_; }
  /// Synced, connected, welcome, with a template of job 1.
  void open() {
    sync();
    say(agent::Connected{0});
    welcome(1);
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"echo", "{}"};
    spec.has_inputs = true;
    master_says(msg::JobTemplate{JobId(1), spec});
    actions.clear();
  }
  void start(std::uint32_t task, Bytes input = "in") {
    master_says(msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(task), {std::move(input)}}}});
  }

  template <class Action>
  std::vector<Action> taken() {
    return take_of<Action>(actions);
  }
  template <class Body>
  std::vector<Body> sent() {
    std::vector<Body> found;
    for (const auto& each : taken<agent::Send>()) {
      if (const auto* body = std::get_if<Body>(&each.message.body)) found.push_back(*body);
    }
    return found;
  }
  template <class Message>
  std::vector<Message> told() {
    std::vector<Message> found;
    for (const auto& each : taken<agent::ToShepherd>()) {
      if (const auto* it = std::get_if<Message>(&each.message)) found.push_back(*it);
    }
    return found;
  }

  std::vector<pair::Run> runs() {
    std::vector<pair::Run> all;
    for (auto& together : told<pair::Runs>())
      all.insert(all.end(), together.runs.begin(), together.runs.end());
    return all;
  }

  TimePoint now{1'000'000'000};
  Epoch epoch{257};
  Generation generation;
  Generation welcome_generation{1, 1};
  std::uint64_t answered = 0;  ///< The number of the HELLO that a Welcome answers; 0: not said.
  Agent agent;
  std::vector<agent::Action> actions;

 private:
  std::uint64_t session_ = 0;
  std::uint64_t n_ = 0;
};

}  // namespace capstan::test
