// SPDX-License-Identifier: MIT
//
// Who may come in, in which session, saying what.
#include "master/api/session.h"
#include "master/server.h"
#include "tests/support/quiet.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

TEST_SUITE_BEGIN("master/sessions");

TEST_CASE("a gap, a repeat or an unknown session asks for a HELLO") {
  Bench bench;
  Peer client = bench.client();
  SUBCASE("gap") {
    client.end.next_out();
  }
  SUBCASE("repeat") {
    client.send(msg::Heartbeat{});
    client.send_frame({client.end.id(), 1, Epoch(0), msg::Heartbeat{}});
  }
  SUBCASE("unknown") {
    client.end = wire::SessionEnd(SessionId(12345));
  }
  client.send(msg::GetStatus{1});
  bench.turn();
  CHECK(client.count<msg::StatusReply>() == 0);
  CHECK(client.take<msg::NeedHello>().has_value());
  client.hello();
  client.send(msg::GetStatus{2});
  bench.turn();
  CHECK(client.expect<msg::StatusReply>().query == 2);
}

TEST_CASE("session ids only grow, also over a restart") {
  Bench bench;
  const SessionId first = bench.client().end.id();
  const SessionId second = bench.client().end.id();
  CHECK(second > first);
  bench.restart();
  CHECK(bench.client().end.id() > second);
}

TEST_CASE("a session of another peer is unknown") {
  Bench bench;
  Peer client = bench.client("ann");
  Peer thief = bench.client("bob");
  thief.end = client.end;
  thief.send(msg::GetStatus{1});
  bench.turn();
  CHECK(thief.take<msg::NeedHello>().has_value());
  client.send(msg::GetStatus{2});
  bench.turn();
  CHECK(client.expect<msg::StatusReply>().query == 2);
}

TEST_CASE("roles: every key says only what its role may") {
  Bench bench;
  const auto refused = [&](Role role, msg::Body body) {
    Peer peer = bench.peer(role, "someone");
    peer.send_bare(std::move(body));
    bench.turn();
    const auto answer = peer.take<msg::Refused>();
    return answer && answer->code == Errc::NotAllowed;
  };
  msg::WorkerHello hello;
  hello.protocol = kProtocol;
  CHECK(refused(Role::Admin, hello));
  CHECK(refused(Role::User, hello));
  CHECK(refused(Role::Enrolment, hello));
  CHECK(refused(Role::Worker, msg::ClientHello{kProtocol, "", Epoch(0)}));
  CHECK(refused(Role::Enrolment, msg::ClientHello{kProtocol, "", Epoch(0)}));
  CHECK(refused(Role::Admin, msg::Enrol{kProtocol, Bench::key_of("x"), "x"}));
  CHECK(refused(Role::Worker, msg::Enrol{kProtocol, Bench::key_of("x"), "x"}));
  CHECK(refused(Role::Enrolment, msg::GetStatus{1}));
  CHECK(refused(Role::Worker, msg::Control{an_id(1), msg::Verb::Cancel, {}}));
  CHECK(refused(Role::User, msg::Results{}));
  CHECK(refused(Role::Master, msg::GetStatus{1}));
  // What only masters say.
  CHECK(refused(Role::Worker, msg::Welcome{}));
  CHECK(refused(Role::Admin, msg::Start{}));
  Peer client = bench.client();
  client.send(msg::GetStatus{1});
  bench.turn();
  CHECK(client.expect<msg::StatusReply>().refused_messages == 13);
}

TEST_CASE("garbage is counted and changes nothing") {
  Bench bench;
  Peer client = bench.client();
  bench.server->on_frame(client.id(), client.identity(), "\xff\xfe garbage");
  bench.server->on_frame(client.id(), client.identity(), "");
  client.send(msg::GetStatus{1});
  bench.turn();
  CHECK(client.expect<msg::StatusReply>().refused_messages == 2);
}

