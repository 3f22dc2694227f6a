// SPDX-License-Identifier: MIT
//
// Inside a session: the mirror of the shepherd, work from the master, results and output to it.
#include <algorithm>
#include <array>

#include "common/model/limits.h"
#include "common/model/render.h"
#include "worker/core/agent.h"
#include "worker/core/environment.h"

namespace capstan {

namespace {

/// A result's bytes in a message, a little more than less.
std::size_t size_of(const AttemptResult& result) {
  constexpr std::size_t kNumbers = 128;
  return kNumbers + result.reason.size() + result.stdout_tail.size() + result.stderr_tail.size();
}

constexpr std::size_t kResultsMessageBytes = limits::kMessageBytes * 3 / 4;

/// What a task's own environment (environment.h) takes besides its input, a little more than less.
constexpr std::size_t kOwnEnvironmentBytes = 128;

/// Where an attempt's output goes beside the log, by Stream.
Result<std::array<SparseText, 2>> files_of(const JobSpec& spec, const AttemptNames& names,
                                           const std::vector<Bytes>& inputs) {
  std::array<SparseText, 2> files;
  const Bytes* patterns[] = {&spec.output_path, &spec.error_path};
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (!patterns[i]->empty()) files[i] = TRY(render_path(spec, *patterns[i], names, inputs));
  }
  return files;
}

/// What a command takes at most with these values in it.
std::size_t most_bytes(const std::vector<Bytes>& argv, const std::vector<Bytes>& inputs) {
  std::size_t input_bytes = 0;
  for (const Bytes& input : inputs) input_bytes += input.size() + 1;
  std::size_t bytes = 0;
  for (const Bytes& argument : argv) {
    const auto places = std::count(argument.begin(), argument.end(), '{');
    bytes += argument.size() + static_cast<std::size_t>(places) * input_bytes;
  }
  return bytes;
}

/// What it takes in a message, a little more than less.
std::size_t size_of(const pair::Run& run) {
  constexpr std::size_t kNumbers = 32;
  constexpr std::size_t kHead = 5;
  std::size_t bytes = kNumbers + kHead + (run.input ? run.input->size() : 0);
  for (const Bytes& argument : run.argv) bytes += kHead + argument.size();
  for (const SparseText& file : run.files) bytes += kHead + file.size();
  return bytes;
}

}  // namespace

// --- From the shepherd ---------------------------------------------------------------------------

void Agent::on(agent::FromShepherd& event) {
  std::visit([this](auto& message) { on_pair(message); }, event.message);
}

void Agent::on_pair(const pair::State& message) {
  for (std::size_t master = 0; master < links_.size(); ++master) {
    end_session(master, "another instance");
    links_[master].asked.clear();
  }
  epoch_ = message.generation == generation_ ? std::max(epoch_, message.epoch) : message.epoch;
  generation_ = message.generation;
  instance_ = message.instance;
  cpus_ = message.cpus;
  mem_bytes_ = message.mem_bytes;
  told_ = {message.jobs.begin(), message.jobs.end()};
  may_be_idle_ = told_;
  leaving_ = message.leaving;
  disk_full_ = message.disk_full;
  synced_ = false;
  held_.clear();
  held_of_.clear();
  starts_.clear();
  unacked_.clear();
  first_unsent_ = unacked_.end();
  in_flight_bytes_ = 0;
  deliveries_.clear();
  for (const pair::Held& held : message.held) {
    hold(held.key).first->second = {.started = held.started, .started_at = held.started_at};
  }
}

void Agent::on_pair(pair::Spooled& message) {
  for (pair::SpoolItem& item : message.items) add_ended(std::move(item));
}

void Agent::on_pair(const pair::Synced&) {
  synced_ = true;
  for (std::size_t master = 0; master < links_.size(); ++master) say_hello(master);
}

void Agent::on_pair(const pair::StartedAt& message) {
  const auto it = held_.find(message.key);
  if (it == held_.end()) return;
  it->second.started = true;
  it->second.started_at = message.at;
  it->second.start_order = ++starts_heard_;
  starts_.push_back(message.key);
}

void Agent::on_pair(pair::Ended& message) {
  for (pair::SpoolItem& item : message.items) add_ended(std::move(item));
}

