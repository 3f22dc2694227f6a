// SPDX-License-Identifier: MIT
//
// What an admin steers: workers and keys; and what nobody else gets to see.
#include "master/server.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

TEST_SUITE_BEGIN("master/admin");

msg::WorkerHello a_hello(std::uint64_t instance, std::uint32_t cpus = 2) {
  msg::WorkerHello hello;
  hello.protocol = kProtocol;
  hello.version = "0";
  hello.instance = an_id(instance);
  hello.cpus = cpus;
  return hello;
}

msg::WorkerView view_of(Bench& bench, Peer& client, const std::string& name) {
  client.send(msg::ListWorkers{1, {}});
  bench.turn();
  for (const msg::WorkerView& view : client.expect<msg::WorkerList>().workers) {
    if (view.name == name) return view;
  }
  return {};
}

TEST_CASE("drain, resume, remove: by name, all or none, and shown") {
  Bench bench;
  Peer admin = bench.client("root", Role::Admin);
  Peer worker = bench.enrolled("w1");
  msg::WorkerHello hello = a_hello(1);
  hello.mem_bytes = 1024;
  worker.hello(hello);
  CHECK(view_of(bench, admin, "w1").mem_bytes == 1024);
  admin.send(msg::WorkerControl{an_id(1), msg::WorkerVerb::Drain, {"w1", "w2"}, "why"});
  bench.turn();
  CHECK(admin.expect<msg::Denied>().code == Errc::NotFound);
  admin.send(msg::WorkerControl{an_id(2), msg::WorkerVerb::Drain, {"w1"}, "disk swap"});
  bench.turn();
  CHECK(admin.expect<msg::Done>().tasks == 1);
  CHECK(view_of(bench, admin, "w1").state == msg::WorkerState::Draining);
  CHECK(view_of(bench, admin, "w1").note == "drained by root: disk swap");
  bench.restart();
  Peer again = bench.client("root", Role::Admin);
  CHECK(view_of(bench, again, "w1").note.find("disk swap") != std::string::npos);
  again.send(msg::WorkerControl{an_id(3), msg::WorkerVerb::Remove, {"w1"}, ""});
  bench.turn();
  CHECK(again.expect<msg::Done>().tasks == 1);
  CHECK(view_of(bench, again, "w1").name.empty());
  CHECK_FALSE(bench.keys.is_taken(Bench::key_of("w1")));
}

TEST_CASE("a user steers no workers and no keys") {
  Bench bench;
  const auto is_refused = [&](msg::Body body) {
    Peer user = bench.client("bob", Role::User);
    user.send(std::move(body));
    bench.turn();
    const auto refused = user.take<msg::Refused>();
    return refused && refused->code == Errc::NotAllowed &&
           refused->reason == "only an admin's key may do this";
  };
  CHECK(is_refused(msg::WorkerControl{an_id(1), msg::WorkerVerb::Drain, {"w1"}, ""}));
  CHECK(is_refused(msg::KeyAdd{an_id(1), "eve", Bench::key_of("eve"), Role::Admin}));
  CHECK(is_refused(msg::KeyRevoke{an_id(1), "root"}));
  CHECK(is_refused(msg::ListKeys{1}));
}

TEST_CASE("keys are added, listed, revoked; a revoked one is shut out at once") {
  Bench bench;
  bench.options.own_keys = {{Role::Admin, "root", Bench::key_of("root")},
                            {Role::Enrolment, "invitation", Bench::key_of("invitation")}};
  bench.restart();
  Peer admin = bench.client("root", Role::Admin);
  const auto refusal_of = [&](std::uint64_t id, const std::string& name, const std::string& key,
                              Role role) {
    admin.send(msg::KeyAdd{an_id(id), name, key, role});
    bench.turn();
    return admin.expect<msg::Denied>().code;
  };
  CHECK(refusal_of(1, "root", Bench::key_of("x"), Role::User) == Errc::Conflict);
  CHECK(refusal_of(2, "x", Bench::key_of("root"), Role::User) == Errc::Conflict);
  CHECK(refusal_of(3, "x", "no key", Role::User) == Errc::Invalid);
  CHECK(refusal_of(4, "a b", Bench::key_of("x"), Role::User) == Errc::Invalid);
  CHECK(refusal_of(5, "x", Bench::key_of("x"), Role::Worker) == Errc::Invalid);
  admin.send(msg::KeyAdd{an_id(6), "bob", Bench::key_of("bob"), Role::User});
  bench.turn();
  CHECK(admin.expect<msg::Done>().tasks == 1);
  CHECK(bench.keys.known.at(Bench::key_of("bob")).role == Role::User);
  admin.send(msg::ListKeys{7});
  bench.turn();
  CHECK(admin.expect<msg::KeyList>().keys.size() == 3);

  Peer bob = bench.client("bob");
  bob.send(msg::ListJobs{1, {}, 0, false});
  bench.turn();
  CHECK(bob.take<msg::JobList>().has_value());
  admin.send(msg::KeyRevoke{an_id(8), "bob"});
  bench.turn();
  CHECK(admin.expect<msg::Done>().tasks == 1);
  CHECK(bob.expect<msg::Refused>().reason == "the key of bob was revoked by root");
  CHECK_FALSE(bench.keys.is_taken(Bench::key_of("bob")));
  bob.send_bare(msg::ClientHello{kProtocol, "0", {}});  // It was on its way.
  bench.turn();
  CHECK_FALSE(bob.take<msg::Welcome>().has_value());
  admin.send(msg::KeyRevoke{an_id(9), "root"});
  bench.turn();
  CHECK(admin.expect<msg::Denied>().code == Errc::Conflict);
  admin.send(msg::KeyRevoke{an_id(10), "invitation"});
  bench.turn();
  CHECK(admin.expect<msg::Done>().tasks == 1);
  admin.send(msg::ListKeys{11});
  bench.turn();
  CHECK(admin.expect<msg::KeyList>().keys.size() == 1);
}

