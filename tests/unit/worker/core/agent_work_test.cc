// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "tests/unit/worker/core/agent_bench.h"
#include "worker/core/environment.h"

namespace capstan {
namespace {

using namespace std::chrono_literals;
using test::an_item;
using test::key_of;
using Bench = test::AgentBench;

TEST_SUITE("worker/core/agent work") {
  TEST_CASE("a start becomes a command with its environment") {
    Bench bench({.version = "t", .name = "w", .environment = {{"PATH", "/bin"}, {"LANG", "C"}}});
    bench.sync();
    bench.say(agent::Connected{0});
    bench.welcome(1);
    JobSpec spec;
    spec.cwd = "/data";
    spec.argv = {"convert", "{}", "{.}.png"};
    spec.has_inputs = true;
    spec.env = {{"LANG", "de"}, {"X", "1"}, {"CAPSTAN_JOB_ID", "99"}};
    spec.cpus = 2;
    spec.time_limit = 5s;
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.start(4, "a b.jpg");
    const auto told = bench.taken<agent::ToShepherd>();
    REQUIRE(told.size() == 3);  // Ready first.
    const auto& job = std::get<pair::JobTemplate>(told[1].message);
    const std::vector<pair::Run> runs = std::get<pair::Runs>(told[2].message).runs;
    REQUIRE(runs.size() == 1);
    CHECK(runs[0].key == key_of(4));
    CHECK(runs[0].argv == std::vector<Bytes>{"convert", "a b.jpg", "a b.png"});
    CHECK(job.settings.cwd == "/data");
    CHECK(job.settings.cpus == 2);
    CHECK(job.settings.time_limit == 5s);
    std::map<Bytes, Bytes> env;
    std::vector<EnvVar> whole = job.env;
    const std::vector<EnvVar> own = task_environment(runs[0].key, runs[0].input);
    whole.insert(whole.end(), own.begin(), own.end());
    for (const EnvVar& each : whole) {
      CHECK(env.emplace(each.name, each.value).second);  // Each name once.
    }
    CHECK(env == std::map<Bytes, Bytes>{{"PATH", "/bin"},
                                        {"LANG", "de"},
                                        {"X", "1"},
                                        {"CAPSTAN_JOB_ID", "1"},
                                        {"CAPSTAN_TASK_INDEX", "4"},
                                        {"CAPSTAN_ATTEMPT", "1"},
                                        {"CAPSTAN_CPUS", "2"},
                                        {"CAPSTAN_INPUT", "a b.jpg"},
                                        {"CAPSTAN_WORKER", "w"}});
  }

  TEST_CASE("a command without inputs is said once, and the tasks of a start together") {
    Bench bench;
    bench.open();
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"echo $CAPSTAN_TASK_INDEX {}"};
    spec.shell = true;
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.master_says(msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(1), {}}, {TaskIndex(2), {}}}});
    const auto told = bench.taken<agent::ToShepherd>();
    REQUIRE(told.size() == 2);
    CHECK(std::get<pair::JobTemplate>(told[0].message).argv ==
          std::vector<Bytes>{"/bin/sh", "-c", "echo $CAPSTAN_TASK_INDEX {}"});
    const auto& runs = std::get<pair::Runs>(told[1].message).runs;
    REQUIRE(runs.size() == 2);
    CHECK(runs[0].key == key_of(1));
    CHECK(runs[1].key == key_of(2));
    CHECK(runs[1].argv.empty());
  }

  TEST_CASE("tasks with large inputs are said in several messages") {
    Bench bench;
    bench.open();
    msg::Start start{JobId(1), AttemptNo(1), {}};
    for (std::uint32_t task = 1; task <= 9; ++task)
      start.tasks.push_back({TaskIndex(task), {Bytes(limits::kMessageBytes / 8, 'x')}});
    bench.master_says(start);
    std::vector<std::size_t> together;  // An input is an argument, and in the environment.
    for (const auto& each : bench.told<pair::Runs>()) together.push_back(each.runs.size());
    CHECK(together == std::vector<std::size_t>{4, 4, 1});
  }

  TEST_CASE("arguments without a byte count as well, where a message is cut") {
    Bench bench;
    bench.open();
    JobSpec spec;
    spec.cwd = "/";
    spec.argv.assign(limits::kMessageBytes / 4, "");
    spec.argv[0] = "prog";
    spec.has_inputs = true;
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.master_says(
        msg::Start{JobId(1), AttemptNo(1), {{TaskIndex(1), {"a"}}, {TaskIndex(2), {"b"}}}});
    CHECK(bench.told<pair::Runs>().size() == 2);
  }

  TEST_CASE("a result that comes again after its acknowledgement is sent once") {
    Bench bench;
    bench.open();
    bench.shepherd(pair::Ended{{an_item(1)}});
    bench.tick();
    CHECK(bench.sent<msg::Results>().size() == 1);
    bench.reconnect();
    bench.welcome(2);
    bench.master_says(msg::ResultAck{runs_of({key_of(1)})});
    bench.shepherd(pair::Ended{{an_item(1)}});
    bench.tick();
    const auto sent = bench.sent<msg::Results>();
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].results.size() == 1);
  }

  TEST_CASE("an input that execve would refuse in the environment is left out there") {
    JobSpec spec;
    spec.has_inputs = true;
    const std::size_t room = limits::kArgumentBytes - sizeof("CAPSTAN_INPUT=") + 1;
    const auto has_input = [&spec](std::size_t size) {
      return input_variable(spec, {Bytes(size, 'x')}).has_value();
    };
    CHECK(has_input(room));
    CHECK_FALSE(has_input(room + 1));
    spec.has_inputs = false;
    CHECK_FALSE(has_input(1));
  }

  TEST_CASE("what a job asks for reaches the shepherd") {
    Bench bench;
    bench.open();
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"true"};
    spec.stall_limit = 7s;
    spec.mem_bytes = 1 << 30;
    spec.nice = 4;
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.start(1);
    const auto jobs = bench.told<pair::JobTemplate>();
    REQUIRE(jobs.size() == 1);
    CHECK(jobs[0].settings.stall_limit == 7s);
    CHECK(jobs[0].settings.mem_bytes == 1 << 30);
    CHECK(jobs[0].settings.nice == 4);
    CHECK(jobs[0].script.empty());
    CHECK_FALSE(jobs[0].has_stdin);
  }

  TEST_CASE("the memory of the worker is told in HELLO") {
    Bench bench;
    pair::State state{.instance = test::instance_of(1), .cpus = 2, .mem_bytes = 77};
    bench.shepherd(state);
    bench.shepherd(pair::Synced{});
    bench.say(agent::Connected{0});
    CHECK(bench.sent<msg::WorkerHello>().at(0).mem_bytes == 77);
  }

  TEST_CASE("script and stdin go to the shepherd before the first run, once while any is held") {
    Bench bench;
    bench.open();
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"name"};
    spec.script = "#!/bin/sh";
    spec.has_stdin = true;
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.master_says(msg::JobStdin{JobId(1), 0, "one ", false});
    bench.master_says(msg::JobStdin{JobId(1), 4, "two", true});
    bench.start(1);
    bench.start(2);
    const auto messages = bench.taken<agent::ToShepherd>();
    REQUIRE(messages.size() == 3);
    const auto& files = std::get<pair::JobTemplate>(messages[0].message);
    CHECK(files.job == JobId(1));
    CHECK(files.script == "#!/bin/sh");
    CHECK(files.has_stdin);
    CHECK(files.stdin_data == "one two");
    CHECK(std::holds_alternative<pair::Runs>(messages[1].message));

    bench.shepherd(pair::Ended{{an_item(1)}});
    bench.tick();
    CHECK(bench.told<pair::ForgetJob>().empty());
    bench.shepherd(pair::Returned{{key_of(2)}});
    bench.tick();
    CHECK(bench.told<pair::ForgetJob>().size() == 1);
    bench.start(3);
    CHECK(bench.told<pair::JobTemplate>().size() == 1);
  }

  TEST_CASE("templates that an earlier agent had told are forgotten when nothing needs them") {
    Bench bench;
    pair::State state{.instance = test::instance_of(1), .cpus = 2, .held = {{key_of(1)}}};
    state.jobs = {JobId(1), JobId(2)};
    bench.shepherd(state);
    bench.shepherd(pair::Synced{});
    bench.tick();
    const auto forgotten = bench.told<pair::ForgetJob>();
    REQUIRE(forgotten.size() == 1);
    CHECK(forgotten[0].job == JobId(2));
  }

  TEST_CASE("a start before all of its stdin is as one without its template") {
    Bench bench;
    bench.open();
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"cat"};
    spec.has_stdin = true;
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.master_says(msg::JobStdin{JobId(1), 0, "one", false});
    bench.master_says(msg::JobStdin{JobId(1), 9, "gap", true});
    bench.start(1);
    CHECK(bench.runs().empty());
    CHECK_FALSE(bench.agent.is_open());
  }

  TEST_CASE("what cannot be rendered is told as such and still a held attempt until it ended") {
    Bench bench;
    bench.open();
    bench.start(1, Bytes("nul\0", 4));
    CHECK(bench.told<pair::Unrunnable>().size() == 1);
    CHECK(bench.agent.held_count() == 1);
  }

  TEST_CASE("a Start is idempotent, across sessions and against the spool") {
    Bench bench;
    bench.open();
    bench.start(1);
    bench.start(1);
    CHECK(bench.runs().size() == 1);
    bench.shepherd(pair::Ended{{an_item(1)}});
    bench.start(1);
    CHECK(bench.runs().empty());
    bench.master_says(msg::ResultAck{runs_of({key_of(1)})});
    CHECK(bench.agent.unacknowledged_count() == 0);
  }

  TEST_CASE("a Start without its template asks for a new session") {
    Bench bench;
    bench.open();
    bench.master_says(msg::Start{JobId(2), AttemptNo(1), {{TaskIndex(1), {}}}});
    CHECK_FALSE(bench.agent.is_open());
    bench.tick(limits::kHelloRetry);
    CHECK(bench.sent<msg::WorkerHello>().size() == 1);
  }

  TEST_CASE("cancel and recall go to the shepherd for what is held") {
    Bench bench;
    bench.open();
    bench.start(1);
    bench.master_says(msg::Cancel{CancelWhy::Superseded, {key_of(1), key_of(2)}});
    const auto cancels = bench.told<pair::Cancel>();
    REQUIRE(cancels.size() == 1);
    CHECK(cancels[0].keys == std::vector{key_of(1)});
    CHECK(cancels[0].why == CancelWhy::Superseded);
    bench.master_says(msg::Recall{{key_of(1), key_of(2)}});
    CHECK(bench.told<pair::Recall>().at(0).keys == std::vector{key_of(1)});
    bench.shepherd(pair::Returned{{key_of(1)}});
    CHECK(bench.sent<msg::Returned>().at(0).keys == std::vector{key_of(1)});
    CHECK(bench.agent.held_count() == 0);
  }

  TEST_CASE("recalled and started crossed: the start wins, nothing is returned") {
    Bench bench;
    bench.open();
    bench.start(1);
    bench.shepherd(pair::StartedAt{key_of(1), bench.now - 60ms});
    bench.master_says(msg::Recall{{key_of(1)}});
    bench.tick();
    const auto started = bench.sent<msg::Started>();
    REQUIRE(started.size() == 1);
    CHECK(started[0].started[0].key == key_of(1));
    CHECK(started[0].started[0].ago == 60ms);
    CHECK(bench.agent.held_count() == 1);
  }

  TEST_CASE("a Start that was sent before its master heard of the return is returned, not run") {
    Bench bench;
    bench.open();
    bench.start(5);
    bench.reconnect();  // A HELLO leaves, and then:
    bench.shepherd(pair::Returned{{key_of(5)}});
    bench.taken<agent::ToShepherd>();
    bench.welcome(2);  // Reconciled without knowing of it.
    CHECK(bench.sent<msg::Returned>().at(0).keys == std::vector{key_of(5)});
    JobSpec spec;
    spec.cwd = "/";
    spec.argv = {"echo"};
    bench.master_says(msg::JobTemplate{JobId(1), spec});
    bench.start(5);
    CHECK(bench.runs().empty());
    CHECK(bench.sent<msg::Returned>().at(0).keys == std::vector{key_of(5)});
    bench.start(5);  // The answer to that: it was given anew.
    CHECK(bench.runs().size() == 1);
    bench.shepherd(pair::Returned{{key_of(5)}});
    bench.start(5);
    CHECK(bench.runs().size() == 1);
  }

  TEST_CASE("a start that was heard between HELLO and Welcome is told") {
    Bench bench;
    bench.sync({{key_of(1), false, {}}});
    bench.say(agent::Connected{0});
    bench.shepherd(pair::StartedAt{key_of(1), bench.now});
    bench.tick();
    CHECK(bench.sent<msg::Started>().empty());
    bench.welcome(1);
    bench.tick();
    CHECK(bench.sent<msg::Started>().size() == 1);
    bench.reconnect();
    bench.welcome(2);
    bench.tick();
    CHECK(bench.sent<msg::Started>().empty());
  }

  TEST_CASE("thousands of results leave in messages within the limit, a window at a time") {
    Bench bench;
    bench.open();
    pair::Ended ended;
    for (std::uint32_t task = 1; task <= 2000; ++task) {
      ended.items.push_back(an_item(task));
      ended.items.back().result.stdout_tail = Bytes(limits::kTailBytes, 'x');
      ended.items.back().result.stderr_tail = Bytes(limits::kTailBytes, 'y');
    }
    bench.shepherd(ended);
    std::size_t acknowledged = 0;
    for (int round = 0; round < 100 && acknowledged < 2000; ++round) {
      bench.tick();
      std::size_t bytes = 0;
      for (const auto& send : bench.taken<agent::Send>()) {
        const std::size_t size = wire::encode(send.message).size();
        CHECK(size <= limits::kMessageBytes);
        bytes += size;
        std::vector<AttemptKey> keys;
        for (const auto& result : std::get<msg::Results>(send.message.body).results) {
          keys.push_back(result.key);
        }
        acknowledged += keys.size();
        bench.master_says(msg::ResultAck{runs_of(keys)});
      }
      CHECK(bytes <= limits::kResultsInFlightBytes + limits::kMessageBytes);
    }
    CHECK(acknowledged == 2000);
    CHECK(bench.agent.unacknowledged_count() == 0);
  }

  TEST_CASE("long output is delivered in chunks under credit, then its file may go") {
    Bench bench;
    bench.open();
    bench.start(1);
    pair::SpoolItem item = an_item(1);
    item.result.stdout_bytes = 3 * limits::kLogChunkBytes;
    item.delivered = {false, true};
    bench.shepherd(pair::Ended{{item}});
    std::uint64_t upto = 0;
    for (int i = 0; i < 3; ++i) {
      bench.tick();
      const auto reads = bench.taken<agent::ReadOutput>();
      REQUIRE(reads.size() == 1);
      CHECK(reads[0].offset == upto);
      bench.say(
          agent::OutputRead{reads[0].output, reads[0].offset, Bytes(limits::kLogChunkBytes, 'x')});
      upto += limits::kLogChunkBytes;
      const auto chunks = bench.sent<msg::LogChunk>();
      REQUIRE(chunks.size() == 1);
      CHECK(chunks[0].last == (i == 2));
      CHECK(bench.told<pair::Delivered>().empty());
      bench.master_says(msg::LogAck{key_of(1), Stream::Stdout, upto, i == 2});
    }
    const auto delivered = bench.told<pair::Delivered>();
    REQUIRE(delivered.size() == 1);
    CHECK(delivered[0].last);
  }

  TEST_CASE("short output of a followed job that nobody read live needs no delivery") {
    Bench bench;
    bench.open();
    bench.master_says(msg::Follow{JobId(1), true});
    CHECK(bench.told<pair::Follow>().size() == 1);
    bench.start(1);
    pair::SpoolItem item = an_item(1);
    item.result.stdout_bytes = 10;
    item.delivered = {false, false};
    bench.shepherd(pair::Ended{{item}});
    bench.tick();
    CHECK(bench.taken<agent::ReadOutput>().empty());
    CHECK(bench.told<pair::Delivered>().size() == 2);
  }

  TEST_CASE("leaving: a notice, and at the end a goodbye") {
    Bench bench;
    bench.open();
    bench.shepherd(pair::Notice{true, false});
    CHECK(bench.sent<msg::WorkerNotice>().at(0).leaving);
    bench.shepherd(pair::AllDone{});
    CHECK(bench.sent<msg::Goodbye>().size() == 1);
    CHECK(bench.taken<agent::Stop>().at(0).exit_code == 0);
  }
}

}  // namespace
}  // namespace capstan
