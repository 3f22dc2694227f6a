// SPDX-License-Identifier: MIT
#include "cli/client.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "cli/known_members.h"
#include "cli/worker_names.h"
#include "common/base/print_error.h"
#include "common/model/limits.h"
#include "common/model/parse.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

constexpr Micros kNoticeAfter = 1s;      ///< Silence that a person starts to wonder about.
constexpr Micros kHelloAgainAfter = 3s;  ///< A HELLO or its Welcome was lost.
constexpr Micros kAskAgainAfter = limits::kAskStandby;  ///< After "not now".
/// A watch's credit is given back in halves: half the messages, and never a stall.
constexpr std::uint32_t kCreditStep = limits::kWatchCredit / 2;

std::string addresses_of(const net::Access& access) {
  std::string all;
  for (const Member& master : access.masters) {
    for (const std::string& address : master.addresses) {
      if (!all.empty()) all += ", ";
      all += address;
    }
  }
  return all;
}

}  // namespace

/// One master that we dial.
struct Client::Link {
  Member master;
  std::unique_ptr<net::ZmqDialer> dialer;
  wire::SessionEnd session;
  bool connected = false;
  bool turned_away = false;  ///< For good: it does not take our key, or would not speak with us.
  bool is_standby = false;   ///< Its last word was "not now".
  TimePoint dial_at = TimePoint::never();
  TimePoint greet_at = TimePoint::never();  ///< HELLO (again) when no Welcome has come by then.
  TimePoint heard_at{0};
  TimePoint heartbeat_at = TimePoint::never();
};

/// The submission under way. `accepted` parts are durable; `sent` ones are on their way.
struct Client::PendingSubmit {
  const Submission& submission;
  Reply reply;
  std::uint64_t accepted = 0;
  std::uint64_t sent = 0;
  bool opened = false;
  bool closed = false;
  TimePoint again_at = TimePoint::never();
};

Client::Client(net::EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}

Client::~Client() {
  // What was said last (a credit, an unwatch) may still leave; nothing waits for it.
  for (auto& link : links_) {
    if (link->dialer) link->dialer->close(Micros(0));
  }
}

Outcome<std::unique_ptr<Client>> Client::open(net::EventLoop& loop, Options options) {
  std::unique_ptr<Client> client(new Client(loop, std::move(options)));
  for (const Member& master : client->options_.access.masters) {
    client->links_.push_back(std::make_unique<Link>());
    client->links_.back()->master = master;
    TRY(client->dial(*client->links_.back()));
  }
  if (client->links_.empty()) return usage_error("the access file names no master");
  return client;
}

Outcome<void> Client::dial(Link& at) {
  net::ZmqDialer::Handler handler{
      .on_frame = [this, &at](std::string_view frame) { on_frame(at, frame); },
      .on_connected =
          [this, &at] {
            at.connected = true;
            at.turned_away = at.is_standby = false;
            end_session(at);
            greet(at);
          },
      .on_closed =
          [this, &at] {
            at.connected = at.is_standby = false;
            end_session(at);
            at.greet_at = TimePoint::never();
          },
      .on_refused =
          [this, &at](const Error& error) {
            at.connected = false;
            on_turned_away(at, error);
            // A standby hears of a new key a moment later than the master that leads.
            at.dial_at = now() + limits::kHelloRetry;
          },
  };
  at.dial_at = TimePoint::never();
  auto dialer =
      net::ZmqDialer::open(context_, loop_, at.master, options_.access.keys, std::move(handler));
  if (!dialer) return usage_error("the access file: " + dialer.error().message);
  at.dialer = std::move(*dialer);
  return {};
}

/// Not from within a dialer's own callback.
void Client::dial_again() {
  for (auto& link : links_) {
    if (now() >= link->dial_at && !dial(*link)) link->dial_at = now() + limits::kHelloRetryMax;
  }
}

void Client::greet(Link& link) {
  link.greet_at = now() + kHelloAgainAfter;
  msg::Message hello;
  hello.epoch = epoch_;
  hello.body = msg::ClientHello{kProtocol, kVersion, epoch_};
  link.dialer->send(wire::encode(hello));
}

