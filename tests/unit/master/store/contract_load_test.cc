// SPDX-License-Identifier: MIT
//
// What a start finds of what was written: master/store/store.h, held against both stores.
#include "tests/unit/master/store/contract.h"

using namespace capstan;
using namespace capstan::test;
using store::Opened;

namespace {

void check_loaded(const LoadedState& state) {
  const RowChanges rows = everything();
  REQUIRE(state.jobs.size() == 1);
  const LoadedState::LoadedJob& job = state.jobs[0];
  CHECK(same(job.row, rows.jobs.at(JobId(4))));
  REQUIRE(job.runs.size() == 1);
  CHECK(job.runs[0] ==
        LoadedState::TaskRun{
            {7, 7}, TaskState::Failed, rows.tasks.find({JobId(4), TaskIndex(7)})->attempts, 2});
  REQUIRE(job.tasks.size() == 2);
  for (const auto& [task, row] : job.tasks) {
    CHECK(row == without_tails(*rows.tasks.find({JobId(4), task})));
  }
  REQUIRE(job.attempts.size() == 1);  // 4.7 is finished, 4.8.3 is not to be remembered.
  for (const auto& [key, row] : job.attempts) CHECK(row == without_tails(*rows.attempts.at(key)));
  CHECK(state.workers == rows.workers);
  CHECK(state.keys == rows.keys);
  REQUIRE(state.submissions.size() == 1);
  CHECK(state.submissions.at(SubmissionId(6)) == rows.submissions.at(SubmissionId(6)));
  REQUIRE(state.requests.size() == 1);  // The other one is too old.
  const Asked asked{"ann", an_id(50)};
  CHECK(state.requests.at(asked) == rows.requests.at(asked));
  CHECK(state.tokens == rows.tokens);
  CHECK(state.next_job == JobId(5));
  CHECK(state.next_submission == SubmissionId(7));
  CHECK(state.next_worker == WorkerId(10));
  CHECK(state.min_copies == 2);
}

}  // namespace

TEST_SUITE("master/store/contract_load") {
  TEST_CASE_TEMPLATE("what was written is loaded, after a clean end and after a crash", Disk,
                     SqliteDisk, MemoryDisk) {
    Disk disk;
    const Opened first = disk.open();
    append(disk, 1, 3, everything());
    CHECK(disk.tables().applied_seq().value() == Seq(3));
    for (const bool clean : {true, false}) {
      CAPTURE(clean);
      if (clean)
        disk.close();
      else
        disk.crash();
      const Opened opened = disk.open();
      CHECK(opened.clean == clean);
      CHECK(opened.meta.cluster == first.meta.cluster);
      CHECK(opened.meta.db_uuid == first.meta.db_uuid);
      CHECK(opened.meta.generation == first.meta.generation);
      CHECK(opened.meta.applied_seq == Seq(3));
      CHECK(opened.meta.last_seq == Seq(3));
      CHECK(opened.meta.last_epoch == Epoch(257));
      CHECK(opened.state.last_seq == Seq(3));
      CHECK(opened.state.last_epoch == Epoch(257));
      CHECK(opened.state.last_at == a_batch(3, 3)[0].at);
      CHECK(opened.tail.empty());
      check_loaded(opened.state);
    }
  }

  TEST_CASE_TEMPLATE("finished tasks of a live job are loaded as runs of those that are alike",
                     Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    const JobId job = put_job(rows, 1, 10, JobState::Running);
    for (const std::uint32_t task : {1U, 2U, 3U, 5U, 6U, 9U}) {
      const bool failed = task == 6;
      rows.tasks.put({job, TaskIndex(task)},
                     an_ended_row(failed ? TaskState::Failed : TaskState::Succeeded,
                                  failed ? EndClass::Exit : EndClass::Success, task));
    }
    rows.tasks.put({job, TaskIndex(4)}, a_running_row(4));
    rows.tasks.sort();
    append(disk, 1, 9, rows);
    disk.crash();
    const Opened opened = disk.open();
    REQUIRE(opened.state.jobs.size() == 1);
    const LoadedState::LoadedJob& loaded = opened.state.jobs[0];
    CHECK(loaded.tasks.size() == 1);
    REQUIRE(loaded.runs.size() == 4);
    CHECK(loaded.runs[0].span == IndexSpan{1, 3});
    CHECK(loaded.runs[1].span == IndexSpan{5, 5});
    CHECK(loaded.runs[2].state == TaskState::Failed);
    CHECK(loaded.runs[3].span == IndexSpan{9, 9});
  }

  TEST_CASE_TEMPLATE(
      "idle tasks without a history are loaded so too, and what went wrong in their "
      "round",
      Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    const JobId job = put_job(rows, 1, 10, JobState::Running);
    TaskRow idle;
    idle.attempts = AttemptNo(2);
    idle.round = 2;
    for (const std::uint32_t task : {2U, 3U, 4U})
      rows.tasks.put({job, TaskIndex(task)}, TaskRow(idle));
    idle.failures = 1;
    rows.tasks.put({job, TaskIndex(5)}, TaskRow(idle));
    rows.tasks.sort();
    const auto add = [&](std::uint32_t task, std::uint32_t attempt, EndClass end) -> AttemptRow& {
      AttemptRow& row =
          rows.attempts[{job, TaskIndex(task), AttemptNo(attempt)}].emplace(an_attempt_row(end));
      row.round = 2;
      row.late = false;
      return row;
    };
    add(2, 1, EndClass::WorkerLost).round = 1;
    add(2, 2, EndClass::WorkerLost).late = true;
    add(3, 1, EndClass::Cancelled);
    add(3, 2, EndClass::WorkerLost);
    add(5, 2, EndClass::Exit);
    append(disk, 1, 9, rows);
    disk.crash();
    const Opened opened = disk.open();
    REQUIRE(opened.state.jobs.size() == 1);
    const LoadedState::LoadedJob& loaded = opened.state.jobs[0];
    REQUIRE(loaded.runs.size() == 1);
    CHECK(loaded.runs[0] == LoadedState::TaskRun{{2, 4}, TaskState::Ready, AttemptNo(2), 2});
    REQUIRE(loaded.tasks.size() == 1);
    CHECK(loaded.tasks.begin()->first == TaskIndex(5));
    REQUIRE(loaded.attempts.size() == 2);
    CHECK(loaded.attempts.contains({job, TaskIndex(3), AttemptNo(2)}));
    CHECK(loaded.attempts.contains({job, TaskIndex(5), AttemptNo(2)}));
  }
}
