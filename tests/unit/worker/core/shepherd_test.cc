// SPDX-License-Identifier: MIT
#include "worker/core/shepherd.h"

#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "tests/unit/worker/core/shepherd_bench.h"

namespace capstan {
namespace {

using namespace std::chrono_literals;
using test::Bench;
using test::key_of;

using Tasks = std::vector<std::uint32_t>;

TEST_SUITE("worker/core/shepherd") {
  TEST_CASE("attempts start in their order as slots become free") {
    Bench bench;
    for (std::uint32_t task = 1; task <= 4; ++task) bench.run(task);
    bench.tick();
    CHECK(bench.launched() == Tasks{1, 2});
    bench.gone(2);
    bench.tick();
    CHECK(bench.launched() == Tasks{3});
    CHECK(bench.machine.held_count() == 3);
    CHECK(bench.machine.running_count() == 2);
  }

  TEST_CASE("a wide one at the head is waited for, and one that is too wide runs alone") {
    Bench bench;
    const auto key = [](std::uint32_t task) {
      return AttemptKey{JobId(task), TaskIndex(task), AttemptNo(1)};
    };
    for (const auto& [task, cpus] : {std::pair(1U, 1U), {2, 2}, {3, 1}, {4, 99}})
      bench.run(key(task), {.cpus = cpus});
    for (const std::uint32_t task : {1U, 2U, 3U}) {
      bench.tick();
      CHECK(bench.launched() == Tasks{task});
      bench.say(shepherd::Gone{key(task), {}});
    }
    bench.tick();
    CHECK(bench.launched() == Tasks{4});
  }

  TEST_CASE("a Run of a held or ended attempt starts nothing") {
    Bench bench;
    bench.run(1);
    bench.run(1);
    bench.launch();
    bench.run(1);
    bench.tick();
    CHECK(bench.launched().empty());
    bench.gone(1);
    bench.tick();
    CHECK(bench.results().size() == 1);
    bench.run(1);
    bench.tick();
    CHECK(bench.launched().empty());
    CHECK(bench.results().size() == 1);  // Told again: whoever asks has missed it.
    CHECK(bench.machine.held_count() == 0);
  }

  TEST_CASE("a result is in the spool before it is told, and all of a turn leave together") {
    Bench bench;
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.gone(1);
    bench.gone(2);
    bench.actions.clear();
    bench.tick();
    REQUIRE(bench.actions.size() == 2);
    CHECK(std::get<shepherd::SpoolAppend>(bench.actions[0]).items.size() == 2);
    const auto& told = std::get<shepherd::ToAgent>(bench.actions[1]).message;
    CHECK(std::get<pair::Ended>(told).items.size() == 2);
  }

  TEST_CASE("while more is queued, ends are told together a little later") {
    Bench bench;
    for (std::uint32_t task = 1; task <= 4; ++task) bench.run(task);
    bench.launch();
    bench.gone(1);
    bench.tick();
    CHECK(bench.results().empty());
    CHECK(bench.machine.next_deadline() <= bench.now + limits::kReportLinger);
    bench.tick(limits::kReportLinger);
    CHECK(bench.results().size() == 1);
  }

  TEST_CASE("ends are classed") {
    Bench bench({.instance = {}, .cpus = 8});
    for (std::uint32_t task = 1; task <= 4; ++task) bench.run(task);
    bench.launch();
    bench.now = bench.now + 3s;
    bench.gone(1);
    bench.gone(2, {.exit_code = 3});
    bench.gone(3, {.exit_code = 0, .signal = 11});
    bench.say(shepherd::LaunchFailed{key_of(4), "x: No such file or directory"});
    bench.from_agent(pair::Unrunnable{key_of(5), "its argument is too long"});
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 5);
    CHECK(results[0].end == EndClass::Success);
    CHECK(results[0].wall == 3s);
    CHECK(results[1].end == EndClass::Exit);
    CHECK(results[1].exit_code == 3);
    CHECK(results[2].end == EndClass::Signal);
    CHECK(results[2].reason == "killed by SIGSEGV");
    CHECK(results[3].end == EndClass::LaunchError);
    CHECK(results[3].reason == "x: No such file or directory");
    CHECK(results[4].end == EndClass::LaunchError);
    CHECK(results[4].reason == "its argument is too long");
  }

