// SPDX-License-Identifier: MIT
//
// Watches and output: streams from a position on.
#include "master/server.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

/// A worker with a job of `tasks` tasks, of which it holds what it was sent.
struct Running {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  Peer client = bench.client();
  std::vector<AttemptKey> held;

  explicit Running(std::uint32_t tasks, std::uint32_t retries = 0) {
    worker.hello(msg::WorkerHello{});
    submit(client, an_id(1), a_job().with_tasks(tasks).with_retries(retries).spec());
    bench.turn();
    client.expect<msg::Submitted>();
    collect();
  }
  void collect() {
    while (auto start = worker.take<msg::Start>()) {
      for (const auto& one : start->tasks) held.push_back({start->job, one.task, start->attempt});
    }
  }
  /// The next task ends.
  void end_one(EndClass end = EndClass::Success) {
    REQUIRE(!held.empty());
    worker.send(msg::Results{{a_result(held.front(), end)}});
    held.erase(held.begin());
    bench.turn();
    collect();
  }
  void watch(std::uint64_t id, Seq from = {}, bool output = false) {
    watch(id, {Generation{1, 1}, from, output});
  }
  struct How {
    Generation generation;
    Seq from;
    bool output = false;
  };
  void watch(std::uint64_t id, How how) {
    client.send(msg::Watch{id, JobId(1), how.generation, how.from, true, how.output});
    bench.turn();
  }
  /// Confirms and sums up everything that came for a watch.
  struct Told {
    std::vector<TaskIndex> ended;
    std::vector<msg::OutputGrew> grew;
    std::optional<JobState> state;
    bool caught_up = false, reset = false;
    Seq seq;
    std::size_t messages = 0;
  };
  Told told(std::uint64_t id) {
    Told all;
    while (auto events = client.take<msg::WatchEvents>()) {
      CHECK(events->watch == id);
      CHECK(events->seq >= all.seq);
      for (const auto& one : events->ended) all.ended.push_back(one.view.task);
      for (const auto& one : events->grew) all.grew.push_back(one);
      if (!events->job.empty()) all.state = events->job.front().state;
      all.caught_up = all.caught_up || events->caught_up;
      all.reset = all.reset || events->reset;
      all.seq = events->seq;
      ++all.messages;
    }
    client.send(msg::WatchCredit{id, static_cast<std::uint32_t>(all.messages)});
    return all;
  }
};

TEST_SUITE_BEGIN("master/watch");

TEST_CASE("a watch catches up, says so, and follows to the end") {
  Running run(3);
  run.end_one();
  run.watch(9);
  auto told = run.told(9);
  CHECK(told.ended == std::vector<TaskIndex>{TaskIndex(1)});
  CHECK(told.caught_up);
  CHECK(!told.reset);
  CHECK(told.state == JobState::Running);
  CHECK(told.seq == run.bench.server->committed());

  run.bench.pass(200ms);
  run.end_one(EndClass::Exit);
  told = run.told(9);
  CHECK(told.ended == std::vector<TaskIndex>{TaskIndex(2)});
  CHECK(!told.caught_up);
  // Within the pace nothing is told, but the end of the job is.
  run.end_one();
  told = run.told(9);
  CHECK(told.ended == std::vector<TaskIndex>{TaskIndex(3)});
  CHECK(told.state == JobState::Failed);
}

TEST_CASE("progress is told at the pace, with nothing lost in between") {
  Running run(200);
  run.watch(9);
  run.told(9);
  run.bench.pass(1s);
  run.client.send(msg::Heartbeat{});
  run.told(9);
  for (int i = 0; i < 50; ++i) run.end_one();
  CHECK(run.client.count<msg::WatchEvents>() == 1);
  run.bench.pass(200ms);
  CHECK(run.client.count<msg::WatchEvents>() == 2);
  CHECK(run.told(9).ended.size() == 50);
}

TEST_CASE("a resumption tells what came after its position, and only that") {
  Running run(6);
  run.watch(9);
  run.told(9);
  run.bench.pass(200ms);
  run.end_one();
  run.end_one();
  run.bench.pass(200ms);
  const auto before = run.told(9);
  CHECK(before.ended.size() == 2);
  run.client.close();
  run.bench.turn();
  run.end_one();
  run.end_one();
  run.client = run.bench.client();
  run.watch(1, before.seq);
  const auto told = run.told(1);
  CHECK(told.ended == std::vector<TaskIndex>{TaskIndex(3), TaskIndex(4)});
  CHECK(told.caught_up);
  CHECK(!told.reset);
}