std::pair<Agent::HeldList::iterator, bool> Agent::hold(const AttemptKey& key) {
  const auto held = held_.try_emplace(key);
  if (held.second) ++held_of_[key.job];
  return held;
}

void Agent::let_go(HeldList::iterator held) {
  const auto of_job = held_of_.find(held->first.job);
  if (--of_job->second == 0) held_of_.erase(of_job);
  held_.erase(held);
}

void Agent::add_ended(pair::SpoolItem item) {
  const AttemptKey key = item.result.key;
  if (const auto held = held_.find(key); held != held_.end()) let_go(held);
  may_be_idle_.insert(key.job);
  for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
    if (item.delivered[static_cast<std::size_t>(stream)]) continue;
    const OutputKey output{key, stream};
    const std::uint64_t total =
        stream == Stream::Stdout ? item.result.stdout_bytes : item.result.stderr_bytes;
    if (total > limits::kTailBytes || deliveries_.knows(output)) {
      const bool is_stdout = stream == Stream::Stdout;
      const SparseText& tail = is_stdout ? item.result.stdout_tail : item.result.stderr_tail;
      deliveries_.ended(output, total, tail.str());
    } else {
      tell(pair::Delivered{key, stream, total, true});  // The result carries all of it.
    }
  }
  if (item.acked) return;
  const auto [unacked, is_new] = unacked_.try_emplace(key);
  if (!is_new) return;
  unacked->second.item = std::move(item);
  if (first_unsent_ == unacked_.end()) first_unsent_ = unacked;
}

void Agent::on_pair(const pair::Returned& message) {
  msg::Returned returned;
  for (const AttemptKey& key : message.keys) {
    may_be_idle_.insert(key.job);
    const auto held = held_.find(key);
    if (held == held_.end()) continue;
    if (!held->second.given_here) returned_early_.insert(key);
    let_go(held);
    returned.keys.push_back(key);
  }
  if (returned.keys.empty()) return;
  for (Link& link : links_) {
    for (Said& said : link.asked) {
      said.returned.insert(said.returned.end(), returned.keys.begin(), returned.keys.end());
    }
  }
  send_as_ourselves(std::move(returned));
}

void Agent::on_pair(const pair::OutputGrew& message) {
  if (held_.contains(message.key)) {
    deliveries_.grew({message.key, message.stream}, message.total);
  }
}

void Agent::on_pair(const pair::Notice& message) {
  leaving_ = message.leaving;
  disk_full_ = message.disk_full;
  send_as_ourselves(msg::WorkerNotice{leaving_, disk_full_});
}

void Agent::on_pair(const pair::AllDone&) {
  send_as_ourselves(msg::Goodbye{});
  stopped_ = true;
  out_.push_back(agent::Stop{});
}

// --- From the master -----------------------------------------------------------------------------

void Agent::on_body(std::size_t, const msg::JobTemplate& body) {
  if (const auto known = templates_.find(body.job); known != templates_.end()) {
    template_bytes_ -= known->second.bytes;
    templates_.erase(known);
  }
  Template job{.spec = body.spec,
               .argv = {},
               .environment = job_environment(config_.environment, body.spec.env),
               .environment_bytes = 0,
               .stdin_data = {},
               .has_all = !body.spec.has_stdin,
               .bytes = sizeof(Template) + body.spec.script.size()};
  if (!body.spec.has_inputs) {
    if (auto argv = render_command(body.spec, {}, {})) job.argv = std::move(*argv);
  }
  for (const auto* argv : {&job.spec.argv, &job.argv}) {
    for (const Bytes& argument : *argv) job.bytes += argument.size() + sizeof(Bytes);
  }
  job.environment.push_back({"CAPSTAN_JOB_ID", std::to_string(body.job.value)});
  job.environment.push_back({"CAPSTAN_CPUS", std::to_string(body.spec.cpus)});
  job.environment.push_back({"CAPSTAN_WORKER", config_.name});
  for (const EnvVar& each : job.environment)
    job.environment_bytes += each.name.size() + each.value.size() + sizeof(char*);
  job.bytes += job.environment_bytes;
  template_bytes_ += job.bytes;
  templates_.emplace(body.job, std::move(job));
  bound_templates(body.job);
}

