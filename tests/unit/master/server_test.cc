// SPDX-License-Identifier: MIT
//
// The master's core loop from the outside: what leaves, and when.
#include "master/server.h"

#include "tests/support/quiet.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

msg::Results success(const msg::Start& start) {
  msg::Results results;
  for (const auto& one : start.tasks)
    results.results.push_back(a_result({start.job, one.task, start.attempt}, EndClass::Success));
  return results;
}

TEST_SUITE_BEGIN("master/server");

TEST_CASE("a job goes from its submission over a worker to its end") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  CHECK(bench.keys.known.at(Bench::key_of("w1")).role == Role::Worker);
  const msg::Welcome welcome = worker.hello(msg::WorkerHello{});
  CHECK(welcome.name == "w1");
  CHECK(welcome.role == Role::Worker);
  CHECK(welcome.instance == an_id(1000 + worker.id().value));

  Peer client = bench.client();
  submit(client, an_id(1), a_job().with_tasks(2).spec());
  bench.turn();
  const auto submitted = client.expect<msg::Submitted>();
  CHECK(submitted.job == JobId(1));
  CHECK(submitted.tasks == 2);
  CHECK(submitted.warning.empty());

  const auto job_template = worker.expect<msg::JobTemplate>();
  CHECK(job_template.spec.argv == std::vector<Bytes>{"true"});
  const auto start = worker.expect<msg::Start>();
  CHECK(start.job == JobId(1));
  CHECK(start.attempt == AttemptNo(1));
  std::vector<TaskIndex> tasks;
  for (const auto& one : start.tasks) tasks.push_back(one.task);
  REQUIRE(!tasks.empty());
  CHECK(tasks.front() == TaskIndex(1));

  worker.send(success(start));
  bench.turn();
  const auto acked = worker.expect<msg::ResultAck>();
  CHECK(keys_of(acked.runs).size() == start.tasks.size());
  while (const auto more = worker.take<msg::Start>()) {
    worker.send(success(*more));
    bench.turn();
  }
  client.send(msg::GetJob{7, {Selector::Kind::Last, {}, {}}});
  bench.turn();
  const auto reply = client.expect<msg::JobReply>();
  CHECK(reply.query == 7);
  CHECK(reply.job.state == JobState::Succeeded);
  CHECK(reply.job.counts.succeeded == 2);
  CHECK(reply.job.owner == "ann");
  CHECK(reply.job.command == "true");
  CHECK(worker.count<msg::JobTemplate>() == 0);
}

TEST_CASE("nothing leaves before its entry is durable") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  bench.store.sent_at_append.clear();
  const std::size_t before = bench.listener.total();
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  REQUIRE(bench.store.sent_at_append.size() == 1);
  CHECK(bench.store.sent_at_append.front() == before);
  CHECK(client.count<msg::Submitted>() == 1);
  CHECK(worker.count<msg::Start>() == 1);
}

TEST_CASE("a write in doubt ends the process, and nobody is told") {
  Bench bench;
  Peer client = bench.client();
  const std::size_t before = bench.listener.total();
  bench.memory.fail_next(MemoryStore::Fault::UnknownKept);
  submit(client, an_id(1), a_job().spec());
  const Result<void> turned = bench.server->turn();
  REQUIRE(!turned);
  CHECK(turned.error().code == Errc::OutcomeUnknown);
  CHECK(bench.listener.total() == before);

  // It was there after all: the same request is answered with the same job.
  bench.restart();
  Peer again = bench.client();
  submit(again, an_id(1), a_job().spec());
  bench.turn();
  CHECK(again.expect<msg::Submitted>().job == JobId(1));
  CHECK(bench.server->queue().jobs().size() == 1);
}

TEST_CASE("an acknowledged job survives a crash, with its worker's running task") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  msg::WorkerHello hello;
  hello.instance = an_id(5);
  worker.hello(hello);
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  client.expect<msg::Submitted>();
  const auto start = worker.expect<msg::Start>();

  bench.restart();
  CHECK(bench.server->queue().jobs().size() == 1);
  Peer same(bench, net::PeerId(900), worker.identity());
  hello.held = {{{start.job, start.tasks.front().task, start.attempt}, true}};
  same.hello(hello);
  CHECK(same.count<msg::Start>() == 0);
  CHECK(same.count<msg::Cancel>() == 0);
  same.send(success(start));
  bench.turn();
  CHECK(keys_of(same.expect<msg::ResultAck>().runs).size() == 1);
  CHECK(bench.server->queue().jobs().empty());
}

