// SPDX-License-Identifier: MIT
#include "master/core/planner.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "common/model/limits.h"
#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;
using planner::Plan;
using planner::Presence;

TEST_SUITE_BEGIN("master/core/planner");

/// A queue whose workers all have a session and were heard just now.
struct Planned {
  QueueFixture f;
  std::map<WorkerId, Presence> presence;
  planner::Limits limits{limits::kSuspectAfter, limits::kLostAfter, limits::kClosedGrace};

  WorkerId add_worker(std::uint32_t cpus, std::uint64_t mem_bytes = 0) {
    const WorkerId w = f.add_worker(cpus, mem_bytes);
    presence[w] = {true, f.now, false, {}};
    return w;
  }
  Plan plan() { return planner::plan(f.queue, presence, limits, {f.now, f.wall}); }
  /// Plans and applies.
  Plan run() {
    Plan plan = this->plan();
    for (const Command& command : plan.commands) f.apply(command);
    return plan;
  }
  void run_to_rest() {
    while (!run().commands.empty()) {}
  }
  std::size_t granted(WorkerId w) const { return f.queue.find_worker(w)->granted.size(); }
  /// Makes the mean of a job known: one task runs for `wall` on `w`.
  void teach(JobId job, WorkerId w, std::uint32_t task, Micros wall) {
    f.assign(w, job, {task});
    f.report(w, a_result({job, TaskIndex(task), AttemptNo(1)}, EndClass::Success, wall));
  }
};

TEST_CASE("free slots are filled, and nothing is sent ahead of a job that is not known") {
  Planned p;
  const WorkerId a = p.add_worker(2);
  const WorkerId b = p.add_worker(4);
  p.f.submit(a_job().with_tasks(100));
  const Plan plan = p.run();
  CHECK(plan.commands.size() == 2);
  CHECK(p.granted(a) == 2);
  CHECK(p.granted(b) == 4);
  CHECK(p.plan().commands.empty());
  CHECK(p.f.broken == "");
}

TEST_CASE("a worker gets nothing without session, or suspect, leaving, full, or excluded") {
  Planned p;
  for (int i = 0; i < 6; ++i) p.add_worker(2);
  const JobId job = p.f.submit(a_job().with_tasks(100));
  p.presence[WorkerId(1)].has_session = false;
  p.presence[WorkerId(2)].last_heard = p.f.now - Micros(limits::kSuspectAfter);
  p.presence[WorkerId(3)].closed = true;
  p.presence[WorkerId(3)].closed_at = p.f.now;
  const auto instance = [&](std::uint32_t w) {
    return p.f.queue.find_worker(WorkerId(w))->row.instance;
  };
  p.f.apply(cmd::WorkerNoticed{WorkerId(4), instance(4), true, false});
  p.f.apply(cmd::WorkerNoticed{WorkerId(5), instance(5), false, true});
  p.f.assign(WorkerId(6), job, {1});
  p.f.report(WorkerId(6), a_result(a_key(1, 1, 1), EndClass::LaunchError));
  p.run();
  for (std::uint32_t w = 1; w <= 6; ++w) CHECK(p.granted(WorkerId(w)) == 0);
  p.presence.erase(WorkerId(1));  // Unknown is the same as without a session.
  CHECK(p.plan().commands.empty());
  CHECK(p.f.broken == "");
}

TEST_CASE("priority first, then the owner with the fewest cpus, then age") {
  Planned p;
  const WorkerId w = p.add_worker(4);
  const JobId old_one = p.f.submit(a_job().with_tasks(10), "ann");
  p.f.submit(a_job().with_tasks(10), "ann");
  const JobId bobs = p.f.submit(a_job().with_tasks(10), "bob");
  const JobId urgent = p.f.submit(a_job().with_tasks(1).with_priority(5), "ann");
  p.run();
  const auto& granted = p.f.queue.find_worker(w)->granted;
  std::map<JobId, int> per_job;
  for (const auto& [key, nothing] : granted) ++per_job[key.job];
  CHECK(per_job == std::map<JobId, int>{{old_one, 1}, {bobs, 2}, {urgent, 1}});
  CHECK(p.f.broken == "");
}

