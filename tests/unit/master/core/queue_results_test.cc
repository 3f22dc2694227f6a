// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;

TEST_SUITE_BEGIN("master/core/queue: tasks and results");

struct OneTask {
  explicit OneTask(const JobBuilder& spec = a_job().with_retries(1)) : job(f.submit(spec)) {
    f.assign(w, job, {1});
  }
  QueueFixture f;
  WorkerId w = f.add_worker();
  WorkerId other = f.add_worker();
  JobId job;
  [[nodiscard]] const Job& j() const { return f.job(job); }
};

TEST_CASE("assigned, started, succeeded") {
  QueueFixture f;
  const WorkerId w = f.add_worker();
  const JobId job = f.submit(a_job());
  const auto effects = f.assign(w, job, {1});
  const auto* start = find_effect<effect::StartTasks>(effects);
  REQUIRE(start != nullptr);
  CHECK(start->tasks == std::vector{TaskIndex(1)});
  CHECK(start->attempt == AttemptNo(1));
  CHECK(f.row(job, 1).state == TaskState::Running);
  CHECK(f.job(job).started_at.us == 0);
  f.start(w, a_key(1, 1, 1));
  CHECK(f.job(job).started_at.us > 0);
  CHECK(f.job(job).launched);
  const auto done = f.report(w, a_result(a_key(1, 1, 1), EndClass::Success, Micros(5000)));
  CHECK(find_effect<effect::AckResults>(done)->keys == std::vector{a_key(1, 1, 1)});
  CHECK(find_effect<effect::JobFinished>(done) != nullptr);
  CHECK(f.row(job, 1).state == TaskState::Succeeded);
  CHECK(f.row(job, 1).ended);
  CHECK(f.row(job, 1).stdout_tail == "out");
  CHECK(f.tables.jobs.at(job).mean_wall == Micros(5000));
  CHECK(f.queue.find_worker(w)->granted.empty());
  CHECK(f.broken == "");
}

TEST_CASE("only ready tasks with the right number are assigned") {
  QueueFixture f;
  const WorkerId w = f.add_worker(4);
  const JobId job = f.submit(a_job().with_tasks(3));
  CHECK(f.assign(w, job, {1, 2}, 2).empty());
  f.assign(w, job, {1});
  const auto effects = f.assign(w, job, {1, 2, 9});
  CHECK(find_effect<effect::StartTasks>(effects)->tasks == std::vector{TaskIndex(2)});
  CHECK(f.assign(WorkerId(9), job, {3}).empty());
  CHECK(f.assign(w, JobId(9), {3}).empty());
  CHECK(f.job(job).live.size() == 2);
  CHECK(f.broken == "");
}

TEST_CASE("a failure spends a retry and waits; the last one fails the task") {
  OneTask t;
  t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::Exit));
  CHECK(t.f.state(t.job, 1) == TaskState::Backoff);
  CHECK(t.f.row(t.job, 1).ready_at > t.f.now);
  CHECK(t.f.tables.attempts.at(a_key(1, 1, 1)).exit_code == 1);
  CHECK(t.f.assign(t.w, t.job, {1}, 2).empty());
  t.f.end_backoffs();
  CHECK(t.f.state(t.job, 1) == TaskState::Ready);
  CHECK(t.j().live.at(0).failed_on == std::vector{t.w});
  t.f.assign(t.other, t.job, {1}, 2);
  t.f.report(t.other, a_result(a_key(1, 1, 2), EndClass::Signal));
  CHECK(t.f.row(t.job, 1).state == TaskState::Failed);
  CHECK(t.f.row(t.job, 1).end == EndClass::Signal);
  CHECK(t.f.tables.jobs.at(t.job).state == JobState::Failed);
  CHECK(t.f.broken == "");
}

TEST_CASE("a result counts only from the instance its attempt was granted to") {
  OneTask t;
  t.f.report(t.other, a_result(a_key(1, 1, 1), EndClass::Success));
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  const auto stale = t.f.apply(cmd::ResultsReported{
      t.w,
      an_id(999),
      {a_result(a_key(1, 1, 1), EndClass::Success), a_result(a_key(7, 7, 7), EndClass::Exit)}});
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  CHECK(find_effect<effect::AckResults>(stale)->keys ==
        std::vector{a_key(1, 1, 1), a_key(7, 7, 7)});
  CHECK(t.f.broken == "");
}

