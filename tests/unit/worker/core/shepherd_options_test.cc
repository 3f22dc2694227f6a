// SPDX-License-Identifier: MIT
//
// What a job asks for beside its command: memory, cpus of its own, files, limits of silence.
#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "tests/unit/worker/core/shepherd_bench.h"

namespace capstan {
namespace {

using namespace std::chrono_literals;
using test::Bench;
using test::key_of;
using Tasks = std::vector<std::uint32_t>;

constexpr std::uint64_t kGiB = 1ULL << 30;

pair::Run a_run(std::uint32_t task) {
  return {.key = key_of(task), .argv = {"true"}};
}

/// One attempt that runs, with these options.
struct Running : Bench {
  explicit Running(pair::RunSettings settings) : Bench({.instance = {}, .mem_bytes = 8 * kGiB}) {
    run(key_of(1), std::move(settings));
    launch();
    actions.clear();
  }
};

bool looks(Bench& bench) {
  return !bench.taken<shepherd::Look>().empty();
}

TEST_SUITE("worker/core/slots") {
  TEST_CASE("shares never sum to more than there is") {
    Slots slots({.cpus = 3, .mem_bytes = 100});
    const auto first = slots.take(2, 60);
    REQUIRE(first);
    CHECK_FALSE(slots.take(2, 10));  // Too many cpus,
    CHECK_FALSE(slots.take(1, 50));  // too much memory.
    REQUIRE(slots.take(1, 40));
    CHECK_FALSE(slots.take(1, 0));
    slots.give_back(*first);
    CHECK(slots.take(1, 60));
    CHECK_FALSE(slots.take(1, 1));
    CHECK(slots.take(1, 0));
  }

  TEST_CASE("who asks for more than there is takes all of it") {
    Slots slots({.cpus = 2, .mem_bytes = 100});
    const auto all = slots.take(99, 1000);
    REQUIRE(all);
    CHECK(all->cpus == 2);
    CHECK(all->mem_bytes == 100);
    CHECK_FALSE(slots.take(1, 0));
  }

  TEST_CASE("where memory is not known it is not counted") {
    Slots slots({.cpus = 2});
    CHECK(slots.take(1, kGiB));
    CHECK(slots.take(1, kGiB));
  }
}

TEST_SUITE("worker/core/shepherd_options") {
  TEST_CASE("memory counts as cpus do, and is free when the tree is gone") {
    Bench bench({.instance = {}, .cpus = 4, .mem_bytes = 3 * kGiB});
    for (std::uint32_t task = 1; task <= 3; ++task)
      bench.run(key_of(task), {.mem_bytes = 2 * kGiB - 1});
    bench.tick();
    CHECK(bench.launched() == Tasks{1});
    bench.gone(1);
    bench.tick();
    CHECK(bench.launched() == Tasks{2});
  }

  TEST_CASE("options reach the launch") {
    Bench bench;
    bench.from_agent(pair::JobTemplate{
        .job = JobId(1), .settings = {.cpus = 99, .mem_bytes = 5, .nice = 7}, .script = "#!"});
    pair::Run run = a_run(1);
    run.files = {"out", "err"};
    bench.run(run);
    bench.tick();
    const auto launches = bench.taken<shepherd::Launch>();
    REQUIRE(launches.size() == 1);
    CHECK(launches[0].job->settings.nice == 7);
    CHECK(launches[0].job->has_script);
    CHECK_FALSE(launches[0].job->has_stdin);
    CHECK(launches[0].job->settings.mem_bytes == 5);
    CHECK(launches[0].cpus == 2);  // All that there are.
    CHECK(launches[0].files == std::array<SparseText, 2>{"out", "err"});
  }

  TEST_CASE("one that writes nothing for its stall limit is ended, one that writes is not") {
    Running bench({.stall_limit = 10s});
    const TimePoint start = bench.now;
    bench.tick(limits::kStartedHold);
    CHECK(bench.machine.next_deadline() == start + 10s);
    bench.tick(10s - 1us - limits::kStartedHold);
    CHECK_FALSE(looks(bench));
    bench.tick(1us);
    CHECK(looks(bench));
    bench.say(shepherd::Seen{.key = key_of(1), .output_at = bench.now - 4s});
    CHECK(bench.taken<shepherd::Kill>().empty());
    CHECK(bench.machine.next_deadline() == bench.now + 6s);
    bench.tick(6s);
    CHECK(looks(bench));
    bench.say(shepherd::Seen{.key = key_of(1), .output_at = bench.now - 10s});
    CHECK(bench.taken<shepherd::Kill>().size() == 1);
    bench.gone(1, {.exit_code = 0, .signal = 15});
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 1);
    CHECK(results[0].end == EndClass::Stall);
    CHECK(results[0].reason == "wrote nothing for 10s, its stall limit");
  }

