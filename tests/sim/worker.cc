// SPDX-License-Identifier: MIT
#include "tests/sim/worker.h"

#include <algorithm>
#include <utility>

#include "common/wire/codec.h"
#include "common/wire/version.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr Micros kPairDelayMax{200};
constexpr Micros kLaunchMax{2ms};
constexpr Micros kRestartMin{500ms};
constexpr Micros kRestartMax{8s};
constexpr std::uint64_t kLongOutput = 3 * limits::kTailBytes;  // Beyond what a result carries.

const std::array kDurations{Micros(200us), Micros(30ms), Micros(2s), Micros(15s)};

}  // namespace

Worker::Worker(Schedule& schedule, std::vector<Network*> masters, Executions& executions,
               Options options)
    : schedule_(schedule),
      masters_(std::move(masters)),
      executions_(executions),
      options_(std::move(options)) {
  for (std::size_t master = 0; master < masters_.size(); ++master) add_link(master);
  start();
}

void Worker::add_link(std::size_t master) {
  links_.push_back(&masters_[master]->add_link(
      {.role = Role::Worker, .name = options_.name, .public_key = "key-of-" + options_.name},
      {.on_frame =
           [this, master](std::string_view frame) {
             auto message = wire::decode(frame);
             if (!message) {
               executions_.complain("a worker got what does not decode: " +
                                    message.error().message);
               return;
             }
             to_agent(agent::Received{.master = master, .message = std::move(*message)});
           },
       .on_connected = [this, master] { to_agent(agent::Connected{.master = master}); },
       .on_closed = [this, master] { to_agent(agent::Closed{.master = master}); }}));
  masters_[master]->stop_dialing(*links_.back());
}

Instance Worker::fresh_instance() {
  Instance id;
  for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(schedule_.rng().next());
  return id;
}

void Worker::start() {
  if (shepherd_) return;
  schedule_.trace("shepherd starts", ++shepherd_life_);
  processes_.clear();
  needs_.clear();
  files_.clear();
  shepherd_ = std::make_unique<Shepherd>(shepherd::Config{.instance = fresh_instance(),
                                                          .cpus = options_.cpus,
                                                          .mem_bytes = options_.mem_bytes,
                                                          .grace = 5s,
                                                          .kill_grace = 2s},
                                         spool_, spool_generation_);
  start_agent();
}

void Worker::start_agent() {
  schedule_.trace("agent starts", ++agent_life_);
  pair_to_agent_ = pair_to_shepherd_ = schedule_.now();
  agent_ = std::make_unique<Agent>(agent::Config{.version = kVersion,
                                                 .containment = "simulated",
                                                 .name = options_.name,
                                                 .environment = {},
                                                 .masters = masters_.size(),
                                                 .mutant = options_.mutant});
  for (std::size_t i = 0; i < links_.size(); ++i) masters_[i]->start_dialing(*links_[i]);
  to_shepherd(shepherd::AgentUp{});
}

void Worker::kill_agent() {
  if (!agent_) return;
  schedule_.trace("agent killed", agent_life_);
  ++agent_life_;
  agent_.reset();
  for (std::size_t i = 0; i < links_.size(); ++i) masters_[i]->stop_dialing(*links_[i]);
  if (!shepherd_) return;
  to_shepherd(shepherd::AgentDown{});
  schedule_.after(schedule_.between(1ms, 300ms), [this, life = shepherd_life_] {
    if (shepherd_ && shepherd_life_ == life && !agent_) start_agent();
  });
}

void Worker::kill_shepherd() {
  if (!shepherd_) return;
  schedule_.trace("shepherd killed", shepherd_life_);
  ++shepherd_life_;
  shepherd_.reset();
  processes_.clear();
  kill_agent();  // At EOF of the pair.
  schedule_.after(schedule_.between(kRestartMin, kRestartMax), [this] { start(); });
}

void Worker::cut_power() {
  schedule_.trace("power cut");
  spool_ = synced_;
  kill_shepherd();
}

