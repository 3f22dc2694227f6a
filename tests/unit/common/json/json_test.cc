// SPDX-License-Identifier: MIT
#include "common/json/json.h"

#include <doctest/doctest.h>

#include <string>

using namespace capstan;
using namespace std::string_literals;

namespace {

msg::TaskView an_ended_task() {
  msg::TaskView task;
  task.task = TaskIndex(42);
  task.state = TaskState::Failed;
  task.attempt = AttemptNo(3);
  task.worker = "w1";
  task.end = EndClass::Exit;
  task.ended = true;
  task.exit_code = 7;
  task.started_at = {1'000'000};
  task.finished_at = {2'500'000};
  task.wall = Micros(1'500'000);
  task.cpu = Micros(250'000);
  task.max_rss_bytes = 1024;
  task.stdout_bytes = 5;
  task.stderr_bytes = 6;
  return task;
}

}  // namespace

TEST_SUITE_BEGIN("common/json");

TEST_CASE("a job's line") {
  msg::JobView job;
  job.id = JobId(17);
  job.name = "frames";
  job.owner = "ada";
  job.state = JobState::Running;
  job.tasks = 36;
  job.counts = {1, 2, 3, 4, 5, 6, 7, 8};
  job.submitted_at = {1'000};
  job.started_at = {86'400'000'000};
  job.command = "convert \xFF{} \"x\"\n";
  CHECK(json::line(job) ==
        R"({"id":17,"name":"frames","owner":"ada","state":"running","tasks":36,)"
        R"("counts":{"waiting":1,"ready":2,"running":3,"backoff":4,"succeeded":5,"failed":6,)"
        R"("cancelled":7,"skipped":8},"submitted_at":"1970-01-01T00:00:00.001Z",)"
        R"("started_at":"1970-01-02T00:00:00.000Z","finished_at":null,"priority":0,"cpus":1,)"
        R"("command":"convert \\xff{} \"x\"\\x0a","reason":null,"mem_bytes":null,)"
        R"("tags":[],"begin_at":null,"waits_for":[]})");
}

TEST_CASE("a task's line") {
  CHECK(json::line(an_ended_task()) ==
        R"({"task":42,"state":"failed","attempt":3,"worker":"w1","exit_code":7,"signal":null,)"
        R"("reason":"exit","started_at":"1970-01-01T00:00:01.000Z",)"
        R"("finished_at":"1970-01-01T00:00:02.500Z","wall_s":1.5,"cpu_s":0.25,)"
        R"("max_rss_bytes":1024,"output_bytes":11})");
  CHECK(json::line(msg::TaskView{}) ==
        R"({"task":0,"state":"waiting","attempt":0,"worker":null,"exit_code":null,"signal":null,)"
        R"("reason":null,"started_at":null,"finished_at":null,"wall_s":null,"cpu_s":null,)"
        R"("max_rss_bytes":null,"output_bytes":null})");
}

TEST_CASE("an exit code and a signal are there only when they mean something") {
  msg::TaskView task = an_ended_task();
  task.end = EndClass::Signal;
  task.signal = 11;
  CHECK(json::line(task).find(R"("exit_code":null,"signal":11,"reason":"signal")") !=
        std::string::npos);
  task.end = EndClass::Success;
  task.exit_code = task.signal = 0;
  CHECK(json::line(task).find(R"("exit_code":0,"signal":null,"reason":null)") != std::string::npos);
}

TEST_CASE("reasons are the class and its words") {
  msg::TaskView task = an_ended_task();
  task.end = EndClass::LaunchError;
  task.reason = "No such file or directory";
  CHECK(json::reason_of(task) == "launch_error: No such file or directory");
  task.state = TaskState::Running;
  task.cancelling = true;
  CHECK(json::reason_of(task) == "cancelling");
  CHECK(json::reason_of(msg::TaskView{}).empty());
}

TEST_CASE("a worker's line") {
  msg::WorkerView worker;
  worker.name = "w1";
  worker.state = msg::WorkerState::Suspect;
  worker.cpus = 8;
  worker.running = 3;
  worker.version = "0.1.0";
  worker.address = "10.0.0.7:41234";
  worker.last_heard_ago = Micros(12'500'000);
  CHECK(json::line(worker) ==
        R"({"name":"w1","state":"suspect","cpus":8,"running":3,"version":"0.1.0",)"
        R"("address":"10.0.0.7:41234","last_heard_s":12.5,"queued":0,"note":null,)"
        R"("mem_bytes":null,"mem_assigned_bytes":0})");
  worker.last_heard_ago = Micros(-1);
  CHECK(json::line(worker).find(R"("last_heard_s":null)") != std::string::npos);
}

TEST_CASE("why, a key, and what was done to workers, as lines") {
  msg::WhyReply why;
  why.state = TaskState::Ready;
  why.workers = {{"w1", false, "drained by ann: \"disk\""}};
  CHECK(json::line(JobId(17), TaskIndex(4), why) ==
        R"({"job":17,"task":4,"state":"ready","reason":null,"workers":[)"
        R"({"worker":"w1","fits":false,"reason":"drained by ann: \"disk\""}]})");
  msg::KeyView key;
  key.name = "bob";
  key.public_key = "k";
  CHECK(json::line(key) ==
        R"({"name":"bob","role":"user","public_key":"k","added_at":null,"added_by":null})");
  CHECK(json::line_of_workers({"w1"}, 1) == R"({"workers":["w1"],"changed":1})");
}

TEST_CASE("an attempt's line: class and times, null while it runs") {
  msg::AttemptView attempt;
  attempt.view.task = TaskIndex(4);
  attempt.view.attempt = AttemptNo(2);
  attempt.view.worker = "w1";
  attempt.running = true;
  CHECK(json::line(JobId(17), attempt).find(R"("class":null,"exit_code":null)") !=
        std::string::npos);
  attempt.running = false;
  attempt.view.ended = true;
  attempt.view.end = EndClass::Exit;
  attempt.view.exit_code = 3;
  attempt.late = true;
  const std::string line = json::line(JobId(17), attempt);
  CHECK(line.starts_with(R"({"job":17,"task":4,"attempt":2,"worker":"w1","class":"exit",)"));
  CHECK(line.find(R"("late":true,"running":false)") != std::string::npos);
}

TEST_CASE("the status line") {
  msg::StatusReply status;
  status.version = "0.1.0";
  status.master = "a";
  status.epoch = Epoch(257);
  status.alarms = {"disk nearly full", "a\0\xFF"s};
  const std::string line = json::line(status);
  CHECK(line.starts_with(R"({"version":"0.1.0","master":"a","cluster":"00000000000000000000)"));
  CHECK(line.find(R"("epoch":257)") != std::string::npos);
  CHECK(line.ends_with(R"("alarms":["disk nearly full","a\\x00\\xff"]})"));
}

TEST_CASE("one line, whatever is in it") {
  msg::JobView job;
  job.name = "a\nb\x1B\x7F";
  CHECK(json::line(job).find('\n') == std::string::npos);
  CHECK(json::line(job).find('\x1B') == std::string::npos);
}

TEST_SUITE_END();