  TEST_CASE("a time limit holds beside a stall limit") {
    Running bench({.time_limit = 3s, .stall_limit = 2s});
    bench.tick(2s);
    CHECK(looks(bench));
    bench.say(shepherd::Seen{.key = key_of(1), .output_at = bench.now});
    CHECK(bench.machine.next_deadline() == bench.now + 1s);
    bench.tick(1s);
    bench.gone(1, {.exit_code = 0, .signal = 15});
    bench.tick();
    CHECK(bench.results().at(0).end == EndClass::Timeout);
  }

  TEST_CASE("one that uses more memory than it asked for is ended, and says how much") {
    Running bench({.mem_bytes = kGiB});
    bench.tick(limits::kMemoryPace);
    CHECK(looks(bench));
    bench.say(shepherd::Seen{.key = key_of(1), .mem_bytes = kGiB});
    CHECK(bench.taken<shepherd::Kill>().empty());
    bench.tick(limits::kMemoryPace);
    CHECK(looks(bench));
    bench.say(shepherd::Seen{.key = key_of(1), .mem_bytes = kGiB + kGiB / 5});
    CHECK(bench.taken<shepherd::Kill>().size() == 1);
    bench.gone(1, {.exit_code = 0, .signal = 15});
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 1);
    CHECK(results[0].end == EndClass::Oom);
    CHECK(results[0].reason == "used 1.2G of the 1G it asked for");
  }

  TEST_CASE("one that the kernel holds to its memory is not measured") {
    const auto ended_by = [](Oom oom) {
      Bench bench({.instance = {}, .mem_bytes = kGiB});
      bench.run(key_of(1), {.mem_bytes = kGiB});
      bench.tick();
      REQUIRE(bench.taken<shepherd::Launch>().size() == 1);
      bench.say(shepherd::Launched{.key = key_of(1), .holds_memory = true});
      bench.tick(10 * limits::kMemoryPace);
      CHECK_FALSE(looks(bench));
      bench.gone(1, {.exit_code = 0, .signal = 9, .oom = oom});
      bench.tick();
      return bench.results().at(0);
    };
    const AttemptResult own = ended_by(Oom::OwnLimit);
    CHECK(own.end == EndClass::Oom);
    CHECK(own.reason == "the kernel killed it: it used all of the 1G it asked for");
    const AttemptResult around = ended_by(Oom::Around);
    CHECK(around.end == EndClass::Oom);
    CHECK(around.reason ==
          "the kernel killed it: no memory was left around it, within the 1G it asked for");
  }

