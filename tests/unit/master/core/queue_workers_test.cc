// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;

TEST_SUITE_BEGIN("master/core/queue: workers and reconcile");

/// Two tasks granted to a worker of two cpus.
struct TwoGranted {
  QueueFixture f;
  WorkerId w = f.add_worker(2);
  WorkerId other = f.add_worker(2);
  JobId job = f.submit(a_job().with_tasks(4).with_retries(1));
  AttemptKey a = a_key(1, 1, 1), b = a_key(1, 2, 1);
  TwoGranted() { f.assign(w, job, {1, 2}); }
  cmd::WorkerJoined hello(std::vector<cmd::WorkerJoined::Held> held) {
    cmd::WorkerJoined hello = f.hello(w, 2);
    hello.held = std::move(held);
    return hello;
  }
};

TEST_CASE("a key is enrolled once, and a taken name gets a number") {
  QueueFixture f;
  f.apply(cmd::WorkerEnrolled{WorkerId(1), "box", "k1"});
  const auto second = f.apply(cmd::WorkerEnrolled{WorkerId(2), "box", "k2"});
  CHECK(find_effect<effect::KeyAdded>(second)->name == "box-2");
  const auto again = f.apply(cmd::WorkerEnrolled{WorkerId(3), "new", "k1"});
  CHECK(find_effect<effect::KeyAdded>(again)->name == "box");
  CHECK(f.queue.workers().size() == 2);
  CHECK(f.queue.find_worker_by_name("box-2")->id == WorkerId(2));
  CHECK(f.queue.find_worker_by_key("k2")->id == WorkerId(2));
  CHECK(f.broken == "");
}

TEST_CASE("HELLO: granted there and unknown here is started again") {
  TwoGranted t;
  const auto effects = t.f.apply(t.hello({{t.a, true}}));
  REQUIRE(effects.size() == 2);
  CHECK(find_effect<effect::OpenSession>(effects) == &std::get<effect::OpenSession>(effects[0]));
  CHECK(find_effect<effect::StartTasks>(effects)->tasks == std::vector{TaskIndex(2)});
  CHECK(t.f.row(t.job, 1).started_at.us > 0);  // The HELLO told of its start.
  CHECK(t.f.job(t.job).launched);
  CHECK(t.f.broken == "");
}

TEST_CASE("HELLO: what is spooled is neither started nor killed") {
  TwoGranted t;
  auto hello = t.hello({});
  hello.spooled = {t.a, t.b, a_key(9, 9, 9)};
  CHECK(t.f.apply(hello).size() == 1);
  CHECK(t.f.broken == "");
}

TEST_CASE("HELLO: being cancelled and unknown there is Cancelled now, and held there told again") {
  TwoGranted t;
  t.f.cancel(t.job);
  const auto effects = t.f.apply(t.hello({{t.a, true}}));
  CHECK(find_effect<effect::StartTasks>(effects) == nullptr);
  const auto* cancel = find_effect<effect::CancelAttempts>(effects);
  CHECK(cancel->why == CancelWhy::User);
  CHECK(cancel->keys == std::vector{t.a});
  CHECK(t.f.row(t.job, 2).state == TaskState::Cancelled);
  CHECK(t.f.row(t.job, 1).state == TaskState::Running);
  CHECK(t.f.broken == "");
}

TEST_CASE("HELLO: running there and not granted is killed, and keeps its slot until it is gone") {
  TwoGranted t;
  const AttemptKey stranger = a_key(8, 1, 1);
  const auto effects = t.f.apply(t.hello({{t.a, true}, {t.b, false}, {stranger, true}}));
  const auto* cancel = find_effect<effect::CancelAttempts>(effects);
  CHECK(cancel->why == CancelWhy::NotGranted);
  CHECK(cancel->keys == std::vector{stranger});
  CHECK(t.f.queue.find_worker(t.w)->dying_sum.cpus == 2);  // Its cpus are not known: all of them.
  t.f.report(t.w, a_result(stranger, EndClass::Cancelled));
  CHECK(t.f.queue.find_worker(t.w)->dying_sum.cpus == 0);
  CHECK(t.f.broken == "");
}

TEST_CASE("HELLO: a recalled one held there is asked for again, a given-back one started again") {
  TwoGranted t;
  t.f.apply(cmd::TasksRecalled{t.w, {t.a, t.b}});
  const auto effects = t.f.apply(t.hello({{t.a, false}}));
  CHECK(find_effect<effect::RecallAttempts>(effects)->keys == std::vector{t.a});
  CHECK(find_effect<effect::StartTasks>(effects)->tasks == std::vector{TaskIndex(2)});
  CHECK(t.f.row(t.job, 1).recalled);
  CHECK_FALSE(t.f.row(t.job, 2).recalled);
  CHECK(t.f.broken == "");
}