void Agent::bound_templates(JobId newest) {
  while (template_bytes_ > limits::kTemplateCacheBytes && templates_.begin()->first != newest) {
    template_bytes_ -= templates_.begin()->second.bytes;  // A Start without it says HELLO.
    templates_.erase(templates_.begin());
  }
}

void Agent::on_body(std::size_t, const msg::JobStdin& body) {
  const auto known = templates_.find(body.job);
  if (known == templates_.end()) return;
  Template& job = known->second;
  const bool fits = body.data.size() <= limits::kStdinBytes - job.stdin_data.size();
  if (job.has_all || !fits || body.offset != job.stdin_data.size()) return;  // Start says HELLO.
  job.stdin_data += body.data;
  job.has_all = body.last;
  job.bytes += body.data.size();
  template_bytes_ += body.data.size();
  bound_templates(body.job);
}

void Agent::tell_template(JobId id, const Template& job) {
  if (!told_.insert(id).second) return;
  may_be_idle_.insert(id);
  tell(pair::JobTemplate{.job = id,
                         .settings = {.cwd = job.spec.cwd,
                                      .cpus = job.spec.cpus,
                                      .time_limit = job.spec.time_limit,
                                      .stall_limit = job.spec.stall_limit,
                                      .mem_bytes = job.spec.mem_bytes,
                                      .nice = job.spec.nice},
                         .argv = job.argv,
                         .env = job.environment,
                         .script = job.spec.script,
                         .has_stdin = job.spec.has_stdin,
                         .stdin_data = job.stdin_data});
}

void Agent::forget_idle_jobs() {
  for (const JobId job : may_be_idle_) {
    if (!held_of_.contains(job) && told_.erase(job) > 0) tell(pair::ForgetJob{job});
  }
  may_be_idle_.clear();
}

void Agent::on_body(std::size_t master, const msg::Start& body) {
  if (!is_ourselves() && config_.mutant != AgentMutant::NoSessionIds) return;
  const auto job = templates_.find(body.job);
  if (job == templates_.end() || !job->second.has_all) {
    end_session(master, "a start without its template");
    links_[master].hello_at = now_ + limits::kHelloRetry;
    return;
  }
  tell_template(body.job, job->second);
  for (Link& link : links_) {
    for (Said& said : link.asked) said.is_outdated = true;
  }
  msg::Returned again;
  pair::Runs runs;
  runs.runs.reserve(body.tasks.size());
  std::size_t bytes = 0;
  for (const msg::Start::One& one : body.tasks) {
    const AttemptKey key{body.job, one.task, body.attempt};
    if (unacked_.contains(key)) continue;
    if (!returned_early_.empty() && returned_early_.erase(key) > 0) {
      again.keys.push_back(key);
      continue;
    }
    const auto [held, is_new] = hold(key);
    held->second.given_here = true;
    if (!is_new) continue;
    auto run = run_of(job->second, key, one.inputs);
    if (!run) {
      tell(pair::Unrunnable{key, run.error().message});
      continue;
    }
    bytes += size_of(*run);
    runs.runs.push_back(std::move(*run));
    if (bytes > limits::kMessageBytes) {
      tell(std::exchange(runs, {}));
      bytes = 0;
    }
  }
  if (!runs.runs.empty()) tell(std::move(runs));
  if (!again.keys.empty()) send_as_ourselves(std::move(again));
}

Result<pair::Run> Agent::run_of(const Template& job, const AttemptKey& key,
                                const std::vector<Bytes>& inputs) const {
  const auto too_long = [] { return fail(Errc::Invalid, "Argument list too long"); };
  pair::Run run{.key = key, .input = input_variable(job.spec, inputs)};
  if (job.argv.empty()) {
    // Beyond that it would not even be worth the memory to find out.
    if (most_bytes(job.spec.argv, inputs) > 2 * limits::kExecBytes) return too_long();
    run.argv = TRY(render_command(job.spec, key.task, inputs));
  }
  run.files = TRY(files_of(job.spec, {key, config_.name}, inputs));
  std::size_t bytes = job.environment_bytes + kOwnEnvironmentBytes;
  if (run.input) bytes += run.input->size();
  for (const Bytes& argument : job.argv.empty() ? run.argv : job.argv)
    bytes += argument.size() + sizeof(char*) + 1;
  if (bytes > limits::kExecBytes) return too_long();
  return run;
}

