// SPDX-License-Identifier: MIT
#include "tests/sim/client.h"

#include <algorithm>
#include <utility>

#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr Micros kRetryEvery{3s};
constexpr std::size_t kInputsPerPart = 3;  // Small, so that submissions have several parts.

}  // namespace

Client::Client(Schedule& schedule, const std::vector<Network*>& masters, const std::string& name,
               Role role)
    : schedule_(schedule), name_(name) {
  for (Network* network : masters) add_link(*network, role);
  tick();
}

void Client::add_link(Network& network, Role role) {
  Master& master = masters_.emplace_back();
  master.link = &network.add_link(
      {.role = role, .name = name_, .public_key = "key-of-" + name_},
      {.on_frame = [this, &master](std::string_view frame) { on_frame(master, frame); },
       .on_connected =
           [this, &master] {
             end_session(master);
             hello(master);
           },
       .on_closed = [this, &master] { end_session(master); }});
}

bool Client::is_open() const {
  return active_ != nullptr && active_->session.is_open();
}

RequestId Client::fresh_id() {
  RequestId id;
  for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(schedule_.rng().next());
  return id;
}

void Client::submit(JobSpec spec, std::uint64_t inputs, const std::string& token) {
  Mutation m;
  m.request = fresh_id();
  m.is_submission = true;
  m.inputs = inputs;
  const std::uint64_t per_part = std::uint64_t{kInputsPerPart} * spec.inputs_per_task;
  if (spec.has_stdin) m.stdin_parts = 1 + schedule_.rng().below(3);
  m.open = {
      .request = m.request, .token = token, .digest = Bytes(16, 'd'), .spec = std::move(spec)};
  for (std::uint64_t i = 0; i < inputs; ++i) {
    if (i % per_part == 0) m.parts.emplace_back();
    m.parts.back().push_back("input " + std::to_string(i + 1));
  }
  history_.push_back(std::move(m));
  if (is_open()) send_mutation(history_.back());
}

void Client::control(msg::Verb verb, JobId job, std::int32_t priority) {
  Mutation m;
  m.request = fresh_id();
  m.control = {.request = m.request,
               .verb = verb,
               .targets = {{.job = job, .tasks = {}}},
               .reason = verb == msg::Verb::Cancel ? "drawn" : "",
               .priority = priority};
  history_.push_back(std::move(m));
  if (is_open()) send_mutation(history_.back());
}

void Client::control(msg::WorkerVerb verb, const std::string& worker) {
  Mutation m;
  m.request = fresh_id();
  m.workers = {.request = m.request, .verb = verb, .names = {worker}, .reason = "simulated"};
  history_.push_back(std::move(m));
  if (is_open()) send_mutation(history_.back());
}

void Client::restart() {
  schedule_.trace("client restarted");
  for (Master& master : masters_) master.session.close();
  for (auto& [job, watched] : watched_) watched.open = false;
}

void Client::hello(Master& master) {
  master.session.close();
  msg::ClientHello hello{.protocol = kProtocol, .version = kVersion, .highest_epoch = highest_};
  master.link->send(
      wire::encode({.session = {}, .n = 0, .epoch = highest_, .body = std::move(hello)}));
}

void Client::hello_to_all() {
  for (Master& master : masters_) {
    if (master.link->is_connected()) hello(master);
  }
}

// One of the others may lead by now.
void Client::end_session(Master& master) {
  const bool was_active = active_ == &master && master.session.is_open();
  master.session.close();
  if (!was_active) return;
  for (Master& other : masters_) {
    if (&other != &master && other.link->is_connected()) hello(other);
  }
}

void Client::send(msg::Body body) {
  if (!is_open()) return;
  msg::Message message{
      .session = active_->session.id(), .n = 0, .epoch = highest_, .body = std::move(body)};
  message.n = active_->session.next_out();
  active_->link->send(wire::encode(message));
}

void Client::send_mutation(Mutation& mutation) {
  ++mutation.said;
  if (!mutation.is_submission) {
    mutation.workers ? send(*mutation.workers) : send(mutation.control);
    return;
  }
  send(mutation.open);
  std::uint64_t part = 0;
  for (; part < mutation.stdin_parts; ++part) {
    send(msg::SubmitStdin{.request = mutation.request, .part = part, .data = "what a task reads"});
  }
  for (const std::vector<Bytes>& inputs : mutation.parts) {
    send(msg::SubmitInputs{.request = mutation.request, .part = part++, .inputs = inputs});
  }
  send(msg::SubmitClose{.request = mutation.request, .parts = part, .inputs = mutation.inputs});
}

void Client::resume() {
  for (Mutation& mutation : history_) {
    if (!mutation.answered) send_mutation(mutation);
  }
  for (auto& [job, watched] : watched_) {
    if (watched.finished) continue;
    if (watched.open) send(msg::Unwatch{.watch = watched.watch});
    watched.watch = next_watch_++;
    watched.open = true;
    send(msg::Watch{.watch = watched.watch,
                    .job = job,
                    .generation = watched.generation,
                    .from = watched.from,
                    .tasks = true,
                    .output = false});
  }
}