void Client::end_session(Link& link) {
  link.session.close();
  link.heartbeat_at = TimePoint::never();
  if (active_ != &link) return;
  active_ = nullptr;
  for (auto& other : links_) {  // One of them may lead by now.
    const bool may_lead = other.get() != &link && other->connected && !other->turned_away;
    if (may_lead) other->greet_at = std::min(other->greet_at, now());
  }
}

void Client::on_turned_away(Link& link, const Error& error) {
  link.turned_away = true;
  end_session(link);
  link.greet_at = TimePoint::never();
  refused_ = error;
}

void Client::on_refused(Link& link, const msg::Message& message, const msg::Refused& refused) {
  if (refused.code != Errc::Unavailable) {
    const bool is_late = links_.size() > 1 && message.epoch && message.epoch < epoch_;
    if (is_late) return;  // Of a master that was deposed.
    return on_turned_away(link, Error{refused.code, refused.reason});
  }
  end_session(link);  // A standby, or one that has no room for us now: HELLO is said again.
  link.is_standby = true;
  link.greet_at = now() + kAskAgainAfter;
  if (!is_open()) last_reason_ = refused.reason;
}

/// Standbys say nothing of their own: the word of the others is that of all.
bool Client::no_link_left() const {
  bool is_any_turned_away = false;
  for (const auto& link : links_) {
    if (!link->turned_away && !link->is_standby) return false;
    is_any_turned_away = is_any_turned_away || link->turned_away;
  }
  return is_any_turned_away;
}

void Client::on_frame(Link& link, std::string_view frame) {
  auto message = wire::decode(frame);
  if (!message) {  // Not our master's words: begin anew rather than guess.
    end_session(link);
    link.greet_at = std::min(link.greet_at, now() + kHelloAgainAfter);
    return;
  }
  if (const auto* refused = std::get_if<msg::Refused>(&message->body)) {
    return on_refused(link, *message, *refused);
  }
  if (message->epoch < epoch_) return;  // A deposed master.
  link.heard_at = now();
  if (std::holds_alternative<msg::NeedHello>(message->body)) {
    // Of no open session, or of another one: it answers something older than our last HELLO.
    if (!link.session.is_open() || message->session != link.session.id()) return;
    end_session(link);
    return greet(link);
  }
  if (std::holds_alternative<msg::Welcome>(message->body)) return on_welcome(link, *message);
  if (!link.session.accept(message->session, message->n)) {
    if (!link.session.is_open()) return;
    end_session(link);
    return greet(link);
  }
  epoch_ = message->epoch;
  if (active_ == &link) on_body(std::move(message->body));
}

void Client::on_welcome(Link& link, const msg::Message& message) {
  wire::SessionEnd session(message.session);
  if (!session.accept(message.session, message.n)) return;
  const bool is_of_this_reign = message.epoch == epoch_;  // Ids grow within one.
  if (link.session.is_open() && is_of_this_reign && link.session.id() >= message.session) return;
  active_ = nullptr;
  for (auto& other : links_) {
    if (other.get() != &link) end_session(*other);
  }
  link.session = session;
  link.is_standby = false;
  link.greet_at = TimePoint::never();
  epoch_ = message.epoch;
  welcome_ = std::get<msg::Welcome>(message.body);
  if (welcome_.heartbeat_every <= Micros(0)) welcome_.heartbeat_every = limits::kHeartbeatEvery;
  link.heartbeat_at = now() + welcome_.heartbeat_every;
  active_ = &link;
  last_reason_.clear();
  remember_members(options_.members_file, options_.access, welcome_);
  send_all_pending();
}

void Client::send_all_pending() {
  for (auto& [id, pending] : queries_) {
    if (!send(pending.body)) return;
    pending.again_at = TimePoint::never();
  }
  for (auto& [id, pending] : mutations_) {
    if (!send(pending.body)) return;
    pending.again_at = TimePoint::never();
  }
  for (auto& [id, state] : watches_) {
    state.handled = 0;
    state.again_at = TimePoint::never();
    if (!send(state.watch)) return;
  }
  if (submit_) {
    submit_->opened = submit_->closed = false;
    submit_->sent = submit_->accepted;
    submit_->again_at = TimePoint::never();
    pump_submission();
  }
}