TEST_CASE("a position of another generation, or ahead of us, is reset") {
  Running run(3);
  run.end_one();
  SUBCASE("another generation") {
    run.watch(9, {Generation{5, 5}, Seq(1), false});
  }
  SUBCASE("ahead") {
    run.watch(9, {Generation{1, 1}, Seq(1'000'000), false});
  }
  const auto told = run.told(9);
  CHECK(told.reset);
  CHECK(told.caught_up);
  CHECK(told.ended.size() == 1);
}

TEST_CASE("a finished job is told from the tables") {
  Running run(2);
  run.end_one();
  run.end_one();
  CHECK(run.bench.server->queue().jobs().empty());
  run.watch(9);
  const auto told = run.told(9);
  CHECK(told.ended.size() == 2);
  CHECK(told.state == JobState::Succeeded);
  run.client.send(msg::Watch{10, JobId(55), {}, {}, true, false});
  run.bench.turn();
  const auto denied = run.client.expect<msg::Denied>();
  CHECK(denied.query == 10);
  CHECK(denied.code == Errc::NotFound);
}

TEST_CASE("without credit nothing more is sent; a slow reader misses nothing") {
  Running run(3000);
  run.watch(9);
  CHECK(run.client.count<msg::WatchEvents>() == 1);
  // Never confirmed: eight messages in all.
  for (int i = 0; i < 20; ++i) {
    run.bench.pass(150ms);
    run.worker.send(msg::Heartbeat{});
    run.client.send(msg::Heartbeat{});
    run.end_one();
  }
  CHECK(run.client.count<msg::WatchEvents>() == limits::kWatchCredit);
  std::set<TaskIndex> seen;
  for (int round = 0; round < 10; ++round) {
    const auto told = run.told(9);
    seen.insert(told.ended.begin(), told.ended.end());
    run.bench.pass(150ms);
  }
  CHECK(seen.size() == 20);
}

TEST_CASE("a change that comes while the tables are read is not lost") {
  Running run(10);
  run.end_one();
  run.bench.reads.held.emplace();
  run.watch(9);
  REQUIRE(run.bench.reads.held->size() == 1);
  run.end_one();  // Behind the target of what is being read.
  run.end_one();
  auto completion = std::move(run.bench.reads.held->front());
  run.bench.reads.held.reset();
  completion();
  run.bench.turn();
  run.bench.pass(200ms);
  const auto told = run.told(9);
  CHECK(told.ended == std::vector<TaskIndex>{TaskIndex(1), TaskIndex(2), TaskIndex(3)});
}

TEST_CASE(
    "the end of a job is told behind its tasks, also when it comes while the tables are read") {
  Running run(2);
  run.bench.reads.held.emplace();
  run.watch(9);
  run.end_one();
  run.end_one();
  auto completion = std::move(run.bench.reads.held->front());
  run.bench.reads.held.reset();
  completion();
  run.bench.turn();
  std::size_t ended = 0;
  std::optional<JobState> state;
  while (const auto events = run.client.take<msg::WatchEvents>()) {
    ended += events->ended.size();
    if (!events->job.empty()) state = events->job.front().state;
    if (state && is_finished(*state)) CHECK(ended == 2);
  }
  CHECK(state == JobState::Succeeded);
}

TEST_CASE("many ended tasks come in many messages, the position last") {
  Running run(600);
  while (!run.held.empty()) run.end_one();
  run.watch(9);
  std::set<TaskIndex> seen;
  Seq seq;
  bool caught_up = false;
  for (int round = 0; round < 50 && !caught_up; ++round) {
    const auto told = run.told(9);
    seen.insert(told.ended.begin(), told.ended.end());
    if (!told.caught_up && told.messages > 0) CHECK(told.seq == Seq{});
    caught_up = told.caught_up;
    seq = told.seq;
    run.bench.turn();
  }
  CHECK(caught_up);
  CHECK(seen.size() == 600);
  CHECK(seq == run.bench.server->committed());
}

TEST_CASE("workers deliver live what somebody follows, and stop when nobody does") {
  Running run(1);
  run.watch(9, {}, true);
  CHECK(run.worker.count<msg::Follow>() == 0);  // Not before it is known that he may see the job.
  run.bench.turn();
  const auto follow = run.worker.expect<msg::Follow>();
  CHECK(follow.job == JobId(1));
  CHECK(follow.on);
  Peer other = run.bench.enrolled("w2");
  other.hello(msg::WorkerHello{});
  CHECK(other.expect<msg::Follow>().on);
  run.client.send(msg::Unwatch{9});
  run.bench.turn();
  CHECK(!run.worker.expect<msg::Follow>().on);
}

TEST_CASE("who may not see a job has its workers deliver nothing") {
  Running run(1);
  Peer bob = run.bench.client("bob");
  bob.send(msg::Watch{9, JobId(1), Generation{1, 1}, {}, true, true});
  run.bench.turn();
  run.bench.turn();
  CHECK(bob.expect<msg::Denied>().code == Errc::NotFound);
  CHECK(run.worker.count<msg::Follow>() == 0);
}

