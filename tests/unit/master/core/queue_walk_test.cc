// SPDX-License-Identifier: MIT
//
// Random walks over all commands. The first kind says anything at all, sense or nonsense: apply is
// total and keeps its invariants. The second has workers that behave, over connections that break:
// what the outside sees is right, everything comes to rest, and deliberate mistakes are noticed.
// (tests/sim does the same with the real sessions and agents.)
#include <doctest/doctest.h>

#include <deque>
#include <map>
#include <set>
#include <string>

#include "common/base/rng.h"
#include "tests/support/nonsense.h"
#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;

// --- Workers that behave -------------------------------------------------------------------------

constexpr int kWorkers = 2;
constexpr std::uint32_t kCpus = 2;

class World {
 public:
  World(std::uint64_t seed, QueueMutant mutant) : f(mutant), rng_(seed) {
    for (int i = 0; i < kWorkers; ++i) {
      f.apply(cmd::WorkerEnrolled{WorkerId(id_of(i)), std::string(1, static_cast<char>('a' + i)),
                                  std::to_string(i)});
      workers_[i].instance = an_id(++instances_);
    }
  }

  /// "" or what went wrong.
  std::string walk(int steps) {
    for (int i = 0; i < steps && error_.empty(); ++i) step();
    if (error_.empty()) settle();
    return error_.empty() ? f.broken : error_;
  }

 private:
  struct Machine {
    bool up = true;
    Uuid instance;
    bool connected = false;
    std::map<AttemptKey, bool> held;  // -> started
    std::map<AttemptKey, AttemptResult> spool;
    std::deque<Effect> to_worker;
    std::deque<Command> to_master;
  };

  static std::uint32_t id_of(int i) { return static_cast<std::uint32_t>(i) + 1; }
  void fail(const std::string& why) {
    if (error_.empty()) error_ = why;
  }

  void apply(Command command) {
    const bool is_retry = std::holds_alternative<cmd::TasksRetried>(command);
    const auto effects = f.apply(std::move(command));
    if (is_retry) finished_.clear();
    for (const Effect& effect : effects) std::visit([this](const auto& e) { route(e); }, effect);
    check();
  }

  // Effects reach a worker over its session, or not at all.
  void send(WorkerId id, Effect effect) {
    Machine& m = workers_[id.value - 1];
    if (m.connected) m.to_worker.push_back(std::move(effect));
  }
  template <class E>
  void route(const E&) {}
  void route(const effect::OpenSession& e) {
    Machine& m = workers_[e.worker.value - 1];
    m.connected = m.up && m.instance == e.instance;
    m.to_worker.clear();
  }
  void route(const effect::CloseSession& e) { cut(workers_[e.worker.value - 1]); }
  void route(const effect::StartTasks& e) {
    for (const TaskIndex task : e.tasks) {
      const Job* job = f.queue.find_job(e.job);
      if (job == nullptr) return fail("a task of a finished job was dispatched");
      const auto live = job->live.find(*job->ordinal_of(task));
      const bool is_right = live != job->live.end() && live->second.state == TaskState::Running &&
                            !live->second.cancelling && live->second.attempts == e.attempt;
      if (!is_right) fail("a finished or cancelled task was dispatched");
    }
    send(e.worker, e);
  }
  void route(const effect::CancelAttempts& e) { send(e.worker, e); }
  void route(const effect::RecallAttempts& e) { send(e.worker, e); }
  void route(const effect::AckResults& e) { send(e.worker, e); }