bool Client::send(const msg::Body& body) {
  if (active_ == nullptr) return false;
  Link& link = *active_;
  msg::Message message;
  message.session = link.session.id();
  message.n = link.session.next_out();
  message.epoch = epoch_;
  message.body = body;
  if (link.dialer->send(wire::encode(message))) return true;
  // The number is spent: the master would see a gap. A new session says everything again.
  end_session(link);
  if (link.connected) link.greet_at = now() + kAskAgainAfter;
  return false;
}

void Client::add_query(std::uint64_t id, msg::Body body, Reply reply) {
  auto& pending = queries_[id];
  pending.body = std::move(body);
  pending.reply = std::move(reply);
  send(pending.body);
}

void Client::add_mutation(const RequestId& request, msg::Body body, Reply reply) {
  auto& pending = mutations_[request];
  pending.body = std::move(body);
  pending.reply = std::move(reply);
  send(pending.body);
}

template <class Map, class Key>
void Client::answer(Map& pending, const Key& key, Result<msg::Body> body) {
  const auto found = pending.find(key);
  if (found == pending.end()) return;  // Answered before: this one is of a retry.
  const Reply reply = std::move(found->second.reply);
  pending.erase(found);
  reply(std::move(body));
}

void Client::on_body(msg::Body body) {
  std::visit(
      [&](auto& m) {
        using M = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<M, msg::Denied>) {
          on_denied(m);
        } else if constexpr (std::is_same_v<M, msg::WatchEvents>) {
          on_watch_events(std::move(m));
        } else if constexpr (std::is_same_v<M, msg::Accepted>) {
          if (!submit_ || submit_->submission.open().request != m.request) return;
          submit_->accepted = std::max(submit_->accepted, m.part + 1);
          progressed_at_ = now();
          pump_submission();
        } else if constexpr (std::is_same_v<M, msg::Submitted>) {
          if (!submit_ || submit_->submission.open().request != m.request) return;
          const Reply reply = std::move(submit_->reply);
          submit_.reset();
          reply(msg::Body(std::move(m)));
        } else if constexpr (std::is_same_v<M, msg::Done>) {
          const RequestId request = m.request;
          answer(mutations_, request, msg::Body(std::move(m)));
        } else if constexpr (requires { m.query; }) {  // Every other answer to a question.
          const std::uint64_t query = m.query;
          answer(queries_, query, msg::Body(std::move(m)));
        }
      },
      body);
}

void Client::on_denied(const msg::Denied& denied) {
  const bool is_later = denied.code == Errc::Unavailable;
  if (is_later) last_reason_ = denied.reason;
  const TimePoint again = now() + kAskAgainAfter;
  const Error error{denied.code, denied.reason};
  if (denied.query != 0) {
    if (const auto found = watches_.find(denied.query); found != watches_.end()) {
      if (is_later) {
        found->second.again_at = again;
        return;
      }
      const OnWatch on_events = std::move(found->second.on_events);
      watches_.erase(found);
      return on_events(tl::unexpected<Error>(error));
    }
    if (!is_later) return answer(queries_, denied.query, tl::unexpected<Error>(error));
    if (const auto found = queries_.find(denied.query); found != queries_.end()) {
      found->second.again_at = again;
    }
    return;
  }
  if (submit_ && submit_->submission.open().request == denied.request) {
    if (is_later) {
      submit_->again_at = again;
      return;
    }
    const Reply reply = std::move(submit_->reply);
    submit_.reset();
    return reply(tl::unexpected<Error>(error));
  }
  if (!is_later) return answer(mutations_, denied.request, tl::unexpected<Error>(error));
  if (const auto found = mutations_.find(denied.request); found != mutations_.end()) {
    found->second.again_at = again;
  }
}

void Client::on_watch_events(msg::WatchEvents events) {
  const auto found = watches_.find(events.watch);
  if (found == watches_.end()) return;  // Unwatched while it was on its way.
  const std::uint64_t id = events.watch;
  WatchState& state = found->second;
  if (events.seq.value != 0) {
    state.watch.from = events.seq;
    state.watch.generation = events.generation;
  }
  if (++state.handled >= kCreditStep) {
    send(msg::WatchCredit{id, state.handled});
    state.handled = 0;
  }
  const OnWatch on_events = state.on_events;  // It may unwatch itself.
  on_events(std::move(events));
}