void Worker::begin_anew() {
  spool_.clear();
  synced_.clear();
  kill_shepherd();
}

void Worker::stop_for(Micros how_long) {
  if (!shepherd_ || is_stopped()) return;
  schedule_.trace("stopped", static_cast<std::uint64_t>(how_long.count()));
  stopped_until_ = schedule_.now() + how_long;
}

void Worker::leave() {
  if (shepherd_) to_shepherd(shepherd::Leave{});
}

void Worker::set_disk_full(bool full) {
  if (disk_full_ == full) return;
  disk_full_ = full;
  if (shepherd_) to_shepherd(shepherd::Disk{.full = full});
}

void Worker::fail_no_more() {
  options_.fail_percent = 0;
}

void Worker::to_shepherd(shepherd::Event event) {
  if (!shepherd_) return;
  if (is_stopped()) {
    schedule_.at(stopped_until_, [this, event = std::move(event), life = shepherd_life_] {
      if (shepherd_life_ == life) to_shepherd(event);
    });
    return;
  }
  const std::uint64_t life = shepherd_life_;
  // Copies: what is done may end this life. What they point at is used before that.
  const shepherd::Actions actions = shepherd_->step(shepherd::Event(event), schedule_.now());
  run(actions);
  if (shepherd_ && shepherd_life_ == life) {
    const shepherd::Actions due = shepherd_->step(shepherd::Tick{}, schedule_.now());
    run(due);
    wake_shepherd();
  }
}

void Worker::to_agent(agent::Event event) {
  if (!agent_) return;
  if (is_stopped()) {
    schedule_.at(stopped_until_, [this, event = std::move(event), life = agent_life_] {
      if (agent_life_ == life) to_agent(event);
    });
    return;
  }
  const std::uint64_t life = agent_life_;
  run(agent_->step(event, schedule_.now()));
  if (agent_ && agent_life_ == life) {
    run(agent_->step(agent::Tick{}, schedule_.now()));
    wake_agent();
  }
}

void Worker::wake_shepherd() {
  if (!shepherd_ || shepherd_->next_deadline() >= TimePoint::never()) return;
  const TimePoint due = std::max(shepherd_->next_deadline(), schedule_.now() + Micros(1));
  if (shepherd_wakes_ > schedule_.now() && shepherd_wakes_ <= due) return;
  shepherd_wakes_ = due;
  schedule_.at(due, [this, due] {
    if (shepherd_wakes_ == due) shepherd_wakes_ = TimePoint::never();
    to_shepherd(shepherd::Tick{});
  });
}

void Worker::wake_agent() {
  if (!agent_ || agent_->next_deadline() >= TimePoint::never()) return;
  const TimePoint due = std::max(agent_->next_deadline(), schedule_.now() + Micros(1));
  if (agent_wakes_ > schedule_.now() && agent_wakes_ <= due) return;
  agent_wakes_ = due;
  schedule_.at(due, [this, due] {
    if (agent_wakes_ == due) agent_wakes_ = TimePoint::never();
    to_agent(agent::Tick{});
  });
}

void Worker::run(const shepherd::Actions& actions) {
  for (const shepherd::Action& action : actions) {
    std::visit([this](const auto& a) { do_action(a); }, action);
  }
}

void Worker::run(const agent::Actions& actions) {
  for (const agent::Action& action : actions) {
    std::visit([this](const auto& a) { do_action(a); }, action);
  }
}

