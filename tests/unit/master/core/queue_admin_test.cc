// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;

TEST_SUITE_BEGIN("master/core/queue_admin");

const effect::Answer& answered(const std::vector<Effect>& effects) {
  const auto* answer = find_effect<effect::Answer>(effects);
  REQUIRE(answer != nullptr);
  return *answer;
}

TEST_CASE("a drain says by whom and why, outlives a HELLO, and is ended by a resume") {
  QueueFixture f;
  const WorkerId w = f.add_worker(2);
  const Asked asked = f.ask("root");
  CHECK(answered(f.apply(cmd::WorkersDrained{asked, {w}, true, "disk swap"})).tasks == 1);
  const WorkerRow& row = f.queue.find_worker(w)->row;
  CHECK(row.drained);
  CHECK(row.drained_by == "root");
  CHECK(row.drain_reason == "disk swap");
  auto hello = f.hello(w, 2);
  hello.instance = an_id(999);
  f.apply(hello);
  CHECK(row.drained);
  CHECK(answered(f.apply(cmd::WorkersDrained{f.ask("root"), {w}, true, "again"})).tasks == 0);
  CHECK(row.drain_reason == "again");
  // Without a reason, to wait for its end: who said why stands.
  CHECK(answered(f.apply(cmd::WorkersDrained{f.ask("ann"), {w}, true, ""})).tasks == 0);
  CHECK(row.drained_by == "root");
  CHECK(row.drain_reason == "again");
  CHECK(answered(f.apply(cmd::WorkersDrained{f.ask("root"), {w}, false, ""})).tasks == 1);
  CHECK_FALSE(row.drained);
  CHECK(row.drain_reason == "");
  // The first one, said again: the same answer, and nothing is done.
  CHECK(answered(f.apply(cmd::WorkersDrained{asked, {w}, true, "disk swap"})).tasks == 1);
  CHECK_FALSE(row.drained);
  CHECK(f.broken == "");
}

TEST_CASE("several workers are drained or removed together, or none of them") {
  QueueFixture f;
  const WorkerId a = f.add_worker();
  const WorkerId b = f.add_worker();
  const WorkerId unknown(77);
  CHECK(answered(f.apply(cmd::WorkersDrained{f.ask(), {a, unknown}, true, ""})).code ==
        Errc::NotFound);
  CHECK_FALSE(f.queue.find_worker(a)->row.drained);
  f.lose(a);
  CHECK(answered(f.apply(cmd::WorkersRemoved{f.ask(), {a, b}})).code == Errc::Conflict);
  CHECK_FALSE(f.queue.find_worker(a)->row.removed);
  CHECK(f.broken == "");
}

TEST_CASE("a worker is removed when it is away, or drained and empty; its name is free again") {
  QueueFixture f;
  const WorkerId w = f.add_worker();
  const JobId job = f.submit(a_job());
  f.assign(w, job, {1});
  CHECK(answered(f.apply(cmd::WorkersRemoved{f.ask(), {w}})).code == Errc::Conflict);
  f.apply(cmd::WorkersDrained{f.ask(), {w}, true, ""});
  CHECK(answered(f.apply(cmd::WorkersRemoved{f.ask(), {w}})).code == Errc::Conflict);
  f.report(w, a_result(a_key(1, 1, 1), EndClass::Success));
  const auto effects = f.apply(cmd::WorkersRemoved{f.ask("root"), {w}});
  CHECK(answered(effects).code == Errc{});
  REQUIRE(find_effect<effect::KeyRemoved>(effects) != nullptr);
  CHECK(find_effect<effect::KeyRemoved>(effects)->public_key == "key of w1");
  CHECK(find_effect<effect::CloseSession>(effects) != nullptr);
  CHECK(f.queue.find_worker_by_name("w1") == nullptr);
  CHECK(f.queue.find_worker_by_key("key of w1") == nullptr);
  CHECK(f.queue.find_worker(w)->row.name == "w1");  // For old attempts.
  CHECK(f.apply(f.hello(w)).empty());
  const WorkerId again = f.queue.next_worker();
  f.apply(cmd::WorkerEnrolled{again, "w1", "another key"});
  CHECK(f.queue.find_worker_by_name("w1")->id == again);
  CHECK(f.broken == "");
}

