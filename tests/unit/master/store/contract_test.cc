// SPDX-License-Identifier: MIT
//
// What master/store/store.h promises, held against both stores.
#include "tests/unit/master/store/contract.h"

using namespace capstan;
using namespace capstan::test;
using store::Opened;

TEST_SUITE("master/store/contract") {
  TEST_CASE_TEMPLATE("a new store is empty and has a name", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    const Opened opened = disk.open(21);
    CHECK(opened.clean);
    CHECK(opened.meta.cluster.is_set());
    CHECK(opened.meta.db_uuid.is_set());
    CHECK(opened.meta.generation.began_us != 0);
    CHECK(opened.meta.nonce == 21);
    CHECK(opened.meta.last_seq == Seq(0));
    CHECK(opened.tail.empty());
    CHECK(opened.state.jobs.empty());
    CHECK(opened.state.next_job == JobId(1));
    CHECK(disk.tables().applied_seq().value() == Seq(0));
  }

  TEST_CASE_TEMPLATE("entries behind the tables are the tail of the next start", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    rows.jobs[JobId(1)] = a_job_row(1, a_job().spec());
    REQUIRE(append_to(disk.store(), a_batch(1, 3), {}, Seq(0)).has_value());
    REQUIRE(append_to(disk.store(), a_batch(4, 5, Epoch(513)), {}, Seq(0)).has_value());
    REQUIRE(append_to(disk.store(), a_batch(6, 6, Epoch(513)), rows, Seq(3)).has_value());
    disk.crash();
    Opened opened = disk.open();
    CHECK(opened.meta.applied_seq == Seq(3));
    CHECK(opened.meta.last_seq == Seq(6));
    CHECK(opened.meta.last_epoch == Epoch(513));
    CHECK(opened.state.last_seq == Seq(3));
    CHECK(opened.state.last_epoch == Epoch(257));
    CHECK(opened.state.last_at == a_batch(3, 3)[0].at);
    CHECK(opened.state.jobs.size() == 1);
    REQUIRE(opened.tail.size() == 3);
    CHECK(same(opened.tail[0], a_batch(4, 4, Epoch(513))[0]));
    CHECK(same(opened.tail[2], a_batch(6, 6, Epoch(513))[0]));
    // After the restart the outstanding rows are written alone.
    REQUIRE(disk.store().flush({}, Seq(5)).has_value());
    CHECK(disk.tables().applied_seq().value() == Seq(5));
    disk.close();
    opened = disk.open();
    CHECK(opened.state.last_seq == Seq(5));
    CHECK(opened.state.last_epoch == Epoch(513));
    REQUIRE(opened.tail.size() == 1);
    REQUIRE(append_to(disk.store(), a_batch(7, 7), {}, Seq(7)).has_value());
    CHECK(disk.tables().applied_seq().value() == Seq(7));
  }

  TEST_CASE_TEMPLATE("rows that were written ahead of the tables are gone after a start", Disk,
                     SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    const JobId job = put_job(rows, 1, 3, JobState::Running);
    rows.tasks.put({job, TaskIndex(1)}, an_ended_row(TaskState::Failed, EndClass::Exit, 3));
    const JobId other = put_job(rows, 2, 1, JobState::Failed);
    // Of a finished job nothing is ever written ahead: it is not even looked at.
    rows.tasks.put({other, TaskIndex(1)}, an_ended_row(TaskState::Failed, EndClass::Exit, 4));
    append(disk, 1, 3, rows);
    RowChanges ahead;
    ahead.tasks.put({job, TaskIndex(2)}, an_ended_row(TaskState::Succeeded, EndClass::Success, 4));
    REQUIRE(append_to(disk.store(), a_batch(4, 4), ahead, Seq(3)).has_value());
    CHECK(disk.tables().get_task(job, TaskIndex(2)).value()->row.ended);
    SUBCASE("a crash") {
      disk.crash();
    }
    SUBCASE("a clean end") {
      disk.close();
    }
    const Opened opened = disk.open();
    CHECK(opened.meta.applied_seq == Seq(3));
    CHECK(opened.tail.size() == 1);
    REQUIRE(opened.state.jobs.size() == 1);
    REQUIRE(opened.state.jobs[0].runs.size() == 1);
    CHECK(opened.state.jobs[0].runs[0].span == IndexSpan{1, 1});
    CHECK_FALSE(disk.tables().get_task(job, TaskIndex(2)).value()->row.ended);
    CHECK(disk.tables().get_task(job, TaskIndex(1)).value()->row.ended);
    CHECK(disk.tables().get_task(other, TaskIndex(1)).value()->row.ended);
  }

  TEST_CASE_TEMPLATE("a new round archives what ended before it writes", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    rows.jobs[JobId(1)] = a_job_row(1, a_job().with_tasks(10).spec());
    TaskRow failed = an_ended_row(TaskState::Failed, EndClass::Exit, 1);
    failed.attempt = failed.attempts = AttemptNo(2);
    for (const std::uint32_t task : {2U, 3U, 9U})
      rows.tasks.put({JobId(1), TaskIndex(task)}, TaskRow(failed));
    rows.tasks.put({JobId(1), TaskIndex(4)}, a_running_row());
    rows.tasks.sort();
    append(disk, 1, 1, rows);
    RowChanges retried;
    retried.archived = {{JobId(1), {2, 4}}};
    TaskRow again;
    again.attempts = AttemptNo(2);
    again.round = 3;
    retried.tasks.put({JobId(1), TaskIndex(2)}, TaskRow(again));
    append(disk, 2, 2, retried);
    const auto attempts = disk.tables().list_attempts(JobId(1), TaskIndex(2)).value();
    REQUIRE(attempts.size() == 1);
    CHECK(attempts[0].first == a_key(1, 2, 2));
    const AttemptRow& row = attempts[0].second;
    CHECK(row.end == EndClass::Exit);
    CHECK(row.exit_code == failed.exit_code);
    CHECK(row.worker == failed.worker);
    CHECK(row.instance == failed.instance);
    CHECK(row.round == failed.round);
    CHECK(row.assigned_at == failed.assigned_at);
    CHECK(row.ended_at == failed.finished_at);
    CHECK(row.stdout_tail == failed.stdout_tail);
    CHECK_FALSE(row.late);
    CHECK(disk.tables().get_task(JobId(1), TaskIndex(2)).value()->row == again);
    CHECK(disk.tables().list_attempts(JobId(1), TaskIndex(3)).value().size() == 1);
    CHECK(disk.tables().list_attempts(JobId(1), TaskIndex(4)).value().empty());  // Not ended.
    CHECK(disk.tables().list_attempts(JobId(1), TaskIndex(9)).value().empty());  // Not in the span.
  }

  TEST_CASE_TEMPLATE("rows go when they are deleted", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    RowChanges rows;
    rows.attempts[a_key(4, 8, 1)] = std::nullopt;
    rows.submissions[SubmissionId(6)] = std::nullopt;
    rows.inputs_dropped = {SubmissionId(6)};
    append(disk, 2, 2, rows);
    CHECK(disk.tables().list_attempts(JobId(4), TaskIndex(8)).value().size() == 1);
    CHECK(disk.store().read_inputs(SubmissionId(6), 0).error().code == Errc::NotFound);
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.state.submissions.empty());
    CHECK(opened.state.next_submission == SubmissionId(7));  // Never used again.
  }

  TEST_CASE_TEMPLATE("point reads find rows, old and new", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    const RowChanges rows = everything();
    store::Store& store = disk.store();
    for (const auto& [asked, row] : rows.requests) CHECK(store.find_request(asked).value() == row);
    CHECK_FALSE(store.find_request({"bob", an_id(50)}).value().has_value());
    CHECK(store.find_token("ann", "token").value() == rows.tokens.at({"ann", "token"}));
    CHECK_FALSE(store.find_token("ann", "toke").value().has_value());
    CHECK(store.find_owner(JobId(3)).value() == "ann");
    CHECK(store.find_owner(JobId(4)).value() == "ann");
    CHECK_FALSE(store.find_owner(JobId(5)).value().has_value());
    CHECK(store.find_outline(JobId(3)).value()->owner == "ann");
    CHECK(store.find_outline(JobId(3)).value()->state == JobState::Succeeded);
    CHECK(store.find_outline(JobId(4)).value()->state == JobState::Running);
    CHECK_FALSE(store.find_outline(JobId(5)).value().has_value());
    CHECK(store.last_job_of("ann").value() == JobId(4));
    CHECK_FALSE(store.last_job_of("bob").value().has_value());
  }

  TEST_CASE_TEMPLATE("the chunk of an input is found by its ordinal", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    for (int twice = 0; twice < 2; ++twice) {  // The second time from a cache, if there is one.
      for (const std::uint64_t ordinal : {0U, 1U}) {
        const auto chunk = disk.store().read_inputs(SubmissionId(6), ordinal).value();
        CHECK(chunk.first == 0);
        CHECK(chunk.inputs == std::vector<Bytes>{"a", Bytes("\0\n", 2)});
      }
      const auto chunk = disk.store().read_inputs(SubmissionId(6), 2).value();
      CHECK(chunk.first == 2);
      CHECK(chunk.inputs == std::vector<Bytes>{"c"});
    }
    CHECK(disk.store().read_inputs(SubmissionId(6), 3).error().code == Errc::NotFound);
    CHECK(disk.store().read_inputs(SubmissionId(5), 0).error().code == Errc::NotFound);
    CHECK(disk.store().read_inputs(SubmissionId(7), 0).error().code == Errc::NotFound);
  }

  TEST_CASE_TEMPLATE("a finished job comes back as runs of tasks", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    JobRow job = a_job_row(1, a_job().with_indices({{10, 20, 5}, {31, 40, 1}}).spec());
    REQUIRE(job.tasks == 13);
    job.state = JobState::Cancelled;
    job.cancelling = true;
    job.token = "t";
    job.inputs = SubmissionId(2);
    job.launched = true;
    job.mean_wall = Micros(5);
    job.priority = 7;
    job.reason = "why";
    job.started_at.us = 9;
    rows.jobs[job.id] = job;
    const TaskRow good = an_ended_row(TaskState::Succeeded, EndClass::Success, 1);
    TaskRow bad = an_ended_row(TaskState::Failed, EndClass::Exit, 1);
    bad.attempts = AttemptNo(3);
    bad.round = 4;
    for (const std::uint32_t task : {15U, 20U, 31U})
      rows.tasks.put({JobId(1), TaskIndex(task)}, TaskRow(good));
    rows.tasks.put({JobId(1), TaskIndex(33)}, TaskRow(bad));
    rows.jobs[JobId(2)] = a_job_row(2, a_job().spec());
    append(disk, 1, 1, rows);
    const cmd::JobReopened reopened = disk.tables().read_finished_job(JobId(1)).value();
    CHECK(reopened.job == JobId(1));
    CHECK(reopened.owner == "ann");
    CHECK(reopened.spec == *job.spec);
    CHECK(reopened.submitted_at == job.submitted_at);
    CHECK(reopened.started_at == job.started_at);
    CHECK(reopened.token == "t");
    CHECK(reopened.inputs == SubmissionId(2));
    CHECK(reopened.cancelling);
    CHECK(reopened.launched);
    CHECK(reopened.mean_wall == Micros(5));
    CHECK(reopened.priority == 7);
    CHECK(reopened.reason == "why");
    CHECK_FALSE(reopened.skipping);
    CHECK(reopened.round == 4);
    struct Expected {
      std::uint64_t count;
      TaskState state;
      std::uint32_t attempts;
    };
    const std::vector<Expected> runs = {{1, TaskState::Cancelled, 0},
                                        {3, TaskState::Succeeded, 1},
                                        {1, TaskState::Cancelled, 0},
                                        {1, TaskState::Failed, 3},
                                        {7, TaskState::Cancelled, 0}};
    REQUIRE(reopened.runs.size() == runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) {
      CAPTURE(i);
      CHECK(reopened.runs[i].count == runs[i].count);
      CHECK(reopened.runs[i].state == runs[i].state);
      CHECK(reopened.runs[i].attempts == AttemptNo(runs[i].attempts));
      CHECK(reopened.runs[i].has_rows == (runs[i].state != TaskState::Cancelled));
    }
    CHECK(disk.tables().read_finished_job(JobId(2)).error().code == Errc::Unavailable);
    CHECK(disk.tables().read_finished_job(JobId(3)).error().code == Errc::NotFound);
  }

  TEST_CASE_TEMPLATE("a finished job in too many pieces is not reopened", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    put_job(rows, 1, 140'000, JobState::Failed);
    TaskRow row;
    row.state = TaskState::Failed;
    for (std::uint32_t task = 2; task < 140'000; task += 2) {
      rows.tasks.put({JobId(1), TaskIndex(task)}, TaskRow(row));
    }
    append(disk, 1, 1, rows);
    CHECK(disk.tables().read_finished_job(JobId(1)).error().code == Errc::Invalid);
  }

  TEST_CASE_TEMPLATE("jobs are listed newest first, in pages", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    for (std::uint64_t id = 1; id <= 6; ++id) {
      rows.jobs[JobId(id)] = a_job_row(id, a_job().spec(), id % 2 == 0 ? "bob" : "ann");
    }
    rows.jobs[JobId(5)].state = JobState::Failed;
    JobSpec tagged = a_job().spec();
    tagged.name = "render-7";
    tagged.tags = {"night", "film"};
    rows.jobs[JobId(2)] = a_job_row(2, tagged, "bob");
    rows.jobs[JobId(2)].submitted_at = WallTime{5'000'000};
    rows.jobs[JobId(1)].submitted_at = WallTime{1};
    append(disk, 1, 1, rows);
    const auto ids = [&disk](const store::Tables::JobFilter& filter) {
      std::vector<std::uint64_t> list;
      const std::vector<JobRow> jobs = disk.tables().list_jobs(filter).value();
      for (const JobRow& job : jobs) list.push_back(job.id.value);
      return list;
    };
    using Ids = std::vector<std::uint64_t>;
    CHECK(ids({}) == Ids{6, 5, 4, 3, 2, 1});
    CHECK(ids({.before = JobId(5), .limit = 2}) == Ids{4, 3});
    CHECK(ids({.owner = "ann"}) == Ids{5, 3, 1});
    CHECK(ids({.owner = "ann", .live_only = true}) == Ids{3, 1});
    CHECK(ids({.owner = "zoe"}).empty());
    const auto bit = [](JobState state) { return 1U << static_cast<unsigned>(state); };
    CHECK(ids({.states = bit(JobState::Failed) | bit(JobState::Skipped)}) == Ids{5});
    CHECK(ids({.name = "render-*"}) == Ids{2});
    CHECK(ids({.limit = 1, .name = "*"}) == Ids{6});
    CHECK(ids({.name = "render"}).empty());
    CHECK(ids({.tag = "film"}) == Ids{2});
    CHECK(ids({.owner = "ann", .tag = "film"}).empty());
    CHECK(ids({.tag = "fil"}).empty());
    CHECK(ids({.before = JobId(3), .submitted_since = WallTime{5'000'000}}) == Ids{2});
    CHECK(same(*disk.tables().get_job(JobId(5)).value(), rows.jobs[JobId(5)]));
    CHECK_FALSE(disk.tables().get_job(JobId(7)).value().has_value());
  }

  TEST_CASE_TEMPLATE("tasks are listed with those that have no row", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    JobRow job = a_job_row(1, a_job().with_indices({{0, 8, 2}, {9, 12, 1}}).spec());
    job.counts = {};
    job.counts.ready = 6;
    job.counts.failed = 2;
    job.counts.running = 1;
    rows.jobs[job.id] = job;
    const TaskRow failed = an_ended_row(TaskState::Failed, EndClass::Exit, 1);
    rows.tasks.put({JobId(1), TaskIndex(2)}, TaskRow(failed));
    rows.tasks.put({JobId(1), TaskIndex(12)}, TaskRow(failed));
    rows.tasks.put({JobId(1), TaskIndex(9)}, a_running_row());
    rows.tasks.sort();
    append(disk, 1, 1, rows);
    using Indices = std::vector<std::uint32_t>;
    const auto list = [&disk](store::Tables::TaskFilter filter) {
      filter.job = JobId(1);
      Indices indices;
      const auto page = disk.tables().list_tasks(filter).value();
      for (const auto& entry : page.tasks) indices.push_back(entry.task.value);
      CHECK(page.more == (indices.size() == filter.limit));
      return indices;
    };
    const auto bit = [](TaskState state) { return 1U << static_cast<unsigned>(state); };
    CHECK(list({}) == Indices{0, 2, 4, 6, 8, 9, 10, 11, 12});
    CHECK(list({.limit = 3}) == Indices{0, 2, 4});
    CHECK(list({.from_start = false, .after = TaskIndex(4), .limit = 3}) == Indices{6, 8, 9});
    CHECK(list({.from_start = false, .after = TaskIndex(12)}).empty());
    CHECK(list({.states = bit(TaskState::Failed)}) == Indices{2, 12});
    CHECK(list({.states = bit(TaskState::Failed), .from_start = false, .after = TaskIndex(2)}) ==
          Indices{12});
    CHECK(list({.states = bit(TaskState::Failed) | bit(TaskState::Running)}) == Indices{2, 9, 12});
    CHECK(list({.states = bit(TaskState::Ready)}) == Indices{0, 4, 6, 8, 10, 11});
    CHECK(list({.states = bit(TaskState::Succeeded)}).empty());
    CHECK(list({.only = {{3, 9, 1}}}) == Indices{4, 6, 8, 9});
    CHECK(list({.only = {{11, 30, 1}, {0, 1, 1}}}) == Indices{0, 11, 12});
    CHECK(list({.states = bit(TaskState::Failed), .only = {{3, 40, 1}}}) == Indices{12});
    const auto page = disk.tables().list_tasks({.job = JobId(1)}).value();
    CHECK(page.tasks[0].row == TaskRow{});
    CHECK(page.tasks[1].row == without_tails(failed));
    CHECK(disk.tables().list_tasks({.job = JobId(2)}).value().tasks.empty());
  }

  TEST_CASE_TEMPLATE("tasks by ranges that never meet the job's are refused before long", Disk,
                     SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    JobSpec spec = a_job().spec();
    spec.indices = {{0, 2'000'000'000, 20}};
    JobRow& job = rows.jobs[JobId(1)];
    job = a_job_row(1, spec);
    job.counts.ready = job.tasks;
    append(disk, 1, 1, rows);
    const auto list = [&disk](const IndexRange& odd, std::size_t count) {
      store::Tables::TaskFilter filter{.job = JobId(1), .limit = 3};
      filter.only.assign(count, odd);
      return disk.tables().list_tasks(filter);
    };
    CHECK(list({1, 1'999'999'999, 20}, 1000).error().code == Errc::Invalid);
    CHECK(list({1, 1'999'999'999, 7}, 1000).value().tasks.size() == 3);
    CHECK(list({1, 100'001, 20}, 1).value().tasks.empty());
  }

  TEST_CASE_TEMPLATE("tasks that their job never touched end with it", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    for (std::uint64_t id = 1; id <= 3; ++id) {
      rows.jobs[JobId(id)] = a_job_row(id, a_job().with_tasks(5).spec());
      rows.jobs[JobId(id)].counts = {};
    }
    rows.jobs[JobId(1)].cancelling = true;  // Something of it still runs.
    rows.jobs[JobId(1)].counts.cancelled = 5;
    rows.jobs[JobId(2)].state = JobState::Skipped;
    rows.jobs[JobId(2)].skipping = true;
    rows.jobs[JobId(2)].counts.skipped = 5;
    rows.jobs[JobId(3)].waits_for = {JobId(1)};  // Not begun.
    rows.jobs[JobId(3)].counts.waiting = 5;
    append(disk, 1, 1, rows);
    const auto state_of = [&disk](std::uint64_t job) {
      const auto entry = disk.tables().get_task(JobId(job), TaskIndex(5)).value();
      REQUIRE(entry.has_value());
      const auto page = disk.tables().list_tasks({.job = JobId(job)}).value();
      REQUIRE(page.tasks.size() == 5);
      CHECK(page.tasks[4].row == entry->row);
      return entry->row.state;
    };
    CHECK(state_of(1) == TaskState::Cancelled);
    CHECK(state_of(2) == TaskState::Skipped);
    CHECK(state_of(3) == TaskState::Waiting);
    CHECK_FALSE(disk.tables().get_task(JobId(1), TaskIndex(6)).value().has_value());
  }

  TEST_CASE_TEMPLATE("tasks that ended between two entries are found", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    rows.jobs[JobId(1)] = a_job_row(1, a_job().with_tasks(9).spec());
    for (std::uint32_t task = 1; task <= 6; ++task) {
      rows.tasks.put({JobId(1), TaskIndex(task)},
                     an_ended_row(TaskState::Succeeded, EndClass::Success, 10 - task));
    }
    rows.tasks.put({JobId(1), TaskIndex(7)}, a_running_row());
    append(disk, 1, 9, rows);
    store::Tables::EndedFilter filter{.job = JobId(1), .from = Seq(5), .to = Seq(8)};
    filter.limit = 2;
    auto page = disk.tables().list_ended(filter).value();
    REQUIRE(page.tasks.size() == 2);
    CHECK(page.more);
    CHECK(page.tasks[0].task == TaskIndex(2));
    CHECK(page.tasks[0].row == *rows.tasks.find({JobId(1), TaskIndex(2)}));  // With its tails.
    filter.from_start = false;
    filter.after = page.tasks[1].task;
    page = disk.tables().list_ended(filter).value();
    REQUIRE(page.tasks.size() == 1);
    CHECK_FALSE(page.more);
    CHECK(page.tasks[0].task == TaskIndex(4));
  }

  TEST_CASE_TEMPLATE("earlier attempts are listed in order, with their tails", Disk, SqliteDisk,
                     MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    const auto list = disk.tables().list_attempts(JobId(4), TaskIndex(8)).value();
    REQUIRE(list.size() == 2);
    CHECK(list[0].first == a_key(4, 8, 1));
    for (const auto& [key, row] : list) CHECK(row == *everything().attempts.at(key));
  }

  TEST_CASE_TEMPLATE("a full disk takes nothing, and the same batch goes in later", Disk,
                     SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    append(disk, 1, 1, everything());
    RowChanges rows;
    JobSpec large = a_job().spec();
    large.argv.emplace_back(100'000, 'x');
    rows.jobs[JobId(9)] = a_job_row(9, large);
    disk.fill();
    const Result<void> failed = append_to(disk.store(), a_batch(2, 2), rows, Seq(2));
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == Errc::DiskFull);
    CHECK(disk.tables().applied_seq().value() == Seq(1));
    CHECK_FALSE(disk.store().find_owner(JobId(9)).value().has_value());
    CHECK(disk.store().release_ballast());
    CHECK_FALSE(disk.store().release_ballast());
    disk.free_space();
    append(disk, 2, 2, rows);
    disk.crash();
    const Opened opened = disk.open();
    CHECK(opened.state.last_seq == Seq(2));
    CHECK(opened.state.jobs.size() == 2);
    CHECK(opened.state.next_job == JobId(10));
  }

  TEST_CASE_TEMPLATE("a row is written again and again", Disk, SqliteDisk, MemoryDisk) {
    Disk disk;
    disk.open();
    RowChanges rows;
    JobRow job = a_job_row(1, a_job().with_tasks(3).spec());
    rows.jobs[job.id] = job;
    rows.submissions[SubmissionId(1)] =
        SubmissionRow{{"a", an_id(1)}, "", "", *job.spec, {1}, 0, 0};
    append(disk, 1, 1, rows);
    for (std::uint64_t seq = 2; seq <= 5; ++seq) {
      job.counts = {.ready = 3 - seq % 3, .running = seq % 3};
      job.started_at.us = static_cast<std::int64_t>(seq);
      job.excluded.push_back(WorkerId(static_cast<std::uint32_t>(seq)));
      rows.jobs[job.id] = job;
      rows.submissions[SubmissionId(1)]->parts = seq;
      rows.submissions[SubmissionId(1)]->inputs = seq * 2;
      rows.tasks.put({JobId(1), TaskIndex(1)}, a_running_row(static_cast<std::uint32_t>(seq)));
      rows.tasks.sort();
      append(disk, seq, seq, rows);
      REQUIRE(disk.store().maintain().has_value());
    }
    disk.crash();
    const Opened opened = disk.open();
    REQUIRE(opened.state.jobs.size() == 1);
    CHECK(same(opened.state.jobs[0].row, job));
    CHECK(opened.state.jobs[0].tasks.at(TaskIndex(1)) == a_running_row(5));
    CHECK(opened.state.submissions.at(SubmissionId(1)).parts == 5);
    CHECK(opened.state.submissions.at(SubmissionId(1)).inputs == 10);
  }
}
