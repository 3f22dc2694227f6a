// SPDX-License-Identifier: MIT
//
// What the tests of master/store/store.h's promises write.
#pragma once

#include <doctest/doctest.h>

#include "tests/unit/master/store/store_fixture.h"

namespace capstan::test {

/// One of everything that a start loads, and some of what it does not.
inline RowChanges everything() {
  RowChanges rows;
  JobRow live = a_job_row(4, a_job().with_tasks(100).with_retries(3).spec());
  live.token = "token";
  live.state = JobState::Running;
  live.paused = true;
  live.counts = {1, 2, 3, 4, 5, 6, 7, 72};
  live.started_at.us = 5;
  live.reason = "nothing";
  live.excluded = {WorkerId(3), WorkerId(8)};
  live.launched = true;
  live.mean_wall = Micros(99);
  live.inputs = SubmissionId(6);
  live.skipping = live.awaits_begin = true;
  live.waits_for = {JobId(1), JobId(2)};
  live.priority = -5;
  rows.jobs[live.id] = live;
  JobRow finished = a_job_row(3, a_job().spec());
  finished.state = JobState::Succeeded;
  finished.finished_at.us = 6;
  rows.jobs[finished.id] = finished;
  rows.tasks.put({JobId(3), TaskIndex(1)},
                 an_ended_row(TaskState::Succeeded, EndClass::Success, 2));
  rows.tasks.put({JobId(4), TaskIndex(7)}, an_ended_row(TaskState::Failed, EndClass::Exit, 3));
  TaskRow running = a_running_row(4);
  running.cancelling = running.recalled = running.number_free = true;
  rows.tasks.put({JobId(4), TaskIndex(8)}, TaskRow(running));
  rows.tasks.put({JobId(4), TaskIndex(9)}, an_ended_row(TaskState::Backoff, EndClass::Signal, 0));
  rows.attempts[a_key(4, 7, 1)] = an_attempt_row(EndClass::Exit);
  AttemptRow lost = an_attempt_row(EndClass::WorkerLost);
  lost.round = running.round;
  lost.late = false;
  rows.attempts[a_key(4, 8, 1)] = lost;
  rows.attempts[a_key(4, 8, 3)] = an_attempt_row(EndClass::Superseded);
  rows.attempts[a_key(3, 1, 1)] = an_attempt_row(EndClass::LaunchError);
  rows.workers[WorkerId(3)] = {"w3",   "key", an_id(33), 8,     "0.1.0", "10.0.0.1:5",
                               "weak", true,  false,     true,  {11},    {12},
                               "gone", 1024,  true,      "ann", "disk",  true};
  rows.keys["key of ann"] = {"ann", Role::Admin, {16}, "root", {}, ""};
  rows.keys["key of bob"] = {"bob", Role::User, {17}, "ann", {18}, "root"};
  rows.workers[WorkerId(9)] = {};
  rows.tokens[{"ann", "token"}] = {JobId(4), Bytes("\0digest", 7), 100, {13}};
  rows.requests[{"ann", an_id(50)}] = {{14}, {1'000'000'000}, {}, "", {JobId(4), JobId(3)}, 5,
                                       true};
  rows.requests[{"ann", an_id(51)}] = {{14}, {900'000'000}, Errc::NotFound, "old", {}, 0, false};
  SubmissionRow submission{
      {"bob", an_id(52)}, "t", "dig", a_job().with_inputs().spec(), {15}, 2, 3};
  rows.submissions[SubmissionId(6)] = submission;
  rows.inputs[{SubmissionId(6), 0}] = {2, store::encode_inputs({"a", Bytes("\0\n", 2)})};
  rows.inputs[{SubmissionId(6), 2}] = {1, store::encode_inputs({"c"})};
  rows.min_copies = 2;
  return rows;
}

template <class Disk>
void append(Disk& disk, std::uint64_t first, std::uint64_t last, const RowChanges& rows) {
  REQUIRE(append_to(disk.store(), a_batch(first, last), rows, Seq(last)).has_value());
}

}  // namespace capstan::test
