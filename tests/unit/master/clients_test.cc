// SPDX-License-Identifier: MIT
//
// Requests: never twice, only by those who may, and on what their selectors mean.
#include "master/server.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

Selector all_selector() {
  return {Selector::Kind::All, {}, {}};
}
Selector last_selector() {
  return {Selector::Kind::Last, {}, {}};
}

/// Submits a job of one task for each request number.
void submit_jobs(Bench& bench, Peer& client, std::vector<std::uint64_t> numbers) {
  for (const std::uint64_t n : numbers) submit(client, an_id(n), a_job().with_tasks(3).spec());
  bench.turn();
  for (std::size_t i = 0; i < numbers.size(); ++i) client.expect<msg::Submitted>();
}

TEST_SUITE_BEGIN("master/clients");

TEST_CASE("the same request never makes two jobs, over reconnections and restarts") {
  Bench bench;
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec());
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  CHECK(client.expect<msg::Submitted>().job == JobId(1));

  Peer again = bench.client();
  submit(again, an_id(1), a_job().spec());
  bench.turn();
  CHECK(again.expect<msg::Submitted>().job == JobId(1));

  bench.restart();
  Peer later = bench.client();
  submit(later, an_id(1), a_job().spec());
  bench.turn();
  CHECK(later.expect<msg::Submitted>().job == JobId(1));

  // Long after: it is found in the table.
  bench.pass(120s);
  Peer last = bench.client();
  submit(last, an_id(1), a_job().spec());
  bench.turn();
  CHECK(last.expect<msg::Submitted>().job == JobId(1));
  CHECK(bench.server->queue().jobs().size() == 1);

  // The same id of another user is another request.
  Peer bob = bench.client("bob");
  submit(bob, an_id(1), a_job().spec());
  bench.turn();
  CHECK(bob.expect<msg::Submitted>().job == JobId(2));
}

TEST_CASE("a submission that was cut off goes on where it was, or is begun again") {
  Bench bench;
  Peer client = bench.client();
  const auto open = [&](Peer& by) {
    by.send(msg::SubmitOpen{an_id(1), "t", Bytes(16, 'x'), a_job().with_inputs().spec()});
  };
  open(client);
  client.send(msg::SubmitInputs{an_id(1), 0, {"a"}});
  bench.turn();
  client.close();
  bench.turn();
  Peer again = bench.client();
  open(again);
  again.send(msg::SubmitInputs{an_id(1), 0, {"a"}});
  again.send(msg::SubmitInputs{an_id(1), 1, {"b"}});
  again.send(msg::SubmitClose{an_id(1), 2, 2});
  bench.turn();
  CHECK(again.expect<msg::Submitted>().tasks == 2);

  // All of it once more: one answer, the same.
  open(again);
  bench.turn();
  CHECK(again.expect<msg::Submitted>().job == JobId(1));
}

TEST_CASE("a token: the same contents give the same job, others a conflict") {
  Bench bench;
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec(), "nightly", Bytes(16, 'a'));
  submit(client, an_id(2), a_job().spec(), "nightly", Bytes(16, 'a'));
  bench.turn();
  CHECK(client.expect<msg::Submitted>().job == JobId(1));
  const auto second = client.expect<msg::Submitted>();
  CHECK(second.request == an_id(2));
  CHECK(second.job == JobId(1));

  submit(client, an_id(3), a_job().spec(), "nightly", Bytes(16, 'b'));
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Conflict);

  // Two submissions with one token stand open at once: the first close wins.
  client.send(msg::SubmitOpen{an_id(4), "once", Bytes(16, 'a'), a_job().spec()});
  client.send(msg::SubmitOpen{an_id(5), "once", Bytes(16, 'a'), a_job().spec()});
  client.send(msg::SubmitClose{an_id(5), 0, 0});
  client.send(msg::SubmitClose{an_id(4), 0, 0});
  bench.turn();
  const auto won = client.expect<msg::Submitted>();
  CHECK(won.request == an_id(5));
  CHECK(client.expect<msg::Submitted>().job == won.job);
  CHECK(bench.server->queue().jobs().size() == 2);
  CHECK(bench.server->queue().submissions().empty());

  // Tokens belong to their owner.
  Peer bob = bench.client("bob");
  submit(bob, an_id(6), a_job().spec(), "nightly", Bytes(16, 'z'));
  bench.turn();
  CHECK(bob.expect<msg::Submitted>().job == JobId(3));
}

