// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;
using effect::Answer;
using effect::CancelAttempts;

constexpr std::uint32_t kNotSucceeded = bit(TaskState::Failed) | bit(TaskState::Cancelled);

TEST_SUITE_BEGIN("master/core/queue: steering");

TEST_CASE("cancelling a million waiting tasks writes one row") {
  QueueFixture f;
  const JobId job = f.submit(a_job().with_tasks(1'000'000));
  const auto effects = f.cancel(job);
  CHECK(find_effect<Answer>(effects)->tasks == 1'000'000);
  CHECK(find_effect<effect::JobFinished>(effects)->job == job);
  CHECK(f.queue.jobs().empty());
  CHECK(f.tables.tasks.empty());
  CHECK(f.tables.jobs.at(job).state == JobState::Cancelled);
  CHECK(f.tables.jobs.at(job).cancelling);
  CHECK(f.broken == "");
  SUBCASE("and all of them can be done again, with as little") {
    CHECK(find_effect<Answer>(f.retry(job, kNotSucceeded))->tasks == 1'000'000);
    CHECK(f.tables.tasks.empty());
    CHECK(f.job(job).counts.ready == 1'000'000);
    CHECK(f.job(job).state() == JobState::Queued);
    CHECK_FALSE(f.tables.jobs.at(job).cancelling);
  }
  SUBCASE("or some of them") {
    CHECK(find_effect<Answer>(f.retry(job, kNotSucceeded, {{3, 5}}))->tasks == 3);
    CHECK(f.tables.tasks.size() == 3);
    CHECK(f.job(job).counts.ready == 3);
    f.cancel(job);
    CHECK(f.row(job, 4).state == TaskState::Cancelled);
    CHECK(f.queue.jobs().empty());
    CHECK(find_effect<Answer>(f.retry(job, kNotSucceeded))->tasks == 1'000'000);
    CHECK(f.tables.tasks.size() == 3);
    CHECK(f.row(job, 4).state == TaskState::Ready);
  }
  CHECK(f.broken == "");
}

TEST_CASE("a running task is cancelled when it is reported gone, whatever the result says") {
  QueueFixture f;
  const WorkerId w = f.add_worker();
  const JobId job = f.submit(a_job().with_tasks(2));
  f.assign(w, job, {1});
  const auto effects = f.cancel(job);
  CHECK(find_effect<Answer>(effects)->tasks == 2);
  REQUIRE(find_effect<CancelAttempts>(effects) != nullptr);
  CHECK(find_effect<CancelAttempts>(effects)->keys == std::vector{a_key(1, 1, 1)});
  CHECK(f.state(job, 1) == TaskState::Running);
  CHECK(f.state(job, 2) == TaskState::Cancelled);
  CHECK(f.row(job, 1).cancelling);
  CHECK(find_effect<Answer>(f.cancel(job))->tasks == 0);
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Success));
  CHECK(f.row(job, 1).state == TaskState::Cancelled);
  CHECK(f.tables.jobs.at(job).state == JobState::Cancelled);
  CHECK(f.queue.jobs().empty());
  CHECK(f.broken == "");
}

TEST_CASE("cancelling spans touches those tasks alone") {
  QueueFixture f;
  const WorkerId w = f.add_worker(4);
  const JobId job = f.submit(a_job().with_indices({{5, 50, 5}}));
  f.assign(w, job, {10, 15});
  const auto effects = f.cancel(job, {{1, 10}, {20, 20}, {41, 99}});
  CHECK(find_effect<Answer>(effects)->tasks == 5);  // 5, 10, 20, 45, 50.
  CHECK(find_effect<CancelAttempts>(effects)->keys == std::vector{a_key(1, 10, 1)});
  CHECK(f.row(job, 45).state == TaskState::Cancelled);
  CHECK(f.row(job, 15).state == TaskState::Running);
  CHECK(f.state(job, 25) == TaskState::Ready);
  CHECK_FALSE(f.job(job).cancelling);
  CHECK(find_effect<Answer>(f.cancel(job, {{51, 60}}))->code == Errc::NotFound);
  CHECK(f.broken == "");
}