TEST_CASE("a key is added once, under a name that nobody has, and revoked by its name") {
  QueueFixture f;
  f.add_worker();
  const auto added = f.apply(cmd::KeyAdded{f.ask("root"), "bob", "bob's key", Role::User});
  REQUIRE(find_effect<effect::KeyAdded>(added) != nullptr);
  CHECK(find_effect<effect::KeyAdded>(added)->role == Role::User);
  const auto refusal = [&](const std::string& name, const std::string& key) {
    return answered(f.apply(cmd::KeyAdded{f.ask(), name, key, Role::User})).code;
  };
  CHECK(refusal("bob", "another") == Errc::Conflict);
  CHECK(refusal("carl", "bob's key") == Errc::Conflict);
  CHECK(refusal("w1", "another") == Errc::Conflict);
  CHECK(refusal("carl", "key of w1") == Errc::Conflict);
  const auto revoked = f.apply(cmd::KeyRevoked{f.ask("root"), "bob", ""});
  REQUIRE(find_effect<effect::KeyRemoved>(revoked) != nullptr);
  CHECK(find_effect<effect::KeyRemoved>(revoked)->reason == "the key of bob was revoked by root");
  CHECK(answered(f.apply(cmd::KeyRevoked{f.ask(), "bob", ""})).code == Errc::NotFound);
  CHECK(refusal("bob", "bob's key") == Errc::Conflict);  // That key never again, …
  CHECK(refusal("bob", "another") == Errc{});            // … a new one for him, yes.
  // A worker does not become somebody's namesake.
  f.apply(cmd::WorkerEnrolled{f.queue.next_worker(), "bob", "a third"});
  CHECK(f.queue.find_worker_by_key("a third")->row.name == "bob-2");
  CHECK(f.broken == "");
}

TEST_CASE("a worker whose key is revoked is gone at once, and its attempts run elsewhere") {
  QueueFixture f;
  const WorkerId w = f.add_worker();
  const JobId job = f.submit(a_job());
  f.assign(w, job, {1});
  f.start(w, a_key(1, 1, 1));
  const auto effects = f.apply(cmd::KeyRevoked{f.ask("root"), "w1", ""});
  CHECK(find_effect<effect::CloseSession>(effects) != nullptr);
  REQUIRE(find_effect<effect::KeyRemoved>(effects) != nullptr);
  CHECK(f.state(job, 1) == TaskState::Ready);
  CHECK(f.queue.find_worker(w)->row.removed);
  CHECK(f.queue.keys().contains("key of w1"));
  CHECK(f.broken == "");
}

TEST_CASE("the invitation's key is no table's, and stays revoked") {
  QueueFixture f;
  const auto effects = f.apply(cmd::KeyRevoked{f.ask("root"), "invitation", "its key"});
  REQUIRE(find_effect<effect::KeyRemoved>(effects) != nullptr);
  CHECK(f.queue.keys().at("its key").revoked_by == "root");
  CHECK(answered(f.apply(cmd::KeyRevoked{f.ask(), "invitation", "its key"})).code ==
        Errc::NotFound);
  CHECK(f.broken == "");
}

TEST_CASE("behind an override, ids that may have been given are given to nobody") {
  QueueFixture f;
  const JobId before = f.submit(a_job());
  f.apply(cmd::ReignBegan{"b"});
  CHECK(f.queue.next_job() == before.next());
  f.apply(cmd::ReignBegan{"b", "in place of epoch 257", 1000});
  CHECK(f.queue.next_job() == JobId(before.value + 1001));
  CHECK(f.submit(a_job()) == JobId(before.value + 1001));
  CHECK(f.queue.find_job(before) != nullptr);
  CHECK(f.broken == "");
}

TEST_CASE("how many copies an entry needs is an entry itself") {
  QueueFixture f;
  CHECK(f.queue.min_copies() == 1);
  const auto effects = f.apply(cmd::MinCopiesSet{2});
  REQUIRE(find_effect<effect::MinCopiesSet>(effects) != nullptr);
  CHECK(find_effect<effect::MinCopiesSet>(effects)->copies == 2);
  CHECK(f.queue.min_copies() == 2);
  CHECK(f.apply(cmd::MinCopiesSet{0}).empty());
  CHECK(f.queue.min_copies() == 2);
  CHECK(f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