TEST_CASE("a protocol that is not spoken is refused in words, whatever its HELLO looks like") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  // [type, session, n, epoch, [protocol, and fields that we know nothing of]]
  std::string frame;
  wire::Writer w(frame);
  w.array(5);
  w.u64(msg::Body(msg::WorkerHello{}).index() + 1);
  w.u64(0);
  w.u64(0);
  w.u64(0);
  w.array(3);
  w.u64(99);
  w.text("0.9");
  w.text("new");
  w.finish();
  bench.server->on_frame(worker.id(), worker.identity(), frame);
  bench.turn();
  const auto refused = worker.expect<msg::Refused>();
  CHECK(refused.code == Errc::Protocol);
  CHECK(refused.reason.find("protocol 99") != std::string::npos);
  CHECK(refused.reason.find("upgrade the master") != std::string::npos);
}

TEST_CASE("enrolment: names are unique, the same key gets the same answer") {
  Bench bench;
  CHECK(bench.enrolled("node").identity().name == "node");
  Peer invited = bench.peer(Role::Enrolment, "invitation");
  const auto enrol = [&](const std::string& key, const std::string& name) {
    invited.send_bare(msg::Enrol{kProtocol, Bench::key_of(key), name});
    bench.turn();
    return invited.take<msg::Enrolled>();
  };
  CHECK(enrol("second", "node")->name == "node-2");
  CHECK(enrol("third", "node")->name == "node-3");
  CHECK(enrol("second", "node")->name == "node-2");
  CHECK(enrol("node", "other")->name == "node");
  CHECK(bench.server->queue().workers().size() == 3);
  bench.restart();
  CHECK(enrol("third", "node")->name == "node-3");
  CHECK(!enrol("fourth", "two words"));
  CHECK(!enrol("fifth", ""));
}

TEST_CASE("enrolment cannot take a key that belongs to somebody else") {
  Bench bench;
  bench.keys.add({Role::Admin, "ann", Bench::key_of("ann")});
  Peer invited = bench.peer(Role::Enrolment, "invitation");
  invited.send_bare(msg::Enrol{kProtocol, Bench::key_of("ann"), "ann"});
  bench.turn();
  CHECK(invited.expect<msg::Refused>().code == Errc::Conflict);
  CHECK(bench.keys.known.at(Bench::key_of("ann")).role == Role::Admin);
}

TEST_CASE("two processes with one key: the newer instance wins, the older is told") {
  Bench bench;
  Peer one = bench.enrolled("w1");
  msg::WorkerHello first;
  first.instance = an_id(1);
  one.hello(first);
  Peer two(bench, net::PeerId(500), one.identity());
  msg::WorkerHello second;
  second.instance = an_id(2);
  two.hello(second);

  one.send(msg::Heartbeat{});
  bench.turn();
  CHECK(one.take<msg::NeedHello>().has_value());
  first.protocol = kProtocol;
  first.cpus = 1;
  one.send_bare(first);
  bench.turn();
  const auto refused = one.expect<msg::Refused>();
  CHECK(refused.code == Errc::Conflict);
  CHECK(refused.reason.find("--dir") != std::string::npos);
  two.send(msg::Heartbeat{});
  bench.turn();
  CHECK(two.count<msg::NeedHello>() == 0);
  CHECK(bench.server->queue().workers().begin()->second.row.instance == an_id(2));
}

TEST_CASE("the same instance over another connection replaces its session") {
  Bench bench;
  Peer one = bench.enrolled("w1");
  msg::WorkerHello hello;
  hello.instance = an_id(1);
  one.hello(hello);
  Peer again(bench, net::PeerId(500), one.identity());
  again.hello(hello);
  CHECK(again.end.id() > one.end.id());
  // The old connection's close comes late: it is not this session's.
  one.close();
  bench.turn();
  CHECK(bench.server->status().workers_up == 1);
}

