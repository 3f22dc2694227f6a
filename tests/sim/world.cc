// SPDX-License-Identifier: MIT
#include "tests/sim/world.h"

#include <algorithm>
#include <utility>

#include "common/model/job.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kGiB = 1ULL << 30U;
constexpr Micros kWork{90s};     // Submissions and faults are spread over this.
constexpr Micros kSettle{900s};  // After the faults everything must be at rest within this.

}  // namespace

World::World(std::uint64_t seed, Mutants mutants, bool print)
    : mutants_(mutants), schedule_(mix64(seed)), network_(schedule_) {
  schedule_.set_printing(print);
  gentle_ = schedule_.rng().chance(25);
  build();
}

void World::build() {
  Rng& rng = schedule_.rng();
  const std::array loss{0U, 0U, 1U, 5U, 20U};
  network_.faults() = {.lose = loss[rng.below(loss.size())],
                       .repeat = loss[rng.below(loss.size())],
                       .delay_max = schedule_.between(100us, 20ms)};
  std::vector<net::Identity> keys;
  const std::uint64_t workers = 1 + rng.below(4);
  for (std::uint64_t i = 1; i <= workers; ++i) keys.push_back(Master::worker_identity(i));
  master_ = std::make_unique<Master>(schedule_, network_, keys, mutants_.queue);
  for (std::uint64_t i = 1; i <= workers; ++i) {
    const auto cpus = static_cast<std::uint32_t>(1 + rng.below(4));
    const std::uint64_t mem = kGiB * (1 + rng.below(8));
    if (cpus > most_cpus_) most_mem_ = mem;
    most_cpus_ = std::max(most_cpus_, cpus);
    workers_.push_back(std::make_unique<Worker>(
        schedule_, network_, executions_,
        Worker::Options{.name = Master::worker_identity(i).name,
                        .cpus = cpus,
                        .mem_bytes = mem,
                        .fail_percent = gentle_ ? 0U : static_cast<unsigned>(rng.below(40)),
                        .mutant = mutants_.agent}));
  }
  const std::uint64_t clients = 1 + rng.below(3);
  for (std::uint64_t i = 1; i <= clients; ++i) {
    clients_.push_back(std::make_unique<Client>(schedule_, network_, "user" + std::to_string(i)));
  }
  admin_ = std::make_unique<Client>(schedule_, network_, "admin", Role::Admin);
  schedule_work();
  schedule_drains();
  schedule_faults();
}

JobSpec World::random_spec(std::uint64_t& inputs) {
  Rng& rng = schedule_.rng();
  JobSpec spec;
  spec.name = "job";
  spec.cwd = "/";
  spec.argv = {"work"};
  spec.cpus = most_cpus_ > 1 && rng.chance(20) ? 2 : 1;
  if (rng.chance(25)) spec.mem_bytes = 1 + rng.below(most_mem_);
  spec.retries = static_cast<std::uint32_t>(rng.below(4));
  spec.priority = static_cast<std::int32_t>(rng.below(3));
  spec.hold = rng.chance(5);
  if (rng.chance(20)) spec.max_failures = static_cast<std::uint32_t>(1 + rng.below(3));
  if (rng.chance(20)) spec.backoff = schedule_.between(1ms, 90s);
  spec.has_stdin = rng.chance(10);
  inputs = 0;
  if (rng.chance(30)) {
    inputs = 1 + rng.below(10);
    spec.has_inputs = true;
    if (rng.chance(30)) spec.inputs_per_task = static_cast<std::uint32_t>(1 + rng.below(4));
  } else if (rng.chance(60)) {
    const auto step = static_cast<std::uint32_t>(1 + rng.below(3));
    const auto first = static_cast<std::uint32_t>(rng.below(10));
    spec.array = true;
    spec.indices = {{.first = first,
                     .last = first + step * static_cast<std::uint32_t>(rng.below(40)),
                     .step = step}};
    if (rng.chance(20)) spec.max_running = 2;
  } else {
    spec.indices = {{.first = 1, .last = 1, .step = 1}};
  }
  return spec;
}