TEST_CASE("a lost attempt that still runs is adopted, unless a newer one was dispatched") {
  TwoGranted t;
  t.f.start(t.w, t.a);
  t.f.start(t.w, t.b);
  t.f.lose(t.w);
  CHECK(t.f.row(t.job, 1).losses == 1);
  CHECK(t.f.tables.attempts.at(t.a).end == EndClass::WorkerLost);
  t.f.assign(t.other, t.job, {2}, 2);
  const auto effects = t.f.apply(t.hello({{t.a, true}, {t.b, true}}));
  CHECK(find_effect<effect::CancelAttempts>(effects)->keys == std::vector{t.b});
  CHECK(t.f.state(t.job, 1) == TaskState::Running);
  CHECK(t.f.row(t.job, 1).attempt == AttemptNo(1));
  CHECK(t.f.row(t.job, 1).losses == 0);  // Its worker had not died.
  CHECK_FALSE(t.f.tables.attempts.contains(t.a));
  CHECK(t.f.row(t.job, 2).worker == t.other);
  t.f.report(t.w, a_result(t.a, EndClass::Success));
  CHECK(t.f.row(t.job, 1).state == TaskState::Succeeded);
  CHECK(t.f.broken == "");
}

TEST_CASE("a new instance loses what the earlier one was granted") {
  TwoGranted t;
  t.f.start(t.w, t.a);
  auto hello = t.hello({{t.b, true}});  // It cannot have it; if it says so, it is killed.
  hello.instance = an_id(4242);
  const auto effects = t.f.apply(hello);
  CHECK(t.f.state(t.job, 1) == TaskState::Ready);
  CHECK(t.f.row(t.job, 1).losses == 1);
  CHECK(t.f.row(t.job, 2).losses == 0);  // Only queued there: not blamed.
  CHECK(find_effect<effect::CancelAttempts>(effects)->keys == std::vector{t.b});
  CHECK(t.f.queue.find_worker(t.w)->row.instance == an_id(4242));
  CHECK(t.f.broken == "");
}

TEST_CASE("a lost worker charges as many started attempts as it has slots") {
  QueueFixture f;
  const WorkerId w = f.add_worker(2);
  const JobId job = f.submit(a_job().with_tasks(4));
  f.assign(w, job, {1, 2, 3, 4});
  for (std::uint32_t task = 2; task <= 4; ++task) f.start(w, a_key(1, task, 1));
  const auto effects = f.lose(w);
  CHECK(find_effect<effect::CloseSession>(effects) != nullptr);
  CHECK(f.row(job, 1).losses == 0);
  CHECK(f.row(job, 2).losses == 1);
  CHECK(f.row(job, 3).losses == 1);
  CHECK(f.row(job, 4).losses == 0);
  CHECK(f.job(job).counts.ready == 4);
  CHECK_FALSE(f.queue.find_worker(w)->row.present);
  CHECK(f.queue.find_worker(w)->row.left_reason == "was lost: silent");
  CHECK(f.lose(w).empty());
  CHECK(f.broken == "");
}

TEST_CASE("a task that keeps losing its workers fails") {
  QueueFixture f;
  const JobId job = f.submit(a_job().with_retries(5));
  for (std::uint32_t n = 1; n <= limits::kWorkerLossesPerTask; ++n) {
    const WorkerId w = f.add_worker();
    f.assign(w, job, {1}, n);
    f.start(w, a_key(1, 1, n));
    f.lose(w);
  }
  CHECK(f.row(job, 1).state == TaskState::Failed);
  CHECK(f.row(job, 1).end == EndClass::WorkerLost);
  CHECK(f.row(job, 1).reason == "worker w3 was lost: silent; its worker was lost 3 times");
  CHECK(f.tables.jobs.at(job).state == JobState::Failed);
  CHECK(f.broken == "");
}

TEST_CASE("a goodbye blames nobody; a cancelled task of a lost worker is Cancelled") {
  TwoGranted t;
  t.f.start(t.w, t.a);
  t.f.cancel(t.job, {{2, 2}});
  t.f.apply(cmd::WorkerLeft{t.w, t.f.queue.find_worker(t.w)->row.instance});
  CHECK(t.f.state(t.job, 1) == TaskState::Ready);
  CHECK(t.f.row(t.job, 1).losses == 0);
  CHECK(t.f.row(t.job, 2).state == TaskState::Cancelled);
  CHECK(t.f.queue.find_worker(t.w)->row.left_reason == "said goodbye");
  CHECK(t.f.broken == "");
}

TEST_CASE("a worker that is leaving is asked for what it has not started") {
  TwoGranted t;
  t.f.start(t.w, t.a);
  const Uuid instance = t.f.queue.find_worker(t.w)->row.instance;
  const auto effects = t.f.apply(cmd::WorkerNoticed{t.w, instance, true, false});
  CHECK(find_effect<effect::RecallAttempts>(effects)->keys == std::vector{t.b});
  CHECK(t.f.apply(cmd::WorkerNoticed{t.w, instance, true, true}).empty());
  CHECK(t.f.tables.workers.at(t.w).leaving);
  CHECK(t.f.tables.workers.at(t.w).disk_full);
  auto hello = t.hello({{t.a, true}});  // It gave b back, and that was lost on the way.
  hello.leaving = true;
  const auto again = t.f.apply(hello);
  CHECK(find_effect<effect::StartTasks>(again)->tasks == std::vector{TaskIndex(2)});
  CHECK(find_effect<effect::RecallAttempts>(again)->keys == std::vector{t.b});
  CHECK(t.f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
