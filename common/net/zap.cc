// SPDX-License-Identifier: MIT
//
// The key ring, and the thread that answers libzmq's question "may this key come in?" (ZAP, RFC
// 27). The answer names the key (User-Id) and numbers the connection; libzmq puts both on every
// frame that comes over it, where the peer cannot touch them.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/net/zmq_internal.h"

namespace capstan::net {
namespace {

constexpr const char* kHandlerAddress = "inproc://zeromq.zap.01";
/// Frames of a request, behind the two that bring it here (a ROUTER's routing id, a delimiter).
enum ZapFrame : std::size_t {
  kRouting,
  kDelimiter,
  kVersion,
  kRequestId,
  kDomain,
  kAddress,
  kPeerName,
  kMechanism,
  kKey,
  kFrames
};
constexpr std::size_t kBinaryKeyBytes = 32;

std::string z85(const std::string& binary) {
  char text[41] = {};
  zmq_z85_encode(text, reinterpret_cast<const std::uint8_t*>(binary.data()), binary.size());
  return text;
}

/// One property as ZMTP writes it: length and name, four bytes of length and value.
std::string metadata(std::string_view name, std::string_view value) {
  std::string out;
  out += static_cast<char>(name.size());
  out += name;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += static_cast<char>((value.size() >> shift) & 0xFF);
  }
  out += value;
  return out;
}

void block_all_signals() {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

KeyRing::KeyRing() : impl_(std::make_unique<Impl>()) {}
KeyRing::~KeyRing() = default;

void KeyRing::add(const Identity& identity) {
  const std::unique_lock lock(impl_->mutex);
  impl_->keys[identity.public_key] = identity;
  ++impl_->version;
}

void KeyRing::remove(const std::string& public_key) {
  const std::unique_lock lock(impl_->mutex);
  impl_->keys.erase(public_key);
  ++impl_->version;
}

void KeyRing::set_complete(bool complete) {
  impl_->is_complete = complete;
}

std::optional<Identity> KeyRing::find(const std::string& public_key) const {
  const std::shared_lock lock(impl_->mutex);
  const auto found = impl_->keys.find(public_key);
  if (found == impl_->keys.end()) return std::nullopt;
  return found->second;
}

Authenticator::~Authenticator() {
  CHECK(!thread_.joinable());
}

Result<void> Authenticator::start(void* context) {
  if (thread_.joinable()) return {};
  socket_ = TRY(Socket::open(context, ZMQ_ROUTER));
  TRY(socket_.set(ZMQ_LINGER, 0));
  if (zmq_bind(socket_.raw(), kHandlerAddress) != 0) return zmq_fail("binding the ZAP handler");
  thread_ = std::thread([this] { serve(); });
  return {};
}

void Authenticator::join() {
  if (thread_.joinable()) thread_.join();
}

std::string Authenticator::add_domain(const KeyRing::Impl& ring,
                                      std::atomic<std::uint64_t>& refused) {
  const std::lock_guard lock(mutex_);
  std::string name = "capstan." + std::to_string(++domains_made_);
  domains_[name] = Domain{&ring, &refused};
  return name;
}

void Authenticator::remove_domain(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  domains_.erase(domain);
}

void Authenticator::serve() noexcept {
  block_all_signals();
  Request request;
  while (receive(request)) answer(request);
  const bool is_expected = is_ending_ && zmq_errno() == ETERM;
  if (!is_expected) {
    log::error("authenticator.ended", {{"reason", zmq_strerror(zmq_errno())},
                                       {"then", "stopping: without it any key would be let in"}});
    std::abort();
  }
  socket_.close(Micros(0));
}

bool Authenticator::receive(Request& request) {
  request.frames.clear();
  for (;;) {
    Frame frame;
    if (zmq_msg_recv(frame.raw(), socket_.raw(), 0) < 0) {
      if (zmq_errno() == EINTR) continue;
      return false;
    }
    request.frames.emplace_back(frame.bytes());
    if (!frame.has_more()) return true;
  }
}

void Authenticator::answer(const Request& request) {
  const auto& frames = request.frames;
  if (frames.size() < kDelimiter + 1) return;  // Nobody to answer to.
  const bool is_curve = frames.size() == kFrames && frames[kVersion] == "1.0" &&
                        frames[kMechanism] == "CURVE" && frames[kKey].size() == kBinaryKeyBytes;
  if (!is_curve) {
    if (frames.size() > kRequestId) reply(request, "400", "");
    return;
  }
  const std::string key = z85(frames[kKey]);
  const std::lock_guard lock(mutex_);  // The listener cannot go away while its ring is read.
  const auto domain = domains_.find(frames[kDomain]);
  if (domain == domains_.end()) return;  // Closed in the meantime: its connections are ending.
  const KeyRing::Impl& ring = *domain->second.ring;
  const std::shared_lock ring_lock(ring.mutex);
  if (!ring.keys.contains(key)) {
    ++*domain->second.refused;
    // No answer, when it may be told later: as below.
    return ring.is_complete ? reply(request, "400", "") : void();
  }
  if (!rate_.take(key, clock_.now())) {
    // No answer: the connection ends with its handshake time, and its owner tries again later. A
    // refusal would look like a wrong key.
    ++*domain->second.refused;
    return;
  }
  reply(request, "200", key);
}

void Authenticator::reply(const Request& request, const char* status, const std::string& key) {
  const bool is_let_in = std::strcmp(status, "200") == 0;
  const std::string properties =
      is_let_in ? metadata(kConnectionProperty, std::to_string(++connections_)) : "";
  const std::string_view parts[] = {
      request.frames[kRouting],       "",  "1.0",     request.frames[kRequestId], status,
      is_let_in ? "OK" : "No access", key, properties};
  // A handshake that ended while it asked has no pipe any more: then this goes nowhere.
  const std::size_t count = std::size(parts);
  for (std::size_t i = 0; i < count; ++i) {
    if (!socket_.send(parts[i], i + 1 < count ? ZMQ_SNDMORE : 0)) return;
  }
}

}  // namespace capstan::net
