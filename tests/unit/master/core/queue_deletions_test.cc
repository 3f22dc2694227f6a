// SPDX-License-Identifier: MIT
//
// Deleting finished jobs: off the lists at once, swept in steps.
#include <doctest/doctest.h>

#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;
using effect::Answer;

cmd::JobsDeleted::One deletion(JobId job, std::string token = "") {
  return {job, "ann", std::move(token), SubmissionId(), 2};
}

/// A job of two tasks that was cancelled.
JobId a_finished_job(QueueFixture& f) {
  const JobId job = f.submit(a_job().with_tasks(2));
  f.cancel(job);
  return job;
}

TEST_SUITE_BEGIN("master/core/queue_deletions");

TEST_CASE("a finished job leaves the lists, then its rows go") {
  QueueFixture f;
  const JobId job = a_finished_job(f);
  const auto effects = f.apply(cmd::JobsDeleted{f.ask(), {deletion(job)}, true, true, "1 job"});
  const auto* answer = find_effect<Answer>(effects);
  REQUIRE(answer != nullptr);
  CHECK(answer->jobs == std::vector{job});
  CHECK(answer->tasks == 2);
  CHECK(answer->reason == "1 job");
  CHECK_FALSE(f.tables.jobs.contains(job));
  CHECK(f.queue.deletions().contains(job));

  f.apply(cmd::DeletionsSwept{{{job, TaskIndex(1), 0, false}}});
  CHECK(f.queue.deletions().contains(job));
  f.apply(cmd::DeletionsSwept{{{job, TaskIndex(2), 0, true}}});
  CHECK(f.queue.deletions().empty());
  CHECK(f.tables.tasks.empty());
  CHECK(f.queue.next_job() == job.next());
  CHECK(f.broken == "");
}

TEST_CASE("a live job is left alone, and a second deletion is none") {
  QueueFixture f;
  const JobId live = f.submit(a_job());
  const JobId job = a_finished_job(f);
  f.apply(cmd::JobsDeleted{{}, {deletion(live), deletion(job)}, false, true, ""});
  CHECK(f.queue.find_job(live) != nullptr);
  CHECK(f.tables.jobs.contains(live));
  const auto again = f.apply(cmd::JobsDeleted{f.ask(), {deletion(job)}, true, true, ""});
  CHECK(find_effect<Answer>(again)->tasks == 0);
  CHECK(f.broken == "");
}

TEST_CASE("a request in parts is answered once, with the sum") {
  QueueFixture f;
  const JobId first = a_finished_job(f);
  const JobId second = a_finished_job(f);
  const Asked asked = f.ask();
  const auto begun = f.apply(cmd::JobsDeleted{asked, {deletion(first)}, false, false, ""});
  CHECK(find_effect<Answer>(begun) == nullptr);
  const auto done = f.apply(cmd::JobsDeleted{asked, {deletion(second)}, false, true, "2 jobs"});
  REQUIRE(find_effect<Answer>(done) != nullptr);
  CHECK(find_effect<Answer>(done)->tasks == 4);
  const auto again = f.apply(cmd::JobsDeleted{asked, {}, false, true, "other"});
  CHECK(find_effect<Answer>(again)->reason == "2 jobs");
}

TEST_CASE("a deleted job does not come back by a retry") {
  QueueFixture f;
  const JobId job = a_finished_job(f);
  cmd::JobReopened reopened = f.tables.reopened(job);
  f.apply(cmd::JobsDeleted{{}, {deletion(job)}, false, true, ""});
  f.apply(std::move(reopened));
  CHECK(f.queue.find_job(job) == nullptr);
  CHECK(f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