// What it is to wait for: jobs of the same user, finished ones as well, now and then one that never
// was; and a time, soon.
void World::add_waiting(JobSpec& spec, const Client& client) {
  Rng& rng = schedule_.rng();
  for (std::vector<JobId>* list : {&spec.after, &spec.after_any}) {
    if (!rng.chance(35)) continue;
    for (const auto& [job, watched] : client.watched()) {
      if (rng.chance(40)) list->push_back(job);
    }
    if (rng.chance(3)) list->emplace_back(1'000'000);
  }
  if (rng.chance(15)) {
    spec.begin_at = {schedule_.true_wall().us + schedule_.between(0us, 60s).count()};
  }
}

void World::schedule_work() {
  const std::uint64_t jobs = 2 + schedule_.rng().below(8);
  for (std::uint64_t i = 0; i < jobs; ++i) {
    schedule_.after(schedule_.between(0us, kWork), [this] {
      Client& client = *clients_[schedule_.rng().below(clients_.size())];
      std::uint64_t inputs = 0;
      JobSpec spec = random_spec(inputs);
      add_waiting(spec, client);
      client.submit(spec, inputs, "");
    });
  }
  const std::uint64_t steering = schedule_.rng().below(8);
  for (std::uint64_t i = 0; i < steering; ++i) {
    schedule_.after(schedule_.between(0us, kWork), [this] {
      Client& client = *clients_[schedule_.rng().below(clients_.size())];
      if (client.watched().empty()) return;
      auto job = client.watched().begin();
      std::advance(job,
                   static_cast<std::ptrdiff_t>(schedule_.rng().below(client.watched().size())));
      const std::array verbs{msg::Verb::Cancel, msg::Verb::Pause,       msg::Verb::Resume,
                             msg::Verb::Retry,  msg::Verb::RetryFailed, msg::Verb::Prioritise,
                             msg::Verb::Delete};
      const msg::Verb verb = verbs[schedule_.rng().below(verbs.size())];
      if (gentle_ && (verb == msg::Verb::Cancel || verb == msg::Verb::Retry)) return;
      if (verb == msg::Verb::Delete && !job->second.finished) return;  // Its watch must end.
      client.control(verb, job->first, static_cast<std::int32_t>(schedule_.rng().below(3)));
    });
  }
}

void World::schedule_drains() {
  const std::uint64_t drains = schedule_.rng().below(4);
  for (std::uint64_t i = 0; i < drains; ++i) {
    schedule_.after(schedule_.between(0us, kWork), [this] {
      const std::string name = workers_[schedule_.rng().below(workers_.size())]->name();
      admin_->control(msg::WorkerVerb::Drain, name);
      schedule_.after(schedule_.between(0us, Micros(40s)),
                      [this, name] { admin_->control(msg::WorkerVerb::Resume, name); });
    });
  }
}

void World::schedule_faults() {
  const std::array counts{2U, 8U, 30U};
  const std::uint64_t faults = counts[schedule_.rng().below(counts.size())];
  for (std::uint64_t i = 0; i < faults; ++i) {
    schedule_.after(schedule_.between(0us, kWork), [this] {
      if (!calm_) one_fault();
    });
  }
}

void World::one_fault() {
  ++faults_;
  if (schedule_.rng().chance(50)) {
    process_fault();
  } else {
    network_fault();
  }
}

void World::process_fault() {
  Worker& worker = *workers_[schedule_.rng().below(workers_.size())];
  Client& client = *clients_[schedule_.rng().below(clients_.size())];
  switch (schedule_.rng().below(gentle_ ? 4 : 10)) {
    case 0:
      return master_->kill(schedule_.between(100ms, 4s), false);
    case 1:
      return worker.kill_agent();
    case 2:
      return client.restart();
    case 3:
      return schedule_.shift_wall(schedule_.between(-3600s, 3600s));
    case 4:
      return master_->kill(schedule_.between(100ms, 60s), true);
    case 5:
      return worker.kill_shepherd();
    case 6:
      return worker.cut_power();
    case 7:
      return worker.stop_for(schedule_.between(1s, 50s));
    case 8:
      return worker.leave();
    default:
      worker.set_disk_full(true);
      schedule_.after(schedule_.between(1s, 20s), [&worker] { worker.set_disk_full(false); });
  }
}

