// SPDX-License-Identifier: MIT
//
// Deleting: by the user, by the policy, and what it takes along.
#include "common/base/log.h"
#include "tests/support/quiet.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

/// One that was cancelled before it began.
JobId a_finished_job(Bench& bench, Peer& client, std::uint64_t request, std::uint32_t tasks = 3) {
  submit(client, an_id(request), a_job().with_tasks(tasks).spec());
  bench.turn();
  const JobId job = client.expect<msg::Submitted>().job;
  client.send(msg::Control{an_id(request + 1), msg::Verb::Cancel, {job_selector(job.value)}});
  bench.turn();
  client.expect<msg::Done>();
  return job;
}

msg::Control deletion(std::uint64_t request, std::uint64_t job) {
  return {an_id(request), msg::Verb::Delete, {job_selector(job)}};
}

bool has_rows(Bench& bench, JobId job) {
  return bench.memory.get_task(job, TaskIndex(1)).value().has_value();
}

TEST_SUITE_BEGIN("master/retention");

TEST_CASE("a finished job is deleted with everything it had") {
  Bench bench;
  Peer client = bench.client();
  const JobId job = a_finished_job(bench, client, 1);
  client.send(deletion(10, job.value));
  bench.turn();
  const auto done = client.expect<msg::Done>();
  CHECK(done.jobs == std::vector{job});
  CHECK(done.tasks == 3);
  client.send(msg::GetJob{1, job_selector(job.value)});
  bench.turn();
  const auto denied = client.expect<msg::Denied>();
  CHECK(denied.code == Errc::NotFound);
  CHECK(denied.reason == "job 1 does not exist (any more)");
  bench.pass(1s);
  CHECK(bench.server->queue().deletions().empty());
  CHECK(bench.logs.removed == std::vector{job});
  CHECK_FALSE(has_rows(bench, job));
  client.send(msg::Heartbeat{});
  client.send(deletion(10, job.value));  // The same request, the same answer.
  client.send(deletion(11, job.value));
  bench.turn();
  bench.turn();
  CHECK(client.expect<msg::Done>().jobs == std::vector{job});
  CHECK(client.expect<msg::Denied>().code == Errc::NotFound);
}

TEST_CASE("what may not be deleted is refused with the way out") {
  Bench bench;
  Peer ann = bench.client("ann");
  Peer bob = bench.client("bob");
  submit(ann, an_id(1), a_job().spec());
  bench.turn();
  ann.expect<msg::Submitted>();
  const JobId over = a_finished_job(bench, ann, 2);
  ann.send(deletion(10, 1));
  bob.send(deletion(11, over.value));
  ann.send(deletion(12, 77));
  ann.send(msg::Control{an_id(13), msg::Verb::Delete, {{Selector::Kind::All, {}, {}}}});
  ann.send(msg::Control{
      an_id(14), msg::Verb::Delete, {{Selector::Kind::Job, over, {IndexRange{1, 1, 1}}}}});
  for (int i = 0; i < 5; ++i) bench.turn();
  const auto live = ann.expect<msg::Denied>();
  CHECK(live.code == Errc::Conflict);
  CHECK(live.reason.find("capstan cancel 1") != std::string::npos);
  CHECK(bob.expect<msg::Denied>().code == Errc::NotFound);
  CHECK(ann.expect<msg::Denied>().code == Errc::NotFound);
  CHECK(ann.expect<msg::Denied>().reason.find("purge") != std::string::npos);
  CHECK(ann.expect<msg::Denied>().reason.find("only whole jobs") != std::string::npos);
}

TEST_CASE("a job that a submission names stays until that is known") {
  Bench bench;
  Peer client = bench.client();
  const JobId first = a_finished_job(bench, client, 1);
  JobSpec next = a_job().spec();
  next.after_any = {first};
  client.send(msg::SubmitOpen{an_id(5), "", Bytes(16, 'd'), next});
  bench.turn();
  REQUIRE(bench.server->queue().is_waited_for(first));
  client.send(deletion(10, first.value));
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Conflict);
  client.send(msg::Purge{an_id(11), Micros(0)});
  bench.pass(1s);
  client.send(msg::Heartbeat{});
  CHECK(client.expect<msg::Done>().note.find("1 stay") != std::string::npos);
  client.send(msg::SubmitClose{an_id(5), 0, 0});
  bench.turn();
  client.expect<msg::Submitted>();
  client.send(deletion(13, first.value));
  bench.turn();
  CHECK(client.expect<msg::Done>().jobs == std::vector{first});
}

