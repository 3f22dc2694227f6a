// SPDX-License-Identifier: MIT
#include "master/core/job.h"

#include <doctest/doctest.h>

#include "tests/support/builders.h"

namespace capstan {
namespace {

using test::a_job;

Job job_of(const test::JobBuilder& builder) {
  Job job;
  job.set_spec(std::make_shared<const JobSpec>(builder.spec()));
  job.counts.ready = job.tasks;
  return job;
}

TEST_SUITE_BEGIN("master/core/job");

TEST_CASE("ordinals and indices of strided ranges") {
  const Job job = job_of(a_job().with_indices({{5, 50, 5}, {60, 61, 1}, {70, 79, 4}}));
  REQUIRE(job.tasks == 10 + 2 + 3);
  const std::uint32_t expected[] = {5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 61, 70, 74, 78};
  for (std::uint32_t ordinal = 0; ordinal < job.tasks; ++ordinal) {
    CHECK(job.index_of(ordinal).value == expected[ordinal]);
    CHECK(job.ordinal_of(TaskIndex(expected[ordinal])) == ordinal);
  }
  for (const std::uint32_t missing : {0U, 4U, 6U, 51U, 55U, 62U, 73U, 79U, 100U}) {
    CHECK_FALSE(job.ordinal_of(TaskIndex(missing)).has_value());
  }
}

TEST_CASE("the tasks in a span of indices") {
  const Job job = job_of(a_job().with_indices({{5, 50, 5}, {60, 61, 1}, {70, 79, 4}}));
  using Span = Job::OrdinalSpan;
  CHECK(job.ordinals_in({0, UINT32_MAX}) == Span{0, 14});
  CHECK(job.ordinals_in({6, 14}) == Span{1, 1});
  CHECK(job.ordinals_in({46, 60}) == Span{9, 10});
  CHECK(job.ordinals_in({51, 74}) == Span{10, 13});
  CHECK(job.ordinals_in({75, 78}) == Span{14, 14});
  CHECK_FALSE(job.ordinals_in({0, 4}).has_value());
  CHECK_FALSE(job.ordinals_in({6, 9}).has_value());
  CHECK_FALSE(job.ordinals_in({51, 59}).has_value());
  CHECK_FALSE(job.ordinals_in({79, 99}).has_value());
  CHECK_FALSE(job.ordinals_in({9, 8}).has_value());
}

TEST_CASE("a touched task is a byte, and large attempt numbers are kept") {
  TaskBytes bytes(1'000'000);
  CHECK(bytes.state(999'999) == TaskState::Ready);
  CHECK_FALSE(bytes.is_touched(999'999));
  bytes.set(999'999, TaskState::Failed, AttemptNo(14));
  CHECK(bytes.attempts(999'999) == AttemptNo(14));
  for (std::uint32_t n = 15; n < 1000; n += 100) {
    bytes.set(5000, TaskState::Running, AttemptNo(n));
    CHECK(bytes.attempts(5000) == AttemptNo(n));
    CHECK(bytes.state(5000) == TaskState::Running);
  }
  CHECK(bytes.touched() == 2);
  CHECK(bytes.next_touched(0) == 5000);
  CHECK(bytes.next_touched(5001) == 999'999);
  TaskBytes same(1'000'000);
  same.set(999'999, TaskState::Failed, AttemptNo(14));
  CHECK_FALSE(bytes == same);
  same.set(5000, TaskState::Running, AttemptNo(915));
  CHECK(bytes == same);
  bytes.set(5000, TaskState::Succeeded, AttemptNo(2));
  CHECK(bytes.attempts(5000) == AttemptNo(2));
  CHECK_FALSE(bytes == same);
}

TEST_CASE("a job's state: paused before running before queued, failed before cancelled") {
  Job job = job_of(a_job().with_tasks(3));
  CHECK(job.state() == JobState::Queued);
  job.counts = {};
  job.counts.ready = 2, job.counts.running = 1;
  CHECK(job.state() == JobState::Running);
  job.paused = true;
  CHECK(job.state() == JobState::Paused);
  job.counts = {};
  job.counts.succeeded = 3;
  CHECK(job.state() == JobState::Succeeded);
  job.counts.succeeded = 2, job.counts.cancelled = 1;
  CHECK(job.state() == JobState::Cancelled);
  job.counts.succeeded = 1, job.counts.failed = 1;
  CHECK(job.state() == JobState::Failed);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
