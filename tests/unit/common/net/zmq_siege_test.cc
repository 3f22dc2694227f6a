// SPDX-License-Identifier: MIT
//
// What no dialer of ours would do to a listener.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <zmq.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/model/limits.h"
#include "tests/support/loopback.h"
#include "tests/unit/common/net/zmq_fixture.h"

namespace capstan::net {

using namespace test;

namespace {

/// A peer that has a key and does what no dialer of ours does.
struct RawDealer {
  /// `claims`: properties that it says of itself, "X-Name:value".
  RawDealer(const Server& server, const KeyPair& keys, std::uint16_t port,
            const std::vector<std::string>& claims = {})
      : context(zmq_ctx_new()) {
    socket = zmq_socket(context, ZMQ_DEALER);
    const int linger = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server.cluster.master.public_key.data(), 40);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys.public_key.data(), 40);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys.secret_key.data(), 40);
    constexpr int kMetadata = 95;  // ZMQ_METADATA: missing from the header, honoured.
    for (const std::string& claim : claims) {
      REQUIRE(zmq_setsockopt(socket, kMetadata, claim.data(), claim.size()) == 0);
    }
    REQUIRE(zmq_connect(socket, ("tcp://127.0.0.1:" + std::to_string(port)).c_str()) == 0);
  }
  ~RawDealer() {
    if (end != nullptr) zmq_close(end);
    zmq_close(socket);
    zmq_ctx_term(context);
  }
  RawDealer(const RawDealer&) = delete;
  RawDealer& operator=(const RawDealer&) = delete;
  void send(const std::string& frame, bool more) const {
    REQUIRE(zmq_send(socket, frame.data(), frame.size(), more ? ZMQ_SNDMORE : 0) >= 0);
  }
  /// REQUIRES: before it can happen. libzmq aborts when a socket is closed that has sent half a
  /// message, so such a test waits until the connection is gone.
  void watch_end() {
    REQUIRE(zmq_socket_monitor(socket, "inproc://end", ZMQ_EVENT_DISCONNECTED) == 0);
    end = zmq_socket(context, ZMQ_PAIR);
    const int patience_ms = 20'000;
    zmq_setsockopt(end, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    REQUIRE(zmq_connect(end, "inproc://end") == 0);
  }
  [[nodiscard]] bool was_cut_off() const {
    char event[16];
    const bool was = zmq_recv(end, event, sizeof event, 0) > 0;
    zmq_socket_monitor(socket, nullptr, 0);
    return was;
  }
  void* context;
  void* socket = nullptr;
  void* end = nullptr;
};