TEST_CASE("a full disk: the ballast goes, the batch is kept, submissions are refused") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  client.expect<msg::Submitted>();
  const auto start = worker.expect<msg::Start>();

  bench.host.state.free_bytes = 0;
  bench.memory.fail_next(MemoryStore::Fault::DiskFull);
  submit(client, an_id(2), a_job().spec());
  bench.turn();
  CHECK(client.expect<msg::Submitted>().job == JobId(2));
  CHECK(bench.server->is_draining());
  CHECK(!bench.server->status().store_ok);

  submit(client, an_id(3), a_job().spec());
  worker.send(success(start));
  client.send(msg::Control{an_id(4), msg::Verb::Cancel, {job_selector(2)}});
  bench.turn();
  const auto denied = client.expect<msg::Denied>();
  CHECK(denied.code == Errc::Unavailable);
  CHECK(denied.reason.find("disk is nearly full") != std::string::npos);
  CHECK(client.expect<msg::Done>().jobs == std::vector<JobId>{JobId(2)});
  CHECK(keys_of(worker.expect<msg::ResultAck>().runs).size() == 1);

  SUBCASE("and once there is room again they are taken") {
    bench.host.state.free_bytes = UINT64_MAX;
    bench.pass(3s);
    CHECK(!bench.server->is_draining());
    client.send(msg::Heartbeat{});
    submit(client, an_id(5), a_job().spec());
    bench.turn();
    CHECK(client.expect<msg::Submitted>().job == JobId(3));
  }
  SUBCASE("a second time stops the process") {
    bench.memory.fail_next(MemoryStore::Fault::DiskFull);
    client.send(msg::Control{an_id(6), msg::Verb::Cancel, {job_selector(1)}});
    submit(client, an_id(7), a_job().spec());
    worker.send(msg::WorkerNotice{true, false});
    const Result<void> turned = bench.server->turn();
    REQUIRE(!turned);
    CHECK(turned.error().code == Errc::DiskFull);
  }
}

TEST_CASE("killed between the parts of a large batch: the tables are as the journal says") {
  Bench bench;
  Peer client = bench.client();
  constexpr std::uint64_t kJobs = limits::kEntriesPerBatch + 100;
  for (std::uint64_t n = 1; n <= kJobs; ++n) submit(client, an_id(n), a_job().spec());
  while (bench.server->inbox_size() > 0) bench.turn();
  REQUIRE(bench.server->queue().jobs().size() == kJobs);
  client.send(msg::Control{an_id(9999), msg::Verb::Cancel, {{Selector::Kind::All, {}, {}}}});
  bench.store.dies_after = 1;
  REQUIRE(!bench.server->turn());
  bench.store.dies_after.reset();
  bench.restart();
  CHECK(bench.server->queue().jobs().size() == 100);
  bench.restart();  // From the tables this time.
  CHECK(bench.server->queue().jobs().size() == 100);
  // What is left of the request is done when it is said again.
  Peer again = bench.client();
  again.send(msg::Control{an_id(9999), msg::Verb::Cancel, {{Selector::Kind::All, {}, {}}}});
  bench.turn();
  CHECK(again.expect<msg::Done>().jobs.size() == kJobs);
  CHECK(bench.server->queue().jobs().empty());
}

TEST_CASE("little room on the disk stops submissions before a write fails") {
  Bench bench;
  constexpr std::uint64_t kGiB = 1ULL << 30;
  Peer client = bench.client();
  const auto set_free = [&](std::uint64_t free, std::uint64_t total) {
    bench.host.state = {free, total};
    bench.pass(3s);
    client.send(msg::Heartbeat{});
  };
  set_free(kGiB, 100 * kGiB);
  CHECK_FALSE(bench.server->is_draining());
  set_free(kGiB - 1, 100 * kGiB);
  CHECK(bench.server->is_draining());
  client.send(msg::GetStatus{1});
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  REQUIRE(client.expect<msg::StatusReply>().alarms.size() == 1);
  const auto denied = client.expect<msg::Denied>();
  CHECK(denied.code == Errc::Unavailable);
  CHECK(denied.reason.find("free of 100.0 GiB") != std::string::npos);

  set_free(kGiB + kGiB / 8, 100 * kGiB);  // Not yet clearly more.
  CHECK(bench.server->is_draining());
  set_free(kGiB + kGiB / 4, 100 * kGiB);
  CHECK_FALSE(bench.server->is_draining());

  set_free(kGiB / 10 - 1, 2 * kGiB);  // Of a small disk 5 %.
  CHECK(bench.server->is_draining());
  set_free(kGiB / 2, 2 * kGiB);
  CHECK_FALSE(bench.server->is_draining());
  bench.options.disk_reserve_bytes = kGiB;
  bench.restart();
  bench.pass(3s);
  CHECK(bench.server->is_draining());
}

