// SPDX-License-Identifier: MIT
#include "tests/sim/client.h"

#include <algorithm>
#include <utility>

#include "common/wire/codec.h"
#include "common/wire/version.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr Micros kRetryEvery{3s};
constexpr std::size_t kInputsPerPart = 3;  // Small, so that submissions have several parts.

}  // namespace

Client::Client(Schedule& schedule, Network& network, const std::string& name, Role role)
    : schedule_(schedule), name_(name) {
  link_ = &network.add_link({.role = role, .name = name, .public_key = "key-of-" + name},
                            {.on_frame = [this](std::string_view frame) { on_frame(frame); },
                             .on_connected = [this] { hello(); },
                             .on_closed = [this] { session_.close(); }});
  tick();
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
  if (session_.is_open()) send_mutation(history_.back());
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
  if (session_.is_open()) send_mutation(history_.back());
}

void Client::control(msg::WorkerVerb verb, const std::string& worker) {
  Mutation m;
  m.request = fresh_id();
  m.workers = {.request = m.request, .verb = verb, .names = {worker}, .reason = "simulated"};
  history_.push_back(std::move(m));
  if (session_.is_open()) send_mutation(history_.back());
}

void Client::restart() {
  schedule_.trace("client restarted");
  session_.close();
  for (auto& [job, watched] : watched_) watched.open = false;
}

void Client::hello() {
  session_.close();
  send(msg::ClientHello{.protocol = kProtocol, .version = kVersion, .highest_epoch = highest_},
       false);
}

void Client::send(msg::Body body, bool in_session) {
  msg::Message message{.session = {}, .n = 0, .epoch = highest_, .body = std::move(body)};
  if (in_session) {
    if (!session_.is_open()) return;
    message.session = session_.id();
    message.n = session_.next_out();
  }
  link_->send(wire::encode(message));
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
  if (session_.is_open()) {
    send(msg::Heartbeat{.seen = session_.seen()});
    if (schedule_.rng().chance(30)) resume();
  } else if (link_->is_connected()) {
    hello();
  }
  schedule_.after(schedule_.between(1s, kRetryEvery), [this] { tick(); });
}

void Client::on_frame(std::string_view frame) {
  const auto message = wire::decode(frame);
  if (!message) return complain("the master sent what does not decode: " + message.error().message);
  if (message->epoch < highest_) return;
  highest_ = message->epoch;
  if (std::holds_alternative<msg::NeedHello>(message->body)) {
    if (session_.is_open() && message->session == session_.id()) hello();
    return;
  }
  if (std::holds_alternative<msg::Refused>(message->body)) {
    return complain("refused: " + std::get<msg::Refused>(message->body).reason);
  }
  if (std::holds_alternative<msg::Welcome>(message->body)) {
    if (session_.is_open() && message->session <= session_.id()) return;
    session_ = wire::SessionEnd(message->session);
    if (!session_.accept(message->session, message->n)) return complain("a Welcome with n != 1");
    for (auto& [job, watched] : watched_) watched.open = false;
    for (Mutation& mutation : history_) {
      if (!mutation.answered) mutation.said = 0;
    }
    return resume();
  }
  if (!session_.accept(message->session, message->n)) {
    if (message->session == session_.id()) hello();
    return;
  }
  on_message(*message);
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
         std::all_of(watched_.begin(), watched_.end(),
                     [](const auto& pair) { return pair.second.finished; });
}

void Client::complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = name_ + ": " + what;
}

}  // namespace capstan::sim