std::uint64_t Client::watch(msg::Watch watch, OnWatch on_events) {
  const std::uint64_t id = ++last_query_;
  watch.watch = id;
  WatchState& state = watches_[id];
  state.watch = watch;
  state.on_events = std::move(on_events);
  send(state.watch);
  return id;
}

void Client::unwatch(std::uint64_t id) {
  if (watches_.erase(id) != 0) send(msg::Unwatch{id});
}

void Client::send_control(msg::Verb verb, std::vector<Selector> targets, Reply reply) {
  msg::Control control;
  control.request = RequestId::random();
  control.verb = verb;
  control.targets = std::move(targets);
  const RequestId request = control.request;
  add_mutation(request, std::move(control), std::move(reply));
}

Outcome<msg::Done> Client::control(msg::Verb verb, std::vector<Selector> targets) {
  msg::Control control;
  control.verb = verb;
  control.targets = std::move(targets);
  return change(std::move(control));
}

Outcome<msg::Submitted> Client::submit(const Submission& submission) {
  msg::Body body = TRY(blocking([&](Reply reply) {
    submit_ = std::make_unique<PendingSubmit>(PendingSubmit{submission, std::move(reply)});
    pump_submission();
  }));
  if (auto* submitted = std::get_if<msg::Submitted>(&body)) return std::move(*submitted);
  return fail_with(kExitRefused, "the master answered with another kind of message");
}

void Client::pump_submission() {
  PendingSubmit& s = *submit_;
  if (active_ == nullptr || s.again_at != TimePoint::never()) return;
  const msg::SubmitOpen& open = s.submission.open();
  if (!s.opened) {
    if (!send(open)) return;
    s.opened = true;
  }
  while (s.sent < s.submission.parts() && s.sent < s.accepted + limits::kPartsInFlight) {
    if (!send(s.submission.part(s.sent))) return;
    ++s.sent;
  }
  if (s.sent == s.submission.parts() && !s.closed) {
    s.closed = send(msg::SubmitClose{open.request, s.submission.parts(), s.submission.inputs()});
  }
}

void Client::turn(TimePoint deadline) {
  loop_.poll(std::min(deadline, next_timer()));
  run_timers();
}

/// A standby need not hear of us while the master that leads speaks.
TimePoint Client::greet_due(const Link& link) const {
  if (active_ == nullptr || active_ == &link) return link.greet_at;
  return std::max(link.greet_at, active_->heard_at + welcome_.heartbeat_every * 3 / 2);
}

TimePoint Client::next_timer() const {
  TimePoint next = TimePoint::never();
  for (const auto& link : links_) {
    next = std::min({next, greet_due(*link), link->dial_at});
    if (link->session.is_open()) {
      next = std::min({next, link->heartbeat_at, link->heard_at + limits::kSuspectAfter});
    }
  }
  for (const auto& [id, pending] : queries_) next = std::min(next, pending.again_at);
  for (const auto& [id, pending] : mutations_) next = std::min(next, pending.again_at);
  for (const auto& [id, state] : watches_) next = std::min(next, state.again_at);
  if (submit_) next = std::min(next, submit_->again_at);
  return next;
}

void Client::run_timers() {
  dial_again();
  const TimePoint at = now();
  for (auto& link : links_) {
    if (link->session.is_open() && at >= link->heard_at + limits::kSuspectAfter) {
      end_session(*link);
      if (link->connected) link->greet_at = at;
    }
    if (greet_due(*link) <= at) greet(*link);
    if (link->session.is_open() && link->heartbeat_at <= at) {
      link->heartbeat_at = at + welcome_.heartbeat_every;
      if (active_ == link.get()) send(msg::Heartbeat{link->session.seen()});
    }
  }
  const auto again = [&](auto& pending, const auto& body) {
    if (pending.again_at > at) return;
    pending.again_at = TimePoint::never();
    send(body);
  };
  for (auto& [id, pending] : queries_) again(pending, pending.body);
  for (auto& [id, pending] : mutations_) again(pending, pending.body);
  for (auto& [id, state] : watches_) again(state, msg::Body(state.watch));
  if (submit_ && submit_->again_at <= at) {
    submit_->again_at = TimePoint::never();
    submit_->opened = submit_->closed = false;
    submit_->sent = submit_->accepted;
    pump_submission();
  }
}

