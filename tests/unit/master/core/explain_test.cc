// SPDX-License-Identifier: MIT
#include "master/core/explain.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "common/model/limits.h"
#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;
using planner::Presence;

TEST_SUITE_BEGIN("master/core/explain");

struct Asked {
  QueueFixture f;
  std::map<WorkerId, Presence> presence;
  planner::Limits limits{limits::kSuspectAfter, limits::kLostAfter, limits::kClosedGrace};
  std::string viewer;
  std::map<WorkerId, std::string> launch_errors;

  WorkerId add_worker(std::uint32_t cpus, std::uint64_t mem_bytes = 0) {
    const WorkerId w = f.add_worker(cpus, mem_bytes);
    presence[w] = {true, f.now, false, {}};
    return w;
  }
  Explanation why(JobId job, std::uint32_t task = 1) {
    const Job& found = f.job(job);
    return explain({f.queue, presence, limits, f.now, f.wall, viewer, launch_errors}, found,
                   *found.ordinal_of(TaskIndex(task)));
  }
  /// Of the n-th worker, from 1.
  std::string of(JobId job, std::size_t worker, std::uint32_t task = 1) {
    return why(job, task).workers.at(worker - 1).reason;
  }
};

constexpr std::uint64_t kGiB = 1ULL << 30U;

TEST_CASE("each worker is named with its own reason") {
  Asked a;
  a.add_worker(4, 31 * kGiB);
  a.add_worker(16, 31 * kGiB);
  a.add_worker(16);
  const WorkerId drained = a.add_worker(16, 128 * kGiB);
  const WorkerId silent = a.add_worker(16, 128 * kGiB);
  const WorkerId lost = a.add_worker(16, 128 * kGiB);
  const WorkerId full = a.add_worker(16, 128 * kGiB);
  const WorkerId closed = a.add_worker(16, 128 * kGiB);
  const JobId job = a.f.submit(a_job().with_cpus(8).with_mem(64 * kGiB));
  a.f.apply(cmd::WorkersDrained{a.f.ask("alice"), {drained}, true, "disk swap"});
  a.f.lose(lost);
  a.f.apply(cmd::WorkerNoticed{full, a.f.queue.find_worker(full)->row.instance, false, true});
  a.f.wait(Micros(12'000'000));
  for (auto& [id, seen] : a.presence) {
    if (id != silent) seen.last_heard = a.f.now;
  }
  a.presence[closed].closed = true;
  CHECK(a.of(job, 1) == "needs 8 cpus, has 4; needs 64.0 GiB, has 31.0 GiB");
  CHECK(a.of(job, 2) == "needs 64.0 GiB, has 31.0 GiB");
  CHECK(a.of(job, 3) == "needs 64.0 GiB, does not say what it has");
  CHECK(a.of(job, 4) == "drained by alice: disk swap");
  CHECK(a.of(job, 5).starts_with("silent for 12"));
  CHECK(a.of(job, 6) == "was lost: silent");
  CHECK(a.of(job, 7) == "its disk is full");
  CHECK(a.of(job, 8) == "its connection closed");
  for (const auto& worker : a.why(job).workers) CHECK_FALSE(worker.fits);
}

TEST_CASE("what is busy, what failed before, what has room") {
  Asked a;
  const WorkerId busy = a.add_worker(4, 10 * kGiB);
  const WorkerId other = a.add_worker(1);
  const JobId running = a.f.submit(a_job().with_tasks(3).with_mem(3 * kGiB), "bob");
  a.f.assign(busy, running, {1, 2, 3});
  const JobId wide = a.f.submit(a_job().with_cpus(2).with_retries(2));
  CHECK(a.of(wide, 1) == "3 of 4 cpus busy, needs 2");
  CHECK(a.of(wide, 2) == "needs 2 cpus, has 1");
  const JobId large = a.f.submit(a_job().with_mem(2 * kGiB).with_priority(9));
  CHECK(a.of(large, 1) == "9.0 GiB of 10.0 GiB memory taken, needs 2.0 GiB");
  const JobId plain = a.f.submit(a_job().with_retries(2));
  CHECK(a.why(plain).workers.at(1).fits);
  CHECK(a.of(plain, 2) == "has room");
  a.f.assign(other, plain, {1});
  a.f.report(other, a_result(a_key(plain.value, 1, 1), EndClass::Exit));
  CHECK(a.why(plain).reason.starts_with("in backoff for "));
  CHECK(a.why(plain).reason.ends_with("then attempt 2 of 3"));
  a.f.end_backoffs();
  CHECK(a.of(plain, 2) == "failed this task before: tried last");
}