void Client::tick() {
  // With one master its silence is noticed by the next gap.
  if (!is_alone() && is_open() && schedule_.now() - active_->heard_at > limits::kSuspectAfter)
    end_session(*active_);
  if (is_open()) {
    send(msg::Heartbeat{.seen = active_->session.seen()});
    if (schedule_.rng().chance(30)) resume();
  } else {
    hello_to_all();
  }
  schedule_.after(schedule_.between(1s, kRetryEvery), [this] { tick(); });
}

void Client::on_frame(Master& master, std::string_view frame) {
  const auto message = wire::decode(frame);
  if (!message) return complain("the master sent what does not decode: " + message.error().message);
  if (const auto* refused = std::get_if<msg::Refused>(&message->body)) {
    return on_refused(master, *refused);
  }
  if (message->epoch < highest_) return;
  master.heard_at = schedule_.now();
  if (std::holds_alternative<msg::NeedHello>(message->body)) {
    if (master.session.is_open() && message->session == master.session.id()) hello(master);
    return;
  }
  if (std::holds_alternative<msg::Welcome>(message->body)) return on_welcome(master, *message);
  if (!master.session.accept(message->session, message->n)) {
    if (message->session == master.session.id()) hello(master);
    return;
  }
  highest_ = message->epoch;
  if (&master == active_) on_message(*message);
}

void Client::on_welcome(Master& master, const msg::Message& message) {
  highest_ = message.epoch;
  if (master.session.is_open() && message.session <= master.session.id()) return;
  for (Master& other : masters_) other.session.close();
  master.session = wire::SessionEnd(message.session);
  active_ = &master;
  if (!master.session.accept(message.session, message.n)) return complain("a Welcome with n != 1");
  for (auto& [job, watched] : watched_) watched.open = false;
  for (Mutation& mutation : history_) {
    if (!mutation.answered) mutation.said = 0;
  }
  resume();
}

// A standby: it may lead in a moment.
void Client::on_refused(Master& master, const msg::Refused& refused) {
  if (is_alone() || refused.code != Errc::Unavailable)
    return complain("refused: " + refused.reason);
  end_session(master);
  if (std::exchange(master.is_to_be_asked, true)) return;
  schedule_.after(limits::kAskStandby, [this, &master] {
    master.is_to_be_asked = false;
    if (!is_open() && master.link->is_connected()) hello(master);
  });
}

Mutation* Client::find(const RequestId& request) {
  const auto it = std::find_if(history_.begin(), history_.end(),
                               [&](const Mutation& m) { return m.request == request; });
  return it == history_.end() ? nullptr : &*it;
}

void Client::on_message(const msg::Message& message) {
  if (const auto* submitted = std::get_if<msg::Submitted>(&message.body)) {
    Mutation* m = find(submitted->request);
    if (m == nullptr || !m->is_submission) return complain("Submitted for what was not asked");
    if (m->answered && m->job != submitted->job) return complain("one request made two jobs");
    m->answered = true;
    m->job = submitted->job;
    m->tasks = submitted->tasks;
    schedule_.trace("acknowledged", submitted->job.value, submitted->tasks);
    if (watched_.try_emplace(m->job).second) resume();
  } else if (const auto* done = std::get_if<msg::Done>(&message.body)) {
    if (Mutation* m = find(done->request)) m->answered = true;
  } else if (const auto* denied = std::get_if<msg::Denied>(&message.body)) {
    if (denied->code == Errc::Unavailable || denied->code == Errc::Protocol) return;
    if (Mutation* m = find(denied->request)) m->answered = m->refused = true;
  } else if (const auto* events = std::get_if<msg::WatchEvents>(&message.body)) {
    on_events(*events);
  }
}

void Client::on_events(const msg::WatchEvents& events) {
  const auto it = std::find_if(watched_.begin(), watched_.end(), [&](const auto& pair) {
    return pair.second.open && pair.second.watch == events.watch;
  });
  if (it == watched_.end()) return;
  Watched& watched = it->second;
  for (const msg::TaskEnded& ended : events.ended) watched.ended.insert(ended.view.task.value);
  watched.generation = events.generation;
  watched.from = events.seq;
  for (const msg::JobView& job : events.job) {
    watched.state = job.state;
    watched.finished = is_finished(job.state);
  }
  send(msg::WatchCredit{.watch = events.watch, .handled = 1});
}

bool Client::has_deleted(JobId job) const {
  return std::any_of(history_.begin(), history_.end(), [job](const Mutation& m) {
    return !m.is_submission && m.control.verb == msg::Verb::Delete && (!m.refused || m.said > 1) &&
           m.control.targets.front().job == job;
  });
}

bool Client::is_done() const {
  return std::all_of(history_.begin(), history_.end(),
                     [](const Mutation& m) { return m.answered; }) &&
         std::all_of(watched_.begin(), watched_.end(), [this](const auto& pair) {
           return pair.second.finished || has_deleted(pair.first);
         });
}

void Client::complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = name_ + ": " + what;
}

}  // namespace capstan::sim