Outcome<bool> Client::run_until(const std::function<bool()>& done, TimePoint deadline) {
  while (!done()) {
    if (no_link_left()) return fail_with(exit_code_of(refused_.code), refused_.message);
    const Interrupts* interrupts = options_.interrupts;
    if (interrupts != nullptr && interrupts->count() > interrupts_allowed_) {
      return fail_with(interrupts->exit_code(), "");
    }
    if (now() >= deadline) return false;
    turn(deadline);
  }
  return true;
}

Outcome<void> Client::run_while_waiting(const std::function<bool()>& done) {
  while (!done()) {
    // Long waits outlive a master: say so once for each time that it is away, and go on.
    if (TRY(run_until([&] { return done() || !is_open(); }, TimePoint::never())) && done()) break;
    const auto back = [&] { return done() || is_open(); };
    if (TRY(run_until(back, now() + kNoticeAfter))) continue;
    notice("no master answers; waiting for one at " + addresses_of(options_.access));
    TRY(run_until(back, TimePoint::never()));
    if (is_open()) notice("the master is back");
  }
  return {};
}

Failure Client::no_answer() const {
  const std::string limit = duration_text(options_.timeout);
  const std::string at = addresses_of(options_.access);
  if (!is_open() && last_reason_.empty()) {
    return {kExitUnavailable, "no master answered at " + at + " within " + limit +
                                  ": is capstan-master running there? (--timeout waits longer)"};
  }
  if (!last_reason_.empty()) {
    return {kExitUnavailable, "the master says: " + last_reason_ + "; gave up after " + limit};
  }
  return {kExitUnavailable, "the master at " + at + " did not answer within " + limit +
                                "; it may still do what was asked"};
}

void Client::notice(const std::string& line) {
  if (options_.is_silent) return;
  print_error("capstan {}: {}\n", options_.verb, line);
}

Outcome<msg::Body> Client::blocking(const std::function<void(Reply)>& start) {
  std::optional<Result<msg::Body>> answer;
  start([&](Result<msg::Body> body) { answer = std::move(body); });
  Outcome<bool> in_time = wait_for_answer([&] { return answer.has_value(); });
  if (!in_time || !*in_time) {
    // Their callbacks point into this call.
    queries_.clear();
    mutations_.clear();
    submit_.reset();
    return tl::unexpected<Failure>(in_time ? no_answer() : in_time.error());
  }
  if (*answer) return std::move(**answer);
  const Error& error = answer->error();
  return fail_with(exit_code_of(error.code), error.message);
}

Outcome<bool> Client::wait_for_answer(const std::function<bool()>& done) {
  progressed_at_ = now();
  bool was_told = false;
  while (true) {
    const TimePoint from = progressed_at_;
    const Micros patience = was_told ? options_.timeout : std::min(options_.timeout, kNoticeAfter);
    if (TRY(run_until(done, from + patience))) return true;
    if (progressed_at_ != from) continue;
    if (patience == options_.timeout) return false;
    const std::string whom =
        is_open() ? "waiting for the answer of the master at " : "waiting for a master at ";
    notice((last_reason_.empty() ? whom + addresses_of(options_.access)
                                 : "the master says: " + last_reason_ + "; trying again") +
           " (gives up after " + duration_text(options_.timeout) + ")");
    was_told = true;
  }
}

Outcome<std::vector<msg::WorkerView>> list_workers(Client& client) {
  std::vector<msg::WorkerView> workers;
  msg::ListWorkers question;
  while (true) {
    auto page = TRY(client.ask<msg::WorkerList>(question));
    std::move(page.workers.begin(), page.workers.end(), std::back_inserter(workers));
    if (!page.more || page.last <= question.after) break;
    question.after = page.last;
  }
  std::sort(workers.begin(), workers.end(),
            [](const auto& a, const auto& b) { return comes_before(a.name, b.name); });
  return workers;
}

}  // namespace capstan::cli