TEST_CASE("purge takes the caller's old jobs, an admin's everybody's") {
  Bench bench;
  Peer ann = bench.client("ann");
  Peer bob = bench.client("bob");
  a_finished_job(bench, ann, 1);
  a_finished_job(bench, bob, 3);
  bench.pass(100s);
  ann = bench.client("ann");
  a_finished_job(bench, ann, 5);
  ann.send(msg::Purge{an_id(10), Micros(50s)});
  bench.pass(1s);
  const auto done = ann.expect<msg::Done>();
  CHECK(done.tasks == 3);
  CHECK(done.note == "1 job");
  Peer admin = bench.client("root", Role::Admin);
  admin.send(msg::Purge{an_id(11), Micros(0)});
  bench.pass(1s);
  CHECK(admin.expect<msg::Done>().note == "2 jobs");
  CHECK(bench.server->queue().deletions().empty());
  CHECK(bench.logs.removed.size() == 3);
}

TEST_CASE("the policy deletes by number and by age, also across a crash") {
  Bench bench;
  bench.options.retention.jobs = 2;
  bench.restart();
  Peer client = bench.client();
  for (std::uint64_t i = 0; i < 5; ++i) a_finished_job(bench, client, 1 + 2 * i);
  bench.pass(3s);
  CHECK(bench.memory.list_jobs({}).value().size() == 2);
  CHECK(bench.server->queue().deletions().empty());

  bench.options.retention = {};
  bench.options.retention.age = 1h;
  bench.restart();
  bench.pass(Micros(59min));
  CHECK(bench.memory.list_jobs({}).value().size() == 2);
  bench.pass(Micros(3min));
  CHECK(bench.memory.list_jobs({}).value().empty());
  CHECK(bench.logs.removed.size() == 5);
}

TEST_CASE("a deletion that a crash cut off is swept by the next start") {
  Bench bench;
  Peer client = bench.client();
  const JobId job = a_finished_job(bench, client, 1);
  client.send(deletion(10, job.value));
  bench.turn();
  REQUIRE(bench.server->queue().deletions().contains(job));
  bench.restart();
  CHECK(bench.server->queue().deletions().contains(job));
  bench.pass(1s);
  CHECK(bench.server->queue().deletions().empty());
  CHECK(bench.logs.removed.back() == job);
}

TEST_CASE("the rows of a job stay until its output is gone") {
  Bench bench;
  Peer client = bench.client();
  const JobId job = a_finished_job(bench, client, 1);
  log::configure(log::Level::Error, log::Format::Text);
  bench.logs.fault = Errc::Io;
  client.send(deletion(10, job.value));
  bench.pass(3s);
  CHECK(bench.server->queue().deletions().contains(job));
  bench.logs.fault.reset();
  bench.pass(6s);
  CHECK(bench.server->queue().deletions().empty());
}

TEST_CASE("output that comes for a deleted job is acknowledged and dropped") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  const auto start = worker.expect<msg::Start>();
  const AttemptKey key{start.job, start.tasks.front().task, start.attempt};
  msg::Results results;
  results.results.push_back(a_result(key, EndClass::Success));
  worker.send(std::move(results));
  bench.turn();
  client.send(deletion(10, 1));
  bench.turn();
  CHECK(client.take<msg::Done>().has_value());
  worker.send(msg::LogChunk{key, Stream::Stdout, 0, "late", true});
  bench.turn();
  CHECK(worker.expect<msg::LogAck>().upto == 4);
  CHECK(bench.logs.streams.empty());
}

TEST_CASE("answers of old requests are forgotten") {
  Bench bench;
  Peer client = bench.client();
  a_finished_job(bench, client, 1);
  REQUIRE(bench.memory.find_request({"ann", an_id(1)}).value().has_value());
  bench.clock.advance(Micros(limits::kRequestsKept));
  bench.pass(Micros(2min));
  CHECK_FALSE(bench.memory.find_request({"ann", an_id(1)}).value().has_value());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
