// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;
using effect::Answer;

constexpr std::uint32_t kAll = bit(TaskState::Failed) | bit(TaskState::Cancelled) |
                               bit(TaskState::Skipped) | bit(TaskState::Succeeded);

struct Chain {
  QueueFixture f;
  WorkerId w = f.add_worker(8);
  JobId first = f.submit(a_job());

  void end(JobId job, EndClass end) {
    f.assign(w, job, {1});
    f.report(w, a_result(a_key(job.value, 1, 1), end));
  }
};

TEST_SUITE_BEGIN("master/core/queue: waiting");

TEST_CASE("a job after another begins when that one has succeeded") {
  Chain t;
  const JobId next = t.f.submit(a_job().with_tasks(1'000'000).after({t.first}));
  CHECK(t.f.job(next).counts.waiting == 1'000'000);
  CHECK(t.f.job(next).state() == JobState::Queued);
  CHECK(t.f.state(next, 7) == TaskState::Waiting);
  CHECK(t.f.tables.jobs.at(next).waits_for == std::vector{t.first});
  CHECK(t.f.queue.is_waited_for(t.first));
  CHECK_FALSE(t.f.queue.is_waited_for(next));
  CHECK(t.f.assign(t.w, next, {1}).empty());
  t.end(t.first, EndClass::Success);
  CHECK(t.f.job(next).counts.ready == 1'000'000);
  CHECK(t.f.tables.jobs.at(next).waits_for.empty());
  CHECK(t.f.tables.tasks.size() == 1);  // That of the first job.
  CHECK_FALSE(t.f.queue.is_waited_for(t.first));
  CHECK(t.f.assign(t.w, next, {1}).size() == 1);
  CHECK(t.f.broken == "");
}

TEST_CASE("what needed a failed job is skipped, and so is what needed that, in one entry") {
  Chain t;
  const JobId second = t.f.submit(a_job().with_tasks(1'000'000).after({t.first}));
  const JobId third = t.f.submit(a_job().after({second}));
  const JobId other = t.f.submit(a_job().after_any({third}));
  t.f.assign(t.w, t.first, {1});
  const auto effects = t.f.report(t.w, a_result(a_key(1, 1, 1), EndClass::Exit));
  CHECK(t.f.tables.jobs.at(second).state == JobState::Skipped);
  CHECK(t.f.tables.jobs.at(second).counts.skipped == 1'000'000);
  CHECK(t.f.tables.jobs.at(second).reason == "job 1 failed");
  CHECK(t.f.tables.jobs.at(third).reason == "job 2 was skipped");
  CHECK(t.f.tables.tasks.size() == 1);  // One row for each skipped job, none for their tasks.
  CHECK(t.f.job(other).counts.ready == 1);
  CHECK(t.f.queue.jobs().size() == 1);
  std::size_t finished = 0;
  for (const Effect& effect : effects) {
    finished += std::holds_alternative<effect::JobFinished>(effect) ? 1 : 0;
  }
  CHECK(finished == 3);
  CHECK(t.f.broken == "");
}