TEST_CASE("output is acknowledged when it is durable, and then told") {
  Running run(1);
  run.watch(9, {}, true);
  run.told(9);
  const AttemptKey key = run.held.front();
  run.bench.logs.hold = true;
  run.worker.send(msg::LogChunk{key, Stream::Stdout, 0, "hello ", false});
  run.worker.send(msg::LogChunk{key, Stream::Stdout, 6, "world", true});
  run.bench.turn();
  CHECK(run.worker.count<msg::LogAck>() == 0);
  for (auto& write : run.bench.logs.held) write();
  run.bench.pass(200ms);
  CHECK(run.worker.expect<msg::LogAck>().upto == 6);
  const auto last = run.worker.expect<msg::LogAck>();
  CHECK(last.upto == 11);
  CHECK(last.last);
  const auto told = run.told(9);
  REQUIRE(!told.grew.empty());
  CHECK(told.grew.back().upto == 11);

  run.client.send(msg::ReadLog{4, JobId(1), TaskIndex(1), {}, Stream::Stdout, 0});
  run.bench.turn();
  const auto data = run.client.expect<msg::LogData>();
  CHECK(data.data == "hello world");
  CHECK(data.end);
}

TEST_CASE("output beyond the credit ends the session") {
  Running run(1);
  run.bench.logs.hold = true;
  for (std::uint64_t i = 0; i < 3; ++i)
    run.worker.send(msg::LogChunk{run.held.front(), Stream::Stdout, i, "x", false});
  run.bench.turn();
  CHECK(run.worker.take<msg::NeedHello>().has_value());
}

TEST_CASE("output of another worker's attempt is not taken, whoever sends it") {
  Running run(1);
  const AttemptKey key = run.held.front();
  Peer other = run.bench.enrolled("forger");
  other.hello(msg::WorkerHello{});
  const auto forge = [&](const AttemptKey& of) {
    other.send(msg::LogChunk{of, Stream::Stdout, 0, "forged", true});
    run.bench.turn();
    // Acknowledged, so that it is not sent for ever.
    CHECK(other.expect<msg::LogAck>().upto == 6);
  };
  forge(key);
  run.end_one();
  forge(key);
  forge({key.job, TaskIndex(77), AttemptNo(1)});
  forge({key.job, key.task, AttemptNo(9)});
  CHECK(run.bench.logs.streams.empty());
  // The one that ran it delivers what is left after its end.
  run.worker.send(msg::LogChunk{key, Stream::Stdout, 0, "true", true});
  run.bench.turn();
  CHECK(run.worker.expect<msg::LogAck>().last);
  CHECK(run.bench.logs.streams.at({key, Stream::Stdout}).data == "true");
}

TEST_CASE("output beyond all bounds ends the session") {
  Running run(1);
  run.worker.send(msg::LogChunk{run.held.front(), Stream::Stdout, (1ULL << 62) + 1, "x", false});
  run.bench.turn();
  CHECK(run.worker.take<msg::NeedHello>().has_value());
  CHECK(run.bench.logs.streams.empty());
}

TEST_CASE("while the disk is full output stays with its worker, and follows when there is room") {
  Running run(1);
  run.bench.host.state.free_bytes = 0;
  run.bench.memory.fail_next(MemoryStore::Fault::DiskFull);
  submit(run.client, an_id(77), a_job().spec());
  run.bench.turn();
  REQUIRE(run.bench.server->is_draining());
  run.worker.send(msg::LogChunk{run.held.front(), Stream::Stdout, 0, "held back", true});
  for (int i = 0; i < 4; ++i) {
    run.bench.pass(4s);
    run.worker.send(msg::Heartbeat{});
  }
  CHECK(run.bench.logs.streams.empty());
  CHECK(run.worker.count<msg::LogAck>() == 0);
  run.bench.host.state.free_bytes = UINT64_MAX;
  run.bench.pass(10s);
  CHECK(run.worker.count<msg::LogAck>() == 1);
  CHECK(run.bench.logs.streams.at({run.held.front(), Stream::Stdout}).data == "held back");
}

TEST_CASE("watching and unwatching in a loop fills no queue") {
  Running run(1);
  run.bench.reads.held.emplace();
  const int before = run.bench.reads.posted;
  for (int i = 0; i < 500; ++i) {
    run.client.send(msg::Watch{9, JobId(1), {}, {}, true, false});
    run.bench.turn();
    run.client.send(msg::Unwatch{9});
  }
  run.client.send(msg::Watch{10, JobId(1), {}, {}, true, false});
  run.bench.turn();
  CHECK(run.bench.reads.posted - before == static_cast<int>(limits::kWatchesPerClient));
  // It goes on when they are answered.
  auto held = std::exchange(run.bench.reads.held, std::nullopt);
  for (auto& completion : *held) completion();
  run.bench.pass(1s);
  CHECK(run.told(10).caught_up);
}