void Worker::check_room() const {
  Needs sum;
  for (const auto& [key, process] : processes_) {
    sum.cpus += process.cpus;
    sum.mem_bytes += process.mem_bytes;
  }
  if (sum.cpus > options_.cpus) executions_.complain("more cpus run than the worker has");
  if (sum.mem_bytes > options_.mem_bytes)
    executions_.complain("what runs needs more memory than the worker has");
}
void Worker::do_action(const shepherd::Launch& action) {
  const AttemptKey key = action.key;
  schedule_.trace("launch", key.job.value, key.task.value, key.attempt.value);
  Rng& rng = schedule_.rng();
  Process process{.life = next_process_++,
                  .cpus = needs_[key.job].cpus,
                  .mem_bytes = needs_[key.job].mem_bytes,
                  .ignores_term = rng.chance(10),
                  .success = !rng.chance(options_.fail_percent),
                  .output = rng.chance(10) ? kLongOutput : rng.below(100),
                  .ending = false,
                  .started_at = schedule_.now()};
  if ((action.job->has_script || action.job->has_stdin) && !files_.contains(key.job)) {
    executions_.complain("an attempt was started without the files of its job");
  }
  if (++executions_.launched[key] > 1) executions_.complain("an attempt was executed twice");
  ++executions_.count;
  processes_[key] = process;
  check_room();
  const Micros launch = schedule_.between(Micros(100), kLaunchMax);
  const Micros lasts =
      launch + schedule_.between(Micros(100), kDurations[rng.below(kDurations.size())]);
  schedule_.after(launch, [this, key, life = process.life] {
    const auto it = processes_.find(key);
    if (it != processes_.end() && it->second.life == life)
      to_shepherd(shepherd::Launched{.key = key});
  });
  schedule_.after(lasts, [this, key, life = process.life] {
    const auto it = processes_.find(key);
    if (it != processes_.end() && it->second.life == life) end_process(key, 0);
  });
}

void Worker::end_process(const AttemptKey& key, int signal) {
  const auto it = processes_.find(key);
  if (it == processes_.end()) return;
  const Process process = it->second;
  processes_.erase(it);
  const bool success = signal == 0 && process.success;
  if (success) executions_.succeeded.insert(key);
  schedule_.trace("ended", key.job.value, key.task.value, success ? 1 : 0);
  RunEnd end{.exit_code = success ? 0 : 1,
             .signal = signal,
             .cpu = 1ms,
             .max_rss_bytes = 1 << 20,
             .output_bytes = {process.output, 0},
             .tail = {}};
  end.tail[0] = Bytes(std::min<std::uint64_t>(process.output, limits::kTailBytes), 'x');
  to_shepherd(shepherd::Gone{.key = key, .end = end});
}

/// Silent since its start, and within its memory.
void Worker::do_action(const shepherd::Look& action) {
  const auto it = processes_.find(action.key);
  if (it == processes_.end()) return;
  const shepherd::Seen seen{.key = action.key, .output_at = it->second.started_at};
  schedule_.after(Micros(1), [this, seen, life = shepherd_life_] {
    if (shepherd_life_ == life) to_shepherd(seen);
  });
}

void Worker::do_action(const shepherd::Kill& action) {
  const auto it = processes_.find(action.key);
  if (it == processes_.end()) return;
  if (!action.force && it->second.ignores_term) return;
  schedule_.after(schedule_.between(Micros(100), 50ms),
                  [this, key = action.key, life = it->second.life, signal = action.force ? 9 : 15] {
                    const auto process = processes_.find(key);
                    if (process != processes_.end() && process->second.life == life)
                      end_process(key, signal);
                  });
}

void Worker::do_action(const shepherd::ToAgent& action) {
  pair_to_agent_ =
      std::max(pair_to_agent_, schedule_.now()) + schedule_.between(Micros(1), kPairDelayMax);
  schedule_.at(pair_to_agent_, [this, message = action.message, life = agent_life_] {
    if (agent_life_ == life) to_agent(agent::FromShepherd{.message = message});
  });
}

void Worker::do_action(const agent::ToShepherd& action) {
  if (const auto* job = std::get_if<pair::JobTemplate>(&action.message))
    needs_[job->job] = {job->settings.cpus, job->settings.mem_bytes};
  pair_to_shepherd_ =
      std::max(pair_to_shepherd_, schedule_.now()) + schedule_.between(Micros(1), kPairDelayMax);
  schedule_.at(pair_to_shepherd_, [this, message = action.message, life = agent_life_] {
    if (agent_life_ == life) to_shepherd(shepherd::FromAgent{.message = message});
  });
}