TEST_CASE("users act on their own jobs, an admin on all") {
  Bench bench;
  Peer ann = bench.client("ann");
  Peer bob = bench.client("bob");
  Peer root = bench.client("root", Role::Admin);
  submit_jobs(bench, ann, {1});
  bob.send(msg::Control{an_id(2), msg::Verb::Cancel, {job_selector(1)}});
  bob.send(msg::GetJob{3, job_selector(1)});
  bob.send(msg::ListTasks{4, JobId(1), 0, true, {}, {}, 10});
  bob.send(msg::ReadLog{5, JobId(1), TaskIndex(1), {}, Stream::Stdout, 0});
  bob.send(msg::Watch{6, JobId(1), {}, {}, false, false});
  bob.send(msg::ListJobs{7, {}, 10, false});
  bench.turn();
  for (int i = 0; i < 5; ++i) CHECK(bob.expect<msg::Denied>().code == Errc::NotFound);
  bob.send(msg::ListJobs{7, {}, 10, false});
  root.send(msg::ListJobs{8, {}, 10, false});
  root.send(msg::Control{an_id(9), msg::Verb::Cancel, {job_selector(1)}});
  bench.turn();
  CHECK(bob.expect<msg::JobList>().jobs.empty());
  CHECK(root.expect<msg::Done>().jobs == std::vector<JobId>{JobId(1)});
  CHECK(root.expect<msg::JobList>().jobs.size() == 1);
}

TEST_CASE("selectors: last, all, numbers, and what they do not name") {
  Bench bench;
  Peer ann = bench.client("ann");
  Peer bob = bench.client("bob");
  const auto control = [&](Peer& peer, std::uint64_t n, msg::Verb verb, Selector selector) {
    peer.send(msg::Control{an_id(n), verb, {std::move(selector)}});
    bench.turn();
  };
  control(ann, 100, msg::Verb::Cancel, last_selector());
  CHECK(ann.expect<msg::Denied>().code == Errc::NotFound);
  control(ann, 101, msg::Verb::Cancel, all_selector());
  const auto none = ann.expect<msg::Denied>();
  CHECK(none.code == Errc::NotFound);
  CHECK(none.reason.starts_with("all:"));
  control(ann, 102, msg::Verb::Cancel, job_selector(17));
  CHECK(ann.expect<msg::Denied>().reason == "job 17 does not exist (any more)");

  submit_jobs(bench, ann, {1, 2});
  submit_jobs(bench, bob, {3});
  control(ann, 103, msg::Verb::Pause, last_selector());
  CHECK(ann.expect<msg::Done>().jobs == std::vector<JobId>{JobId(2)});
  control(ann, 104, msg::Verb::Pause, {Selector::Kind::Job, JobId(2), {{1, 1, 1}}});
  CHECK(ann.expect<msg::Denied>().code == Errc::Invalid);
  control(ann, 105, msg::Verb::Resume, job_selector(2));
  CHECK(ann.expect<msg::Done>().jobs.size() == 1);
  control(ann, 106, msg::Verb::Cancel, {Selector::Kind::Job, JobId(1), {{1, 3, 2}}});
  CHECK(ann.expect<msg::Done>().tasks == 2);
  control(ann, 107, msg::Verb::Cancel, all_selector());
  const auto done = ann.expect<msg::Done>();
  CHECK(done.jobs == std::vector<JobId>{JobId(1), JobId(2)});
  CHECK(done.tasks == 4);
  CHECK(bench.server->queue().jobs().size() == 1);
  // Finished now; together with a live one that is only a note.
  control(ann, 108, msg::Verb::Cancel, job_selector(1));
  CHECK(ann.expect<msg::Denied>().reason.find("finished already") != std::string::npos);
  submit_jobs(bench, ann, {4});
  ann.send(msg::Control{an_id(109), msg::Verb::Cancel, {job_selector(1), last_selector()}});
  bench.turn();
  CHECK(ann.expect<msg::Done>().note == "finished already: 1");
  // The same request again: the same answer, though nothing is left to cancel.
  control(ann, 107, msg::Verb::Cancel, all_selector());
  CHECK(ann.expect<msg::Done>().tasks == 4);
}