TEST_CASE("a worker whose key is revoked is told, and may not enrol with it again") {
  Bench bench;
  Peer admin = bench.client("root", Role::Admin);
  Peer worker = bench.enrolled("w1");
  worker.hello(a_hello(1));
  admin.send(msg::KeyRevoke{an_id(1), "w1"});
  bench.turn();
  CHECK(admin.expect<msg::Done>().tasks == 1);
  CHECK(worker.expect<msg::Refused>().reason == "worker w1 had its key revoked by root");
  Peer invited = bench.peer(Role::Enrolment, "invitation");
  invited.send_bare(msg::Enrol{kProtocol, Bench::key_of("w1"), "w1"});
  bench.turn();
  CHECK(invited.expect<msg::Refused>().code == Errc::NotAllowed);
}

TEST_CASE("what others have does not exist for a user; an admin sees it") {
  Bench bench;
  Peer ann = bench.client("ann");
  submit(ann, an_id(1), a_job().with_cpus(9).spec());
  bench.turn();
  const JobId job = ann.expect<msg::Submitted>().job;
  Peer bob = bench.client("bob");
  const Selector which{Selector::Kind::Job, job, {}};
  const auto denial = [&](msg::Body body) {
    bob.send(std::move(body));
    bench.turn();
    const auto denied = bob.expect<msg::Denied>();
    CHECK(denied.reason.find("ann") == std::string::npos);
    return denied.code;
  };
  CHECK(denial(msg::GetJob{1, which}) == Errc::NotFound);
  CHECK(denial(msg::ListTasks{2, job, 0, true, {}, {}, 10}) == Errc::NotFound);
  CHECK(denial(msg::ReadLog{3, job, TaskIndex(1), {}, Stream::Stdout, 0}) == Errc::NotFound);
  CHECK(denial(msg::Watch{4, job, {}, {}, false, false}) == Errc::NotFound);
  CHECK(denial(msg::ListAttempts{5, job, TaskIndex(1)}) == Errc::NotFound);
  CHECK(denial(msg::Why{6, job, TaskIndex(1)}) == Errc::NotFound);
  std::uint64_t id = 20;
  for (const msg::Verb verb : {msg::Verb::Cancel, msg::Verb::Pause, msg::Verb::Resume,
                               msg::Verb::Retry, msg::Verb::RetryFailed}) {
    CHECK(denial(msg::Control{an_id(++id), verb, {which}}) == Errc::NotFound);
  }
  // The same words as for what is not there at all.
  bob.send(msg::GetJob{7, {Selector::Kind::Job, JobId(99), {}}});
  bench.turn();
  CHECK(bob.expect<msg::Denied>().reason == "job 99 does not exist (any more)");
  bob.send(msg::ListJobs{8, {}, 0, false});
  bench.turn();
  CHECK(bob.expect<msg::JobList>().jobs.empty());

  Peer admin = bench.client("root", Role::Admin);
  admin.send(msg::Why{1, job, TaskIndex(1)});
  bench.turn();
  CHECK(admin.expect<msg::WhyReply>().state == TaskState::Ready);
  admin.send(msg::ListAttempts{2, job, TaskIndex(1)});
  bench.turn();
  CHECK(admin.expect<msg::AttemptList>().attempts.empty());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