TEST_CASE("a long chain is skipped without recursion") {
  Chain t;
  JobId last = t.first;
  for (int i = 0; i < 20'000; ++i) {
    const SubmissionId id = t.f.queue.next_submission();
    const Asked asked = t.f.ask();
    const JobId job = t.f.queue.next_job();
    RowChanges rows;
    std::vector<Effect> effects;
    const auto apply = [&](Command command) {
      t.f.queue.apply(
          Entry{t.f.queue.last_seq().next(), Epoch(257), t.f.now, t.f.wall, 1, std::move(command)},
          effects, rows);
    };
    apply(cmd::SubmissionOpened{asked, id, "", "", a_job().after({last}).spec()});
    apply(cmd::JobSubmitted{asked, id, job, 0, {}});
    last = job;
  }
  CHECK(t.f.queue.jobs().size() == 20'001);
  std::vector<Effect> effects;
  RowChanges rows;
  t.f.queue.apply(Entry{t.f.queue.last_seq().next(), Epoch(257), t.f.now, t.f.wall, 1,
                        cmd::JobCancelled{t.f.ask(), t.first, {}, true, ""}},
                  effects, rows);
  CHECK(t.f.queue.jobs().empty());
  CHECK(rows.jobs.at(JobId(2)).reason == "job 1 was cancelled");
  CHECK(rows.jobs.at(last).state == JobState::Skipped);
}

TEST_CASE("it waits for all of them, by either kind") {
  Chain t;
  const JobId second = t.f.submit(a_job());
  const JobId next = t.f.submit(a_job().after({t.first}).after_any({second}));
  CHECK(t.f.tables.jobs.at(next).waits_for == std::vector{t.first, second});
  t.end(second, EndClass::Exit);
  CHECK(t.f.tables.jobs.at(next).waits_for == std::vector{t.first});
  CHECK(t.f.job(next).counts.waiting == 1);
  t.end(t.first, EndClass::Success);
  CHECK(t.f.job(next).counts.ready == 1);
  CHECK(t.f.broken == "");
}

TEST_CASE("jobs that ended before the submission") {
  Chain t;
  SUBCASE("a success is not waited for") {
    t.end(t.first, EndClass::Success);
    const JobId next = t.f.submit(a_job().after({t.first}));
    CHECK(t.f.job(next).counts.ready == 1);
  }
  SUBCASE("after a failure it is skipped at once, and the answer says so") {
    t.end(t.first, EndClass::Exit);
    const SubmissionId id = t.f.queue.next_submission();
    const Asked asked = t.f.ask();
    const JobSpec spec = a_job().after({t.first}).spec();
    t.f.apply(cmd::SubmissionOpened{asked, id, "", "", spec});
    CHECK(t.f.queue.is_waited_for(t.first));  // The submission that is open names it.
    const auto effects =
        t.f.apply(cmd::JobSubmitted{asked, id, JobId(2), 0, t.f.tables.ended(spec)});
    CHECK(find_effect<Answer>(effects)->code == Errc{});
    CHECK(find_effect<Answer>(effects)->reason == "skipped: job 1 failed");
    CHECK(find_effect<effect::JobFinished>(effects)->job == JobId(2));
    CHECK(t.f.tables.jobs.at(JobId(2)).state == JobState::Skipped);
    CHECK(t.f.queue.jobs().empty());
  }
  SUBCASE("with --after-any it begins") {
    t.end(t.first, EndClass::Exit);
    CHECK(t.f.job(t.f.submit(a_job().after_any({t.first}))).counts.ready == 1);
  }
  SUBCASE("one that is neither live nor known is refused") {
    const SubmissionId id = t.f.queue.next_submission();
    const Asked asked = t.f.ask();
    t.f.apply(cmd::SubmissionOpened{asked, id, "", "", a_job().after({JobId(7)}).spec()});
    const auto effects =
        t.f.apply(cmd::JobSubmitted{asked, id, JobId(2), 0, {{JobId(7), JobState::Succeeded}}});
    CHECK(find_effect<Answer>(effects)->code == Errc::NotFound);
    CHECK(find_effect<Answer>(effects)->reason == "job 7 does not exist (any more)");
    CHECK(t.f.queue.submissions().empty());
    CHECK(t.f.queue.next_job() == JobId(2));
  }
  CHECK(t.f.broken == "");
}

TEST_CASE("what the look-up found does not count when the job is live again") {
  Chain t;
  t.end(t.first, EndClass::Exit);
  const JobSpec spec = a_job().after({t.first}).spec();
  const auto ended = t.f.tables.ended(spec);
  t.f.retry(t.first, kAll);
  const SubmissionId id = t.f.queue.next_submission();
  const Asked asked = t.f.ask();
  t.f.apply(cmd::SubmissionOpened{asked, id, "", "", spec});
  t.f.apply(cmd::JobSubmitted{asked, id, JobId(2), 0, ended});
  CHECK(t.f.job(JobId(2)).counts.waiting == 1);
  CHECK(t.f.broken == "");
}

TEST_CASE("retry of a skipped job runs it without asking again") {
  Chain t;
  const JobId next = t.f.submit(a_job().with_tasks(5).after({t.first}));
  t.end(t.first, EndClass::Exit);
  SUBCASE("all of it") {
    CHECK(find_effect<Answer>(t.f.retry(next, kAll))->tasks == 5);
    CHECK(t.f.job(next).counts.ready == 5);
    CHECK(t.f.job(next).reason == "");
    CHECK_FALSE(t.f.tables.jobs.at(next).skipping);
  }
  SUBCASE("one task: the others stay skipped") {
    CHECK(find_effect<Answer>(t.f.retry(next, kAll, {{3, 3}}))->tasks == 1);
    CHECK(t.f.job(next).counts.skipped == 4);
    t.f.assign(t.w, next, {3});
    t.f.report(t.w, a_result(a_key(next.value, 3, 1), EndClass::Success));
    CHECK(t.f.tables.jobs.at(next).state == JobState::Skipped);
    CHECK(t.f.tables.jobs.at(next).reason == "job 1 failed");
    CHECK(find_effect<Answer>(t.f.retry(next, kAll))->tasks == 5);
  }
  SUBCASE("one task, then cancel: nothing else changes") {
    t.f.retry(next, kAll, {{3, 3}});
    CHECK(find_effect<Answer>(t.f.cancel(next))->tasks == 1);
    CHECK(t.f.tables.jobs.at(next).counts.skipped == 4);
    CHECK(t.f.tables.jobs.at(next).state == JobState::Skipped);
  }
  SUBCASE("a retry of the job that failed does not bring it back") {
    t.f.retry(t.first, kAll);
    t.f.assign(t.w, t.first, {1}, 2);
    t.f.report(t.w, a_result(a_key(1, 1, 2), EndClass::Success));
    CHECK(t.f.tables.jobs.at(t.first).state == JobState::Succeeded);
    CHECK(t.f.tables.jobs.at(next).state == JobState::Skipped);
  }
  CHECK(t.f.broken == "");
}

TEST_CASE("hold, resume and cancel of a job that waits") {
  Chain t;
  const JobId held = t.f.submit(a_job().on_hold().after({t.first}));
  const JobId next = t.f.submit(a_job().with_tasks(4).after({t.first}));
  const JobId last = t.f.submit(a_job().after({next}));
  CHECK(t.f.job(held).state() == JobState::Paused);
  SUBCASE("held, it is still held when it need not wait") {
    t.end(t.first, EndClass::Success);
    CHECK(t.f.job(held).counts.ready == 1);
    CHECK(t.f.assign(t.w, held, {1}).empty());
    t.f.apply(cmd::JobResumed{t.f.ask(), held, true});
    CHECK(t.f.assign(t.w, held, {1}).size() == 1);
  }
  SUBCASE("resumed, it still waits") {
    t.f.apply(cmd::JobResumed{t.f.ask(), held, true});
    CHECK(t.f.job(held).state() == JobState::Queued);
    CHECK(t.f.assign(t.w, held, {1}).empty());
  }
  SUBCASE("cancelled, it ends, and who waited for it is skipped") {
    CHECK(find_effect<Answer>(t.f.cancel(next))->tasks == 4);
    CHECK(t.f.tables.jobs.at(next).state == JobState::Cancelled);
    CHECK(t.f.tables.jobs.at(next).waits_for.empty());
    CHECK(t.f.tables.jobs.at(last).reason == "job 3 was cancelled");
    t.end(t.first, EndClass::Success);
  }
  SUBCASE("cancelled in part and retried: what was touched waits with the others, and goes on") {
    t.f.cancel(next, {{2, 3}});
    CHECK(t.f.job(next).counts.waiting == 2);
    t.f.retry(next, kAll, {{3, 3}});
    CHECK(t.f.row(next, 3).state == TaskState::Waiting);
    CHECK(t.f.job(next).counts.waiting == 3);
    t.end(t.first, EndClass::Success);
    CHECK(t.f.row(next, 3).state == TaskState::Ready);
    CHECK(t.f.job(next).counts.ready == 3);
  }
  SUBCASE("cancelled in part and retried, then skipped") {
    t.f.cancel(next, {{2, 3}});
    t.f.retry(next, kAll, {{3, 3}});
    t.end(t.first, EndClass::Signal);
    CHECK(t.f.row(next, 3).state == TaskState::Skipped);
    CHECK(t.f.tables.jobs.at(next).counts.skipped == 3);
    CHECK(t.f.tables.jobs.at(next).state == JobState::Skipped);
  }
  CHECK(t.f.broken == "");
}

TEST_CASE("a job with a begin waits until it is released") {
  Chain t;
  const JobId job = t.f.submit(a_job().with_tasks(3).begins_at(WallTime{1}));
  CHECK(t.f.job(job).counts.waiting == 3);
  CHECK(t.f.queue.begins().size() == 1);
  CHECK(t.f.assign(t.w, job, {1}).empty());
  SUBCASE("then its tasks are ready") {
    t.f.apply(cmd::JobReleased{job});
    CHECK(t.f.job(job).counts.ready == 3);
    CHECK_FALSE(t.f.tables.jobs.at(job).awaits_begin);
    CHECK(t.f.queue.begins().empty());
    t.f.apply(cmd::JobReleased{job});
  }
  SUBCASE("cancelled, it is forgotten") {
    t.f.cancel(job);
    CHECK(t.f.queue.begins().empty());
  }
  SUBCASE("with another job to wait for, it waits for both") {
    const JobId both = t.f.submit(a_job().after({t.first}).begins_at(WallTime{1}));
    t.f.apply(cmd::JobReleased{both});
    CHECK(t.f.job(both).counts.waiting == 1);
    t.end(t.first, EndClass::Success);
    CHECK(t.f.job(both).counts.ready == 1);
  }
  CHECK(t.f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