TEST_CASE("no more than the limit of a job runs at once, and no task larger than a worker") {
  Planned p;
  const WorkerId w = p.add_worker(8);
  p.f.submit(a_job().with_tasks(10).with_limit(3));
  p.f.submit(a_job().with_tasks(10).with_cpus(9));
  const JobId wide = p.f.submit(a_job().with_tasks(10).with_cpus(2));
  p.run();
  CHECK(p.f.job(JobId(1)).counts.running == 3);
  CHECK(p.f.job(JobId(2)).counts.running == 0);
  CHECK(p.f.job(wide).counts.running == 2);
  CHECK(p.f.queue.find_worker(w)->cpus_granted == 7);
  CHECK(p.f.broken == "");
}

TEST_CASE("short tasks are sent ahead, evenly, and never more than a worker may hold") {
  Planned p;
  const WorkerId a = p.add_worker(1);
  const WorkerId b = p.add_worker(1);
  const JobId job = p.f.submit(a_job().with_tasks(100'000));
  SUBCASE("of 50 ms: five for each slot") {
    p.teach(job, a, 1, Micros(50'000));
    p.run();
    CHECK(p.granted(a) == 6);
    CHECK(p.granted(b) == 6);
  }
  SUBCASE("of no time at all: the most") {
    p.teach(job, a, 1, Micros(0));
    p.run();
    CHECK(p.granted(a) == std::min(1 + limits::kPrefillTogether / 2, limits::kHeldPerWorker));
    CHECK(p.granted(b) == std::min(1 + limits::kPrefillTogether / 2, limits::kHeldPerWorker));
  }
  SUBCASE("of seconds: none") {
    p.teach(job, a, 1, Micros(2'000'000));
    p.run();
    CHECK(p.granted(a) == 1);
    CHECK(p.granted(b) == 1);
  }
  SUBCASE("a large worker") {
    const WorkerId large = p.add_worker(64);
    p.teach(job, a, 1, Micros(10));
    p.run_to_rest();
    CHECK(p.granted(large) == limits::kHeldPerWorker);
  }
  CHECK(p.f.broken == "");
}

TEST_CASE("short tasks that are sent ahead do not get before a higher priority") {
  Planned p;
  const WorkerId a = p.add_worker(1);
  const WorkerId b = p.add_worker(1);
  const JobId low = p.f.submit(a_job().with_tasks(100));
  p.teach(low, a, 1, Micros(200'000));
  p.run_to_rest();
  CHECK(p.granted(a) == 2);
  CHECK(p.granted(b) == 2);
  const JobId high = p.f.submit(a_job().with_tasks(20).with_priority(5));
  p.f.submit(a_job().with_cpus(9).with_priority(9));  // Fits nowhere: in nobody's way.
  for (const WorkerId w : {a, b}) {
    for (std::size_t left = 2; left-- > 0;) {
      const AttemptKey key = p.f.queue.find_worker(w)->granted.begin()->first;
      CHECK(key.job == low);
      p.f.report(w, a_result(key, EndClass::Success, Micros(200'000)));
      CHECK(p.granted(w) == left);
      if (left > 0) {
        p.run_to_rest();
        CHECK(p.granted(w) == left);
      }
    }
  }
  p.run_to_rest();
  for (const WorkerId w : {a, b}) {
    CHECK(p.granted(w) == 1);
    CHECK(p.f.queue.find_worker(w)->granted.begin()->first.job == high);
  }
  // With the last of them on its slot the others go ahead again.
  for (std::uint32_t task = 1; task <= 20; ++task) {
    const WorkerId w =
        p.f.queue.find_worker(a)->granted.contains({high, TaskIndex(task), AttemptNo(1)}) ? a : b;
    p.f.report(w, a_result(a_key(high.value, task, 1), EndClass::Success, Micros(400'000)));
    p.run_to_rest();
  }
  CHECK(p.granted(a) == 2);
  CHECK(p.granted(b) == 2);
  CHECK(p.f.broken == "");
}

TEST_CASE("a few short tasks are spread over all workers") {
  Planned p;
  std::vector<WorkerId> workers;
  for (int i = 0; i < 4; ++i) workers.push_back(p.add_worker(2));
  const JobId job = p.f.submit(a_job().with_tasks(41));
  p.teach(job, workers[0], 1, Micros(1000));
  p.run();
  for (const WorkerId w : workers) CHECK(p.granted(w) >= 8);
  CHECK(p.f.broken == "");
}

TEST_CASE("what was sent ahead elsewhere is taken back for a worker that has run dry") {
  Planned p;
  const WorkerId a = p.add_worker(1);
  const JobId job = p.f.submit(a_job().with_tasks(101));
  p.teach(job, a, 1, Micros(1000));
  p.run();
  CHECK(p.granted(a) == 100);
  const WorkerId b = p.add_worker(1);
  const Plan plan = p.plan();
  REQUIRE(plan.commands.size() == 1);
  const auto& recall = std::get<cmd::TasksRecalled>(plan.commands[0]);
  CHECK(recall.worker == a);
  CHECK(recall.keys.size() >= 45);
  CHECK(recall.keys.size() <= 50);
  CHECK(recall.keys.back() == a_key(1, 101, 1));
  p.run();
  CHECK(p.plan().commands.empty());  // Asked for once.
  p.f.apply(cmd::TasksReturned{a, p.f.queue.find_worker(a)->row.instance, recall.keys});
  p.run();
  CHECK(p.granted(b) >= 20);
  CHECK(p.granted(a) + p.granted(b) == 100);
  CHECK(p.f.broken == "");
}

TEST_CASE("what will be done sooner than taken back stays") {
  Planned p;
  const WorkerId a = p.add_worker(1);
  const JobId job = p.f.submit(a_job().with_tasks(20));
  p.teach(job, a, 1, Micros(100));
  p.run();
  p.add_worker(1);
  CHECK(p.plan().commands.empty());
}

TEST_CASE("a retry goes to a worker that has not failed it, if there is one") {
  Planned p;
  const WorkerId a = p.add_worker(2);
  const JobId job = p.f.submit(a_job().with_retries(3));
  p.f.assign(a, job, {1});
  p.f.report(a, a_result(a_key(1, 1, 1), EndClass::Exit));
  p.f.end_backoffs();
  SUBCASE("another one is there") {
    const WorkerId b = p.add_worker(1);
    p.run();
    CHECK(p.granted(b) == 1);
  }
  SUBCASE("another one is there, and full: the task waits, others do not") {
    const WorkerId b = p.add_worker(1);
    const JobId other = p.f.submit(a_job().with_tasks(3));
    p.f.assign(b, other, {1});
    p.run();
    CHECK(p.f.state(job, 1) == TaskState::Ready);
    CHECK(p.granted(a) == 2);
  }
  SUBCASE("there is no other") {
    p.run();
    CHECK(p.granted(a) == 1);
  }
  SUBCASE("the other one is suspect") {
    p.presence[p.add_worker(1)].closed = true;
    p.presence[WorkerId(2)].closed_at = p.f.now;
    p.run();
    CHECK(p.granted(a) == 1);
  }
  CHECK(p.f.broken == "");
}

TEST_CASE("slots of attempts that are still dying are not given away") {
  Planned p;
  const WorkerId a = p.add_worker(2);
  p.f.submit(a_job().with_tasks(10));
  auto hello = p.f.hello(a, 2);
  hello.held = {{a_key(77, 1, 1), true}};
  p.f.apply(hello);
  CHECK(p.plan().commands.empty());
  p.f.report(a, a_result(a_key(77, 1, 1), EndClass::Cancelled));
  p.run();
  CHECK(p.granted(a) == 2);
}

TEST_CASE("silence: suspect gets nothing new, then it is lost; the deadline says when to look") {
  Planned p;
  const WorkerId w = p.add_worker(1);
  const TimePoint heard = p.f.now;
  const JobId job = p.f.submit(a_job());
  p.run();
  CHECK(p.plan().deadline == heard + Micros(limits::kLostAfter));
  p.f.wait(Micros(limits::kLostAfter) - Micros(100));
  CHECK(p.plan().commands.empty());
  p.f.wait(Micros(100));
  const Plan plan = p.run();
  REQUIRE(plan.commands.size() == 1);
  CHECK(std::get<cmd::WorkerLost>(plan.commands[0]).reason == "silent for 30 s");
  CHECK(plan.deadline <= p.f.now);
  CHECK(p.f.state(job, 1) == TaskState::Ready);
  CHECK(p.plan().commands.empty());
  CHECK_FALSE(p.f.queue.find_worker(w)->row.present);
}

TEST_CASE("a closed connection is lost after its grace; without session it is not yet dead") {
  Planned p;
  const WorkerId w = p.add_worker(1);
  p.presence[w].has_session = false;
  p.presence[w].closed = true;
  p.presence[w].closed_at = p.f.now;
  CHECK(p.plan().deadline == p.f.now + Micros(limits::kClosedGrace));
  p.f.wait(Micros(limits::kClosedGrace));
  CHECK(p.run().commands.size() == 1);
  CHECK_FALSE(p.f.queue.find_worker(w)->row.present);
}

TEST_CASE("backoffs end and stale submissions are dropped when their time has come") {
  Planned p;
  const WorkerId w = p.add_worker(1);
  const JobId job = p.f.submit(a_job().with_retries(1));
  p.f.assign(w, job, {1});
  p.f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  p.f.apply(cmd::SubmissionOpened{p.f.ask(), p.f.queue.next_submission(), "", "", a_job().spec()});
  const TimePoint ready_at = p.f.row(job, 1).ready_at;
  CHECK(p.plan().deadline == ready_at);
  p.f.wait(ready_at - p.f.now);
  Plan plan = p.run();
  REQUIRE(plan.commands.size() == 1);
  CHECK(std::get<cmd::BackoffsOver>(plan.commands[0]).tasks == std::vector{TaskIndex(1)});
  CHECK(plan.deadline <= p.f.now);
  p.f.wait(Micros(limits::kStagingTtl));
  p.presence[w].last_heard = p.f.now;
  p.run();
  CHECK(p.f.queue.submissions().empty());
  CHECK(p.f.broken == "");
}

TEST_CASE("assignments are grouped, and cut at a thousand tasks") {
  Planned p;
  p.add_worker(2500);
  p.f.submit(a_job().with_tasks(3000));
  const Plan plan = p.plan();
  REQUIRE(plan.commands.size() == 3);
  CHECK(std::get<cmd::TasksAssigned>(plan.commands[0]).tasks.size() == 1000);
  CHECK(std::get<cmd::TasksAssigned>(plan.commands[2]).tasks.size() == 500);
}

TEST_CASE("a job is released by the wall clock, and a clock set back only delays it") {
  QueueFixture f;
  const WallTime begin{f.wall.us + 60'000'000};
  const JobId job = f.submit(a_job().begins_at(begin));
  const auto plan = [&](std::int64_t wall_us) {
    return planner::plan(f.queue, {}, {}, {f.now, WallTime{wall_us}});
  };
  CHECK(plan(begin.us - 5).commands.empty());
  CHECK(plan(begin.us - 5).deadline == f.now + Micros(5));
  CHECK(plan(begin.us - 3'600'000'000).deadline == f.now + Micros(3'600'000'000));
  const Plan now = plan(begin.us);
  REQUIRE(now.commands.size() == 1);
  CHECK(std::get<cmd::JobReleased>(now.commands[0]).job == job);
  CHECK(now.deadline == f.now);
  f.apply(now.commands[0]);
  CHECK(plan(begin.us).commands.empty());
}

// --- Memory --------------------------------------------------------------------------------------

TEST_CASE("memory is never oversubscribed, and where it is not known nothing that needs it runs") {
  Planned p;
  const WorkerId small = p.add_worker(8, 10);
  const WorkerId large = p.add_worker(8, 100);
  const WorkerId unknown = p.add_worker(8);
  const JobId job = p.f.submit(a_job().with_tasks(20).with_mem(30));
  p.run();
  CHECK(p.granted(small) == 0);
  CHECK(p.granted(large) == 3);
  CHECK(p.granted(unknown) == 0);
  p.f.submit(a_job().with_tasks(100));  // It says nothing, and counts for nothing.
  p.run_to_rest();
  CHECK(p.granted(small) == 8);
  CHECK(p.granted(large) == 7);  // The last cpu is for the next one that waits for memory.
  CHECK(p.granted(unknown) == 8);
  p.f.report(large, a_result(a_key(job.value, 1, 1), EndClass::Success, Micros(9'000'000)));
  p.run_to_rest();
  CHECK(p.f.queue.find_worker(large)->mem_granted == 90);
  CHECK(p.f.broken == "");
}

TEST_CASE("work sent ahead respects memory") {
  Planned p;
  const WorkerId w = p.add_worker(2, 100);
  const JobId job = p.f.submit(a_job().with_tasks(1000).with_mem(9));
  p.teach(job, w, 1, Micros(10));
  p.run_to_rest();
  CHECK(p.granted(w) == 11);
  CHECK(p.f.broken == "");
}

// --- The reservation -----------------------------------------------------------------------------

TEST_CASE("a wide task gets its worker, whatever narrow work there is behind it") {
  Planned p;
  const WorkerId a = p.add_worker(4);
  const WorkerId b = p.add_worker(4);
  const JobId narrow = p.f.submit(a_job().with_tasks(1000), "ann");
  p.run_to_rest();
  const JobId wide = p.f.submit(a_job().with_cpus(4), "bob");
  int ended = 0;
  while (p.f.state(wide, 1) != TaskState::Running && ended < 100) {
    const WorkerId from = ended % 2 == 0 ? a : b;  // They end in turn, one here, one there.
    const auto& granted = p.f.queue.find_worker(from)->granted;
    if (!granted.empty()) {
      const AttemptKey key = granted.begin()->first;
      p.f.report(from, a_result(key, EndClass::Success, Micros(9'000'000)));
    }
    ++ended;
    p.run_to_rest();
  }
  CHECK(p.f.state(wide, 1) == TaskState::Running);
  CHECK(ended <= 8);
  CHECK(p.f.job(narrow).counts.running == 4);  // The other worker was never held up.
  CHECK(p.f.broken == "");
}

TEST_CASE("a wide task behind the line gets no reservation, one that fits nowhere none at all") {
  Planned p;
  const WorkerId w = p.add_worker(4);
  p.f.submit(a_job().with_tasks(2).with_priority(9));
  p.f.submit(a_job().with_cpus(5));  // Too wide for what there is: nobody waits for it.
  p.f.submit(a_job().with_cpus(3));  // Older than what comes now.
  p.f.submit(a_job().with_tasks(10));
  p.run_to_rest();
  CHECK(p.granted(w) == 2);
  p.f.submit(a_job().with_tasks(10).with_priority(9));
  p.run_to_rest();
  CHECK(p.granted(w) == 4);
  CHECK(p.f.broken == "");
}

TEST_CASE("what is sent ahead does not keep others out for ever") {
  Planned p;
  const WorkerId a = p.add_worker(1);
  const WorkerId b = p.add_worker(1);
  const JobId flood = p.f.submit(a_job().with_tasks(100'000), "ann");
  p.teach(flood, a, 1, Micros(1000));
  p.run_to_rest();
  CHECK(p.granted(a) > 100);
  const JobId hello = p.f.submit(a_job(), "bob");
  std::size_t ended = 0;
  while (p.f.state(hello, 1) != TaskState::Running && ended < 2000) {
    for (const WorkerId w : {a, b}) {
      const auto& granted = p.f.queue.find_worker(w)->granted;
      if (!granted.empty())
        p.f.report(w, a_result(granted.begin()->first, EndClass::Success, Micros(1000)));
    }
    ++ended;
    p.run_to_rest();
  }
  CHECK(p.f.state(hello, 1) == TaskState::Running);
  CHECK(ended < 300);
  CHECK(p.granted(a) + p.granted(b) > 100);  // One of them was kept busy all the time.
}

TEST_CASE("a drained worker gets nothing, and what was sent ahead is taken back") {
  Planned p;
  const WorkerId a = p.add_worker(1);
  const JobId job = p.f.submit(a_job().with_tasks(100));
  p.teach(job, a, 1, Micros(1000));
  p.run_to_rest();
  const AttemptKey first = p.f.queue.find_worker(a)->granted.begin()->first;
  p.f.start(a, first);
  const auto effects = p.f.apply(cmd::WorkersDrained{p.f.ask("root"), {a}, true, "disk swap"});
  const auto* recall = find_effect<effect::RecallAttempts>(effects);
  REQUIRE(recall != nullptr);
  p.f.apply(cmd::TasksReturned{a, p.f.queue.find_worker(a)->row.instance, recall->keys});
  p.run_to_rest();
  CHECK(p.f.queue.find_worker(a)->list_granted() == std::vector{first});
  p.f.apply(cmd::WorkersDrained{p.f.ask("root"), {a}, false, ""});
  p.run_to_rest();
  CHECK(p.granted(a) > 1);
  CHECK(p.f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
