// SPDX-License-Identifier: MIT
#include "master/core/rows.h"

#include <doctest/doctest.h>

#include "tests/support/builders.h"

namespace capstan {
namespace {

TaskRow tried(std::uint32_t attempts) {
  TaskRow row;
  row.attempts = AttemptNo(attempts);
  return row;
}

TEST_SUITE_BEGIN("master/core/rows");

TEST_CASE("merging: the later row wins, the others stay") {
  RowChanges first;
  first.tasks.put({JobId(1), TaskIndex(1)}, tried(1));
  first.tasks.put({JobId(1), TaskIndex(2)}, tried(1));
  first.attempts[test::a_key(1, 1, 1)] = AttemptRow{};
  CHECK_FALSE(first.empty());
  RowChanges later;
  CHECK(later.empty());
  later.tasks.put({JobId(1), TaskIndex(2)}, tried(2));
  later.attempts[test::a_key(1, 1, 1)] = std::nullopt;
  later.archived.emplace_back(JobId(2), IndexSpan{1, 9});
  first.merge(later);
  CHECK(first.tasks.size() == 2);
  CHECK(first.tasks.find({JobId(1), TaskIndex(1)})->attempts == AttemptNo(1));
  CHECK(first.tasks.find({JobId(1), TaskIndex(2)})->attempts == AttemptNo(2));
  CHECK_FALSE(first.attempts[test::a_key(1, 1, 1)].has_value());
  CHECK(first.archived.size() == 1);
}

TEST_CASE("merging covers every table") {
  RowChanges first;
  RowChanges later;
  for (RowChanges* one : {&first, &later}) {
    const std::uint64_t n = one == &first ? 1 : 2;
    one->jobs[JobId(1)].tasks = n;
    one->workers[WorkerId(1)].cpus = static_cast<std::uint32_t>(n);
    one->requests[{"ann", test::an_id(1)}].tasks = n;
    one->tokens[{"ann", "t"}].tasks = n;
    one->submissions[SubmissionId(1)] = SubmissionRow{};
    one->submissions[SubmissionId(1)]->parts = n;
    one->inputs[{SubmissionId(1), n}].count = n;
  }
  first.merge(later);
  CHECK(first.jobs[JobId(1)].tasks == 2);
  CHECK(first.workers[WorkerId(1)].cpus == 2);
  CHECK(first.requests[{"ann", test::an_id(1)}].tasks == 2);
  CHECK(first.tokens[{"ann", "t"}].tasks == 2);
  CHECK(first.submissions[SubmissionId(1)]->parts == 2);
  CHECK(first.inputs.size() == 2);
}

TEST_CASE("dropping a submission drops its chunks of this batch too") {
  RowChanges first;
  first.inputs[{SubmissionId(7), 0}].count = 3;
  first.inputs[{SubmissionId(7), 3}].count = 3;
  first.inputs[{SubmissionId(8), 0}].count = 3;
  RowChanges later;
  later.drop_inputs(SubmissionId(7));
  first.merge(later);
  CHECK(first.inputs.size() == 1);
  CHECK(first.inputs_dropped == std::vector{SubmissionId(7)});
}

TEST_CASE("what is said of the cluster is more than progress, and the later word counts") {
  RowChanges ids;
  ids.next_job = JobId(7);
  CHECK_FALSE(ids.empty());
  CHECK_FALSE(ids.is_progress());
  RowChanges copies;
  copies.min_copies = 2;
  CHECK_FALSE(copies.is_progress());
  ids.merge(copies);
  RowChanges later;
  later.next_job = JobId(5);
  later.min_copies = 1;
  ids.merge(later);
  CHECK(ids.next_job == JobId(7));
  CHECK(ids.min_copies == 1);
}

TEST_CASE("deleting a job drops what this batch wrote of it in jobs and tokens") {
  RowChanges first;
  first.jobs[JobId(3)].tasks = 1;
  first.jobs[JobId(4)].tasks = 1;
  first.tokens[{"ann", "t"}].job = JobId(3);
  first.tokens[{"ann", "u"}].job = JobId(4);
  RowChanges later;
  later.delete_job(JobId(3), {"ann", "t", SubmissionId(7)});
  later.swept.push_back({JobId(3), SubmissionId(7), TaskIndex(9), 0, true});
  later.requests_forgotten = TimePoint{5};
  CHECK_FALSE(later.empty());
  CHECK_FALSE(later.is_progress());
  RowChanges step;
  step.swept.push_back({JobId(3), SubmissionId(7), TaskIndex(9), 0, false});
  CHECK_FALSE(step.empty());
  CHECK(step.is_progress());
  step.swept.front().last = true;
  CHECK_FALSE(step.is_progress());
  first.merge(later);
  CHECK(first.jobs.size() == 1);
  CHECK(first.tokens.size() == 1);
  CHECK(first.deleted.at(JobId(3)).inputs == SubmissionId(7));
  CHECK(first.swept.size() == 1);
  CHECK(first.requests_forgotten == TimePoint{5});
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