  TEST_CASE("its peak at the end: a signal is put down to it, an exit only gets the words") {
    Bench bench({.instance = {}, .cpus = 3, .mem_bytes = 8 * kGiB});
    for (std::uint32_t task = 1; task <= 3; ++task) bench.run(key_of(task), {.mem_bytes = kGiB});
    bench.launch();
    bench.gone(1, {.signal = 9, .max_rss_bytes = 2 * kGiB});
    bench.gone(2, {.max_rss_bytes = 2 * kGiB});
    bench.gone(3, {.signal = 9, .max_rss_bytes = kGiB});
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 3);
    CHECK(results[0].end == EndClass::Oom);
    CHECK(results[1].end == EndClass::Success);
    CHECK(results[1].reason == "used 2G of the 1G it asked for");
    CHECK(results[2].end == EndClass::Signal);
  }

  TEST_CASE("a note stands behind the reason, also of a success") {
    Bench bench;
    bench.run(1);
    bench.run(2);
    bench.launch();
    bench.gone(1, {.note = "only 5 bytes were written to x: No space left on device"});
    bench.gone(2, {.signal = 11, .note = "a note"});
    bench.tick();
    const auto results = bench.results();
    REQUIRE(results.size() == 2);
    CHECK(results[0].end == EndClass::Success);
    CHECK(results[0].reason == "only 5 bytes were written to x: No space left on device");
    CHECK(results[1].reason == "killed by SIGSEGV; a note");
  }

  TEST_CASE("files of a job are kept once, and dropped when the agent forgets it") {
    Bench bench;
    const pair::JobTemplate files{.job = JobId(1), .has_stdin = true, .stdin_data = "in"};
    bench.from_agent(files);
    bench.from_agent(files);
    const auto kept = bench.taken<shepherd::KeepJobFiles>();
    REQUIRE(kept.size() == 1);
    CHECK(kept[0].stdin_data == "in");
    bench.say(shepherd::AgentUp{});
    CHECK(bench.told<pair::State>().at(0).jobs == std::vector<JobId>{JobId(1)});
    bench.from_agent(pair::ForgetJob{JobId(1)});
    CHECK(bench.taken<shepherd::DropJobFiles>().size() == 1);
    bench.from_agent(pair::ForgetJob{JobId(1)});
    CHECK(bench.taken<shepherd::DropJobFiles>().empty());
  }

  TEST_CASE("what needs files that are not here is given back, not failed") {
    Bench bench;
    const pair::Run run = a_run(1);
    bench.say(shepherd::FromAgent{pair::Runs{{run}}});
    CHECK(bench.told<pair::Returned>().size() == 1);
    bench.from_agent(pair::JobTemplate{.job = JobId(1), .has_stdin = true});
    bench.run(run);
    bench.say(shepherd::FilesFailed{JobId(1)});
    bench.say(shepherd::Disk{true});
    bench.tick();
    CHECK(bench.launched().empty());
    CHECK(bench.told<pair::Returned>().size() == 1);
    bench.say(shepherd::Disk{false});
    bench.say(shepherd::FromAgent{pair::Runs{{run}}});  // Before the agent knows.
    CHECK(bench.told<pair::Returned>().size() == 1);
    CHECK(bench.machine.held_count() == 0);
  }

  TEST_CASE("the environment of a job is said once, and kept for what waits") {
    Bench bench({.instance = {}, .cpus = 1});
    bench.from_agent(pair::JobTemplate{.job = JobId(1), .env = {{"LANG", "de"}}});
    for (std::uint32_t task = 1; task <= 2; ++task) {
      pair::Run run = a_run(task);
      run.input = "in " + std::to_string(task);
      bench.run(run);
    }
    bench.from_agent(pair::ForgetJob{JobId(1)});
    CHECK(bench.taken<shepherd::DropJobFiles>().empty());
    bench.launch();
    bench.gone(1);
    bench.tick();
    const auto launches = bench.taken<shepherd::Launch>();
    REQUIRE(launches.size() == 1);
    REQUIRE(launches[0].job != nullptr);
    CHECK(launches[0].job->env == std::vector<std::string>{"LANG=de"});
    CHECK(launches[0].input == "in 2");
  }

  TEST_CASE("another generation drops the files: its jobs have the same numbers") {
    Bench bench;
    bench.from_agent(pair::JobTemplate{.job = JobId(1), .script = "#!"});
    bench.from_agent(pair::NewGeneration{{2, 2}});
    bench.tick();
    bench.say(shepherd::NewInstance{Instance{}});
    CHECK(bench.taken<shepherd::DropJobFiles>().size() == 1);
    CHECK(bench.told<pair::State>().at(0).jobs.empty());
  }
}

}  // namespace
}  // namespace capstan