  TEST_CASE("a cancelled one gets TERM, then KILL, and is told when it is gone") {
    Bench bench({.instance = {}, .cpus = 1, .grace = 30s, .kill_grace = 10s});
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.from_agent(pair::Cancel{CancelWhy::User, {key_of(1), key_of(2)}});
    auto kills = bench.taken<shepherd::Kill>();
    REQUIRE(kills.size() == 1);
    CHECK_FALSE(kills[0].force);
    bench.tick();
    auto results = bench.results();
    REQUIRE(results.size() == 1);  // What never ran is over at once.
    CHECK(results[0].key == key_of(2));
    CHECK(results[0].end == EndClass::Cancelled);

    bench.tick(9s);
    CHECK(bench.taken<shepherd::Kill>().empty());
    bench.tick(1s);
    kills = bench.taken<shepherd::Kill>();
    REQUIRE(kills.size() == 1);
    CHECK(kills[0].force);
    bench.run(3);
    bench.tick(100s);
    CHECK(bench.launched().empty());  // Its slots are not free yet.
    CHECK(bench.results().empty());
    bench.gone(1, {.exit_code = 0});
    bench.tick();
    results = bench.results();
    REQUIRE(results.size() == 1);
    CHECK(results[0].end == EndClass::Cancelled);  // Whatever its exit code says.
    CHECK(bench.launched() == Tasks{3});
  }

  TEST_CASE("what the master did not grant is ended and told, and its output is dropped") {
    Bench bench;
    bench.run(1);
    bench.launch();
    bench.from_agent(pair::Cancel{CancelWhy::NotGranted, {key_of(1)}});
    bench.gone(1, {.signal = 15, .output_bytes = {1'000'000, 0}});
    CHECK(bench.taken<shepherd::DropOutput>().size() == 2);
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 1);
    CHECK(results[0].end == EndClass::Cancelled);
    bench.from_agent(pair::Acked{{key_of(1)}});
    CHECK(bench.machine.spooled_count() == 0);
  }

