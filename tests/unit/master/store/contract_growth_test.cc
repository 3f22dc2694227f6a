// SPDX-License-Identifier: MIT
//
// What goes again: deletions, retention, old requests; of both stores.
#include "tests/unit/master/store/contract.h"

using namespace capstan;
using namespace capstan::test;
using store::Opened;

TEST_SUITE("master/store/contract_growth") {
  TEST_CASE_TEMPLATE("a deleted job is off the lists at once and swept in steps", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    CHECK_FALSE(disk.store().find_deletable(JobId(4)).value().has_value());  // It is live.
    const auto one = disk.store().find_deletable(JobId(3)).value();
    REQUIRE(one.has_value());
    CHECK(one->owner == "ann");
    RowChanges rows;
    rows.delete_job(JobId(3), {"ann", "", SubmissionId(6)});
    append(disk, 2, 2, rows);
    CHECK_FALSE(disk.tables().get_job(JobId(3)).value().has_value());
    CHECK_FALSE(disk.store().find_owner(JobId(3)).value().has_value());
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.state.deletions == std::map<JobId, SubmissionId>{{JobId(3), SubmissionId(6)}});
    const auto steps = disk.tables().plan_sweep({{{JobId(3), SubmissionId(6)}}}).value();
    REQUIRE(steps.size() == 1);
    CHECK(steps[0].step.job == JobId(3));
    CHECK(steps[0].step.last);
    RowChanges last;
    last.swept.push_back({JobId(3), SubmissionId(6), TaskIndex(UINT32_MAX), UINT64_MAX, true});
    append(disk, 3, 3, last);
    CHECK(disk.tables().list_attempts(JobId(3), TaskIndex(1)).value().empty());
    CHECK_FALSE(disk.store().read_inputs(SubmissionId(6), 0).has_value());
    CHECK(disk.tables().get_task(JobId(4), TaskIndex(7)).value().has_value());
    disk.close();
    const Opened again = disk.open();
    CHECK(again.state.deletions.empty());
    CHECK(again.state.next_job == JobId(5));
  }

  TEST_CASE_TEMPLATE("a step of a sweep that was written ahead of the tables is done once more",
                     Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    RowChanges rows;
    rows.delete_job(JobId(3), {"ann", "", SubmissionId(6)});
    append(disk, 2, 2, rows);
    RowChanges step;
    step.swept.push_back({JobId(3), SubmissionId(6), TaskIndex(1), 0, false});
    REQUIRE(append_to(disk.store(), a_batch(3, 3), step, Seq(2)).has_value());
    CHECK(disk.tables().list_attempts(JobId(3), TaskIndex(1)).value().empty());
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.meta.applied_seq == Seq(2));
    CHECK(opened.state.deletions.contains(JobId(3)));
    CHECK(disk.store().flush(step, Seq(3)).has_value());
    CHECK(disk.tables().list_attempts(JobId(3), TaskIndex(1)).value().empty());
    CHECK(disk.tables().get_task(JobId(4), TaskIndex(7)).value().has_value());
  }

  TEST_CASE_TEMPLATE("jobs of which nothing is left are told from those that are not there yet",
                     Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());  // Jobs 3 and 4; 5 is the next.
    RowChanges deleted;
    deleted.delete_job(JobId(3), {"ann", "", SubmissionId(6)});
    append(disk, 2, 2, deleted);
    const std::vector<JobId> all{JobId(1), JobId(3), JobId(4), JobId(5), JobId(17)};
    CHECK(disk.tables().list_gone(all).value() == std::vector{JobId(1)});
    RowChanges swept;
    swept.swept.push_back({JobId(3), SubmissionId(6), TaskIndex(UINT32_MAX), UINT64_MAX, true});
    append(disk, 3, 3, swept);
    CHECK(disk.tables().list_gone(all).value() == std::vector{JobId(1), JobId(3)});
  }

  TEST_CASE_TEMPLATE("steps have a bounded number of rows", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    rows.jobs[JobId(1)] = a_job_row(1, a_job().with_tasks(25).spec());
    for (std::uint32_t i = 1; i <= 25; ++i) {
      rows.tasks.put({JobId(1), TaskIndex(i)},
                     an_ended_row(TaskState::Succeeded, EndClass::Success, 1));
    }
    append(disk, 1, 1, rows);
    RowChanges deleted;
    deleted.delete_job(JobId(1), {"ann", "", {}});
    append(disk, 2, 2, deleted);
    store::Tables::SweepAsk ask;
    ask.deletions = {{JobId(1), SubmissionId()}};
    ask.rows_per_step = 10;
    const auto steps = disk.tables().plan_sweep(ask).value();
    REQUIRE(steps.size() == 3);
    CHECK(steps[0].step.tasks_upto == TaskIndex(10));
    CHECK(steps[1].step.tasks_upto == TaskIndex(20));
    CHECK(steps[2].step.last);
    RowChanges first;
    first.swept.push_back({JobId(1), {}, TaskIndex(10), 0, false});
    append(disk, 3, 3, first);
    CHECK(disk.tables().plan_sweep(ask).value().size() == 2);
  }

  TEST_CASE_TEMPLATE("jobs expire by age, by number and by size", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    for (std::uint64_t id = 1; id <= 6; ++id) {
      JobRow row = a_job_row(id, a_job().spec(), id == 2 ? "bob" : "ann");
      row.state = id == 6 ? JobState::Running : JobState::Succeeded;
      if (id != 6) row.finished_at.us = static_cast<std::int64_t>(1000 - id * 100);
      rows.jobs[row.id] = row;
    }
    append(disk, 1, 1, rows);
    const auto expired = [&](store::Tables::Expiry expiry) {
      std::vector<std::uint64_t> ids;
      const auto page = disk.tables().list_expired(expiry).value();
      for (const auto& one : page.jobs) ids.push_back(one.job.value);
      return ids;
    };
    using Ids = std::vector<std::uint64_t>;
    store::Tables::Expiry none;
    CHECK(expired(none).empty());
    store::Tables::Expiry by_age;
    by_age.finished_before.us = 700;
    CHECK(expired(by_age) == Ids{5, 4});  // The oldest end first.
    store::Tables::Expiry by_number;
    by_number.jobs_kept = 2;
    CHECK(expired(by_number) == Ids{5, 4, 3});
    store::Tables::Expiry by_size;
    by_size.bytes_kept = 1;
    CHECK(expired(by_size) == Ids{5, 4, 3, 2, 1});
    store::Tables::Expiry bobs = by_age;
    bobs.finished_before.us = 2000;
    bobs.owner = "bob";
    CHECK(expired(bobs) == Ids{2});
    store::Tables::Expiry page = by_age;
    page.limit = 1;
    const auto first = disk.tables().list_expired(page).value();
    CHECK(first.more);
    page.after_at = first.last_at;
    page.after = first.jobs.back().job;
    CHECK(expired(page) == Ids{4});
  }

  TEST_CASE_TEMPLATE("old requests are forgotten in steps", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    const TimePoint cut = disk.tables().find_old_requests(TimePoint{950'000'000}, 10).value();
    CHECK(cut == TimePoint{900'000'000});
    CHECK(disk.tables().find_old_requests(TimePoint{900'000'000}, 10).value() == TimePoint{});
    RowChanges rows;
    rows.requests_forgotten = cut;
    append(disk, 2, 2, rows);
    CHECK_FALSE(disk.store().find_request({"ann", an_id(51)}).value().has_value());
    CHECK(disk.store().find_request({"ann", an_id(50)}).value().has_value());
  }

  TEST_CASE_TEMPLATE("a token that was used again outlives its first job", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    RowChanges rows;
    rows.delete_job(JobId(3), {"ann", "token", {}});  // Which is job 4's.
    append(disk, 2, 2, rows);
    CHECK(disk.store().find_token("ann", "token").value().has_value());
  }
}