  // The worker.
  void gets(int, const auto&) {}
  void gets(int i, const effect::StartTasks& e) {
    Machine& m = workers_[i];
    for (const TaskIndex task : e.tasks) {
      const AttemptKey key{e.job, task, e.attempt};
      if (!m.spool.contains(key)) m.held.emplace(key, false);
    }
  }
  void gets(int i, const effect::CancelAttempts& e) {
    for (const AttemptKey& key : e.keys) {
      if (workers_[i].held.erase(key) == 0) continue;
      end(i, key, e.why == CancelWhy::User ? EndClass::Cancelled : EndClass::Superseded);
    }
  }
  void gets(int i, const effect::RecallAttempts& e) {
    Machine& m = workers_[i];
    cmd::TasksReturned returned{WorkerId(id_of(i)), m.instance, {}};
    for (const AttemptKey& key : e.keys) {
      const auto it = m.held.find(key);
      if (it == m.held.end() || it->second) continue;
      m.held.erase(it);
      returned.keys.push_back(key);
    }
    if (m.connected) m.to_master.emplace_back(returned);
  }
  void gets(int i, const effect::AckResults& e) {
    for (const AttemptKey& key : e.keys) workers_[i].spool.erase(key);
  }
  void end(int i, const AttemptKey& key, EndClass end) {
    Machine& m = workers_[i];
    const AttemptResult result = a_result(key, end, Micros(50'000));
    if (end == EndClass::Success) succeeded_.insert(key);
    m.spool[key] = result;
    report(i, result);
  }
  void report(int i, const AttemptResult& result) {
    Machine& m = workers_[i];
    if (!m.connected) return;
    m.to_master.emplace_back(cmd::ResultsReported{WorkerId(id_of(i)), m.instance, {result}});
  }
  static void cut(Machine& m) {
    m.connected = false;
    m.to_worker.clear();
    m.to_master.clear();
  }
  void hello(int i) {
    Machine& m = workers_[i];
    cut(m);
    cmd::WorkerJoined hello = f.hello(WorkerId(id_of(i)), kCpus);
    hello.instance = m.instance;
    for (const auto& [key, started] : m.held) hello.held.push_back({key, started});
    for (const auto& [key, result] : m.spool) hello.spooled.push_back(key);
    apply(hello);
    for (const auto& [key, result] : m.spool) report(i, result);
  }
  /// Starts what fits into the slots, and ends what runs.
  void work(int i, bool is_calm) {
    Machine& m = workers_[i];
    if (!m.up || m.held.empty()) return;
    auto it = std::next(m.held.begin(), static_cast<std::ptrdiff_t>(rng_.below(m.held.size())));
    const AttemptKey key = it->first;
    if (!it->second) {
      it->second = true;
      if (!executed_.insert(key).second) return fail("one attempt was executed twice");
      if (m.connected && rng_.chance(60)) {
        m.to_master.emplace_back(cmd::TasksStarted{WorkerId(id_of(i)), m.instance, {{key, {}}}});
      }
      return;
    }
    // Calm workers never end what the master does not wait for: it must call it off.
    const Worker& there = *f.queue.find_worker(WorkerId(id_of(i)));
    if (is_calm && !there.granted.contains(key)) return;
    m.held.erase(it);
    const bool is_success = is_calm || rng_.chance(70);
    end(i, key,
        is_success        ? EndClass::Success
        : rng_.chance(80) ? EndClass::Exit
                          : EndClass::Signal);
  }

  // Users and the planner.
  void plan() {
    std::map<WorkerId, planner::Presence> presence;
    for (int i = 0; i < kWorkers; ++i) {
      presence[WorkerId(id_of(i))] = {workers_[i].connected, f.now, false, {}};
    }
    const planner::Limits limits{Micros(10'000'000), Micros(30'000'000), Micros(5'000'000)};
    for (const Command& command :
         planner::plan(f.queue, presence, limits, {f.now, f.wall}).commands) {
      apply(command);
    }
  }
  JobId some_job() {
    if (f.queue.jobs().empty()) return JobId(1);
    return std::next(f.queue.jobs().begin(),
                     static_cast<std::ptrdiff_t>(rng_.below(f.queue.jobs().size())))
        ->first;
  }
  void user() {
    const JobId id = some_job();
    const auto first = static_cast<std::uint32_t>(1 + rng_.below(4));
    switch (rng_.below(8)) {
      case 0:
        apply(cmd::JobCancelled{f.ask(), id, {}, true});
        break;
      case 1:
        apply(cmd::JobCancelled{f.ask(), id, {{first, first + 1}}, true});
        break;
      case 2:
        apply(cmd::JobPaused{f.ask(), id, true});
        break;
      case 3:
        apply(cmd::JobResumed{f.ask(), id, true});
        break;
      case 4:
        apply(cmd::TasksRetried{
            f.ask(), id, {}, bit(TaskState::Failed) | bit(TaskState::Cancelled), true});
        break;
      default:
        if (f.queue.jobs().size() < 4) {
          f.submit(a_job()
                       .with_tasks(static_cast<std::uint32_t>(1 + rng_.below(6)))
                       .with_cpus(static_cast<std::uint32_t>(1 + rng_.below(kCpus)))
                       .with_retries(static_cast<std::uint32_t>(rng_.below(3))));
        }
    }
  }
  void recall_some(int i) {
    cmd::TasksRecalled recall{WorkerId(id_of(i)), {}};
    for (const AttemptKey& key : f.queue.find_worker(recall.worker)->list_granted()) {
      if (rng_.chance(50)) recall.keys.push_back(key);
    }
    apply(recall);
  }

  void deliver(int i, bool is_calm) {
    Machine& m = workers_[i];
    if (!m.to_worker.empty() && rng_.chance(50)) {
      const Effect effect = m.to_worker.front();
      m.to_worker.pop_front();
      std::visit([&](const auto& e) { gets(i, e); }, effect);
    } else if (!m.to_master.empty()) {
      const Command command = m.to_master.front();
      m.to_master.pop_front();
      apply(command);
    } else if (is_calm && m.up && !m.connected) {
      hello(i);
    }
  }
  void step() {
    const int i = static_cast<int>(rng_.below(kWorkers));
    Machine& m = workers_[i];
    f.wait(Micros(static_cast<std::int64_t>(rng_.below(200'000))));
    const std::uint64_t c = rng_.below(100);
    if (c < 45) return deliver(i, false);
    if (c < 60) return work(i, false);
    if (c < 72) return plan();
    if (c < 80) return user();
    if (c < 86) return m.up ? hello(i) : void();
    if (c < 88) return cut(m);
    if (c < 91) return lose(i);
    if (c < 93) return recall_some(i);
    if (c < 95) return kill(m);
    if (m.up) return;
    m.up = true;
    m.instance = an_id(++instances_);
    hello(i);
  }
  void lose(int i) {
    const WorkerId id(id_of(i));
    apply(cmd::WorkerLost{id, f.queue.find_worker(id)->row.instance, "silent"});
  }
  static void kill(Machine& m) {
    m.up = false;
    m.held.clear();
    m.spool.clear();
    cut(m);
  }

  void settle() {
    for (Machine& m : workers_) {
      if (m.up) continue;
      m.up = true;
      m.instance = an_id(++instances_);
    }
    for (Machine& m : workers_) cut(m);
    for (int n = 0; n < 4000 && error_.empty() && f.broken.empty(); ++n) {
      if (!f.queue.jobs().empty() && n % 50 == 0) {
        apply(cmd::JobResumed{f.ask(), some_job(), true});
      }
      f.wait(Micros(100'000));
      const int i = static_cast<int>(rng_.below(kWorkers));
      if (rng_.chance(60)) {
        deliver(i, true);
      } else if (rng_.chance(60)) {
        work(i, true);
      } else {
        plan();
      }
      if (is_at_rest()) return;
    }
    fail(f.queue.jobs().empty() ? "a process or a result was left behind" : "a job never finished");
  }
  [[nodiscard]] bool is_at_rest() const {
    for (const Machine& m : workers_) {
      if (!m.connected || !m.held.empty() || !m.spool.empty()) return false;
    }
    return f.queue.jobs().empty();
  }

  void check() {
    if (!f.broken.empty()) return fail(f.broken);
    for (const auto& [key, row] : f.tables.tasks) {
      if (!is_finished(row.state)) continue;
      const auto [it, is_new] = finished_.try_emplace(key, row.state);
      if (it->second != row.state) fail("a finished state changed");
      if (!is_new) continue;
      const AttemptKey winner{key.first, key.second, row.attempt};
      if (row.state == TaskState::Succeeded && !succeeded_.contains(winner)) {
        fail("succeeded without an execution that did");
      }
      const std::uint32_t retries = f.tables.jobs.at(key.first).spec->retries;
      if (row.state == TaskState::Failed && row.failures <= retries && row.losses < 3) {
        fail("failed with retries left");
      }
    }
    for (const auto& [id, worker] : f.queue.workers()) {
      if (!worker.row.present && !worker.granted.empty()) fail("granted to a worker that is away");
    }
  }

  QueueFixture f;
  Rng rng_;
  Machine workers_[kWorkers];
  std::uint64_t instances_ = 0;
  std::set<AttemptKey> executed_, succeeded_;
  std::map<std::pair<JobId, TaskIndex>, TaskState> finished_;
  std::string error_;
};

TEST_SUITE_BEGIN("master/core/queue: walks");

TEST_CASE("any commands in any order keep the invariants, and loaded equals replayed") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Nonsense walk(seed);
    for (int step = 0; step < 250 && walk.f.broken.empty(); ++step) walk.step();
    INFO("seed ", seed);
    REQUIRE(walk.f.broken == "");
  }
}

TEST_CASE("workers over breaking connections: right to the outside, and it all comes to rest") {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    INFO("seed ", seed);
    REQUIRE(World(seed, QueueMutant::None).walk(300) == "");
  }
}

TEST_CASE("deliberate mistakes are noticed") {
  // A late success that does not cancel the newer attempt is repaired by the next HELLO.
  const std::pair<QueueMutant, const char*> mutants[] = {
      {QueueMutant::LateFailureCounts, "LateFailureCounts"},
      {QueueMutant::ReuseLostNumber, "ReuseLostNumber"},
      {QueueMutant::ReadoptAlways, "ReadoptAlways"},
      {QueueMutant::RestartCancelled, "RestartCancelled"},
      {QueueMutant::IgnoreInstance, "IgnoreInstance"},
      {QueueMutant::HandbackUnconfirmed, "HandbackUnconfirmed"},
      {QueueMutant::ReplyBeforeReconcile, "ReplyBeforeReconcile"},
  };
  for (const auto& [mutant, name] : mutants) {
    std::string found;
    std::uint64_t seed = 1;
    for (; found.empty() && seed <= 200; ++seed) found = World(seed, mutant).walk(300);
    INFO(std::string(name));
    CHECK(found != "");
    MESSAGE(std::string(name) << ": " << found << " (seed " << seed - 1 << ")");
  }
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
