// SPDX-License-Identifier: MIT
#include "common/wire/codec.h"

#include <array>
#include <utility>

#include "common/wire/peer_fields.h"
#include "common/wire/version.h"

namespace capstan::wire {
namespace {

constexpr std::size_t kTypes = std::variant_size_v<msg::Body::variant>;
constexpr std::size_t kEnvelopeFields = 5;

/// In the order of msg::Body.
constexpr const char* kTypeNames[] = {
    "Heartbeat",        "NeedHello",      "Refused",       "Enrol",
    "WorkerHello",      "Started",        "Results",       "Returned",
    "WorkerNotice",     "Goodbye",        "LogChunk",      "Enrolled",
    "Welcome",          "JobTemplate",    "Start",         "Cancel",
    "Recall",           "ResultAck",      "LogAck",        "Follow",
    "ClientHello",      "SubmitOpen",     "SubmitInputs",  "SubmitClose",
    "Control",          "ListJobs",       "GetJob",        "ListTasks",
    "ListWorkers",      "GetStatus",      "ReadLog",       "Watch",
    "Unwatch",          "WatchCredit",    "Denied",        "Accepted",
    "Submitted",        "Done",           "JobList",       "JobReply",
    "TaskList",         "WorkerList",     "StatusReply",   "LogData",
    "WatchEvents",      "Purge",          "WorkerControl", "KeyAdd",
    "KeyRevoke",        "ListKeys",       "ListAttempts",  "Why",
    "ListEvents",       "ReadBackup",     "AttemptList",   "WhyReply",
    "EventList",        "KeyList",        "BackupData",    "SubmitStdin",
    "JobStdin",         "PeerHello",      "PreVote",       "PreVoted",
    "Prepare",          "Promised",       "Rejected",      "Accept",
    "RegisterAccepted", "Append",         "Appended",      "Behind",
    "SnapshotOffer",    "SnapshotAsk",    "SnapshotData",  "TakeOver",
    "Reseed",           "LogRelay",       "LogRelayed",    "AskCluster",
    "ClusterView",      "ClusterControl", "ClusterDone"};
static_assert(std::size(kTypeNames) == kTypes);

/// Opens a conversation: its protocol is known only when it is read.
template <class M>
concept Greeting = std::same_as<M, msg::Enrol> || std::same_as<M, msg::WorkerHello> ||
    std::same_as<M, msg::ClientHello>;

template <class M>
void get_body(Reader& r, M& m) {
  get_record(r, m);
}

/// Of a protocol that we do not speak only the number is read: it is enough to refuse it by name.
template <Greeting M>
void get_body(Reader& r, M& m) {
  Reader ahead = r;
  ahead.array_up_to(limits::kNameBytes);
  const auto protocol = static_cast<std::uint32_t>(ahead.u64(UINT32_MAX));
  if (ahead.ok() && !is_spoken(protocol, protocol)) {
    m.protocol = protocol;
    r = Reader({});
    return;
  }
  get_record(r, m);
}

/// A newer node may speak our protocol as well, and say more of itself than we know.
void get_body(Reader& r, msg::PeerHello& m) {
  Reader ahead = r;
  ahead.array_up_to(limits::kNameBytes);
  m.protocol = static_cast<std::uint32_t>(ahead.u64(UINT32_MAX));
  m.protocol_oldest = static_cast<std::uint32_t>(ahead.u64(UINT32_MAX));
  if (ahead.ok() && !is_spoken(m.protocol_oldest, m.protocol)) {
    r = Reader({});
    return;
  }
  if (m.protocol > kProtocol) return get_head_of_record(r, m, limits::kNameBytes);
  get_record(r, m);
}

using GetAny = void (*)(Reader&, msg::Body&);

template <std::size_t... I>
constexpr std::array<GetAny, kTypes> readers(std::index_sequence<I...>) {
  return {[](Reader& r, msg::Body& body) { get_body(r, body.emplace<I>()); }...};
}
constexpr std::array<GetAny, kTypes> kReaders = readers(std::make_index_sequence<kTypes>{});

tl::unexpected<Error> bad_frame(const char* type, const char* what) {
  return fail(Errc::Protocol, std::string("bad message (") + type + "): " + what);
}

}  // namespace

std::string encode(const msg::Message& message) {
  std::string frame;
  Writer w(frame);
  w.array(kEnvelopeFields);
  w.u64(message.body.index() + 1);
  w.u64(message.session.value);
  w.u64(message.n);
  w.u64(message.epoch.value);
  std::visit([&](const auto& body) { put_record(w, body); }, message.body);
  w.finish();
  return frame;
}

Result<msg::Message> decode(std::string_view frame) {
  if (frame.size() > limits::kAnyFrameBytes) return bad_frame("frame", "it is too large");
  Reader r(frame);
  r.array(kEnvelopeFields);
  const std::uint64_t type = r.u64(kTypes);
  Result<msg::Message> message{msg::Message{}};
  get_field(r, message->session);
  get_field(r, message->n);
  get_field(r, message->epoch);
  if (r.ok() && type == 0) r.set_error("an unknown type");
  if (!r.ok()) return bad_frame("envelope", r.error());
  kReaders[type - 1](r, message->body);
  if (r.ok() && !r.finished()) r.set_error("bytes are left over");
  if (!r.ok()) return bad_frame(kTypeNames[type - 1], r.error());
  return message;
}

const char* type_name(const msg::Body& body) {
  return kTypeNames[body.index()];
}

const char* type_name_of(std::string_view frame) {
  Reader r(frame);
  r.array(kEnvelopeFields);
  const std::uint64_t type = r.u64(kTypes);
  return r.ok() && type > 0 ? kTypeNames[type - 1] : "";
}

}  // namespace capstan::wire