TEST_CASE("a task in backoff is cancelled at once, and stays so") {
  QueueFixture f;
  const WorkerId w = f.add_worker();
  const JobId job = f.submit(a_job().with_retries(2));
  f.assign(w, job, {1});
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  CHECK(f.state(job, 1) == TaskState::Backoff);
  CHECK(find_effect<Answer>(f.cancel(job))->tasks == 1);
  CHECK(f.row(job, 1).state == TaskState::Cancelled);
  CHECK(f.queue.backoff_jobs().empty());
  CHECK(f.tables.attempts.size() == 1);
  CHECK(f.broken == "");
}

TEST_CASE("a finished job is nothing to cancel; one that never was is not found") {
  QueueFixture f;
  const JobId job = f.submit(a_job());
  f.cancel(job);
  const auto again = f.cancel(job);
  CHECK(find_effect<Answer>(again)->code == Errc{});
  CHECK(find_effect<Answer>(again)->tasks == 0);
  CHECK(find_effect<Answer>(again)->reason == "job 1 has finished already");
  CHECK(find_effect<Answer>(f.cancel(JobId(9)))->code == Errc::NotFound);
  CHECK(f.broken == "");
}

TEST_CASE("a request over several jobs is answered once, by its last part") {
  QueueFixture f;
  const JobId a = f.submit(a_job().with_tasks(3));
  const JobId b = f.submit(a_job().with_tasks(4));
  const Asked asked = f.ask();
  CHECK(find_effect<Answer>(f.apply(cmd::JobCancelled{asked, a, {}, false})) == nullptr);
  CHECK(f.queue.find_request(asked) == nullptr);  // Not answered yet: the client may ask again.
  const auto effects = f.apply(cmd::JobCancelled{asked, b, {}, true});
  const Answer* answer = find_effect<Answer>(effects);
  REQUIRE(answer != nullptr);
  CHECK(answer->jobs == std::vector{a, b});
  CHECK(answer->tasks == 7);
  const auto again = f.apply(cmd::JobCancelled{asked, b, {}, true});
  CHECK(find_effect<Answer>(again)->tasks == 7);
  CHECK(f.broken == "");
}

TEST_CASE("a paused job keeps what runs and gets nothing new") {
  QueueFixture f;
  const WorkerId w = f.add_worker(2);
  const JobId job = f.submit(a_job().with_tasks(3));
  f.assign(w, job, {1});
  CHECK(find_effect<Answer>(f.apply(cmd::JobPaused{f.ask(), job, true}))->tasks == 2);
  CHECK(f.job(job).state() == JobState::Paused);
  CHECK(f.assign(w, job, {2}).empty());
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Success));
  CHECK(f.row(job, 1).state == TaskState::Succeeded);
  CHECK(find_effect<Answer>(f.apply(cmd::JobPaused{f.ask(), job, true}))->tasks == 0);
  f.apply(cmd::JobResumed{f.ask(), job, true});
  CHECK(f.assign(w, job, {2}).size() == 1);
  CHECK(f.broken == "");
}

TEST_CASE("retry opens a new round: attempts go on, the old one moves to its table") {
  QueueFixture f;
  const WorkerId w = f.add_worker(2);
  const JobId job = f.submit(a_job().with_tasks(3));
  f.assign(w, job, {1, 2});
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  f.report(w, a_result(a_key(1, 2, 1), EndClass::Success));
  REQUIRE(f.row(job, 1).state == TaskState::Failed);
  CHECK(find_effect<Answer>(f.retry(job, kNotSucceeded))->tasks == 1);
  CHECK(f.row(job, 1).state == TaskState::Ready);
  CHECK(f.row(job, 1).round == 2);
  CHECK(f.row(job, 1).failures == 0);
  CHECK(f.tables.attempts.at(a_key(1, 1, 1)).end == EndClass::Exit);
  CHECK(f.tables.attempts.at(a_key(1, 1, 1)).stdout_tail == "out");
  CHECK(f.assign(w, job, {1}, 1).empty());
  f.assign(w, job, {1}, 2);
  f.report(w, a_result(a_key(1, 1, 2), EndClass::Success));
  f.assign(w, job, {3}, 1);
  f.report(w, a_result(a_key(1, 3, 1), EndClass::Success));
  CHECK(f.tables.jobs.at(job).state == JobState::Succeeded);
  CHECK(f.queue.jobs().empty());
  CHECK(f.broken == "");
}