TEST_CASE("of several HELLOs before the commit only the last is answered, with its own effects") {
  Bench bench;
  Peer client = bench.client();
  submit(client, an_id(7), a_job().with_tasks(1).spec());
  Peer one = bench.enrolled("w1");
  msg::WorkerHello hello;
  hello.instance = an_id(1);
  one.hello(hello);
  REQUIRE(one.expect<msg::Start>().tasks.size() == 1);
  // The Start was lost on the way, and the worker is leaving: it gets it again, and is to give it
  // back. Behind that another Start would run it although its number is free.
  hello.protocol = kProtocol;
  hello.cpus = 1;
  hello.leaving = true;
  for (int i = 0; i < 3; ++i) one.send_bare(hello);
  bench.turn();
  CHECK(one.count<msg::Welcome>() == 1);
  CHECK(one.count<msg::Start>() == 1);
  CHECK(one.count<msg::Recall>() == 1);
}

TEST_CASE("a send that fails ends the session: the next message would be a gap") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  bench.listener.full.insert(worker.id());
  bench.pass(3s);
  bench.listener.full.clear();
  worker.send(msg::Heartbeat{});
  bench.turn();
  CHECK(worker.take<msg::NeedHello>().has_value());
  CHECK(bench.server->status().workers_up == 1);
}

TEST_CASE("heartbeats go to everybody, with what was seen") {
  Bench bench;
  Peer client = bench.client();
  client.send(msg::Heartbeat{});
  client.send(msg::Heartbeat{});
  bench.turn();
  bench.pass(2100ms);
  CHECK(client.expect<msg::Heartbeat>().seen == 2);
}

TEST_CASE("a client that falls silent is forgotten") {
  Bench bench;
  Peer client = bench.client();
  bench.pass(33s);
  client.send(msg::Heartbeat{});
  bench.turn();
  CHECK(client.take<msg::NeedHello>().has_value());
}

TEST_CASE("what a worker holds from another life of the cluster is not believed") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  const auto start = worker.expect<msg::Start>();
  msg::WorkerHello hello;
  hello.instance = an_id(1000 + worker.id().value);
  hello.generation = Generation{77, 77};
  hello.held = {{{start.job, start.tasks.front().task, start.attempt}, true}};
  worker.hello(hello);
  CHECK(worker.expect<msg::Start>().job == start.job);
}

TEST_CASE("more workers than one message holds are listed in pages, each once") {
  Bench bench;
  // 255 bytes of name and address, and a note of 2 KiB: some 280 in a page.
  const std::string padding(200, 'x');
  for (int i = 0; i < 600; ++i) {
    Peer worker = bench.enrolled(std::to_string(i) + padding);
    msg::WorkerHello hello;
    hello.instance = an_id(static_cast<unsigned>(5000 + i));
    worker.hello(hello);
  }
  Peer client = bench.client();
  std::set<std::string> names;
  msg::ListWorkers question{1, WorkerId{}};
  int pages = 0;
  for (bool more = true; more; ++pages) {
    client.send(question);
    bench.turn();
    const auto page = client.expect<msg::WorkerList>();
    for (const msg::WorkerView& worker : page.workers) CHECK(names.insert(worker.name).second);
    more = page.more;
    question.after = page.last;
  }
  CHECK(names.size() == 600);
  CHECK(pages >= 1);
}