TEST_CASE("what the log refused is tried again, and acknowledged then") {
  Running run(1);
  run.bench.logs.fault = Errc::Unavailable;
  run.worker.send(msg::LogChunk{run.held.front(), Stream::Stdout, 0, "x", false});
  run.bench.turn();
  CHECK(run.worker.count<msg::LogAck>() == 0);
  run.bench.logs.fault.reset();
  run.bench.pass(1s);
  CHECK(run.worker.count<msg::LogAck>() == 1);
}

TEST_CASE("reading a log: short output from the result, the rest as it is delivered") {
  Running run(2);
  const AttemptKey first = run.held[0];
  const auto read = [&](std::uint32_t task, std::uint64_t offset) {
    run.client.send(msg::ReadLog{1, JobId(1), TaskIndex(task), {}, Stream::Stdout, offset});
    run.bench.turn();
    return run.client.expect<msg::LogData>();
  };
  auto data = read(1, 0);  // Running, nothing delivered.
  CHECK(data.data.empty());
  CHECK(!data.end);
  AttemptResult result = a_result(first, EndClass::Success);
  result.stdout_bytes = 10;
  result.stdout_tail = "789";
  run.worker.send(msg::Results{{result}});
  run.bench.turn();
  run.collect();
  data = read(1, 0);  // Ended, but the first bytes are still with the worker.
  CHECK(data.data.empty());
  CHECK(!data.end);
  CHECK(data.total == 10);

  SUBCASE("they come") {
    run.worker.send(msg::LogChunk{first, Stream::Stdout, 0, "0123456789", true});
    run.bench.turn();
    data = read(1, 4);
    CHECK(data.data == "456789");
    CHECK(data.end);
  }
  SUBCASE("their worker is gone: what there is, and the end from the result") {
    run.watch(9, {}, true);
    run.told(9);
    run.worker.send(msg::LogChunk{first, Stream::Stdout, 0, "012", false});
    run.bench.turn();
    read(1, 3);
    run.worker.send(msg::Goodbye{});
    run.bench.turn();
    run.bench.pass(200ms);
    CHECK(!run.told(9).grew.empty());  // Look again.
    data = read(1, 3);
    CHECK(data.offset == 7);
    CHECK(data.data == "789");
    CHECK(data.end);
  }
  SUBCASE("short output is in the result") {
    AttemptResult second = a_result(run.held.back(), EndClass::Success);
    second.stdout_bytes = 3;
    second.stdout_tail = "out";
    run.worker.send(msg::Results{{second}});
    run.bench.turn();
    data = read(2, 1);
    CHECK(data.data == "ut");
    CHECK(data.end);
  }
}

TEST_CASE("output of an attempt that failed is kept while its task waits for the next one") {
  Running run(1, 2);
  const AttemptKey key = run.held.front();
  const auto read = [&] {
    run.client.send(msg::ReadLog{1, key.job, key.task, key.attempt, Stream::Stdout, 0});
    run.bench.turn();
    return run.client.expect<msg::LogData>();
  };
  AttemptResult result = a_result(key, EndClass::Exit);
  result.stdout_bytes = 10;
  result.stdout_tail = "789";
  run.worker.send(msg::Results{{result}});
  run.bench.turn();
  REQUIRE(run.bench.server->queue().find_job(key.job)->backoffs.size() == 1);
  auto data = read();
  CHECK(data.data.empty());
  CHECK_FALSE(data.end);
  CHECK(data.total == 10);
  run.worker.send(msg::LogChunk{key, Stream::Stdout, 0, "0123456789", true});
  run.bench.turn();
  CHECK(run.worker.expect<msg::LogAck>().last);
  data = read();
  CHECK(data.data == "0123456789");
  CHECK(data.end);
}

TEST_CASE("reading a log of a task that is not there, or ended without an attempt") {
  Running run(5);
  run.client.send(msg::ReadLog{1, JobId(1), TaskIndex(77), {}, Stream::Stdout, 0});
  run.bench.turn();
  CHECK(run.client.expect<msg::Denied>().code == Errc::NotFound);
  run.client.send(
      msg::Control{an_id(50), msg::Verb::Cancel, {{Selector::Kind::Job, JobId(1), {{5, 5, 1}}}}});
  run.bench.turn();
  run.client.send(msg::ReadLog{2, JobId(1), TaskIndex(5), {}, Stream::Stdout, 0});
  run.bench.turn();
  const auto data = run.client.expect<msg::LogData>();
  CHECK(data.data.empty());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