void Agent::on_body(std::size_t, const msg::Cancel& body) {
  pair::Cancel cancel{body.why, {}};
  for (const AttemptKey& key : body.keys) {
    if (held_.contains(key)) cancel.keys.push_back(key);
  }
  if (!cancel.keys.empty()) tell(std::move(cancel));
}

void Agent::on_body(std::size_t, const msg::Recall& body) {
  pair::Recall recall;
  for (const AttemptKey& key : body.keys) {
    if (held_.contains(key)) recall.keys.push_back(key);
  }
  if (!recall.keys.empty()) tell(std::move(recall));
}

void Agent::on_body(std::size_t, const msg::ResultAck& body) {
  pair::Acked acked;
  for (const AttemptKey& key : keys_of(body.runs)) {
    if (forget_result(key)) acked.keys.push_back(key);
  }
  if (!acked.keys.empty()) tell(std::move(acked));
}

void Agent::on_body(std::size_t, const msg::LogAck& body) {
  if (deliveries_.on_ack({body.key, body.stream}, body.upto, body.last)) {
    tell(pair::Delivered{body.key, body.stream, body.upto, true});
  }
}

void Agent::on_body(std::size_t, const msg::Follow& body) {
  if (body.on && followed_.size() >= limits::kFollowedJobs) return;
  if (body.on ? !followed_.insert(body.job).second : followed_.erase(body.job) == 0) return;
  tell(pair::Follow{body.job, body.on});
}

// --- To the master -------------------------------------------------------------------------------

bool Agent::forget_result(const AttemptKey& key) {
  const auto it = unacked_.find(key);
  if (it == unacked_.end()) return false;
  in_flight_bytes_ -= it->second.in_flight_bytes;
  if (it == first_unsent_) ++first_unsent_;
  unacked_.erase(it);
  return true;
}

void Agent::send_started() {
  if (!is_ourselves()) return;
  msg::Started started;
  for (const AttemptKey& key : starts_) {
    const auto it = held_.find(key);
    if (it == held_.end() || it->second.told) continue;
    it->second.told = true;
    started.started.push_back({key, now_ - it->second.started_at});
  }
  starts_.clear();
  if (!started.started.empty()) send(leader_, std::move(started));
}

void Agent::send_results() {
  if (!is_open() || first_unsent_ == unacked_.end()) return;
  const Instance& instance = links_[leader_].session_instance;
  msg::Results results;
  results.results.reserve(std::min(unacked_.size(), limits::kReportBatch));
  pair::Acked dropped;  // Stays empty but for the mutant.
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (!results.results.empty()) send(leader_, std::move(results));
    results = {};
    bytes = 0;
  };
  for (; first_unsent_ != unacked_.end(); ++first_unsent_) {
    Unacked& unacked = first_unsent_->second;
    const bool has_room = in_flight_bytes_ < limits::kResultsInFlightBytes;
    if (!has_room || unacked.item.instance != instance) break;  // Later.
    const std::size_t size = size_of(unacked.item.result);
    if (bytes + size > kResultsMessageBytes) flush();
    bytes += size;
    unacked.in_flight_bytes = size;
    in_flight_bytes_ += size;
    results.results.push_back(unacked.item.result);
    results.results.back().ended_ago = std::max(Micros{0}, now_ - unacked.item.ended_at);
    if (config_.mutant == AgentMutant::DropSpoolEarly) {
      dropped.keys.push_back(unacked.item.result.key);
    }
  }
  flush();
  for (const AttemptKey& key : dropped.keys) forget_result(key);
  if (!dropped.keys.empty()) tell(std::move(dropped));
}

void Agent::pump_output() {
  if (!is_open()) return;
  for (const Deliveries::Read& read : deliveries_.next_reads()) {
    out_.push_back(agent::ReadOutput{read.output, read.offset, read.total, read.ended});
  }
}

void Agent::on(const agent::OutputRead& event) {
  auto chunk = deliveries_.on_read(event.output, event.offset, event.data);
  if (!chunk) return;
  send(leader_, msg::LogChunk{.key = event.output.attempt,
                              .stream = event.output.stream,
                              .offset = chunk->offset,
                              .data = std::move(chunk->data),
                              .last = chunk->last});
}

}  // namespace capstan
