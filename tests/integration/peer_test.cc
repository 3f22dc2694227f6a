// SPDX-License-Identifier: MIT
//
// What strangers and broken peers do to the master's port: it is refused and counted, the master
// stays small and goes on serving.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include <random>

#include "common/model/limits.h"
#include "common/net/keys.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

/// A plain TCP connection to a port of this machine.
class RawPeer {
 public:
  explicit RawPeer(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  /// False once the other side has closed.
  bool send(std::string_view bytes) {
    return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  /// Like send, but gives up when nothing is taken any more. How many bytes were taken.
  std::uint64_t flood(std::uint64_t bytes) {
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
  /// Waits until the other side closes, reading what it says before.
  bool is_closed_within(Seconds limit) {
    return eventually(
        [this] {
          char buffer[4096];
          pollfd fd{fd_.get(), POLLIN, 0};
          if (::poll(&fd, 1, 100) <= 0) return false;
          return ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT) <= 0;
        },
        limit);
  }

 private:
  UniqueFd fd_;
};

/// The first 64 bytes of a ZMTP 3.1 connection that wants CURVE.
std::string greeting() {
  std::string bytes = std::string("\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01", 12) + "CURVE";
  bytes.resize(64, '\0');
  return bytes;
}

/// A long ZMTP frame's header that claims so many bytes.
std::string frame_header(char flags, std::uint64_t size) {
  std::string bytes(1, flags);
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes += static_cast<char>((size >> shift) & 0xff);
  }
  return bytes;
}

/// A DEALER with a key, speaking frames of our choice.
class KeyedPeer {
 public:
  KeyedPeer(const std::string& access_path, const net::KeyPair* other_keys = nullptr) {
    const auto access = net::read_access(access_path);
    REQUIRE(access);
    const net::KeyPair keys = other_keys != nullptr ? *other_keys : access->keys;
    context_ = zmq_ctx_new();
    socket_ = zmq_socket(context_, ZMQ_DEALER);
    const int linger = 0;
    const net::KeyPair& mine = keys;
    const std::string& server = access->masters.at(0).public_key;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket_, ZMQ_CURVE_SERVERKEY, server.c_str(), server.size() + 1);
    zmq_setsockopt(socket_, ZMQ_CURVE_PUBLICKEY, mine.public_key.c_str(), 41);
    zmq_setsockopt(socket_, ZMQ_CURVE_SECRETKEY, mine.secret_key.c_str(), 41);
    const std::string address = "tcp://" + access->masters.at(0).addresses.at(0);
    REQUIRE(zmq_connect(socket_, address.c_str()) == 0);
  }
  ~KeyedPeer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  KeyedPeer(const KeyedPeer&) = delete;
  KeyedPeer& operator=(const KeyedPeer&) = delete;