TEST_CASE("a finished job comes back for a retry, and leaves again when nothing matches") {
  QueueFixture f;
  const WorkerId w = f.add_worker(2);
  const JobId job = f.submit(a_job().with_tasks(2));
  f.assign(w, job, {1, 2});
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Exit));
  f.report(w, a_result(a_key(1, 2, 1), EndClass::Success));
  REQUIRE(f.queue.jobs().empty());
  SUBCASE("nothing matches") {
    CHECK(find_effect<Answer>(f.retry(job, bit(TaskState::Cancelled)))->tasks == 0);
    CHECK(f.queue.jobs().empty());
    CHECK(f.tables.jobs.at(job).state == JobState::Failed);
  }
  SUBCASE("one is done again") {
    CHECK(find_effect<Answer>(f.retry(job, kNotSucceeded))->tasks == 1);
    CHECK(f.tables.jobs.at(job).state == JobState::Queued);
    CHECK(f.tables.jobs.at(job).finished_at.us == 0);
    f.assign(w, job, {1}, 2);
    f.report(w, a_result(a_key(1, 1, 2), EndClass::Success));
    CHECK(f.tables.jobs.at(job).state == JobState::Succeeded);
    CHECK(f.row(job, 1).attempt == AttemptNo(2));
    CHECK(f.tables.attempts.size() == 1);
  }
  CHECK(f.broken == "");
}

TEST_CASE("a retry in the batch of the failure keeps the failure's details") {
  // One RowChanges over several entries: the row of the failure was never in the tables.
  QueueFixture f;
  const WorkerId w = f.add_worker();
  const JobId job = f.submit(a_job().with_tasks(2));
  f.assign(w, job, {1});
  RowChanges rows;
  std::vector<Effect> effects;
  const auto apply = [&](Command command) {
    f.wait(Micros(1));
    f.queue.apply({f.queue.last_seq().next(), Epoch(257), f.now, f.wall, 1, std::move(command)},
                  effects, rows);
  };
  const Uuid instance = f.queue.find_worker(w)->row.instance;
  apply(cmd::ResultsReported{w, instance, {a_result(a_key(1, 1, 1), EndClass::Exit)}});
  apply(cmd::TasksRetried{f.ask(), job, {}, kNotSucceeded, true});
  CHECK(rows.archived.empty());
  rows.tasks.sort();
  f.tables.apply(rows);
  CHECK(f.tables.attempts.at(a_key(1, 1, 1)).stdout_tail == "out");
  CHECK(f.tables.broken() == "");
  CHECK(f.differs_from_tables() == "");
}

TEST_CASE("the priority of a live job changes its place, and its row") {
  QueueFixture f;
  const JobId a = f.submit(a_job().with_tasks(3));
  const JobId b = f.submit(a_job().with_priority(5));
  CHECK(f.queue.ready_jobs().begin()->first == 5);
  CHECK(find_effect<Answer>(f.apply(cmd::JobPrioritised{f.ask(), a, 9, true}))->tasks == 3);
  CHECK(f.queue.ready_jobs().begin()->first == 9);
  CHECK(f.tables.jobs.at(a).priority == 9);
  CHECK(f.tables.jobs.at(b).priority == 5);
  CHECK(find_effect<Answer>(f.apply(cmd::JobPrioritised{f.ask(), a, 9, true}))->tasks == 0);
  CHECK(find_effect<Answer>(f.apply(cmd::JobPrioritised{f.ask(), JobId(9), 1, true}))->code ==
        Errc::NotFound);
  f.cancel(a);
  f.retry(a, kNotSucceeded);
  CHECK(f.job(a).priority == 9);
  CHECK(f.broken == "");
}

TEST_CASE("the reason of a cancel is kept with the job, or with the tasks that it named") {
  QueueFixture f;
  const JobId whole = f.submit(a_job().with_tasks(3));
  f.apply(cmd::JobCancelled{f.ask(), whole, {}, true, "wrong input"});
  CHECK(f.tables.jobs.at(whole).reason == "wrong input");
  const JobId part = f.submit(a_job().with_tasks(3));
  f.apply(cmd::JobCancelled{f.ask(), part, {{2, 2}}, true, "not this one"});
  CHECK(f.row(part, 2).reason == "not this one");
  CHECK(f.job(part).reason == "");
  f.retry(whole, kNotSucceeded);
  CHECK(f.tables.jobs.at(whole).reason == "");
  CHECK(f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