void Worker::do_action(const shepherd::SpoolAppend& action) {
  pair::Ended ended;
  for (const pair::SpoolItem* item : action.items) ended.items.push_back(*item);
  if (disk_full_) {
    schedule_.after(Micros(1), [this, life = shepherd_life_] {
      if (shepherd_life_ == life) to_shepherd(shepherd::Disk{.full = true});
    });
  } else {
    spool_.insert(spool_.end(), ended.items.begin(), ended.items.end());
  }
  if (action.tells) do_action(shepherd::ToAgent{std::move(ended)});
}

void Worker::do_action(const shepherd::SpoolAcked& action) {
  for (pair::SpoolItem& item : spool_) {
    if (std::count(action.keys.begin(), action.keys.end(), item.result.key) > 0) item.acked = true;
  }
  forget_done();
}

void Worker::do_action(const shepherd::SpoolDelivered& action) {
  for (pair::SpoolItem& item : spool_) {
    if (item.result.key == action.key)
      item.delivered[static_cast<std::size_t>(action.stream)] = true;
  }
  forget_done();
}

void Worker::forget_done() {
  std::erase_if(spool_, [](const pair::SpoolItem& item) { return item.is_done(); });
}

void Worker::do_action(const shepherd::SpoolRetry&) {
  schedule_.after(Micros(1), [this, life = shepherd_life_] {
    if (shepherd_life_ == life) to_shepherd(shepherd::Disk{.full = disk_full_});
  });
}

void Worker::do_action(const shepherd::SetAside&) {
  spool_.clear();
  synced_.clear();
  schedule_.after(Micros(1), [this, life = shepherd_life_] {
    if (shepherd_life_ == life) to_shepherd(shepherd::NewInstance{.instance = fresh_instance()});
  });
}

void Worker::do_action(const shepherd::Exit& action) {
  schedule_.trace("shepherd exits", static_cast<std::uint64_t>(action.code));
  if (action.code != 0) executions_.complain("a shepherd gave up: " + action.message);
  if (!processes_.empty()) executions_.complain("a shepherd left while its tasks run");
  const std::uint64_t life = shepherd_life_;
  schedule_.after(Micros(0), [this, life] {
    if (shepherd_life_ == life) kill_shepherd();
  });
}

void Worker::do_action(const agent::Send& action) {
  links_[action.master]->send(wire::encode(action.message));
}

void Worker::do_action(const agent::ReadOutput& action) {
  const std::uint64_t end =
      std::min<std::uint64_t>(action.total, action.offset + limits::kLogChunkBytes);
  const std::uint64_t length = end > action.offset ? end - action.offset : 0;
  schedule_.after(Micros(10), [this, action, length, life = agent_life_] {
    if (agent_life_ != life) return;
    to_agent(agent::OutputRead{
        .output = action.output, .offset = action.offset, .data = Bytes(length, 'x')});
  });
}

void Worker::do_action(const agent::Stop& action) {
  if (action.exit_code != 0) executions_.complain("an agent gave up: " + action.message);
  const std::uint64_t life = agent_life_;
  schedule_.after(Micros(0), [this, life] {
    if (agent_life_ == life) kill_agent();
  });
}

bool Worker::is_idle() const {
  return shepherd_ && shepherd_->held_count() == 0 && shepherd_->spooled_count() == 0 &&
         processes_.empty();
}

std::string Worker::describe() const {
  if (!shepherd_) return options_.name + ": down";
  return options_.name + ": holds " + std::to_string(shepherd_->held_count()) + ", spooled " +
         std::to_string(shepherd_->spooled_count()) + ", runs " + std::to_string(processes_.size());
}

}  // namespace capstan::sim
