// SPDX-License-Identifier: MIT
#include "tests/support/nonsense.h"

#include <algorithm>
#include <string>
#include <utility>

namespace capstan::test {

Nonsense::Nonsense(std::uint64_t seed) : rng_(seed) {
  for (std::uint32_t i = 0; i < 3; ++i) f.add_worker(1 + i);
}

void Nonsense::step() {
  f.wait(Micros(static_cast<std::int64_t>(rng_.below(3'000'000))));
  switch (rng_.below(21)) {
    case 0:
      submit();
      break;
    case 1:
      f.apply(cmd::JobCancelled{asked(), job(), spans(), rng_.chance(70), "why"});
      break;
    case 2:
      f.apply(cmd::JobPaused{asked(), job(), rng_.chance(70)});
      break;
    case 3:
      f.apply(cmd::JobResumed{asked(), job(), rng_.chance(70)});
      break;
    case 4:
      retry();
      break;
    case 5:
      join();
      break;
    case 6:
      leave();
      break;
    case 7:
    case 8:
      assign();
      break;
    case 9:
      f.apply(cmd::TasksRecalled{worker(), keys()});
      break;
    case 10:
      f.apply(cmd::TasksReturned{worker(), instance(), keys()});
      break;
    case 11:
      f.apply(started());
      break;
    case 12:
      f.apply(results());
      break;
    case 13:
      f.apply(cmd::JobReleased{job()});
      break;
    case 14:
      f.apply(cmd::JobPrioritised{asked(), job(), static_cast<std::int32_t>(small(3)),
                                  rng_.chance(70)});
      break;
    case 15:
      f.apply(cmd::WorkersDrained{asked(), {worker(), worker()}, rng_.chance(50), "why"});
      break;
    case 16:
      f.apply(cmd::WorkersRemoved{asked(), {worker(), worker()}});
      if (f.queue.next_worker().value < 9) f.add_worker(1 + small(3));
      break;
    case 17:
      keys_change();
      break;
    case 18:
      f.apply(cmd::JobsDeleted{
          asked(), {a_deletion(), a_deletion()}, rng_.chance(50), rng_.chance(70), "some"});
      break;
    case 19:
      f.apply(cmd::DeletionsSwept{{{job(), TaskIndex(small(8)), 0, rng_.chance(50)}}});
      break;
    default:
      f.end_backoffs();
  }
}

void Nonsense::keys_change() {
  const std::string name = rng_.chance(20) ? "w" + std::to_string(small(9)) : "bob";
  const std::string key = "key " + std::to_string(small(6));
  if (rng_.chance(50))
    f.apply(cmd::KeyAdded{asked(), name, key, Role::User});
  else
    f.apply(cmd::KeyRevoked{asked(), name, rng_.chance(10) ? key : ""});
}

JobId Nonsense::job() {
  const std::uint64_t newest = f.queue.next_job().value;
  return JobId(newest - std::min<std::uint64_t>(newest, rng_.below(4)));
}

cmd::JobsDeleted::One Nonsense::a_deletion() {
  cmd::JobsDeleted::One one;
  one.job = job();
  one.owner = "ann";
  one.tasks = 1;
  const auto row = f.tables.jobs.find(one.job);
  if (row == f.tables.jobs.end()) return one;
  one.token = row->second.token;
  one.inputs = row->second.inputs;
  return one;
}

Uuid Nonsense::instance() {
  const Worker* known = f.queue.find_worker(worker());
  return known != nullptr && rng_.chance(90) ? known->row.instance : an_id(rng_.below(5));
}

std::vector<IndexSpan> Nonsense::spans() {
  if (rng_.chance(40)) return {};
  const std::uint32_t first = small(12);
  return {{first, first + small(4)}, {first + 6, first + 6 + small(3)}};
}

std::vector<AttemptKey> Nonsense::keys() {
  std::vector<AttemptKey> keys;
  for (const auto& [id, one] : f.queue.workers()) {
    for (const AttemptKey& key : one.list_granted()) {
      if (rng_.chance(40)) keys.push_back(key);
    }
  }
  if (rng_.chance(30)) keys.push_back({job(), TaskIndex(1 + small(10)), AttemptNo(small(4))});
  return keys;
}

std::vector<AttemptKey> Nonsense::keys_of(WorkerId id) {
  std::vector<AttemptKey> keys = this->keys();
  const Worker* one = f.queue.find_worker(id);
  std::erase_if(keys, [&](const AttemptKey& key) {
    return one == nullptr || (!one->granted.contains(key) && rng_.chance(90));
  });
  for (const auto& [job_id, live_job] : f.queue.jobs()) {
    for (const auto& [ordinal, live] : live_job.live) {
      for (const LostAttempt& lost : live.lost) {
        if (lost.worker == id && rng_.chance(50)) {
          keys.push_back({job_id, live_job.index_of(ordinal), lost.attempt});
        }
      }
    }
  }
  return keys;
}

void Nonsense::submit() {
  JobBuilder spec = a_job().with_tasks(1 + small(10)).with_retries(small(3));
  if (rng_.chance(30)) spec.with_limit(1 + small(3));
  if (rng_.chance(20)) spec.with_indices({{2, 9, 3}, {12, 14, 1}});
  if (rng_.chance(20)) spec.on_hold();
  if (rng_.chance(30)) spec.after({job()});
  if (rng_.chance(20)) spec.after_any({job()});
  if (rng_.chance(20)) spec.begins_at(WallTime{1});
  if (rng_.chance(30)) spec.with_max_failures(1 + small(3));
  const Asked who = asked();
  const SubmissionId id = f.queue.next_submission();
  const bool with_inputs = rng_.chance(30);
  if (with_inputs) spec.with_inputs();
  const std::string token = rng_.chance(30) ? std::to_string(rng_.below(3)) : "";
  f.apply(cmd::SubmissionOpened{who, id, token, std::to_string(rng_.below(2)), spec.spec()});
  std::uint64_t inputs = 0;
  for (std::uint64_t part = 0; with_inputs && part < rng_.below(4); ++part) {
    f.apply(cmd::InputsStaged{who, id, part, inputs, 2, "xx"});
    inputs += 2;
  }
  if (rng_.chance(10)) f.apply(cmd::SubmissionDropped{id});
  f.apply(cmd::JobSubmitted{who, id, f.queue.next_job(), inputs + (rng_.chance(5) ? 1U : 0U),
                            f.tables.ended(spec.spec())});
}

void Nonsense::retry() {
  const JobId id = job();
  if (f.queue.find_job(id) == nullptr && f.tables.jobs.contains(id)) {
    f.apply(f.tables.reopened(id));
  }
  f.apply(cmd::TasksRetried{asked(), id, spans(), small(256), true});
}

void Nonsense::join() {
  const WorkerId id = worker();
  cmd::WorkerJoined hello = f.hello(id, small(4));
  const Worker* known = f.queue.find_worker(id);
  if (known != nullptr && known->row.instance.is_set()) hello.instance = known->row.instance;
  if (rng_.chance(20)) hello.instance = an_id(1000 + rng_.below(1'000'000));
  for (const AttemptKey& key : keys_of(id)) {
    if (rng_.chance(70)) hello.held.push_back({key, rng_.chance(50)});
    if (rng_.chance(20)) hello.spooled.push_back(key);
  }
  f.apply(hello);
}

void Nonsense::leave() {
  const WorkerId id = worker();
  const Worker* known = f.queue.find_worker(id);
  const Uuid life = known == nullptr ? an_id(1) : known->row.instance;
  switch (rng_.below(4)) {
    case 0:
      f.apply(cmd::WorkerLeft{id, life});
      break;
    case 1:
      f.apply(cmd::WorkerNoticed{id, life, rng_.chance(50), rng_.chance(50)});
      break;
    default:
      f.apply(cmd::WorkerLost{id, life, "silent"});
  }
}

void Nonsense::assign() {
  cmd::TasksAssigned command{worker(), job(), AttemptNo(1 + small(3)), {}};
  for (std::uint32_t i = 0; i < 10; ++i) command.tasks.emplace_back(1 + small(14));
  f.apply(command);
}

cmd::TasksStarted Nonsense::started() {
  const WorkerId id = worker();
  const Worker* known = f.queue.find_worker(id);
  cmd::TasksStarted command{id, known == nullptr ? an_id(1) : known->row.instance, {}};
  for (const AttemptKey& key : keys_of(id)) {
    command.started.push_back({key, Micros(static_cast<std::int64_t>(rng_.below(1000)))});
  }
  return command;
}

cmd::ResultsReported Nonsense::results() {
  const WorkerId id = worker();
  const Worker* known = f.queue.find_worker(id);
  cmd::ResultsReported command{id, known == nullptr ? an_id(1) : known->row.instance, {}};
  for (const AttemptKey& key : keys_of(id)) {
    const auto end = rng_.chance(50) ? EndClass::Success : static_cast<EndClass>(rng_.below(10));
    const auto wall = Micros(static_cast<std::int64_t>(rng_.below(500'000)));
    command.results.push_back(a_result(key, end, wall));
  }
  return command;
}

std::vector<std::vector<Entry>> cut(const std::vector<Entry>& entries, Rng& rng, unsigned percent) {
  std::vector<std::vector<Entry>> pieces(1);
  for (const Entry& entry : entries) {
    pieces.back().push_back(entry);
    const bool is_half = std::holds_alternative<cmd::JobReopened>(entry.command);
    if (!is_half && rng.chance(percent)) pieces.emplace_back();
  }
  if (pieces.back().empty()) pieces.pop_back();
  return pieces;
}

}  // namespace capstan::test