TEST_CASE("retry brings a finished job back for the tasks that are asked for") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().with_tasks(3).spec());
  bench.turn();
  client.expect<msg::Submitted>();
  while (auto start = worker.take<msg::Start>()) {
    msg::Results results;
    for (const auto& one : start->tasks)
      results.results.push_back(
          a_result({start->job, one.task, start->attempt},
                   one.task == TaskIndex(2) ? EndClass::Exit : EndClass::Success));
    worker.send(results);
    bench.turn();
  }
  CHECK(bench.server->queue().jobs().empty());

  client.send(msg::Control{an_id(2), msg::Verb::RetryFailed, {job_selector(1)}});
  bench.pass(10ms);
  const auto done = client.expect<msg::Done>();
  CHECK(done.jobs == std::vector<JobId>{JobId(1)});
  CHECK(done.tasks == 1);
  const auto start = worker.expect<msg::Start>();
  CHECK(start.attempt == AttemptNo(2));
  REQUIRE(start.tasks.size() == 1);
  CHECK(start.tasks.front().task == TaskIndex(2));
  worker.send(
      msg::Results{{a_result({start.job, TaskIndex(2), start.attempt}, EndClass::Success)}});
  // In the same turn: it must wait for the write of this result.
  client.send(msg::Control{an_id(3), msg::Verb::RetryFailed, {job_selector(1)}});
  bench.turn();
  CHECK(bench.server->inbox_size() == 1);
  CHECK(bench.server->next_deadline() <= bench.clock.now());
  bench.pass(10ms);
  CHECK(client.expect<msg::Denied>().code == Errc::NotFound);
  client.send(msg::Control{an_id(4), msg::Verb::Retry, {job_selector(1)}});
  bench.pass(10ms);
  CHECK(client.expect<msg::Done>().tasks == 3);
  client.send(msg::Control{an_id(5), msg::Verb::Retry, {job_selector(99)}});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::NotFound);
}

TEST_CASE("retries of one finished job that are read together open it once") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().with_tasks(1).spec());
  bench.turn();
  const auto end = [&](EndClass how) {
    const auto start = worker.expect<msg::Start>();
    worker.send(
        msg::Results{{a_result({start.job, start.tasks.front().task, start.attempt}, how)}});
    bench.turn();
  };
  end(EndClass::Success);
  REQUIRE(bench.server->queue().jobs().empty());
  client.expect<msg::Submitted>();

  // All three are asked for before the first was read.
  bench.reads.held.emplace();
  for (std::uint64_t n = 2; n <= 4; ++n) {
    client.send(msg::Control{an_id(n), msg::Verb::Retry, {job_selector(1)}});
    bench.turn();
  }
  client.send(msg::Control{an_id(2), msg::Verb::Retry, {job_selector(1)}});  // Said again.
  bench.turn();
  auto held = std::exchange(bench.reads.held, std::nullopt);
  REQUIRE(held->size() == 3);
  (*held)[0]();
  bench.turn();
  CHECK(client.expect<msg::Done>().tasks == 1);
  bench.pass(10ms);
  SUBCASE("the others find it open") {
    (*held)[1]();
    (*held)[2]();
    bench.pass(10ms);
    CHECK(client.expect<msg::Done>().tasks == 0);
    CHECK(client.expect<msg::Done>().tasks == 0);
    CHECK(bench.server->queue().jobs().begin()->second.counts.running == 1);
  }
  SUBCASE("or read it again when it is over once more") {
    end(EndClass::Success);
    REQUIRE(bench.server->queue().jobs().empty());
    (*held)[1]();
    bench.pass(10ms);
    CHECK(client.expect<msg::Done>().tasks == 1);
    CHECK(worker.expect<msg::Start>().attempt == AttemptNo(3));
  }
  CHECK(bench.server->queue().jobs().size() == 1);
}

TEST_CASE("a retry of too much is refused, and says what to do") {
  Bench bench;
  Peer client = bench.client();
  submit(client, an_id(1), a_job().with_tasks(1'500'000).spec());
  bench.turn();
  client.expect<msg::Submitted>();
  client.send(msg::Control{an_id(2), msg::Verb::Cancel, {job_selector(1)}});
  bench.turn();
  client.expect<msg::Done>();
  // Nobody touched one of them: all together are one flag …
  client.send(msg::Control{an_id(3), msg::Verb::Retry, {job_selector(1)}});
  bench.pass(10ms);
  CHECK(client.expect<msg::Done>().tasks == 1'500'000);
  client.send(msg::Control{an_id(4), msg::Verb::Cancel, {job_selector(1)}});
  bench.turn();
  client.expect<msg::Done>();
  // … but a part of them are a row each.
  client.send(msg::Control{
      an_id(5), msg::Verb::Retry, {{Selector::Kind::Job, JobId(1), {{1, 1'200'000, 1}}}}});
  bench.pass(10ms);
  const auto denied = client.expect<msg::Denied>();
  CHECK(denied.code == Errc::Invalid);
  CHECK(denied.reason.find("name ranges") != std::string::npos);
  CHECK(bench.server->queue().jobs().empty());
}

