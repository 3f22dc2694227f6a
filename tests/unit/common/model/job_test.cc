// SPDX-License-Identifier: MIT
#include "common/model/job.h"

#include <doctest/doctest.h>

#include <functional>

#include "common/model/limits.h"
#include "common/model/member.h"
#include "common/model/task.h"

using namespace capstan;
using namespace std::string_literals;

namespace {

JobSpec a_job() {
  JobSpec spec;
  spec.argv = {"convert", "a.jpg"};
  spec.cwd = "/data";
  spec.indices = {{1, 1, 1}};
  return spec;
}

/// The error when `change` was made to a job that is fine.
std::string refused(const std::function<void(JobSpec&)>& change) {
  JobSpec spec = a_job();
  change(spec);
  const auto valid = validate(spec);
  if (valid) return "accepted";
  CHECK(valid.error().code == Errc::Invalid);
  CHECK(valid.error().message.find('\n') == std::string::npos);
  return valid.error().message;
}

}  // namespace

TEST_SUITE_BEGIN("common/model/job");

TEST_CASE("jobs that are fine") {
  CHECK(validate(a_job()));
  JobSpec array = a_job();
  array.array = true;
  array.indices = {{0, 9, 3}, {11, 11, 1}};
  CHECK(validate(array));
  CHECK(task_count(array) == 5);
  JobSpec staged = a_job();
  staged.has_inputs = true;
  staged.indices = {};
  CHECK(validate(staged));
  staged.indices = {{1, 100'000'000, 1}};
  CHECK(validate(staged));
}

TEST_CASE("commands that are not") {
  CHECK(refused([](JobSpec& s) { s.argv.clear(); }) == "the command is empty: give it behind --");
  CHECK(refused([](JobSpec& s) { s.argv = {"", "x"}; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.shell = true; }) ==
        "--shell takes one shell line, not 2 arguments: quote the line");
  CHECK(refused([](JobSpec& s) { s.argv[1] = "a\0b"s; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.argv[1] = Bytes(limits::kArgumentBytes, 'x'); }) == "accepted");
  CHECK(refused([](JobSpec& s) { s.argv[1] = Bytes(limits::kArgumentBytes + 1, 'x'); }) !=
        "accepted");
  CHECK(refused([](JobSpec& s) { s.argv.assign(5, Bytes(limits::kArgumentBytes, 'x')); }) !=
        "accepted");
}

TEST_CASE("surroundings that are not") {
  CHECK(refused([](JobSpec& s) { s.cwd = "here"; }) ==
        "the working directory 'here' is not absolute: give a path that begins with / with --cwd");
  CHECK(refused([](JobSpec& s) { s.cwd = "/\xFF"; }) == "accepted");
  CHECK(refused([](JobSpec& s) { s.cwd = "/a\0"s; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.name = "\xFF"; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.name = std::string(256, 'n'); }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.env = {{"A", "\xFF"}}; }) == "accepted");
  CHECK(refused([](JobSpec& s) { s.env = {{"", "x"}}; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.env = {{"A=B", "x"}}; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.env = {{"A", "x\0"s}}; }) != "accepted");
  CHECK(refused([](JobSpec& s) {
          s.env = {{"A", Bytes(limits::kArgumentBytes, 'x')}};
        }) != "accepted");
}

TEST_CASE("numbers that are not") {
  CHECK(refused([](JobSpec& s) { s.cpus = 0; }) == "a task cannot have 0 cpus: use 1 to 4096");
  CHECK(refused([](JobSpec& s) { s.cpus = 4097; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.retries = 1001; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.priority = -1'000'001; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.time_limit = Micros(-1); }) != "accepted");
}

TEST_CASE("indices that are not") {
  CHECK(refused([](JobSpec& s) { s.indices = {}; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.indices = {{1, 2, 1}}; }) != "accepted");
  CHECK(refused([](JobSpec& s) { s.has_inputs = s.array = true; }) != "accepted");
  const auto array = [](std::vector<IndexRange> ranges) {
    return refused([&](JobSpec& s) { s.array = true, s.indices = ranges; });
  };
  CHECK(array({{3, 1, 1}}) != "accepted");
  CHECK(array({{1, 3, 0}}) != "accepted");
  CHECK(array({{5, 6, 1}, {1, 2, 1}}) != "accepted");
  CHECK(array({{1, 5, 2}, {4, 6, 1}}) == "the ranges overlap at 4: name each index once");
  CHECK(array({{1, 2'000'000'001, 2'000'000'000}}) != "accepted");
  CHECK(array({{1, 100'000'001, 1}}) ==
        "100000001 tasks are too many for one job: use at most 100000000 and submit the rest as "
        "another");
  JobSpec inputs = a_job();
  inputs.has_inputs = true;
  inputs.indices = {{2, 5, 1}};
  CHECK_FALSE(validate(inputs));
}

TEST_CASE("states, ends and roles have names, and are found by them") {
  for (int i = 0; i <= static_cast<int>(JobState::Skipped); ++i) {
    const auto state = static_cast<JobState>(i);
    CHECK(*parse_job_state(to_string(state)) == state);
  }
  for (int i = 0; i <= static_cast<int>(TaskState::Skipped); ++i) {
    const auto state = static_cast<TaskState>(i);
    CHECK(*parse_task_state(to_string(state)) == state);
  }
  for (int i = 1; i <= static_cast<int>(Role::Witness); ++i) {
    const auto role = static_cast<Role>(i);
    CHECK(*parse_role(to_string(role)) == role);
  }
  CHECK(to_string(JobState::Queued) == "queued");
  CHECK(to_string(TaskState::Backoff) == "backoff");
  CHECK(to_string(EndClass::LaunchError) == "launch_error");
  CHECK(to_string(EndClass::Superseded) == "superseded");
  CHECK(to_string(static_cast<EndClass>(99)) == "unknown");
  CHECK(to_string(Role::Enrolment) == "enrolment");
  CHECK(parse_task_state("done").error().message ==
        "unknown task state 'done': use waiting, ready, running, backoff, succeeded, failed, "
        "cancelled, skipped");
  CHECK_FALSE(parse_role("root"));
  CHECK_FALSE(parse_job_state(""));
}

TEST_SUITE_END();
