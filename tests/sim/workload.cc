// SPDX-License-Identifier: MIT
#include "tests/sim/workload.h"

#include <algorithm>
#include <utility>

#include "common/model/job.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kGiB = 1ULL << 30U;

}  // namespace

net::Identity Workload::worker_identity(std::uint64_t number) {
  const std::string name = "w" + std::to_string(number);
  return {.role = Role::Worker, .name = name, .public_key = "key-of-" + name};
}

void Workload::add_workers(std::uint64_t count) {
  Rng& rng = schedule_.rng();
  for (std::uint64_t i = 1; i <= count; ++i) {
    const auto cpus = static_cast<std::uint32_t>(1 + rng.below(4));
    const std::uint64_t mem = kGiB * (1 + rng.below(8));
    if (cpus > most_cpus_) most_mem_ = mem;
    most_cpus_ = std::max(most_cpus_, cpus);
    workers_.push_back(std::make_unique<Worker>(
        schedule_, options_.masters, executions_,
        Worker::Options{.name = worker_identity(i).name,
                        .cpus = cpus,
                        .mem_bytes = mem,
                        .fail_percent = options_.gentle ? 0U : static_cast<unsigned>(rng.below(40)),
                        .mutant = options_.mutant}));
  }
}

void Workload::add_clients() {
  const std::uint64_t clients = 1 + schedule_.rng().below(3);
  for (std::uint64_t i = 1; i <= clients; ++i) {
    clients_.push_back(
        std::make_unique<Client>(schedule_, options_.masters, "user" + std::to_string(i)));
  }
  admin_ = std::make_unique<Client>(schedule_, options_.masters, "admin", Role::Admin);
}

Worker& Workload::any_worker() {
  return *workers_[schedule_.rng().below(workers_.size())];
}

Client& Workload::any_client() {
  return *clients_[schedule_.rng().below(clients_.size())];
}

// --- What is asked -------------------------------------------------------------------------------