  TEST_CASE("a time limit ends it") {
    Bench bench({.instance = {}, .cpus = 1, .grace = 30s, .kill_grace = 0s});
    bench.run(key_of(1), {.time_limit = 2s});
    bench.launch();
    CHECK(bench.machine.next_deadline() <= bench.now + 2s);
    bench.tick(2s);
    const auto kills = bench.taken<shepherd::Kill>();
    REQUIRE(kills.size() == 1);
    CHECK(kills[0].force);  // No grace: at once.
    bench.gone(1, {.signal = 9});
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 1);
    CHECK(results[0].end == EndClass::Timeout);
    CHECK(results[0].reason == "ran longer than its time limit of 2s");
  }

  TEST_CASE("only what never started is given back") {
    Bench bench({.instance = {}, .cpus = 1});
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.from_agent(pair::Recall{{key_of(1), key_of(2), key_of(3)}});
    const auto returned = bench.told<pair::Returned>();
    REQUIRE(returned.size() == 1);
    CHECK(returned[0].keys == std::vector{key_of(2)});
    bench.gone(1);
    bench.tick();
    CHECK(bench.launched().empty());
    bench.run(2);  // The number is free again, since it was never started.
    bench.tick();
    CHECK(bench.launched() == Tasks{2});
  }

  TEST_CASE("a start is told only when it lasts") {
    Bench bench;
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.gone(1);
    bench.tick();
    CHECK(bench.told<pair::StartedAt>().empty());
    const TimePoint start = bench.now;
    bench.tick(limits::kStartedHold);
    const auto started = bench.told<pair::StartedAt>();
    REQUIRE(started.size() == 1);
    CHECK(started[0].key == key_of(2));
    CHECK(started[0].at == start);
  }

  TEST_CASE("one that ended before its start was to be told wakes nobody for that") {
    Bench bench;
    bench.run(1);
    bench.run(2);
    bench.launch();
    const TimePoint start = bench.now;
    CHECK(bench.machine.next_deadline() == start + limits::kStartedHold);
    bench.tick(1ms);
    bench.gone(1);
    bench.gone(2);
    bench.tick();
    CHECK(bench.machine.next_deadline() == bench.now + limits::kSpoolSyncAfter);
  }

  TEST_CASE("a new agent hears everything") {
    Bench bench({.instance = {}, .cpus = 1});
    bench.run(1);
    bench.launch();
    bench.gone(1);
    bench.tick();
    bench.run(2);
    bench.run(3);
    bench.launch();
    bench.say(shepherd::AgentDown{});
    bench.gone(2);
    bench.tick();
    bench.actions.clear();
    bench.say(shepherd::AgentUp{});
    const auto all = bench.taken<shepherd::ToAgent>();
    REQUIRE(all.size() == 3);
    const auto& state = std::get<pair::State>(all[0].message);
    REQUIRE(state.held.size() == 1);
    CHECK(state.held[0].key == key_of(3));
    const auto& spooled = std::get<pair::Spooled>(all[1].message);
    REQUIRE(spooled.items.size() == 2);
    CHECK(spooled.items[0].result.key == key_of(1));
    CHECK(spooled.items[1].result.key == key_of(2));
    CHECK(std::holds_alternative<pair::Synced>(all[2].message));
  }

  TEST_CASE("a result is forgotten when it is acknowledged and its output delivered") {
    Bench bench;
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.gone(1);
    bench.gone(2, {.output_bytes = {0, limits::kTailBytes + 1}});
    bench.tick();
    bench.from_agent(pair::Acked{{key_of(1), key_of(2)}});
    CHECK(bench.taken<shepherd::SpoolAcked>().at(0).keys.size() == 2);
    CHECK(bench.machine.spooled_count() == 1);
    bench.from_agent(pair::Delivered{key_of(2), Stream::Stderr, 100, false});
    CHECK(bench.machine.spooled_count() == 1);
    bench.from_agent(pair::Delivered{key_of(2), Stream::Stderr, 4097, true});
    CHECK(bench.taken<shepherd::DropOutput>().size() == 1);
    CHECK(bench.machine.spooled_count() == 0);
  }

  TEST_CASE("what is told again is in the spool's file as it is told, and synced") {
    Bench bench;
    bench.run(1);
    bench.launch();
    RunEnd end;
    end.output_bytes[0] = limits::kTailBytes + 1;  // Its output is to be delivered.
    bench.say(shepherd::Gone{key_of(1), end});
    bench.tick();
    bench.from_agent(pair::Acked{{key_of(1)}});
    bench.tick(limits::kSpoolSyncAfter);
    CHECK(bench.taken<shepherd::SpoolSync>().empty());
    bench.actions.clear();
    bench.run(1);
    REQUIRE(bench.actions.size() >= 1);
    const auto appended = bench.machine.appended();
    REQUIRE(appended.size() == 1);
    CHECK_FALSE(appended[0]->acked);
    CHECK(bench.taken<shepherd::SpoolAppend>().size() == 1);
    bench.tick(limits::kSpoolSyncAfter);
    CHECK(bench.taken<shepherd::SpoolSync>().size() == 1);
  }

  TEST_CASE("one that is given again although it was acknowledged is told again, and not run") {
    Bench bench;
    bench.run(1);
    bench.launch();
    bench.gone(1, {.output_bytes = {limits::kTailBytes + 1, 0}});
    bench.tick();
    bench.from_agent(pair::Acked{{key_of(1)}});
    bench.told<pair::Ended>();
    bench.run(1);
    bench.tick();
    CHECK(bench.taken<shepherd::Launch>().empty());
    const auto again = bench.told<pair::Ended>();
    REQUIRE(again.size() == 1);
    REQUIRE(again[0].items.size() == 1);
    CHECK(again[0].items[0].result.key == key_of(1));
    CHECK_FALSE(again[0].items[0].acked);  // Or the agent would keep it to itself.
    bench.from_agent(pair::Acked{{key_of(1)}});
    CHECK(bench.taken<shepherd::SpoolAcked>().size() == 2);
  }

  TEST_CASE("given again after an earlier start ended it, it is told in this start's name") {
    pair::SpoolItem earlier{.instance = Instance{{7}}, .acked = true};
    earlier.result.key = key_of(1);
    const Instance ours{{1}};
    Bench bench({.instance = ours, .cpus = 2}, {earlier});
    bench.run(1);
    bench.tick();
    const auto again = bench.told<pair::Ended>();
    REQUIRE(again.size() == 1);
    CHECK(again[0].items[0].instance == ours);
  }

  TEST_CASE("the spool is synced only when a result has waited for a second") {
    Bench bench;
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.gone(1);
    bench.gone(2);
    bench.tick();
    bench.from_agent(pair::Acked{{key_of(1)}});
    bench.tick(999ms);
    CHECK(bench.taken<shepherd::SpoolSync>().empty());
    bench.tick(1ms);
    CHECK(bench.taken<shepherd::SpoolSync>().size() == 1);
    bench.tick(10s);
    CHECK(bench.taken<shepherd::SpoolSync>().empty());
  }

  TEST_CASE("leaving: what waits is given back, what runs may finish, then it is ended") {
    Bench bench({.instance = {}, .cpus = 1, .grace = 30s, .kill_grace = 10s});
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.say(shepherd::Leave{});
    auto messages = bench.taken<shepherd::ToAgent>();
    REQUIRE(messages.size() == 2);
    CHECK(std::get<pair::Notice>(messages[0].message).leaving);
    CHECK(std::get<pair::Returned>(messages[1].message).keys == std::vector{key_of(2)});
    bench.run(3);
    CHECK(bench.told<pair::Returned>().at(0).keys == std::vector{key_of(3)});
    bench.tick(29s);
    CHECK(bench.taken<shepherd::Kill>().empty());
    bench.tick(1s);
    CHECK(bench.taken<shepherd::Kill>().size() == 1);
    bench.actions.clear();
    bench.gone(1, {.signal = 15});
    bench.tick();
    messages = bench.taken<shepherd::ToAgent>();
    REQUIRE(messages.size() == 1);  // Not AllDone: a result waits for its acknowledgement.
    const auto& ended = std::get<pair::Ended>(messages[0].message);
    CHECK(ended.items[0].result.end == EndClass::WorkerLost);
    CHECK(ended.items[0].result.reason == "its worker was stopped");
    bench.from_agent(pair::Acked{{key_of(1)}});
    bench.tick();
    CHECK(bench.told<pair::AllDone>().size() == 1);
    CHECK(bench.taken<shepherd::Exit>().empty());
    bench.say(shepherd::AgentDown{});
    REQUIRE(bench.taken<shepherd::Exit>().size() == 1);
  }

  TEST_CASE("leaving on a machine that stands still: what runs is ended before it exits") {
    Bench bench({.instance = {}, .cpus = 1, .grace = 30s, .kill_grace = 10s});
    bench.run(1);
    bench.launch();
    bench.say(shepherd::Leave{});
    bench.actions.clear();
    bench.tick(1h);
    auto kills = bench.taken<shepherd::Kill>();
    REQUIRE(kills.size() == 1);
    CHECK_FALSE(kills[0].force);
    CHECK(bench.taken<shepherd::Exit>().empty());
    bench.tick(10s);
    kills = bench.taken<shepherd::Kill>();
    REQUIRE(kills.size() == 1);
    CHECK(kills[0].force);
    CHECK(bench.taken<shepherd::Exit>().empty());
    bench.tick(limits::kGoodbyeWait);  // It cannot be killed.
    CHECK(bench.taken<shepherd::Exit>().size() == 1);
  }

  TEST_CASE("told twice to leave, it ends everything at once") {
    Bench bench;
    bench.run(1);
    bench.launch();
    bench.say(shepherd::Leave{});
    bench.say(shepherd::Leave{});
    bench.tick();
    CHECK(bench.taken<shepherd::Kill>().size() == 1);
  }

  TEST_CASE("leaving does not wait for ever for a master that is away") {
    Bench bench;
    bench.run(1);
    bench.launch();
    bench.gone(1);
    bench.say(shepherd::Leave{});
    bench.tick();
    CHECK(bench.told<pair::AllDone>().empty());
    bench.tick(limits::kGoodbyeWait);
    CHECK(bench.told<pair::AllDone>().size() == 1);
    bench.tick(limits::kGoodbyeWait);  // And the agent hangs.
    REQUIRE(bench.taken<shepherd::Exit>().size() == 1);
    CHECK(bench.machine.next_deadline() == TimePoint::never());
  }

  TEST_CASE("a full disk: no new work, results are told, and it goes on afterwards") {
    Bench bench({.instance = {}, .cpus = 1});
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.say(shepherd::Disk{true});
    auto messages = bench.taken<shepherd::ToAgent>();
    REQUIRE(messages.size() == 2);
    CHECK(std::get<pair::Notice>(messages[0].message).disk_full);
    CHECK(std::get<pair::Returned>(messages[1].message).keys == std::vector{key_of(2)});
    bench.gone(1);
    bench.tick();
    CHECK(bench.results().size() == 1);
    bench.run(3);
    CHECK(bench.told<pair::Returned>().size() == 1);
    bench.tick(limits::kDiskRetry);
    CHECK(bench.taken<shepherd::SpoolRetry>().size() == 1);
    bench.say(shepherd::Disk{false});
    CHECK_FALSE(bench.told<pair::Notice>().at(0).disk_full);
    bench.run(4);
    bench.tick();
    CHECK(bench.launched() == Tasks{4});
  }

  TEST_CASE("another generation: everything is killed, nothing told, the instance is a new one") {
    Bench bench;
    bench.from_agent(pair::Ready{"w", {1, 1}, Epoch(257)});
    bench.run(1);
    bench.launch();
    bench.gone(1);
    bench.tick();
    bench.run(2);
    bench.run(3);
    bench.run(4);
    bench.launch();
    bench.actions.clear();
    bench.from_agent(pair::NewGeneration{{2, 2}});
    CHECK(bench.taken<shepherd::Kill>().size() == 2);
    bench.run(9);
    bench.gone(2);
    bench.tick();
    CHECK(bench.taken<shepherd::SetAside>().empty());
    bench.gone(3);
    bench.tick();
    CHECK(bench.taken<shepherd::SetAside>().size() == 1);
    CHECK(bench.taken<shepherd::ToAgent>().empty());
    Instance fresh;
    fresh.bytes[0] = 7;
    bench.say(shepherd::NewInstance{fresh});
    const auto states = bench.told<pair::State>();
    REQUIRE(states.size() == 1);
    CHECK(states[0].instance == fresh);
    CHECK(states[0].generation == Generation{2, 2});
    CHECK(states[0].held.empty());
    CHECK(bench.machine.spooled_count() == 0);
  }

  TEST_CASE("an agent that is refused for good ends the worker, tasks first") {
    Bench bench;
    bench.run(1);
    bench.launch();
    bench.from_agent(pair::Fatal{3, "the key is not known"});
    bench.tick();
    CHECK(bench.taken<shepherd::Exit>().empty());
    CHECK(bench.taken<shepherd::Kill>().size() == 1);
    bench.gone(1, {.signal = 15});
    bench.tick();
    const auto exits = bench.taken<shepherd::Exit>();
    REQUIRE(exits.size() == 1);
    CHECK(exits[0].code == 3);
    CHECK(exits[0].message == "the key is not known");
  }

  TEST_CASE("output of a followed job is told as it grows, and delivered even when it is short") {
    Bench bench;
    bench.from_agent(pair::Follow{JobId(1), true});
    CHECK(bench.taken<shepherd::FollowOutput>().size() == 1);
    bench.run(1);
    bench.tick();
    const auto launches = bench.taken<shepherd::Launch>();
    REQUIRE(launches.size() == 1);
    CHECK(launches[0].followed);
    bench.say(shepherd::Launched{key_of(1)});
    bench.say(shepherd::OutputGrew{key_of(1), Stream::Stdout, 10});
    bench.say(shepherd::OutputGrew{key_of(1), Stream::Stdout, 20});
    bench.tick();
    const auto grown = bench.told<pair::OutputGrew>();
    REQUIRE(grown.size() == 1);
    CHECK(grown[0].total == 20);
    bench.gone(1, {.output_bytes = {20, 0}});
    bench.tick();
    const auto ended = bench.told<pair::Ended>();
    REQUIRE(ended.size() == 1);
    CHECK_FALSE(ended[0].items[0].delivered[0]);
  }

  TEST_CASE("the ready line is said once") {
    Bench bench;
    bench.from_agent(pair::Ready{"w1", {1, 1}, Epoch(257)});
    bench.from_agent(pair::Ready{"w1", {1, 1}, Epoch(513)});
    CHECK(bench.taken<shepherd::SayReady>().size() == 1);
    CHECK(bench.taken<shepherd::SpoolGeneration>().size() == 1);
  }
}

}  // namespace
}  // namespace capstan