void World::network_fault() {
  const std::vector<Link*> links = network_.links();
  Link& link = *links[schedule_.rng().below(links.size())];
  const Micros longest = gentle_ ? Micros(3s) : Micros(50s);
  switch (schedule_.rng().below(3)) {
    case 0:
      return network_.cut(link);
    case 1:
      network_.block(link, true);
      schedule_.after(schedule_.between(100ms, longest),
                      [this, &link] { network_.block(link, false); });
      return;
    default:
      network_.mute(link, schedule_.rng().chance(50), schedule_.rng().chance(50));
      schedule_.after(schedule_.between(100ms, longest),
                      [this, &link] { network_.mute(link, false, false); });
  }
}

void World::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
}

void World::check() {
  if (!executions_.complaint.empty()) fail(executions_.complaint);
  if (!master_->complaint().empty()) fail(master_->complaint());
  if (!admin_->complaint().empty()) fail(admin_->complaint());
  for (const auto& client : clients_) {
    if (!client->complaint().empty()) fail(client->complaint());
  }
}

bool World::is_settled() const {
  return master_->is_at_rest() && admin_->is_done() &&
         std::all_of(workers_.begin(), workers_.end(),
                     [](const auto& w) { return w->is_idle(); }) &&
         std::all_of(clients_.begin(), clients_.end(), [](const auto& c) { return c->is_done(); });
}

bool World::watch_until(TimePoint until, bool stop_when_settled) {
  while (error_.empty()) {
    const bool more = schedule_.step(until);
    check();
    if (stop_when_settled && is_settled()) return true;
    if (!more) return false;
  }
  return false;
}

void World::calm() {
  schedule_.trace("the faults stop");
  calm_ = true;
  schedule_.correct_wall();
  network_.heal();
  master_->start();
  for (const auto& worker : workers_) {
    worker->set_disk_full(false);
    worker->fail_no_more();
    worker->start();
  }
  resume_all();
}

// What was paused or drained is let go, or it would never finish; again and again, because a
// submission or a pause may still be on its way, and a job that was seen finished may have been
// retried and paused.
void World::resume_all() {
  for (const auto& worker : workers_) admin_->control(msg::WorkerVerb::Resume, worker->name());
  for (const auto& client : clients_) {
    std::vector<JobId> jobs;
    for (const auto& [job, watched] : client->watched()) jobs.push_back(job);
    for (const JobId job : jobs) client->control(msg::Verb::Resume, job);
  }
  schedule_.after(60s, [this] { resume_all(); });
}

Outcome World::run() {
  watch_until(schedule_.now() + kWork, false);
  const TimePoint calm_at = schedule_.now();
  if (error_.empty()) {
    calm();
    if (!watch_until(schedule_.now() + kSettle, true)) {
      std::string why = "not at rest: " + master_->describe();
      for (const auto& worker : workers_) why += "; " + worker->describe();
      fail(why);
    }
  }
  if (error_.empty()) check_end();
  return {.error = error_,
          .trace_hash = schedule_.trace_hash(),
          .entries = master_->entries(),
          .executions = executions_.count,
          .faults = faults_,
          .settled_after = schedule_.now() - calm_at};
}

void World::check_end() {
  check_watches();
  if (const std::string wrong = master_->check_tables(executions_); !wrong.empty()) fail(wrong);
  if (!gentle_ || master_->has_lost_a_worker()) return;
  for (const auto& [key, times] : executions_.launched) {
    if (key.attempt.value > 1)
      return fail("run again though no worker was lost and nothing failed");
  }
}

void World::check_watches() {
  for (const auto& client : clients_) {
    for (const Mutation& mutation : client->history()) {
      if (!mutation.is_submission || mutation.refused) continue;
      const auto row = master_->find_job(mutation.job);
      if (!row && client->has_deleted(mutation.job)) continue;
      if (!row) return fail("an acknowledged job is not there");
      if (row->tasks != mutation.tasks) return fail("an acknowledged job has other tasks");
      const Watched& watched = client->watched().at(mutation.job);
      if (watched.state == JobState::Succeeded && watched.ended.size() != row->tasks) {
        return fail("a watch did not tell of every task");
      }
    }
  }
}

}  // namespace capstan::sim