JobSpec Workload::random_spec(std::uint64_t& inputs) {
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
void Workload::add_waiting(JobSpec& spec, const Client& client) {
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

void Workload::schedule_work() {
  const std::uint64_t jobs = 2 + schedule_.rng().below(9);
  for (std::uint64_t i = 0; i < jobs; ++i) {
    schedule_.after(schedule_.between(0us, options_.lasts), [this] {
      Client& client = any_client();
      std::uint64_t inputs = 0;
      JobSpec spec = random_spec(inputs);
      add_waiting(spec, client);
      client.submit(spec, inputs, "");
    });
  }
  const std::uint64_t steering = schedule_.rng().below(8);
  for (std::uint64_t i = 0; i < steering; ++i) {
    schedule_.after(schedule_.between(0us, options_.lasts), [this] { steer(); });
  }
  schedule_drains();
}

void Workload::steer() {
  Client& client = any_client();
  if (client.watched().empty()) return;
  auto job = client.watched().begin();
  std::advance(job, static_cast<std::ptrdiff_t>(schedule_.rng().below(client.watched().size())));
  const std::array verbs{msg::Verb::Cancel, msg::Verb::Pause,       msg::Verb::Resume,
                         msg::Verb::Retry,  msg::Verb::RetryFailed, msg::Verb::Prioritise,
                         msg::Verb::Delete};
  const msg::Verb verb = verbs[schedule_.rng().below(verbs.size())];
  if (options_.gentle && (verb == msg::Verb::Cancel || verb == msg::Verb::Retry)) return;
  if (verb == msg::Verb::Delete && !job->second.finished) return;  // Its watch must end.
  client.control(verb, job->first, static_cast<std::int32_t>(schedule_.rng().below(3)));
}

void Workload::schedule_drains() {
  const std::uint64_t drains = schedule_.rng().below(4);
  for (std::uint64_t i = 0; i < drains; ++i) {
    schedule_.after(schedule_.between(0us, options_.lasts), [this] {
      const std::string name = workers_[schedule_.rng().below(workers_.size())]->name();
      admin_->control(msg::WorkerVerb::Drain, name);
      schedule_.after(schedule_.between(0us, Micros(40s)),
                      [this, name] { admin_->control(msg::WorkerVerb::Resume, name); });
    });
  }
}

// --- The end -------------------------------------------------------------------------------------

void Workload::calm() {
  for (const auto& worker : workers_) {
    worker->set_disk_full(false);
    worker->fail_no_more();
    worker->start();
  }
}

// Or it would never finish; again and again, because a submission or a pause may still be on its
// way, and a job that was seen finished may have been retried and paused.
void Workload::resume_all() {
  for (const auto& worker : workers_) admin_->control(msg::WorkerVerb::Resume, worker->name());
  for (const auto& client : clients_) {
    std::vector<JobId> jobs;
    for (const auto& [job, watched] : client->watched()) jobs.push_back(job);
    for (const JobId job : jobs) client->control(msg::Verb::Resume, job);
  }
  schedule_.after(60s, [this] { resume_all(); });
}

void Workload::begin_anew() {
  has_lost_ = true;
  executions_.launched.clear();  // An attempt of what was lost may be given again.
  for (const auto& worker : workers_) worker->begin_anew();
}

bool Workload::is_settled() const {
  const bool is_idle = std::all_of(workers_.begin(), workers_.end(),
                                   [](const auto& worker) { return worker->is_idle(); });
  if (has_lost_) return is_idle;
  return is_idle && admin_->is_done() &&
         std::all_of(clients_.begin(), clients_.end(), [](const auto& c) { return c->is_done(); });
}

std::string Workload::complaint() const {
  if (!executions_.complaint.empty()) return executions_.complaint;
  if (has_lost_) return "";
  if (!admin_->complaint().empty()) return admin_->complaint();
  for (const auto& client : clients_) {
    if (!client->complaint().empty()) return client->complaint();
  }
  return "";
}

std::string Workload::describe() const {
  std::string text;
  for (const auto& worker : workers_) text += "; " + worker->describe();
  for (const auto& client : clients_) text += client->is_done() ? "" : "; a user still waits";
  return text;
}

std::string Workload::check_end(store::Tables& tables) const {
  for (const auto& client : clients_) {
    if (has_lost_) break;
    if (std::string wrong = check_client(*client, tables); !wrong.empty()) return wrong;
  }
  store::Tables::JobFilter all;
  all.limit = 10'000;
  const auto jobs = tables.list_jobs(all);
  if (!jobs) return "the tables cannot be read";
  for (const JobRow& job : *jobs) {
    if (std::string wrong = check_job(job, tables); !wrong.empty()) return wrong;
  }
  return "";
}

std::string Workload::check_client(const Client& client, store::Tables& tables) const {
  for (const Mutation& mutation : client.history()) {
    if (!mutation.is_submission || mutation.refused) continue;
    const auto read = tables.get_job(mutation.job);
    const std::optional<JobRow> row = read ? *read : std::nullopt;
    if (!row && client.has_deleted(mutation.job)) continue;
    if (!row) return "an acknowledged job is not there";
    if (row->tasks != mutation.tasks) return "an acknowledged job has other tasks";
    const Watched& watched = client.watched().at(mutation.job);
    if (watched.state == JobState::Succeeded && watched.ended.size() != row->tasks) {
      return "a watch did not tell of every task";
    }
  }
  return "";
}

std::string Workload::check_job(const JobRow& job, store::Tables& tables) const {
  if (!is_finished(job.state)) return "job " + std::to_string(job.id.value) + " is not finished";
  store::Tables::TaskFilter whole;
  whole.job = job.id;
  whole.limit = 100'000;
  const auto page = tables.list_tasks(whole);
  if (!page) return "the tasks cannot be read";
  JobCounts counts;
  for (const auto& [index, row] : page->tasks) {
    counts.succeeded += row.state == TaskState::Succeeded ? 1 : 0;
    counts.failed += row.state == TaskState::Failed ? 1 : 0;
    counts.cancelled += row.state == TaskState::Cancelled ? 1 : 0;
    counts.skipped += row.state == TaskState::Skipped ? 1 : 0;
    const AttemptKey winner{.job = job.id, .task = index, .attempt = row.attempt};
    if (row.state == TaskState::Succeeded && !executions_.succeeded.contains(winner)) {
      return to_string(winner) + " succeeded without an execution that did";
    }
  }
  return counts == job.counts ? ""
                              : "the counts of job " + std::to_string(job.id.value) + " are wrong";
}

std::string Workload::check_nothing_ran_again() const {
  for (const auto& [key, times] : executions_.launched) {
    if (key.attempt.value > 1)
      return "run again though no worker was lost and nothing failed: " + to_string(key);
  }
  return "";
}

}  // namespace capstan::sim