TEST_CASE("stopped with its worker: again, uncharged; without anybody's wish: not at once") {
  for (const EndClass end : {EndClass::WorkerLost, EndClass::Cancelled, EndClass::Superseded}) {
    OneTask t;
    const bool is_leaving = end == EndClass::WorkerLost;
    if (is_leaving)
      t.f.apply(cmd::WorkerNoticed{t.w, t.f.queue.find_worker(t.w)->row.instance, true, false});
    t.f.report(t.w, a_result(a_key(1, 1, 1), end));
    CHECK(t.f.state(t.job, 1) == (is_leaving ? TaskState::Ready : TaskState::Backoff));
    if (!is_leaving) t.f.apply(cmd::BackoffsOver{t.job, {TaskIndex(1)}});
    CHECK(t.f.row(t.job, 1).failures == 0);
    CHECK(t.f.row(t.job, 1).losses == 0);
    t.f.assign(t.other, t.job, {1}, 2);
    CHECK(t.f.state(t.job, 1) == TaskState::Running);
    CHECK(t.f.broken == "");
  }
}

TEST_CASE("launch errors: two workers are excluded, the third makes the job fail") {
  QueueFixture f;
  for (int i = 0; i < 4; ++i) f.add_worker();
  const JobId job = f.submit(a_job().with_tasks(10).with_retries(5));
  for (std::uint32_t w = 1; w <= 2; ++w) {
    f.assign(WorkerId(w), job, {1}, w);
    f.report(WorkerId(w), a_result(a_key(1, 1, w), EndClass::LaunchError));
    CHECK(f.state(job, 1) == TaskState::Ready);
  }
  CHECK(f.row(job, 1).failures == 0);
  CHECK(f.job(job).excluded == std::vector{WorkerId(1), WorkerId(2)});
  f.assign(WorkerId(4), job, {2});
  f.assign(WorkerId(3), job, {1}, 3);
  AttemptResult result = a_result(a_key(1, 1, 3), EndClass::LaunchError);
  result.reason = "No such file or directory";
  const auto effects = f.report(WorkerId(3), result);
  CHECK(find_effect<effect::CancelAttempts>(effects)->keys == std::vector{a_key(1, 2, 1)});
  CHECK(f.row(job, 1).state == TaskState::Failed);
  CHECK(f.job(job).counts.cancelled == 8);
  CHECK(f.job(job).reason == "cannot be launched on w1, w2, w3: No such file or directory");
  f.report(WorkerId(4), a_result(a_key(1, 2, 1), EndClass::Cancelled));
  CHECK(f.tables.jobs.at(job).state == JobState::Failed);
  CHECK(f.broken == "");
}

TEST_CASE("a launch error everywhere fails the job; elsewhere launched, it spends a retry") {
  OneTask t(a_job().with_tasks(2).with_retries(1));
  SUBCASE("on all that are there") {
    t.f.lose(t.other);
    t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::LaunchError));
    CHECK(t.f.tables.jobs.at(t.job).state == JobState::Failed);
  }
  SUBCASE("launched elsewhere") {
    t.f.assign(t.other, t.job, {2});
    t.f.start(t.other, a_key(1, 2, 1));
    t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::LaunchError));
    CHECK(t.f.state(t.job, 1) == TaskState::Backoff);
    CHECK(t.j().live.at(0).failed_on == std::vector{t.w});
    CHECK(t.j().excluded.empty());
  }
  CHECK(t.f.broken == "");
}

TEST_CASE("a launch error on all that are large enough fails the job") {
  QueueFixture f;
  const WorkerId large = f.add_worker(8, 1000);
  f.add_worker(4, 1000);
  f.add_worker(8, 999);
  const JobId job = f.submit(a_job().with_cpus(8).with_mem(1000).with_retries(5));
  f.assign(large, job, {1});
  f.report(large, a_result(a_key(1, 1, 1), EndClass::LaunchError));
  CHECK(f.tables.jobs.at(job).state == JobState::Failed);
  CHECK(f.broken == "");
}

TEST_CASE("a recalled attempt's number is given again once its return is confirmed") {
  OneTask t(a_job().with_tasks(2));
  const AttemptKey key = a_key(1, 1, 1);
  const auto effects = t.f.apply(cmd::TasksRecalled{t.w, {key}});
  CHECK(find_effect<effect::RecallAttempts>(effects)->keys == std::vector{key});
  CHECK(t.f.apply(cmd::TasksRecalled{t.w, {key}}).empty());  // Never twice.
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  t.f.apply(cmd::TasksReturned{t.w, an_id(999), {key}});
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  t.f.apply(cmd::TasksReturned{t.w, t.f.queue.find_worker(t.w)->row.instance, {key}});
  CHECK(t.f.state(t.job, 1) == TaskState::Ready);
  CHECK(t.f.row(t.job, 1).number_free);
  CHECK(t.f.assign(t.other, t.job, {1}, 2).empty());
  CHECK(t.f.assign(t.other, t.job, {1}, 1).size() == 1);
  SUBCASE("cancelled before it is given again, the number never was") {
    t.f.apply(cmd::TasksReturned{t.other, t.f.queue.find_worker(t.other)->row.instance, {key}});
    t.f.cancel(t.job, {{1, 1}});
    CHECK(t.f.row(t.job, 1).attempts == AttemptNo(0));
  }
  CHECK(t.f.broken == "");
}

