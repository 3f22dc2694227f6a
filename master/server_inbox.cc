// SPDX-License-Identifier: MIT
//
// What arrives, and which part of the api it is for.
#include <string>
#include <utility>
#include <variant>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "master/server_impl.h"

namespace capstan {
namespace {

/// It acts on rows of finished jobs that are in the tables.
bool needs_tables(const msg::Body& body) {
  const auto* control = std::get_if<msg::Control>(&body);
  return control != nullptr &&
         (control->verb == msg::Verb::Retry || control->verb == msg::Verb::RetryFailed ||
          control->verb == msg::Verb::Delete);
}

/// What its texts and lists take beside their bytes: a text of one byte is two in a frame.
std::size_t list_bytes(const msg::Body& body) {
  if (const auto* open = std::get_if<msg::SubmitOpen>(&body)) {
    const JobSpec& spec = open->spec;
    return (spec.argv.size() + 2 * spec.env.size()) * sizeof(Bytes) +
           spec.indices.size() * sizeof(IndexRange);
  }
  if (const auto* inputs = std::get_if<msg::SubmitInputs>(&body))
    return inputs->inputs.size() * sizeof(Bytes);
  if (const auto* hello = std::get_if<msg::WorkerHello>(&body))
    return hello->held.size() * sizeof(msg::HeldAttempt) +
           hello->spooled.size() * sizeof(AttemptKey);
  if (const auto* control = std::get_if<msg::Control>(&body))
    return control->targets.size() * sizeof(Selector);
  if (const auto* results = std::get_if<msg::Results>(&body))
    return results->results.size() * sizeof(AttemptResult);
  return 0;
}

std::string protocol_reason(std::uint32_t protocol) {
  const bool newer = protocol > kProtocol;
  return "protocol " + std::to_string(protocol) + " is not spoken by this master (version " +
         kVersion + ", protocols " + std::to_string(kProtocolOldest) + " to " +
         std::to_string(kProtocol) + "): upgrade the " + (newer ? "master" : "other side");
}

std::string role_reason(Role role, const msg::Body& body) {
  std::string reason = "a key with the role " + std::string(to_string(role)) + " may not say " +
                       wire::type_name(body);
  if (std::holds_alternative<msg::WorkerHello>(body) || std::holds_alternative<msg::Enrol>(body))
    reason += "; a worker enrols with the master's worker.access";
  if (std::holds_alternative<msg::ClientHello>(body))
    reason += "; a command line needs an access file like the master's admin.access";
  if (role == Role::User && api::message_rule(body).roles == api::role_bit(Role::Admin))
    reason = "only an admin's key may do this";
  return reason;
}

/// A message inside a session, to the part of the api that it is for.
struct InSession {
  const api::Ledger& ledger;
  api::WorkerApi& workers;
  api::ClientApi& clients;
  api::ReadsApi& reads;
  api::Watches& watches;
  api::LogsApi& logs;
  api::Retention& retention;
  api::BackupsApi& backups;
  api::Sessions& sessions;
  TimePoint now;
  api::Session& session;
  msg::StatusReply status;