TEST_CASE("a silent worker is suspect, then lost, and its task runs elsewhere") {
  Bench bench;
  Peer one = bench.enrolled("w1");
  one.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  CHECK(one.expect<msg::Start>().attempt == AttemptNo(1));
  Peer two = bench.enrolled("w2");
  two.hello(msg::WorkerHello{});
  for (int i = 0; i < 29; ++i) {
    bench.pass(1s);
    two.send(msg::Heartbeat{});
    client.send(msg::Heartbeat{});
  }
  CHECK(bench.server->status().workers_up == 1);
  CHECK(two.count<msg::Start>() == 0);
  bench.pass(2s);
  CHECK(two.expect<msg::Start>().attempt == AttemptNo(2));

  client.send(msg::ListWorkers{3, {}});
  bench.turn();
  const auto list = client.expect<msg::WorkerList>();
  REQUIRE(list.workers.size() == 2);
  CHECK(list.workers[0].state == msg::WorkerState::Lost);
  CHECK(list.workers[1].state == msg::WorkerState::Up);
  CHECK(list.workers[1].running == 1);

  // It comes back: an unknown session first, then the late success counts.
  one.send(msg::Heartbeat{});
  bench.turn();
  CHECK(one.take<msg::NeedHello>().has_value());
}

TEST_CASE("a closed connection counts sooner, a heartbeat clears it") {
  Bench bench;
  Peer one = bench.enrolled("w1");
  one.hello(msg::WorkerHello{});
  one.close();
  bench.turn();
  CHECK(bench.server->status().workers_up == 0);
  one.send(msg::Heartbeat{});
  bench.turn();
  CHECK(bench.server->status().workers_up == 1);
  one.close();
  bench.pass(6s);
  CHECK(bench.server->queue().workers().begin()->second.row.present == false);
}

TEST_CASE("the time that the loop itself was stopped is nobody's silence") {
  Bench bench;
  Peer one = bench.enrolled("w1");
  one.hello(msg::WorkerHello{});
  bench.clock.advance(60s);
  bench.turn();
  CHECK(bench.server->queue().workers().begin()->second.row.present);
}

TEST_CASE("inputs travel in parts and reach the worker as they are") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  const RequestId request = an_id(1);
  client.send(msg::SubmitOpen{request, "", Bytes(16, 'x'), a_job().with_inputs().spec()});
  client.send(msg::SubmitInputs{request, 0, {"a b", "\xff\n'"}});
  bench.turn();
  CHECK(client.expect<msg::Accepted>().part == 0);
  CHECK(bench.server->queue().jobs().empty());
  // The same part again, as after a reconnection.
  client.send(msg::SubmitInputs{request, 0, {"a b", "\xff\n'"}});
  client.send(msg::SubmitInputs{request, 1, {"third"}});
  client.send(msg::SubmitClose{request, 2, 3});
  bench.turn();
  CHECK(client.expect<msg::Accepted>().part == 0);
  CHECK(client.expect<msg::Accepted>().part == 1);
  CHECK(client.expect<msg::Submitted>().tasks == 3);
  std::vector<Bytes> inputs;
  while (auto start = worker.take<msg::Start>()) {
    for (const auto& one : start->tasks)
      inputs.insert(inputs.end(), one.inputs.begin(), one.inputs.end());
    worker.send(success(*start));
    bench.turn();
  }
  CHECK(inputs == std::vector<Bytes>{"a b", "\xff\n'", "third"});
}

