// SPDX-License-Identifier: MIT
//
// Sessions, presence and the table of roles. See session.h.
#include "master/api/session.h"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"

namespace capstan::api {
namespace {

constexpr unsigned kNobody = 0;
constexpr unsigned kWorkers = role_bit(Role::Worker);
constexpr unsigned kAdmins = role_bit(Role::Admin);
constexpr unsigned kClients = role_bit(Role::Admin) | role_bit(Role::User);
constexpr unsigned kBoth = kWorkers | kClients;
constexpr unsigned kEnrolling = role_bit(Role::Enrolment);

constexpr std::size_t kTypes = std::variant_size_v<msg::Body::variant>;

template <class T, std::size_t I = 0>
constexpr std::size_t index_of() {
  static_assert(I < kTypes);
  if constexpr (std::is_same_v<std::variant_alternative_t<I, msg::Body::variant>, T>) {
    return I;
  } else {
    return index_of<T, I + 1>();
  }
}

/// Everything that is not named here is said by masters only.
constexpr std::array<MessageRule, kTypes> make_rules() {
  std::array<MessageRule, kTypes> rules{};
  for (MessageRule& rule : rules) rule = {kNobody, true};
  rules[index_of<msg::Heartbeat>()] = {kBoth, true};
  rules[index_of<msg::Enrol>()] = {kEnrolling, false};
  rules[index_of<msg::WorkerHello>()] = {kWorkers, false};
  rules[index_of<msg::Started>()] = {kWorkers, true};
  rules[index_of<msg::Results>()] = {kWorkers, true};
  rules[index_of<msg::Returned>()] = {kWorkers, true};
  rules[index_of<msg::WorkerNotice>()] = {kWorkers, true};
  rules[index_of<msg::Goodbye>()] = {kWorkers, true};
  rules[index_of<msg::LogChunk>()] = {kWorkers, true};
  rules[index_of<msg::ClientHello>()] = {kClients, false};
  rules[index_of<msg::SubmitOpen>()] = {kClients, true};
  rules[index_of<msg::SubmitStdin>()] = {kClients, true};
  rules[index_of<msg::SubmitInputs>()] = {kClients, true};
  rules[index_of<msg::SubmitClose>()] = {kClients, true};
  rules[index_of<msg::Control>()] = {kClients, true};
  rules[index_of<msg::Purge>()] = {kClients, true};
  rules[index_of<msg::ReadBackup>()] = {role_bit(Role::Admin), true};
  rules[index_of<msg::ListEvents>()] = {kClients, true};
  rules[index_of<msg::ListJobs>()] = {kClients, true};
  rules[index_of<msg::GetJob>()] = {kClients, true};
  rules[index_of<msg::ListTasks>()] = {kClients, true};
  rules[index_of<msg::ListWorkers>()] = {kClients, true};
  rules[index_of<msg::GetStatus>()] = {kClients, true};
  rules[index_of<msg::ListAttempts>()] = {kClients, true};
  rules[index_of<msg::Why>()] = {kClients, true};
  rules[index_of<msg::WorkerControl>()] = {kAdmins, true};
  rules[index_of<msg::KeyAdd>()] = {kAdmins, true};
  rules[index_of<msg::KeyRevoke>()] = {kAdmins, true};
  rules[index_of<msg::ListKeys>()] = {kAdmins, true};
  rules[index_of<msg::ReadLog>()] = {kClients, true};
  rules[index_of<msg::Watch>()] = {kClients, true};
  rules[index_of<msg::Unwatch>()] = {kClients, true};
  rules[index_of<msg::WatchCredit>()] = {kClients, true};
  return rules;
}
constexpr std::array<MessageRule, kTypes> kRules = make_rules();

}  // namespace

const MessageRule& message_rule(const msg::Body& body) {
  return kRules[body.index()];
}

std::optional<std::uint32_t> foreign_protocol(std::string_view frame) {
  wire::Reader r(frame);
  r.array(5);
  const std::uint64_t type = r.u64();
  r.u64();
  r.u64();
  r.u64();
  const bool hello = type == index_of<msg::Enrol>() + 1 ||
                     type == index_of<msg::WorkerHello>() + 1 ||
                     type == index_of<msg::ClientHello>() + 1;
  if (!r.ok() || !hello) return std::nullopt;
  if (r.array_up_to(64) == 0) return std::nullopt;
  const auto protocol = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  if (!r.ok() || is_spoken(protocol, protocol)) return std::nullopt;
  return protocol;
}

Sessions::Sessions(net::Listener& listener, Cluster cluster, Epoch epoch)
    : listener_(listener), cluster_(std::move(cluster)), epoch_(epoch) {}

void Sessions::assume_present(const Queue& queue, TimePoint at) {
  at_ = at;
  for (const auto& [id, worker] : queue.workers())
    presence_[id] = planner::Presence{.has_session = false, .last_heard = at, .closed_at = {}};
}

Session& Sessions::open(net::PeerId peer, const net::Identity& identity) {
  if (const auto old = by_peer_.find(peer); old != by_peer_.end()) end(old->second);
  // 2^40 sessions a reign before it would touch the epoch's end above: a year of 34,000 HELLOs a
  // second.
  CHECK(++counter_ < (1ULL << 40));
  const SessionId id((epoch_.value << 40) | counter_);
  Session& session = sessions_[id];
  session.id = id;
  session.peer = peer;
  session.identity = identity;
  session.end = wire::SessionEnd(id);
  session.last_heard = at_;
  by_peer_[peer] = id;
  return session;
}

Session& Sessions::open_worker(net::PeerId peer, const net::Identity& identity, WorkerId worker,
                               Instance instance) {
  if (Session* old = of_worker(worker)) end(old->id);
  std::erase_if(worker_peers_, [&](const auto& known) { return known.second == worker; });
  worker_peers_[peer] = worker;
  Session& session = open(peer, identity);
  session.worker = worker;
  session.instance = instance;
  by_worker_[worker] = session.id;
  heard_.insert(worker);
  presence_[worker] =
      planner::Presence{.has_session = true, .last_heard = at_, .closed = false, .closed_at = {}};
  return session;
}

Result<Session*> Sessions::open_client(net::PeerId peer, const net::Identity& identity) {
  if (const auto old = by_peer_.find(peer); old != by_peer_.end()) end(old->second);
  const std::size_t kept = identity.role == Role::Admin ? limits::kClientsOfAdmins : 0;
  if (clients_ >= limits::kClients + kept)
    return fail(Errc::Unavailable, "too many clients are connected; try again later");
  ++clients_;
  return &open(peer, identity);
}

msg::Welcome Sessions::welcome(const Session& session) const {
  msg::Welcome welcome;
  welcome.protocol = kProtocol;
  welcome.version = kVersion;
  welcome.instance = session.instance;
  welcome.cluster = cluster_.id;
  welcome.generation = cluster_.generation;
  welcome.members = cluster_.members;
  welcome.members_version = cluster_.members_version;
  welcome.heartbeat_every = cluster_.heartbeat_every;
  welcome.name = session.identity.name;
  welcome.role = session.identity.role;
  welcome.hello = session.hello;
  return welcome;
}

void Sessions::hear(net::PeerId peer, SessionId id, TimePoint at) {
  Session* session = find(id);
  if (session == nullptr || session->peer != peer) return;
  session->last_heard = std::max(session->last_heard, at);
  if (!session->worker) return;
  planner::Presence& presence = presence_[session->worker];
  presence.last_heard = std::max(presence.last_heard, at);
  presence.closed = false;
}

Session* Sessions::accept(net::PeerId peer, const msg::Message& message) {
  Session* session = find(message.session);
  if (session == nullptr || session->peer != peer) {
    need_hello(peer, message.session, "this session is not known here (any more)");
    return nullptr;
  }
  if (!session->end.accept(message.session, message.n)) {
    end(session->id);
    need_hello(peer, message.session, "a message went missing");
    return nullptr;
  }
  return session;
}

Session* Sessions::find(SessionId id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() || it->second.over ? nullptr : &it->second;
}

Session* Sessions::of_worker(WorkerId worker) {
  const auto it = by_worker_.find(worker);
  return it == by_worker_.end() ? nullptr : find(it->second);
}

void Sessions::end(SessionId id) {
  Session* session = find(id);
  if (session == nullptr) return;
  session->over = true;
  some_over_ = true;
  by_peer_.erase(session->peer);
  if (session->worker) {
    by_worker_.erase(session->worker);
    presence_[session->worker].has_session = false;
  } else {
    --clients_;
  }
}

void Sessions::end_worker(WorkerId worker, Instance instance) {
  if (Session* session = of_worker(worker); session != nullptr && session->instance == instance)
    end(session->id);
}

void Sessions::on_closed(net::PeerId peer) {
  if (const auto worker = worker_peers_.find(peer); worker != worker_peers_.end()) {
    // Descriptors are reused, so this may be wrong: a session stays, its next message clears it.
    planner::Presence& presence = presence_[worker->second];
    if (!presence.closed) presence.closed_at = at_;
    presence.closed = true;
  } else if (const auto client = by_peer_.find(peer); client != by_peer_.end()) {
    end(client->second);
  }
}

namespace {

/// What is said instead of an answer that no frame holds; none when it answers nothing.
std::optional<msg::Body> refusal_of(const msg::Body& body) {
  const auto denied = [&](const RequestId& request, std::uint64_t query) {
    return msg::Body(msg::Denied{request, query, Errc::Invalid,
                                 "the answer is too large for one message: ask for less"});
  };
  return std::visit(
      [&](const auto& m) -> std::optional<msg::Body> {
        if constexpr (requires { m.request; }) return denied(m.request, 0);
        if constexpr (requires { m.query; }) return denied(RequestId{}, m.query);
        if constexpr (requires { m.watch; }) return denied(RequestId{}, m.watch);
        return std::nullopt;
      },
      body);
}

}  // namespace

void Sessions::send(Session& session, msg::Body body) {
  if (session.over) return;
  msg::Message message{session.id, session.end.next_out(), epoch_, std::move(body)};
  std::string frame = wire::encode(message);
  if (frame.size() > limits::kReplyBytes) {
    log::error("message.too_large", {{"name", session.identity.name},
                                     {"type", wire::type_name(message.body)},
                                     {"bytes", frame.size()}});
    std::optional<msg::Body> refusal = refusal_of(message.body);
    if (!refusal) return end(session.id);
    message.body = std::move(*refusal);
    frame = wire::encode(message);
  }
  if (!listener_.send(session.peer, std::move(frame))) end(session.id);
}

void Sessions::send_to(net::PeerId peer, msg::Body body) {
  // A frame that is lost here is asked for again: by the next HELLO or heartbeat.
  (void)listener_.send(peer, wire::encode(msg::Message{SessionId{}, 0, epoch_, std::move(body)}));
}

void Sessions::need_hello(net::PeerId peer, SessionId over, std::string reason) {
  // Names the session that is over, so that an answer to what was said in an old one ends no newer.
  const msg::Message message{over, 0, epoch_, msg::NeedHello{std::move(reason)}};
  (void)listener_.send(peer, wire::encode(message));
}

void Sessions::refuse(net::PeerId peer, Errc code, std::string reason) {
  send_to(peer, msg::Refused{code, std::move(reason)});
}

void Sessions::shut_out(const std::string& public_key, const std::string& reason) {
  for (auto& [id, session] : sessions_) {
    if (session.identity.public_key != public_key || session.over) continue;
    refuse(session.peer, Errc::NotAllowed, reason);
    end(id);
  }
}

void Sessions::beat() {
  for (auto& [id, session] : sessions_) {
    if (session.worker && !session.welcomed) continue;  // Welcome is n 1.
    send(session, msg::Heartbeat{session.end.seen()});
  }
}

void Sessions::forgive(Micros slept) {
  const auto later = [&](TimePoint t) { return std::min(t + slept, at_); };
  for (auto& [id, session] : sessions_) session.last_heard = later(session.last_heard);
  for (auto& [worker, presence] : presence_) {
    presence.last_heard = later(presence.last_heard);
    presence.closed_at = later(presence.closed_at);
  }
}

void Sessions::expire_clients(TimePoint limit) {
  for (auto& [id, session] : sessions_) {
    if (!session.worker && !session.over && session.last_heard < limit) end(id);
  }
}

std::vector<Session> Sessions::sweep() {
  std::vector<Session> ended;
  if (!std::exchange(some_over_, false)) return ended;
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    if (it->second.over) {
      ended.push_back(std::move(it->second));
      it = sessions_.erase(it);
    } else {
      ++it;
    }
  }
  return ended;
}

bool Sessions::is_superseded(WorkerId worker, Instance instance) const {
  const auto it = superseded_.find(worker);
  return it != superseded_.end() &&
         std::find(it->second.begin(), it->second.end(), instance) != it->second.end();
}

void Sessions::supersede(WorkerId worker, Instance older) {
  std::deque<Instance>& kept = superseded_[worker];
  kept.push_back(older);
  if (kept.size() > kSupersededKept) kept.pop_front();
}

std::vector<Session*> Sessions::worker_sessions() {
  std::vector<Session*> open;
  for (const auto& [worker, id] : by_worker_) {
    if (Session* session = find(id)) open.push_back(session);
  }
  return open;
}

bool Sessions::count_refused() {
  ++refused_;
  return (refused_ & (refused_ - 1)) == 0;
}

}  // namespace capstan::api