TEST_CASE("what nobody wanted back is not given out again at once") {
  OneTask t;
  const AttemptKey key = a_key(1, 1, 1);
  t.f.apply(cmd::TasksReturned{t.w, t.f.queue.find_worker(t.w)->row.instance, {key}});
  CHECK(t.f.state(t.job, 1) == TaskState::Backoff);
  CHECK(t.f.row(t.job, 1).failures == 0);
  t.f.apply(cmd::BackoffsOver{t.job, {TaskIndex(1)}});
  CHECK(t.f.assign(t.other, t.job, {1}, 1).size() == 1);
  CHECK(t.f.broken == "");
}

TEST_CASE("one that started is not recalled, and cannot be handed back") {
  OneTask t;
  const AttemptKey key = a_key(1, 1, 1);
  t.f.start(t.w, key);
  CHECK(t.f.apply(cmd::TasksRecalled{t.w, {key}}).empty());
  t.f.apply(cmd::TasksReturned{t.w, t.f.queue.find_worker(t.w)->row.instance, {key}});
  CHECK(t.f.state(t.job, 1) == TaskState::Ready);
  CHECK_FALSE(t.f.row(t.job, 1).number_free);
  CHECK(t.f.broken == "");
}

TEST_CASE("a late success of a lost attempt wins, and the newer one is called off") {
  OneTask t(a_job().with_tasks(2));
  t.f.start(t.w, a_key(1, 1, 1));
  t.f.lose(t.w);
  t.f.assign(t.other, t.job, {1}, 2);
  t.f.apply(t.f.hello(t.w));
  const auto effects = t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::Success));
  const auto* cancel = find_effect<effect::CancelAttempts>(effects);
  REQUIRE(cancel != nullptr);
  CHECK(cancel->worker == t.other);
  CHECK(cancel->why == CancelWhy::Superseded);
  CHECK(cancel->keys == std::vector{a_key(1, 1, 2)});
  const TaskRow& row = t.f.row(t.job, 1);
  CHECK(row.state == TaskState::Succeeded);
  CHECK(row.attempt == AttemptNo(1));
  CHECK(row.attempts == AttemptNo(2));
  CHECK(row.worker == t.w);
  CHECK(t.f.tables.attempts.at(a_key(1, 1, 2)).end == EndClass::Superseded);
  CHECK_FALSE(t.f.tables.attempts.contains(a_key(1, 1, 1)));
  // Its slot is taken until the worker says that it is gone.
  CHECK(t.f.queue.find_worker(t.other)->dying_sum == Share{1, 0});
  t.f.report(t.other, a_result(a_key(1, 1, 2), EndClass::Superseded));
  CHECK(t.f.queue.find_worker(t.other)->dying_sum == Share{});
  CHECK(t.f.row(t.job, 1).attempt == AttemptNo(1));
  CHECK(t.f.broken == "");
}

TEST_CASE("a late failure is recorded and changes nothing") {
  OneTask t(a_job().with_tasks(2));
  t.f.lose(t.w);
  t.f.assign(t.other, t.job, {1}, 2);
  t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::Exit));
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  CHECK(t.f.row(t.job, 1).failures == 0);
  const AttemptRow& late = t.f.tables.attempts.at(a_key(1, 1, 1));
  CHECK(late.late);
  CHECK(late.end == EndClass::Exit);
  CHECK(late.exit_code == 1);
  t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::Success));  // Said once, it is said.
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  CHECK(t.f.broken == "");
}

TEST_CASE("a late success of a task that is being cancelled changes nothing") {
  OneTask t(a_job().with_tasks(2));
  t.f.lose(t.w);
  t.f.assign(t.other, t.job, {1}, 2);
  t.f.cancel(t.job);
  t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::Success));
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  CHECK(t.f.tables.attempts.at(a_key(1, 1, 1)).late);
  t.f.report(t.other, a_result(a_key(1, 1, 2), EndClass::Cancelled));
  CHECK(t.f.row(t.job, 1).state == TaskState::Cancelled);
  CHECK(t.f.broken == "");
}