/// A TCP connection that does not speak ZMTP, or only a bit of it.
UniqueFd plain_connection(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

void send_plain(const UniqueFd& fd, const std::string& bytes) {
  REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
}

/// Passes one connection on to a server, and no more than so many bytes of what the client says.
class StingyProxy {
 public:
  StingyProxy(std::uint16_t server_port, std::size_t bytes) : left_(bytes) {
    REQUIRE(::listen(listening_.fd.get(), 1) == 0);
    server_ = plain_connection(server_port);
    REQUIRE(::pipe2(stop_, O_CLOEXEC) == 0);
    thread_ = std::thread([this] { pass_on(); });
  }
  ~StingyProxy() {
    ::close(stop_[1]);
    thread_.join();
    ::close(stop_[0]);
  }
  StingyProxy(const StingyProxy&) = delete;
  StingyProxy& operator=(const StingyProxy&) = delete;
  [[nodiscard]] std::uint16_t port() const { return listening_.port; }

 private:
  void pass_on() {
    const UniqueFd client(::accept(listening_.fd.get(), nullptr, nullptr));
    for (;;) {
      pollfd fds[] = {{stop_[0], POLLIN, 0},
                      {server_.get(), POLLIN, 0},
                      {left_ > 0 ? client.get() : -1, POLLIN, 0}};
      ::poll(fds, 3, -1);
      if (fds[0].revents != 0) return;
      if (fds[1].revents != 0 && !copy(server_, client, SIZE_MAX)) return;
      if (fds[2].revents != 0 && !copy(client, server_, left_)) return;
    }
  }
  bool copy(const UniqueFd& from, const UniqueFd& to, std::size_t most) {
    const ssize_t got = ::recv(from.get(), buffer_, std::min(most, sizeof buffer_), 0);
    if (got <= 0) return false;
    if (most == left_) left_ -= static_cast<std::size_t>(got);
    for (ssize_t done = 0; done < got;) {
      const ssize_t sent =
          ::send(to.get(), buffer_ + done, static_cast<std::size_t>(got - done), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      done += sent;
    }
    return true;
  }

  capstan::test::BoundSocket listening_;
  UniqueFd server_;
  std::size_t left_;
  int stop_[2] = {-1, -1};
  char buffer_[64 * 1024] = {};
  std::thread thread_;
};

std::string curve_greeting() {
  std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\0CURVE", 17);
  greeting.resize(64, '\0');
  return greeting;
}

}  // namespace

TEST_SUITE("common/net/zmq_siege") {
  TEST_CASE("garbage, half a greeting and a frame of 1 GiB are counted and hurt nobody") {
    Cluster cluster;
    Server server(cluster);
    const auto failed = [&] { return server.listener->counters().failed_handshakes; };
    {
      const UniqueFd garbage = plain_connection(server.port());
      send_plain(garbage, "GET / HTTP/1.0\r\n\r\n");
      CHECK(cluster.wait_for([&] { return failed() == 1; }));
    }
    {
      UniqueFd half = plain_connection(server.port());
      send_plain(half, curve_greeting().substr(0, 12));
      half.reset();
      CHECK(cluster.wait_for([&] { return failed() == 2; }));
    }
    {
      const UniqueFd claim = plain_connection(server.port());
      const std::string command("\x06\0\0\0\0\x40\0\0\0", 9);  // A long command of 2^30 bytes.
      send_plain(claim, curve_greeting() + command + std::string(1000, 'x'));
      CHECK(cluster.wait_for([&] { return failed() == 3; }));
    }
    const UniqueFd silent = plain_connection(server.port());
    Client client(cluster, server.member(), cluster.anna);
    CHECK(cluster.wait_for([&] { return client.frames.size() == 1; }));
    CHECK(server.closed.empty());
  }

  TEST_CASE("messages of any other number of frames are dropped whole") {
    Cluster cluster;
    Server server(cluster);
    const RawDealer raw(server, cluster.anna, server.port());
    raw.send("one", true);
    raw.send("two", false);
    raw.send("three", false);
    raw.send("four", true);
    raw.send("five", true);
    raw.send("six", false);
    raw.send("seven", false);
    REQUIRE(cluster.wait_for([&] { return server.frames.size() == 2; }));
    CHECK(server.frames == std::vector<std::string>{"three", "seven"});
    CHECK(server.listener->counters().dropped_messages == 2);
  }

  TEST_CASE("a peer that never ends its message is cut off") {
    Cluster cluster;
    Server server(cluster);
    // libzmq sends a message when it is whole, so somebody else has to hold back its end.
    const StingyProxy proxy(server.port(), limits::kParkedBytes + 4 * limits::kFrameBytes);
    RawDealer raw(server, cluster.anna, proxy.port());
    raw.watch_end();
    const std::string part(512 * 1024, 'x');
    for (std::uint64_t sent = 0; sent < limits::kParkedBytes * 5 / 4; sent += part.size()) {
      raw.send(part, true);
    }
    raw.send("", false);
    CHECK(cluster.wait_for([&] { return server.listener->counters().dropped_messages == 1; }));
    CHECK(raw.was_cut_off());
    CHECK(server.frames.empty());
  }

  TEST_CASE("a peer cannot speak under another connection's number") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return server.frames.size() == 1; }));
    const KeyPair berta = make_key_pair();
    cluster.ring.add({Role::User, "berta", berta.public_key});
    const RawDealer liar(server, berta, server.port(), {"X-Capstan-Connection:1"});
    liar.send("I am anna", false);
    REQUIRE(cluster.wait_for([&] { return server.frames.size() == 2; }));
    CHECK(server.names == std::vector<std::string>{"anna", "berta"});
    CHECK(server.peers[0] != server.peers[1]);
  }
}

}  // namespace capstan::net