TEST_CASE("a batch reaches the worker as one task, standard input behind the template") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  const RequestId request = an_id(1);
  client.send(msg::SubmitOpen{request, "", Bytes(16, 'x'),
                              a_job().with_inputs().with_batch(2).with_stdin().spec()});
  const Bytes data(limits::kInputChunkBytes, 'd');
  std::uint64_t part = 0;
  for (; part < 5; ++part) client.send(msg::SubmitStdin{request, part, data});
  client.send(msg::SubmitStdin{request, part++, "end"});
  client.send(msg::SubmitInputs{request, part++, {"a", "b", "c", "d"}});
  client.send(msg::SubmitInputs{request, part++, {"e"}});
  client.send(msg::SubmitClose{request, part, 5});
  for (int turn = 0; turn < 3; ++turn) bench.turn();  // More than one batch of the journal.
  CHECK(client.expect<msg::Submitted>().tasks == 3);
  Bytes received;
  CHECK(worker.expect<msg::JobTemplate>().spec.has_stdin);
  while (worker.count<msg::JobStdin>() > 0) {
    const auto piece = worker.expect<msg::JobStdin>();
    CHECK(piece.offset == received.size());
    received += piece.data;
    CHECK(piece.last == (received.size() == 5 * data.size() + 3));
  }
  CHECK(received.size() == 5 * data.size() + 3);
  CHECK(received.ends_with("dend"));
  std::vector<std::vector<Bytes>> tasks;
  while (auto start = worker.take<msg::Start>()) {
    for (const auto& one : start->tasks) tasks.push_back(one.inputs);
    worker.send(success(*start));
    bench.turn();
  }
  REQUIRE(tasks.size() == 3);
  CHECK(tasks[0] == std::vector<Bytes>{"a", "b"});
  CHECK(tasks[1] == std::vector<Bytes>{"c", "d"});
  CHECK(tasks[2] == std::vector<Bytes>{"e"});
  CHECK(worker.count<msg::JobStdin>() == 0);
}

TEST_CASE("an empty standard input is told as well") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().with_stdin().spec());
  bench.turn();
  client.expect<msg::Submitted>();
  const auto only = worker.expect<msg::JobStdin>();
  CHECK(only.last);
  CHECK(only.data.empty());
}

TEST_CASE("inputs of one task in two parts, or too large together, are refused") {
  Bench bench;
  Peer client = bench.client();
  const auto open = [&](std::uint64_t n) {
    client.send(
        msg::SubmitOpen{an_id(n), "", Bytes(16, 'x'), a_job().with_inputs().with_batch(2).spec()});
  };
  open(1);
  client.send(msg::SubmitInputs{an_id(1), 0, {"a", "b", "c"}});
  client.send(msg::SubmitInputs{an_id(1), 1, {"d"}});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Invalid);
  open(2);
  const Bytes half(limits::kTaskInputBytes / 2 + 1, 'x');
  client.send(msg::SubmitInputs{an_id(2), 0, {"a", half, half}});
  bench.turn();
  CHECK(client.count<msg::Denied>() == 0);
  client.send(msg::SubmitInputs{an_id(2), 0, {"a", half, half}});
  open(3);
  client.send(msg::SubmitInputs{an_id(3), 0, {half, half}});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Invalid);
  open(4);
  client.send(msg::SubmitStdin{an_id(4), 0, "x"});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Invalid);
}

TEST_CASE("a part too many or too few is denied, an empty list too") {
  Bench bench;
  Peer client = bench.client();
  const auto open = [&](std::uint64_t n) {
    client.send(msg::SubmitOpen{an_id(n), "", Bytes(16, 'x'), a_job().with_inputs().spec()});
  };
  open(1);
  client.send(msg::SubmitInputs{an_id(1), 1, {"x"}});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Conflict);
  open(2);
  client.send(msg::SubmitClose{an_id(2), 1, 1});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Conflict);
  open(3);
  client.send(msg::SubmitClose{an_id(3), 0, 0});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Invalid);
  client.send(msg::SubmitInputs{an_id(4), 0, {"x"}});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::NotFound);
  client.send(msg::SubmitOpen{an_id(5), "", Bytes(16, 'x'), JobSpec{}});
  bench.turn();
  CHECK(client.expect<msg::Denied>().code == Errc::Invalid);
  CHECK(bench.server->queue().jobs().empty());
}

TEST_CASE("a submission that stands open for too long is dropped") {
  Bench bench;
  Peer client = bench.client();
  client.send(msg::SubmitOpen{an_id(1), "", Bytes(16, 'x'), a_job().with_inputs().spec()});
  bench.turn();
  CHECK(bench.server->queue().submissions().size() == 1);
  bench.pass(601s);
  CHECK(bench.server->queue().submissions().empty());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