TEST_CASE("an answer that no frame holds becomes a refusal, not the master's end") {
  FakeListener listener;
  api::Sessions sessions(listener, api::Cluster{}, Epoch(257));
  const net::PeerId peer(1);
  auto opened = sessions.open_client(peer, {Role::User, "ann", Bench::key_of("ann")});
  REQUIRE(opened);
  msg::TaskList list{7, {}, false};
  list.tasks.resize(10'000);
  for (msg::TaskView& task : list.tasks) task.worker = std::string(200, 'w');
  sessions.send(**opened, list);
  sessions.send(**opened, msg::Heartbeat{});
  REQUIRE(listener.sent[peer].size() == 2);
  const auto& denied = std::get<msg::Denied>(listener.sent[peer][0].body);
  CHECK(denied.query == 7);
  CHECK(denied.code == Errc::Invalid);
  CHECK(listener.sent[peer][1].n == 2);
}

TEST_CASE("a worker is heard when its message arrives, however long the inbox") {
  Bench bench;
  Peer worker = bench.enrolled("w1");
  worker.hello(msg::WorkerHello{});
  Peer client = bench.client();
  for (std::size_t i = 0; i < 8 * limits::kMessagesPerTurn; ++i) client.send(msg::Heartbeat{});
  for (int turn = 0; turn < 6; ++turn) {
    bench.clock.advance(3s);
    worker.send(msg::Heartbeat{});
    bench.turn();
    CHECK(bench.server->status().workers_up == 1);
  }
  CHECK(bench.server->inbox_size() > limits::kMessagesPerTurn);
}

/// The other master never has what is shipped to it, until it is told to.
struct Behind final : Alone {
  Seq has;
  [[nodiscard]] bool is_replicated() const override { return true; }
  [[nodiscard]] Seq committed() const override { return has; }
};

TEST_CASE("while a commit waits so much is kept of what arrives, and the rest is dropped") {
  Bench bench;
  Behind behind;
  behind.has = Seq(UINT64_MAX);
  bench.server.reset();
  bench.memory.crash();
  bench.begin({bench.store, bench.listener, bench.reads, bench.logs, bench.keys, bench.host,
               bench.clock, behind});
  Peer client = bench.client();
  behind.has = Seq{};
  bench.server->set_min_copies(1);
  bench.turn();  // Its batch waits from here on.
  constexpr std::size_t kSent = 200'000;
  for (std::size_t i = 0; i < kSent; ++i) client.send(msg::Heartbeat{});
  bench.turn();
  const std::size_t kept = bench.server->inbox_size();
  CHECK(kept > kSent / 100);
  CHECK(kept < kSent);
  behind.has = Seq(UINT64_MAX);
  bench.turn();
  while (bench.server->inbox_size() > 0) bench.turn();
  client.send(msg::Heartbeat{});
  bench.turn();
  CHECK(client.count<msg::NeedHello>() == 1);
  client.hello();
  client.send(msg::ListJobs{});
  bench.turn();
  CHECK(client.count<msg::JobList>() == 1);
}

TEST_CASE("an invitation that enrols without end is held back, and told nothing wrong") {
  Bench bench;
  Peer invited = bench.peer(Role::Enrolment, "invitation");
  int enrolled = 0;
  const auto enrol = [&](int number) {
    const std::string name = std::to_string(number) + "w";
    invited.send_bare(msg::Enrol{kProtocol, Bench::key_of(name), name});
    bench.turn();
    return invited.take<msg::Enrolled>().has_value();
  };
  while (enrolled < 2000 && enrol(enrolled)) ++enrolled;
  CHECK(enrolled == 1024);
  CHECK(invited.count<msg::Refused>() == 0);
  CHECK(bench.server->queue().workers().size() == 1024);
  bench.pass(1s);
  CHECK(enrol(enrolled));
}

TEST_CASE("a worker that says goodbye is drained at once") {
  Bench bench;
  Peer one = bench.enrolled("w1");
  one.hello(msg::WorkerHello{});
  one.send(msg::Goodbye{});
  bench.turn();
  CHECK(!bench.server->queue().workers().begin()->second.row.present);
  Peer client = bench.client();
  client.send(msg::ListWorkers{1, {}});
  submit(client, an_id(1), a_job().spec());
  bench.turn();
  CHECK(client.expect<msg::WorkerList>().workers.front().state == msg::WorkerState::Left);
  CHECK(client.expect<msg::Submitted>().warning.find("no worker") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