// --- Too many failures ---------------------------------------------------------------------------

TEST_CASE("so many failed tasks end the job: the rest is cancelled") {
  QueueFixture f;
  const WorkerId w = f.add_worker(4);
  const JobId job = f.submit(a_job().with_tasks(1'000).with_max_failures(2));
  f.assign(w, job, {1, 2, 3});
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  CHECK(f.job(job).counts.ready == 997);
  const auto effects = f.report(w, a_result(a_key(1, 2, 1), EndClass::Exit));
  CHECK(f.job(job).counts.cancelled == 997);
  CHECK(f.job(job).reason == "2 tasks failed: stopped by --max-failures 2");
  REQUIRE(find_effect<effect::CancelAttempts>(effects) != nullptr);
  CHECK(find_effect<effect::CancelAttempts>(effects)->keys == std::vector{a_key(1, 3, 1)});
  f.report(w, a_result(a_key(1, 3, 1), EndClass::Exit));
  CHECK(f.tables.jobs.at(job).state == JobState::Failed);
  CHECK(f.tables.jobs.at(job).counts.failed == 2);
  CHECK(f.tables.tasks.size() == 3);
  SUBCASE("a retry works, and may be stopped again") {
    const std::uint32_t states = bit(TaskState::Failed) | bit(TaskState::Cancelled);
    CHECK(find_effect<effect::Answer>(f.retry(job, states))->tasks == 1'000);
    CHECK(f.job(job).reason == "");
    f.assign(w, job, {1, 2}, 2);
    f.report(w, a_result(a_key(1, 1, 2), EndClass::Exit));
    CHECK(f.job(job).counts.ready == 998);
    f.report(w, a_result(a_key(1, 2, 2), EndClass::Exit));
    CHECK(f.tables.jobs.at(job).state == JobState::Failed);
    CHECK(f.tables.jobs.at(job).reason == "2 tasks failed: stopped by --max-failures 2");
  }
  SUBCASE("a retry of the failed ones alone") {
    CHECK(find_effect<effect::Answer>(f.retry(job, bit(TaskState::Failed)))->tasks == 2);
    f.assign(w, job, {1, 2}, 2);
    f.report(w, a_result(a_key(1, 1, 2), EndClass::Success));
    f.report(w, a_result(a_key(1, 2, 2), EndClass::Success));
    CHECK(f.tables.jobs.at(job).state == JobState::Cancelled);
  }
  CHECK(f.broken == "");
}

TEST_CASE("a failure with retries left is not counted, and the last task stops nothing") {
  QueueFixture f;
  const WorkerId w = f.add_worker(4);
  const JobId job = f.submit(a_job().with_tasks(2).with_retries(1).with_max_failures(1));
  f.assign(w, job, {1, 2});
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  CHECK(f.state(job, 1) == TaskState::Backoff);
  CHECK(f.state(job, 2) == TaskState::Running);
  f.report(w, a_result(a_key(1, 2, 1), EndClass::Success));
  f.end_backoffs();
  f.assign(w, job, {1}, 2);
  f.report(w, a_result(a_key(1, 1, 2), EndClass::Exit));
  CHECK(f.tables.jobs.at(job).state == JobState::Failed);
  CHECK(f.tables.jobs.at(job).reason == "");
  CHECK(f.broken == "");
}

TEST_CASE("--backoff is the first delay of the doubling") {
  QueueFixture f;
  const WorkerId w = f.add_worker(1);
  const Micros first = std::chrono::seconds(20);
  const JobId job = f.submit(a_job().with_retries(2).with_backoff(first));
  f.assign(w, job, {1});
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  const Micros waits = f.job(job).live.at(0).ready_at - f.now;
  CHECK(waits <= first);
  CHECK(waits * 4 >= first * 3);
  CHECK(f.broken == "");
}

TEST_CASE("an attempt that was given up stays worker_lost when its worker stops it later") {
  QueueFixture f;
  const WorkerId w = f.add_worker(1);
  const JobId job = f.submit(a_job());
  f.assign(w, job, {1});
  f.start(w, a_key(1, 1, 1));
  f.lose(w);
  const WorkerId other = f.add_worker(1);
  f.assign(other, job, {1}, 2);
  cmd::WorkerJoined back = f.hello(w);
  back.held = {{a_key(1, 1, 1), true}};
  f.apply(back);
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Cancelled));
  const AttemptRow& row = f.tables.attempts.at(a_key(1, 1, 1));
  CHECK(row.end == EndClass::WorkerLost);
  CHECK(row.late);
  CHECK(row.reason == "worker w1 had been given up, and stopped it when it came back");
  CHECK(f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