  void send(const std::string& frame, bool more = false) {
    zmq_send(socket_, frame.data(), frame.size(), more ? ZMQ_SNDMORE : 0);
  }
  void send(msg::Body body) { send(wire::encode({SessionId{}, 0, Epoch{}, std::move(body)})); }
  /// The next frame's body.
  msg::Body receive() {
    zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
    REQUIRE(zmq_poll(&item, 1, 30'000) > 0);
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    REQUIRE(zmq_msg_recv(&frame, socket_, 0) >= 0);
    auto decoded =
        wire::decode({static_cast<const char*>(zmq_msg_data(&frame)), zmq_msg_size(&frame)});
    zmq_msg_close(&frame);
    REQUIRE(decoded);
    return std::move(decoded->body);
  }

 private:
  void* context_;
  void* socket_;
};

void check_serves(const Cluster& cluster) {
  const Finished served = cluster.cli().run({"run", "--quiet", "--", "echo", "served"});
  CAPTURE(served.code);
  CAPTURE(served.err);
  CHECK(served.out == "served\n");
}

std::uint64_t refused_messages(const Cluster& cluster) {
  return cluster.cli().status().at("refused_messages").get<std::uint64_t>();
}

}  // namespace

TEST_SUITE("integration/peer") {
  TEST_CASE("no master: 75 and a clear line, in the time that was given") {
    Cluster cluster({.workers = 0});
    cluster.kill_master();
    const auto began = std::chrono::steady_clock::now();
    const Finished done = cluster.cli().run({"jobs", "--timeout", "1500ms"});
    CHECK(std::chrono::steady_clock::now() - began < 10s);
    CHECK(done.code == 75);
    CHECK(done.out.empty());
    CHECK(contains(done.err, "127.0.0.1:" + std::to_string(cluster.port())));
  }

  TEST_CASE("a key that the master does not know: 3 and a clear line") {
    const Cluster cluster({.workers = 0});
    auto access = net::read_access(cluster.admin_access());
    REQUIRE(access);
    access->keys = net::make_key_pair();
    REQUIRE(net::write_access(cluster.dir() / "stranger", *access));
    const Finished done = cluster.cli().run({"--access", cluster.dir() / "stranger", "jobs"});
    CHECK(done.code == 3);
    CHECK(lines_of(done.err).size() == 1);
    CHECK(contains(done.err, "key"));
    CHECK(cluster.cli().status().at("refused_connections").get<std::uint64_t>() >= 1);
  }

  TEST_CASE("a master with another key than the file says: 3 and a clear line") {
    const Cluster cluster({.workers = 0});
    auto access = net::read_access(cluster.admin_access());
    REQUIRE(access);
    access->masters.at(0).public_key = net::make_key_pair().public_key;
    REQUIRE(net::write_access(cluster.dir() / "elsewhere", *access));
    const Finished done = cluster.cli().run({"--access", cluster.dir() / "elsewhere", "jobs"});
    CHECK(done.code == 3);
    CHECK(contains(done.err, "key"));
  }

  TEST_CASE("garbage, half messages, a 1 GiB frame and slow handshakes") {
    Cluster cluster;
    check_serves(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());

    std::mt19937 random(7);  // NOLINT: the same garbage every time.
    for (int i = 0; i < 50; ++i) {
      RawPeer peer(cluster.port());
      std::string garbage(1 + random() % 5000, '\0');
      for (char& byte : garbage) byte = static_cast<char>(random());
      peer.send(garbage);
    }
    for (std::size_t cut = 1; cut < 64; cut += 3) {
      RawPeer peer(cluster.port());
      peer.send(greeting().substr(0, cut));
    }
    std::vector<std::unique_ptr<RawPeer>> slow;
    for (int i = 0; i < 200; ++i) {
      slow.push_back(std::make_unique<RawPeer>(cluster.port()));
      slow.back()->send(greeting().substr(0, 12));
    }
    for (const char flags : {'\x02', '\x06', '\x00'}) {
      RawPeer peer(cluster.port());
      peer.send(greeting());
      peer.send(frame_header(flags, std::uint64_t{1} << 30));
      CHECK(peer.flood(256 * kMiB) < 64 * kMiB);
    }
    RawPeer http(cluster.port());
    http.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");

    check_serves(cluster);
    CHECK(rss_bytes(cluster.master().pid()) < before + 50 * kMiB);
    // Who does not get through the handshake is closed.
    for (const auto& peer : slow) CHECK(peer->is_closed_within(20s));
    check_serves(cluster);
    CHECK(rss_bytes(cluster.master().pid()) < before + 50 * kMiB);
    CHECK(cluster.master().is_running());
  }

  TEST_CASE("garbage from a peer that has a key is refused, counted and survived") {
    Cluster cluster;
    check_serves(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    const std::uint64_t refused = refused_messages(cluster);

    KeyedPeer peer(cluster.admin_access());
    std::mt19937 random(11);  // NOLINT: the same garbage every time.
    for (int i = 0; i < 500; ++i) {
      std::string garbage(random() % 2000, '\0');
      for (char& byte : garbage) byte = static_cast<char>(random());
      peer.send(garbage);
    }
    const std::string hello =
        wire::encode({SessionId{}, 0, Epoch{}, msg::ClientHello{kProtocol, kVersion, Epoch{}}});
    for (std::size_t cut = 0; cut < hello.size(); ++cut) peer.send(hello.substr(0, cut));
    peer.send(hello + "x");
    peer.send(hello, true);  // More than one frame.
    peer.send(hello);
    // Messages that a client may not send at all, and ones of sessions that there are not.
    peer.send(msg::Goodbye{});
    peer.send(msg::Results{});
    peer.send(wire::encode({SessionId{12345}, 99, Epoch{}, msg::Heartbeat{1}}));

    CHECK(eventually([&] { return refused_messages(cluster) >= refused + 400; }));
    check_serves(cluster);
    CHECK(rss_bytes(cluster.master().pid()) < before + 50 * kMiB);
  }

  TEST_CASE("a frame that is too large for a master ends its sender's connection only") {
    Cluster cluster;
    check_serves(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    for (int i = 0; i < 5; ++i) {
      KeyedPeer peer(cluster.admin_access());
      peer.send(msg::ClientHello{kProtocol, kVersion, Epoch{}});
      (void)peer.receive();
      for (int k = 0; k < 3; ++k) peer.send(std::string(limits::kFrameBytes * 4, 'z'));
    }
    check_serves(cluster);
    CHECK(rss_bytes(cluster.master().pid()) < before + 50 * kMiB);
  }

  TEST_CASE("a worker or client of another protocol is told so") {
    const Cluster cluster({.workers = 0});
    KeyedPeer client(cluster.admin_access());
    client.send(msg::ClientHello{999, "9.9.9", Epoch{}});
    const msg::Body to_client = client.receive();
    REQUIRE(std::holds_alternative<msg::Refused>(to_client));
    CHECK(contains(std::get<msg::Refused>(to_client).reason, "protocol"));
    CHECK(contains(std::get<msg::Refused>(to_client).reason, "999"));

    const net::KeyPair keys = net::make_key_pair();
    KeyedPeer invited(cluster.worker_access());
    invited.send(msg::Enrol{kProtocol, keys.public_key, "from-the-future"});
    REQUIRE(std::holds_alternative<msg::Enrolled>(invited.receive()));
    KeyedPeer worker(cluster.worker_access(), &keys);
    msg::WorkerHello hello;
    hello.protocol = 999;
    hello.version = "9.9.9";
    hello.instance = Uuid::random();
    hello.cpus = 4;
    worker.send(hello);
    const msg::Body to_worker = worker.receive();
    REQUIRE(std::holds_alternative<msg::Refused>(to_worker));
    CHECK(contains(std::get<msg::Refused>(to_worker).reason, "protocol"));
    CHECK(cluster.cli().workers_in("up") == 0);
  }

  TEST_CASE("an invitation may enrol workers and do nothing else") {
    const Cluster cluster({.workers = 0});
    const std::uint64_t refused = refused_messages(cluster);
    KeyedPeer invited(cluster.worker_access());
    invited.send(msg::ClientHello{kProtocol, kVersion, Epoch{}});
    CHECK(std::holds_alternative<msg::Refused>(invited.receive()));
    CHECK(refused_messages(cluster) >= refused);

    Finished done = cluster.cli().run({"--access", cluster.worker_access(), "jobs"});
    CHECK(done.code != 0);
    CHECK(lines_of(done.err).size() == 1);
  }

  TEST_CASE("health is served over HTTP") {
    Cluster cluster({.workers = 0});
    for (const std::string path : {"/healthz", "/readyz"}) {
      RawPeer peer(cluster.http_port());
      peer.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      CHECK(peer.is_closed_within(10s));
    }
    const Finished curl =
        run({.argv = {"python3", "-c",
                      "import sys, urllib.request as r\n"
                      "print(r.urlopen(sys.argv[1]).status)",
                      "http://127.0.0.1:" + std::to_string(cluster.http_port()) + "/readyz"}});
    CHECK(curl.out == "200\n");
  }
}

}  // namespace capstan::itest
