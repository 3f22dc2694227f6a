// SPDX-License-Identifier: MIT
//
// The context, and the thin layer over libzmq's sockets that listener and dialer share.
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <random>

#include "common/base/check.h"
#include "common/base/descriptors.h"
#include "common/model/limits.h"
#include "common/net/zmq_internal.h"

namespace capstan::net {
namespace {

constexpr std::size_t kKeyCharacters = 40;

/// libzmq numbers the peers of a ROUTER from rand() on, which starts the same in every process. A
/// peer that guesses the next number can claim it as its own name and abort us.
void seed_routing_ids() {
  unsigned seed = 0;
  CHECK(::getrandom(&seed, sizeof seed, 0) == sizeof seed);
  std::srand(seed);
}

int milliseconds(Micros duration) {
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

}  // namespace

ZmqContext::ZmqContext() : impl_(std::make_unique<Impl>()) {
  seed_routing_ids();
  raise_descriptor_limit();  // Without a free one for accept() the I/O thread spins.
  impl_->context = zmq_ctx_new();
  CHECK(impl_->context != nullptr);
}

ZmqContext::~ZmqContext() {
  impl_->authenticator.expect_end();
  zmq_ctx_shutdown(impl_->context);
  impl_->authenticator.join();
  while (zmq_ctx_term(impl_->context) != 0 && zmq_errno() == EINTR) continue;
}

KeyPair make_key_pair() {
  std::array<char, kKeyCharacters + 1> public_key{};
  std::array<char, kKeyCharacters + 1> secret_key{};
  CHECK(zmq_curve_keypair(public_key.data(), secret_key.data()) == 0);
  return {public_key.data(), secret_key.data()};
}

bool is_z85_key(const std::string& key) {
  if (key.size() != kKeyCharacters || std::strlen(key.c_str()) != kKeyCharacters) return false;
  std::array<std::uint8_t, 32> binary{};
  return zmq_z85_decode(binary.data(), key.c_str()) != nullptr;
}

tl::unexpected<Error> zmq_fail(const std::string& doing) {
  return fail(Errc::Io, "while " + doing + ": " + zmq_strerror(zmq_errno()));
}

Result<Socket> Socket::open(void* context, int type) {
  Socket socket;
  socket.raw_ = zmq_socket(context, type);
  if (socket.raw_ == nullptr) return zmq_fail("making a socket");
  return socket;
}

Result<void> Socket::set(int option, int value) {
  if (zmq_setsockopt(raw_, option, &value, sizeof value) == 0) return {};
  return zmq_fail("setting option " + std::to_string(option) + " of a socket");
}

Result<void> Socket::set_wide(int option, std::int64_t value) {
  if (zmq_setsockopt(raw_, option, &value, sizeof value) == 0) return {};
  return zmq_fail("setting option " + std::to_string(option) + " of a socket");
}

Result<void> Socket::set_text(int option, const std::string& value) {
  if (zmq_setsockopt(raw_, option, value.data(), value.size()) == 0) return {};
  return zmq_fail("setting option " + std::to_string(option) + " of a socket");
}

std::optional<int> Socket::get(int option) const {
  int value = 0;
  std::size_t size = sizeof value;
  if (zmq_getsockopt(raw_, option, &value, &size) != 0) return std::nullopt;
  return value;
}

std::string Socket::get_text(int option) const {
  std::array<char, 512> text{};
  std::size_t size = text.size();
  if (zmq_getsockopt(raw_, option, text.data(), &size) != 0 || size == 0) return {};
  return std::string(text.data());  // NUL-terminated by the library.
}

bool Socket::receive(Frame& frame) {
  int got = 0;
  do {
    got = zmq_msg_recv(frame.raw(), raw_, ZMQ_DONTWAIT);
  } while (got < 0 && zmq_errno() == EINTR);
  return got >= 0;
}

bool Socket::send(std::string_view bytes, int flags) {
  int sent = 0;
  do {
    sent = zmq_send(raw_, bytes.data(), bytes.size(), flags | ZMQ_DONTWAIT);
  } while (sent < 0 && zmq_errno() == EINTR);
  if (sent >= 0) return true;
  if (zmq_errno() != EAGAIN) return false;
  // The library looks at "there is room again" only now and then: look, and ask once more.
  (void)get(ZMQ_EVENTS);
  return zmq_send(raw_, bytes.data(), bytes.size(), flags | ZMQ_DONTWAIT) >= 0;
}

void Socket::close(Micros linger) {
  if (raw_ == nullptr) return;
  const int wait_ms = milliseconds(linger);
  zmq_setsockopt(raw_, ZMQ_LINGER, &wait_ms, sizeof wait_ms);
  zmq_close(std::exchange(raw_, nullptr));
}

Result<void> set_common_options(Socket& socket) {
  TRY(socket.set(ZMQ_IPV6, 1));
  TRY(socket.set(ZMQ_SNDHWM, limits::kHighWaterMark));
  TRY(socket.set(ZMQ_RCVHWM, limits::kHighWaterMark));
  TRY(socket.set_wide(ZMQ_MAXMSGSIZE, std::int64_t{limits::kFrameBytes}));
  TRY(socket.set(ZMQ_HANDSHAKE_IVL, milliseconds(limits::kHandshake)));
  TRY(socket.set(ZMQ_LINGER, 0));
  TRY(socket.set(ZMQ_TCP_KEEPALIVE, 1));
  return {};
}

Result<Monitor> Monitor::open(void* context, const Socket& watched, int events) {
  static std::atomic<std::uint64_t> made{0};
  const std::string name = "inproc://capstan.monitor." + std::to_string(++made);
  Monitor monitor;
  monitor.socket_ = TRY(Socket::open(context, ZMQ_PAIR));
  TRY(monitor.socket_.set(ZMQ_RCVHWM, 0));
  if (zmq_socket_monitor(watched.raw(), name.c_str(), events) != 0 ||
      zmq_connect(monitor.socket_.raw(), name.c_str()) != 0) {
    return zmq_fail("watching a socket");
  }
  return monitor;
}

std::optional<Monitor::Event> Monitor::next() {
  Frame head;
  Frame address;
  // Two frames: kind and value in the machine's own order, and an address that we do not need.
  if (!socket_ || !socket_.receive(head)) return std::nullopt;
  if (head.has_more()) socket_.receive(address);
  std::uint16_t kind = 0;
  Event event;
  CHECK(head.bytes().size() == sizeof kind + sizeof event.value);
  std::memcpy(&kind, head.bytes().data(), sizeof kind);
  std::memcpy(&event.value, head.bytes().data() + sizeof kind, sizeof event.value);
  event.kind = kind;
  return event;
}

void Monitor::close(const Socket& watched) {
  if (!socket_) return;
  zmq_socket_monitor(watched.raw(), nullptr, 0);
  socket_.close(Micros(0));
}

}  // namespace capstan::net