TEST_CASE("a worker that could not launch the job, and one that is kept for the first in line") {
  Asked a;
  const WorkerId first = a.add_worker(2);
  const WorkerId second = a.add_worker(2);
  const JobId narrow = a.f.submit(a_job().with_tasks(9), "bob");
  a.f.assign(first, narrow, {1});
  a.f.assign(second, narrow, {2, 3});
  const JobId wide = a.f.submit(a_job().with_cpus(2));
  CHECK(a.of(narrow, 1, 9) ==
        "is kept for job " + std::to_string(wide.value) + ", which is first in line");
  a.viewer = "bob";
  CHECK(a.of(narrow, 1, 9) == "is kept for another job, which is first in line");
  const JobId broken = a.f.submit(a_job().with_retries(1), "carl");
  a.f.assign(first, broken, {1});
  a.f.report(first, a_result(a_key(broken.value, 1, 1), EndClass::LaunchError));
  CHECK(a.of(broken, 1) == "could not launch this job");
  a.launch_errors[first] = "No such file or directory";
  CHECK(a.of(broken, 1) == "could not launch this job: No such file or directory");
}

TEST_CASE("what no worker can run waits for none of the others") {
  Asked a;
  const JobId early = a.f.submit(a_job());
  CHECK(a.why(early).reason == "there is no worker");
  a.add_worker(2);
  CHECK(a.why(early).reason.empty());
  const JobId wide = a.f.submit(a_job().with_cpus(3));
  CHECK(a.why(wide).reason == "no worker can run it, not even an empty one");
  a.add_worker(3);
  CHECK(a.why(wide).reason == "others go first: job " + std::to_string(early.value) + " (older)");
}

TEST_CASE("what is waited for is what the job still waits for, though it is done again") {
  Asked a;
  const WorkerId w = a.add_worker(1);
  const JobId first = a.f.submit(a_job());
  const JobId second = a.f.submit(a_job().after_any({first}));
  CHECK(a.why(second).reason.starts_with("waits for job " + std::to_string(first.value)));
  a.f.assign(w, first, {1});
  a.f.report(w, a_result(a_key(first.value, 1, 1), EndClass::Exit));
  CHECK(a.why(second).reason.empty());
  a.f.retry(first, 1U << static_cast<unsigned>(TaskState::Failed));
  REQUIRE(a.f.queue.find_job(first) != nullptr);
  CHECK_FALSE(a.why(second).reason.starts_with("waits for"));
}

TEST_CASE("the task's own reason") {
  Asked a;
  const WorkerId w = a.add_worker(8);
  const JobId held = a.f.submit(a_job().on_hold());
  CHECK(a.why(held).reason == "job is paused: capstan resume " + std::to_string(held.value));
  const JobId limited = a.f.submit(a_job().with_tasks(9).with_limit(2));
  a.f.assign(w, limited, {1, 2});
  CHECK(a.why(limited, 3).reason.starts_with("%limit 2 reached"));
  CHECK(a.why(limited, 1).reason.starts_with("was sent to w1 "));
  a.f.start(w, a_key(limited.value, 1, 1));
  a.f.wait(Micros(12'000'000));
  CHECK(a.why(limited, 1).reason == "runs on w1 since 12s");
  CHECK(a.of(limited, 1, 1) == "has it");
  a.f.cancel(limited, {{1, 1}});
  CHECK(a.why(limited, 1).reason == "is being cancelled on w1");
}

TEST_CASE("others go first: by priority, by age, by their owner's share; named to who may know") {
  Asked a;
  const WorkerId w = a.add_worker(1);
  const JobId filler = a.f.submit(a_job(), "ann");
  a.f.assign(w, filler, {1});
  const JobId older = a.f.submit(a_job(), "ann");
  const JobId mine = a.f.submit(a_job().with_tasks(5), "ann");
  const JobId urgent = a.f.submit(a_job().with_priority(5), "ann");
  const JobId bobs = a.f.submit(a_job(), "bob");
  const auto name = [](JobId job) { return "job " + std::to_string(job.value); };
  CHECK(a.why(mine).reason == "others go first: " + name(urgent) + " (priority 5), " + name(older) +
                                  " (older), " + name(bobs) + " (its owner has fewer cpus)");
  a.viewer = "ann";
  CHECK(a.why(mine).reason == "others go first: " + name(urgent) + " (priority 5), " + name(older) +
                                  " (older) and 1 more");
  CHECK(a.why(mine, 3).reason.ends_with("; 2 tasks of this job come first"));
  CHECK(a.of(mine, 1) == "1 of 1 cpus busy");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