  using Done = Result<void>;
  Done operator()(msg::Heartbeat&) { return {}; }
  Done operator()(msg::Started& m) { return workers.on_started(session, m), Done{}; }
  Done operator()(msg::Results& m) { return workers.on_results(session, std::move(m)), Done{}; }
  Done operator()(msg::Returned& m) { return workers.on_returned(session, std::move(m)), Done{}; }
  Done operator()(msg::WorkerNotice& m) { return workers.on_notice(session, m), Done{}; }
  Done operator()(msg::Goodbye&) { return workers.on_goodbye(session), Done{}; }
  Done operator()(msg::LogChunk& m) { return logs.on_chunk(session, std::move(m)), Done{}; }
  Done operator()(msg::SubmitOpen& m) { return clients.on_open(session, std::move(m)); }
  Done operator()(msg::SubmitStdin& m) { return clients.on_stdin(session, m); }
  Done operator()(msg::SubmitInputs& m) { return clients.on_inputs(session, m); }
  Done operator()(msg::SubmitClose& m) { return clients.on_close(session, m); }
  Done operator()(msg::Control& m) { return clients.on_control(session, m); }
  Done operator()(msg::Purge& m) {
    const auto asked = TRY(clients.begin(session, m.request));
    if (!asked) return {};
    if (m.older_than < Micros(0) || m.older_than > limits::kDurationMax) {
      clients.refuse(session, m.request, {Errc::Invalid, "no such age can be purged"});
      return {};
    }
    std::optional<std::string> owner;
    if (session.identity.role != Role::Admin) owner = session.identity.name;
    const auto taken = retention.purge(*asked, std::move(owner), ledger.wall_before(m.older_than));
    if (!taken) clients.refuse(session, m.request, taken.error());
    return {};
  }
  Done operator()(msg::ListJobs& m) { return reads.on_list_jobs(session, m), Done{}; }
  Done operator()(msg::GetJob& m) { return reads.on_get_job(session, m); }
  Done operator()(msg::ListTasks& m) { return reads.on_list_tasks(session, m), Done{}; }
  Done operator()(msg::ListWorkers& m) { return reads.on_list_workers(session, m), Done{}; }
  Done operator()(msg::ListEvents& m) { return reads.on_list_events(session, m), Done{}; }
  Done operator()(msg::ReadBackup& m) {
    const auto reply = [to = &sessions, id = session.id](msg::Body body) {
      if (api::Session* asker = to->find(id)) to->send(*asker, std::move(body));
    };
    return backups.on_read(m, now, reply), Done{};
  }
  Done operator()(msg::ListAttempts& m) { return reads.on_list_attempts(session, m), Done{}; }
  Done operator()(msg::Why& m) { return reads.on_why(session, m), Done{}; }
  Done operator()(msg::WorkerControl& m) { return clients.on_worker_control(session, m); }
  Done operator()(msg::KeyAdd& m) { return clients.on_key_add(session, m); }
  Done operator()(msg::KeyRevoke& m) { return clients.on_key_revoke(session, m); }
  Done operator()(msg::ListKeys& m) { return clients.on_list_keys(session, m), Done{}; }
  Done operator()(msg::GetStatus& m) {
    status.query = m.query;
    return reads.on_status(session, std::move(status)), Done{};
  }
  Done operator()(msg::ReadLog& m) { return logs.on_read(session, m), Done{}; }
  Done operator()(msg::Watch& m) { return watches.on_watch(session, m), Done{}; }
  Done operator()(msg::Unwatch& m) { return watches.on_unwatch(session, m), Done{}; }
  Done operator()(msg::WatchCredit& m) { return watches.on_credit(session, m), Done{}; }
  template <class Other>
  Done operator()(Other&) {
    CHECK(false);  // message_rule() lets nothing else through.
  }
};

}  // namespace

void Server::on_frame(net::PeerId peer, const net::Identity& identity, std::string_view frame) {
  Impl& s = *impl_;
  if (const auto foreign = api::foreign_protocol(frame)) {
    if (s.sessions.count_refused())
      log::warn("peer.refused", {{"name", identity.name},
                                 {"address", s.doors.host.address_of(peer)},
                                 {"reason", protocol_reason(*foreign)}});
    return s.sessions.refuse(peer, Errc::Protocol, protocol_reason(*foreign));
  }
  Result<msg::Message> message =
      frame.size() > limits::kReplyBytes
          ? Result<msg::Message>(fail(Errc::Protocol, "it is larger than a message may be"))
          : wire::decode(frame);
  if (!message) {
    if (s.sessions.count_refused())
      log::warn("message.refused", {{"name", identity.name},
                                    {"address", s.doors.host.address_of(peer)},
                                    {"bytes", frame.size()},
                                    {"reason", message.error().message}});
    return;
  }
  s.sessions.hear(peer, message->session, s.ledger.now());
  const std::size_t bytes = frame.size() + sizeof(Impl::Frame) + list_bytes(message->body);
  if (s.inbox_bytes + bytes > limits::kInboxBytes) {
    if (s.sessions.count_refused())
      log::warn("message.dropped", {{"name", identity.name},
                                    {"bytes", frame.size()},
                                    {"reason", "too much waits for the commit before it"}});
    return;
  }
  s.inbox_bytes += bytes;
  s.inbox.push_back({peer, identity, std::move(*message), false, bytes});
}

void Server::on_closed(net::PeerId peer) {
  impl_->inbox.push_back({peer, {}, {}, true, 0});
}

Result<void> Server::Impl::take_messages() {
  for (std::size_t taken = 0; taken < limits::kMessagesPerTurn && !inbox.empty(); ++taken) {
    if (ledger.is_full()) break;
    if (needs_tables(inbox.front().message.body)) {
      // What this batch changed must be there first.
      if (!ledger.empty()) break;
      TRY(ledger.bring_up(doors.store));
    }
    Frame frame = std::move(inbox.front());
    inbox.pop_front();
    inbox_bytes -= frame.bytes;
    if (frame.closed)
      sessions.on_closed(frame.peer);
    else
      TRY(dispatch(frame));
  }
  return {};
}

void Server::Impl::refuse_role(const Frame& frame) {
  const std::string reason = role_reason(frame.identity.role, frame.message.body);
  if (sessions.count_refused())
    log::warn("message.refused", {{"name", frame.identity.name},
                                  {"address", doors.host.address_of(frame.peer)},
                                  {"reason", reason}});
  sessions.refuse(frame.peer, Errc::NotAllowed, reason);
}

Result<void> Server::Impl::dispatch(Frame& frame) {
  const api::MessageRule& rule = api::message_rule(frame.message.body);
  if ((rule.roles & api::role_bit(frame.identity.role)) == 0) {
    refuse_role(frame);
    return {};
  }
  if (!rule.in_session) return dispatch_hello(frame);
  api::Session* session = sessions.accept(frame.peer, frame.message);
  if (session == nullptr) return {};
  InSession handler{ledger,    workers, clients,  reads,       watches,  logs,
                    retention, backups, sessions, ledger.at(), *session, {}};
  if (std::holds_alternative<msg::GetStatus>(frame.message.body)) handler.status = own_status(0);
  return std::visit(handler, frame.message.body);
}

Result<void> Server::Impl::dispatch_hello(Frame& frame) {
  const auto& keys = ledger.queue().keys();
  if (const auto key = keys.find(frame.identity.public_key);
      key != keys.end() && key->second.revoked_at.us != 0) {
    // It was let in before, and its frames were waiting here.
    sessions.refuse(frame.peer, Errc::NotAllowed,
                    "the key of " + key->second.name + " was revoked by " + key->second.revoked_by);
    return {};
  }
  if (auto* hello = std::get_if<msg::WorkerHello>(&frame.message.body))
    workers.on_hello(frame.peer, frame.identity, std::move(*hello));
  else if (const auto* enrol = std::get_if<msg::Enrol>(&frame.message.body))
    workers.on_enrol(frame.peer, *enrol);
  else if (std::holds_alternative<msg::ClientHello>(frame.message.body))
    clients.on_hello(frame.peer, frame.identity);
  return {};
}

}  // namespace capstan