TEST_CASE("tasks are counted over all that a request names") {
  Bench bench;
  Peer client = bench.client();
  submit(client, an_id(1), a_job().with_tasks(5'000'000).spec());
  bench.turn();
  client.expect<msg::Submitted>();
  msg::Control control{an_id(2), msg::Verb::Cancel, {}};
  for (std::uint32_t begin = 1; begin < 2'000'000; begin += 500'000)
    control.targets.push_back({Selector::Kind::Job, JobId(1), {{begin, begin + 499'999, 1}}});
  client.send(msg::Control(control));
  bench.turn();
  const auto denied = client.expect<msg::Denied>();
  CHECK(denied.code == Errc::Invalid);
  CHECK(denied.reason.find("at most 1000000 tasks at once") != std::string::npos);
  CHECK(bench.server->queue().find_job(JobId(1))->bytes.touched() == 0);
  control.request = an_id(3);
  for (Selector& target : control.targets) target.tasks.front().last = target.tasks.front().first;
  client.send(msg::Control(control));
  bench.turn();
  CHECK(client.expect<msg::Done>().tasks == 4);
}

TEST_CASE("a message that is larger than one may be is not read, though a master's may be") {
  Bench bench;
  Peer client = bench.client();
  const auto is_read = [&](std::size_t count) {
    client.send(msg::SubmitInputs{an_id(2), 0, std::vector<Bytes>(count, Bytes(100'000, 'i'))});
    bench.turn();
    return client.take<msg::Denied>().has_value();
  };
  CHECK(is_read(7));
  CHECK_FALSE(is_read(8));
}

TEST_CASE("lists come in pages") {
  Bench bench;
  Peer client = bench.client();
  submit_jobs(bench, client, {1, 2, 3});
  client.send(msg::ListJobs{1, {}, 2, false});
  bench.turn();
  const auto first = client.expect<msg::JobList>();
  REQUIRE(first.jobs.size() == 2);
  CHECK(first.more);
  CHECK(first.jobs[0].id == JobId(3));
  client.send(msg::ListJobs{2, JobId(2), 2, false});
  client.send(msg::ListTasks{3, JobId(1), 0, true, {}, {}, 2});
  client.send(msg::ListTasks{4, JobId(1), 0, false, TaskIndex(2), {}, 2});
  client.send(msg::GetJob{5, all_selector()});
  bench.turn();
  CHECK(client.expect<msg::Denied>().query == 5);
  const auto second = client.expect<msg::JobList>();
  CHECK(second.jobs.size() == 1);
  CHECK(!second.more);
  const auto tasks = client.expect<msg::TaskList>();
  CHECK(tasks.tasks.size() == 2);
  CHECK(tasks.more);
  const auto rest = client.expect<msg::TaskList>();
  CHECK(rest.tasks.size() == 1);
  CHECK(rest.tasks.front().task == TaskIndex(3));
  CHECK(!rest.more);
}

TEST_CASE("too many questions at once are denied, the answers of the others come") {
  Bench bench;
  Peer client = bench.client();
  bench.reads.held.emplace();
  for (std::uint64_t i = 1; i <= limits::kQuestionsPerClient + 1; ++i)
    client.send(msg::ListJobs{i, {}, 10, false});
  bench.turn();
  CHECK(client.expect<msg::Denied>().query == limits::kQuestionsPerClient + 1);
  for (auto& completion : *bench.reads.held) completion();
  CHECK(client.count<msg::JobList>() == limits::kQuestionsPerClient);
}

TEST_CASE("a close that is refused gets the same answer again") {
  Bench bench;
  Peer client = bench.client();
  JobSpec spec = a_job().spec();
  spec.has_inputs = true;
  spec.indices.clear();
  client.send(msg::SubmitOpen{an_id(1), "", Bytes(16, 'd'), spec});
  for (int i = 0; i < 2; ++i) {
    client.send(msg::SubmitClose{an_id(1), 0, 0});
    bench.turn();
    const auto denied = client.expect<msg::Denied>();
    CHECK(denied.code == Errc::Invalid);
    CHECK(denied.reason.find("no inputs") != std::string::npos);
    client.hello();
  }
}

TEST_CASE("a job runs after others of the same user, live or ended") {
  Bench bench;
  Peer ann = bench.client("ann");
  Peer bob = bench.client("bob");
  Peer root = bench.client("root", Role::Admin);
  submit_jobs(bench, ann, {1, 2});
  submit(ann, an_id(3), a_job().after({JobId(1)}).after_any({JobId(2)}).spec());
  bench.turn();
  CHECK(ann.expect<msg::Submitted>().job == JobId(3));
  ann.send(msg::GetJob{1, job_selector(3)});
  bench.turn();
  const msg::JobView view = ann.expect<msg::JobReply>().job;
  CHECK(view.waits_for == std::vector{JobId(1), JobId(2)});
  CHECK(view.reason == "waits for jobs 1, 2");
  CHECK(view.counts.waiting == 1);

  SUBCASE("not of others, nor of what never was") {
    submit(bob, an_id(4), a_job().after({JobId(1)}).spec());
    submit(ann, an_id(5), a_job().after_any({JobId(77)}).spec());
    submit(root, an_id(6), a_job().after({JobId(1)}).spec());
    bench.turn();
    const auto refused = bob.expect<msg::Denied>();
    CHECK(refused.code == Errc::NotFound);
    CHECK(refused.reason.starts_with("job 1 does not exist (any more)"));
    CHECK(ann.expect<msg::Denied>().reason.starts_with("job 77 does not exist (any more)"));
    CHECK(root.expect<msg::Submitted>().job == JobId(4));
  }
  SUBCASE("skipped at once after one that ended otherwise, in this turn or long ago") {
    ann.send(msg::Control{an_id(7), msg::Verb::Cancel, {job_selector(1)}, "wrong input"});
    submit(ann, an_id(8), a_job().after({JobId(1)}).spec());
    bench.turn();
    CHECK(ann.expect<msg::Submitted>().warning == "skipped: job 1 was cancelled");
    bench.restart();
    Peer again = bench.client("ann");
    submit(again, an_id(9), a_job().after({JobId(1)}).spec());
    submit(again, an_id(8), a_job().after({JobId(1)}).spec());
    bench.turn();
    CHECK(again.expect<msg::Submitted>().job == JobId(5));
    CHECK(again.expect<msg::Submitted>().warning == "skipped: job 1 was cancelled");
    again.send(msg::GetJob{1, job_selector(5)});
    again.send(msg::GetJob{2, job_selector(1)});
    bench.turn();
    const msg::JobView skipped = again.expect<msg::JobReply>().job;
    CHECK(skipped.state == JobState::Skipped);
    CHECK(skipped.reason == "job 1 was cancelled");
    CHECK(again.expect<msg::JobReply>().job.reason == "wrong input");
  }
}

TEST_CASE("a job with a begin waits for the wall clock, over a restart as well") {
  Bench bench;
  Peer ann = bench.client("ann");
  const WallTime begin{bench.clock.wall().us + 60'000'000};
  submit(ann, an_id(1), a_job().begins_at(begin).spec());
  bench.turn();
  ann.expect<msg::Submitted>();
  ann.send(msg::GetJob{1, job_selector(1)});
  bench.turn();
  const msg::JobView view = ann.expect<msg::JobReply>().job;
  CHECK(view.reason == "waits for its begin");
  CHECK(view.begin_at == begin);
  bench.restart();
  CHECK(bench.server->queue().jobs().at(JobId(1)).counts.waiting == 1);
  bench.pass(59s);
  CHECK(bench.server->queue().jobs().at(JobId(1)).counts.waiting == 1);
  bench.pass(2s);
  CHECK(bench.server->queue().jobs().at(JobId(1)).counts.ready == 1);
}

TEST_CASE("the priority of whole jobs is changed, of one's own") {
  Bench bench;
  Peer ann = bench.client("ann");
  Peer bob = bench.client("bob");
  submit_jobs(bench, ann, {1, 2});
  const std::vector both{job_selector(1), job_selector(2)};
  const auto prioritise = [](std::uint64_t n, std::vector<Selector> targets, std::int32_t to) {
    return msg::Control{an_id(n), msg::Verb::Prioritise, std::move(targets), "", to};
  };
  ann.send(prioritise(3, both, 5));
  bob.send(prioritise(4, {job_selector(1)}, 9));
  bench.turn();
  CHECK(ann.expect<msg::Done>().tasks == 6);
  CHECK(bob.expect<msg::Denied>().code == Errc::NotFound);
  ann.send(msg::GetJob{1, job_selector(2)});
  ann.send(prioritise(5, both, limits::kPriorityMax + 1));
  ann.send(prioritise(6, {{Selector::Kind::Job, JobId(1), {{1, 1, 1}}}}, 5));
  bench.turn();
  CHECK(ann.expect<msg::Denied>().code == Errc::Invalid);
  CHECK(ann.expect<msg::Denied>().reason == "only whole jobs: priority 1");
  CHECK(ann.expect<msg::JobReply>().job.priority == 5);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
