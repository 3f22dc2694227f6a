// SPDX-License-Identifier: MIT
#include "tests/integration/peers.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "common/wire/codec.h"
#include "common/wire/version.h"

namespace capstan::itest {
namespace {

constexpr int kPatienceMs = 30'000;

}  // namespace

RawPeer::RawPeer(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

bool RawPeer::send(std::string_view bytes) {
  return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

std::uint64_t RawPeer::flood(std::uint64_t bytes) {
  const std::string block(64 * 1024, '\0');
  std::uint64_t sent = 0;
  while (sent < bytes) {
    pollfd fd{fd_.get(), POLLOUT, 0};
    if (::poll(&fd, 1, 1000) <= 0) break;
    const ssize_t count =
        ::send(fd_.get(), block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count <= 0) break;
    sent += static_cast<std::uint64_t>(count);
  }
  return sent;
}

bool RawPeer::is_closed_within(Seconds limit) {
  return eventually(
      [this] {
        char buffer[4096];
        pollfd fd{fd_.get(), POLLIN, 0};
        if (::poll(&fd, 1, 100) <= 0) return false;
        return ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT) <= 0;
      },
      limit);
}

std::string greeting() {
  std::string bytes = std::string("\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01", 12) + "CURVE";
  bytes.resize(64, '\0');
  return bytes;
}

std::string frame_header(char flags, std::uint64_t size) {
  std::string bytes(1, flags);
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes += static_cast<char>((size >> shift) & 0xff);
  }
  return bytes;
}

// --- KeyedPeer -----------------------------------------------------------------------------------

KeyedPeer::KeyedPeer(const std::string& access_path, const net::KeyPair* other_keys) {
  const auto access = net::read_access(access_path);
  REQUIRE(access);
  const net::KeyPair keys = other_keys != nullptr ? *other_keys : access->keys;
  context_ = zmq_ctx_new();
  socket_ = zmq_socket(context_, ZMQ_DEALER);
  const int linger = 0;
  const std::string& server = access->masters.at(0).public_key;
  zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
  zmq_setsockopt(socket_, ZMQ_CURVE_SERVERKEY, server.c_str(), server.size() + 1);
  zmq_setsockopt(socket_, ZMQ_CURVE_PUBLICKEY, keys.public_key.c_str(), 41);
  zmq_setsockopt(socket_, ZMQ_CURVE_SECRETKEY, keys.secret_key.c_str(), 41);
  const std::string address = "tcp://" + access->masters.at(0).addresses.at(0);
  REQUIRE(zmq_connect(socket_, address.c_str()) == 0);
}

KeyedPeer::~KeyedPeer() {
  zmq_close(socket_);
  zmq_ctx_term(context_);
}

void KeyedPeer::send(const std::string& frame, bool more) {
  zmq_send(socket_, frame.data(), frame.size(), more ? ZMQ_SNDMORE : 0);
}

bool KeyedPeer::try_send(const std::string& frame) {
  return zmq_send(socket_, frame.data(), frame.size(), ZMQ_DONTWAIT) >= 0;
}

void KeyedPeer::send(msg::Body body) {
  send(wire::encode({SessionId{}, 0, Epoch{}, std::move(body)}));
}

void KeyedPeer::say(msg::Body body) {
  send(wire::encode({end.id(), end.next_out(), Epoch{}, std::move(body)}));
}

bool KeyedPeer::has_frame(Seconds limit) {
  zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
  return zmq_poll(&item, 1, static_cast<long>(limit.count() * 1000)) > 0;
}

msg::Message KeyedPeer::receive_message() {
  zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
  REQUIRE(zmq_poll(&item, 1, kPatienceMs) > 0);
  zmq_msg_t frame;
  zmq_msg_init(&frame);
  REQUIRE(zmq_msg_recv(&frame, socket_, 0) >= 0);
  auto decoded =
      wire::decode({static_cast<const char*>(zmq_msg_data(&frame)), zmq_msg_size(&frame)});
  zmq_msg_close(&frame);
  REQUIRE(decoded);
  return std::move(*decoded);
}

msg::Body KeyedPeer::receive() {
  return receive_message().body;
}

msg::Welcome KeyedPeer::take_welcome() {
  for (;;) {
    msg::Message message = receive_message();
    if (auto* welcome = std::get_if<msg::Welcome>(&message.body)) {
      end = wire::SessionEnd(message.session);
      return std::move(*welcome);
    }
  }
}

msg::Welcome KeyedPeer::hello() {
  send(msg::ClientHello{kProtocol, kVersion, Epoch{}});
  return take_welcome();
}

msg::Welcome KeyedPeer::hello(msg::WorkerHello hello) {
  hello.protocol = kProtocol;
  hello.version = kVersion;
  if (!hello.instance.is_set()) hello.instance = Uuid::random();
  if (hello.cpus == 0) hello.cpus = 1;
  send(hello);
  return take_welcome();
}

// --- The cluster, as they see it -----------------------------------------------------------------

net::KeyPair enrol(const Cluster& cluster, const std::string& name) {
  net::KeyPair keys = net::make_key_pair();
  KeyedPeer invited(cluster.worker_access());
  invited.send(msg::Enrol{kProtocol, keys.public_key, name});
  REQUIRE(std::holds_alternative<msg::Enrolled>(invited.receive()));
  return keys;
}

void check_serves(const Cluster& cluster) {
  const Finished served = cluster.cli().run({"run", "--quiet", "--", "echo", "served"});
  CAPTURE(served.code);
  CAPTURE(served.err);
  CHECK(served.out == "served\n");
}

std::uint64_t refused_messages(const Cluster& cluster) {
  return cluster.cli().status().at("refused_messages").get<std::uint64_t>();
}

std::uint64_t refused_connections(const Cluster& cluster) {
  return cluster.cli().status().at("refused_connections").get<std::uint64_t>();
}

}  // namespace capstan::itest
