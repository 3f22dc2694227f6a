// SPDX-License-Identifier: MIT
#include "common/net/zmq_transport.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <zmq.h>

#include <algorithm>
#include <map>
#include <thread>

#include "common/base/unique_fd.h"
#include "common/model/limits.h"
#include "common/net/addresses.h"

namespace capstan::net {
namespace {

using namespace std::chrono_literals;

/// A context, its loop and the keys of a cluster with one member, "anna".
struct Cluster {
  Cluster() { ring.add({Role::Admin, "anna", anna.public_key}); }

  /// Turns the loop until `is_true`; false when 20 s passed.
  template <class Condition>
  bool wait_for(Condition is_true) {
    const SystemClock clock;
    const TimePoint end = clock.now() + 20s;
    while (!is_true()) {
      if (clock.now() >= end) return false;
      loop.poll(std::min(end, clock.now() + 100ms));
    }
    return true;
  }

  ZmqContext context;
  EventLoop loop;
  KeyRing ring;
  KeyPair master = make_key_pair();
  KeyPair anna = make_key_pair();
};

/// A listener that writes down what it hears, and answers when asked to.
struct Server {
  explicit Server(Cluster& the_cluster, const std::string& address = "127.0.0.1:0")
      : cluster(the_cluster) {
    ZmqListener::Handler handler;
    handler.on_frame = [this](PeerId peer, const Identity& identity, std::string_view frame) {
      frames.emplace_back(frame);
      names.push_back(identity.name);
      peers.push_back(peer);
      if (echoes) CHECK(listener->send(peer, std::string(frame)));
    };
    handler.on_closed = [this](PeerId peer) { closed.push_back(peer); };
    const auto open = [&] {
      auto opened = ZmqListener::open(cluster.context, cluster.loop, cluster.ring,
                                      {address, cluster.master}, handler);
      if (!opened) last_error = opened.error().message;
      if (opened) listener = std::move(*opened);
      return listener != nullptr;
    };
    // A port that was just given up may be taken for a moment.
    const bool is_open = cluster.wait_for(open);
    REQUIRE_MESSAGE(is_open, last_error);
  }

  [[nodiscard]] Member member() const {
    return {"a", {listener->bound_address()}, cluster.master.public_key};
  }
  [[nodiscard]] std::uint16_t port() const {
    return parse_address(listener->bound_address())->port;
  }

  Cluster& cluster;
  std::unique_ptr<ZmqListener> listener;
  bool echoes = true;
  std::vector<std::string> frames;
  std::vector<std::string> names;
  std::vector<PeerId> peers;
  std::vector<PeerId> closed;
  std::string last_error;
};

struct Client {
  Client(Cluster& cluster, const Member& member, const KeyPair& keys,
         Micros redial_after = Micros(0)) {
    ZmqDialer::Handler handler;
    handler.redial_after = redial_after;
    handler.on_frame = [this](std::string_view frame) { frames.emplace_back(frame); };
    handler.on_connected = [this] {
      ++connected;
      for (const std::string& frame : greeting) CHECK(dialer->send(frame));
    };
    handler.on_closed = [this] { ++closed; };
    handler.on_refused = [this](const Error& error) { refused.push_back(error); };
    auto opened = ZmqDialer::open(cluster.context, cluster.loop, member, keys, handler);
    REQUIRE(opened);
    dialer = std::move(*opened);
  }

  std::unique_ptr<ZmqDialer> dialer;
  std::vector<std::string> greeting{"hello"};
  std::vector<std::string> frames;
  int connected = 0;
  int closed = 0;
  std::vector<Error> refused;
};

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
  StingyProxy(std::uint16_t server_port, std::size_t bytes)
      : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), left_(bytes) {
    sockaddr_in bound{};
    bound.sin_family = AF_INET;
    bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof bound;
    REQUIRE(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&bound), size) == 0);
    REQUIRE(::listen(listening_.get(), 1) == 0);
    REQUIRE(::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    port_ = ntohs(bound.sin_port);
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
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  void pass_on() {
    const UniqueFd client(::accept(listening_.get(), nullptr, nullptr));
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

  UniqueFd listening_;
  UniqueFd server_;
  std::uint16_t port_ = 0;
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

TEST_SUITE("common/net/zmq_transport") {
  TEST_CASE("a frame goes there and back, with the name of its key") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    client.greeting = {"hello", "", std::string("\0\xFF", 2),
                       std::string(limits::kReplyBytes, 'x')};
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 4; }));
    CHECK(client.frames == client.greeting);
    CHECK(server.frames == client.greeting);
    CHECK(server.names == std::vector<std::string>(4, "anna"));
    CHECK(std::count(server.peers.begin(), server.peers.end(), server.peers[0]) == 4);
    CHECK(client.connected == 1);
    CHECK(server.listener->address_of(server.peers[0]).starts_with("127.0.0.1:"));
    CHECK(server.listener->counters().refused_connections == 0);
    CHECK(server.listener->counters().failed_handshakes == 0);
    CHECK(server.listener->counters().dropped_messages == 0);
  }

  TEST_CASE("what is too large is not sent, nor anything to a peer that never was") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    CHECK_FALSE(client.dialer->send("before the handshake"));
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    CHECK_FALSE(client.dialer->send(std::string(limits::kReplyBytes + 1, 'x')));
    CHECK_FALSE(server.listener->send(PeerId(77), "x"));
    CHECK(server.listener->address_of(PeerId(77)).empty());
  }

  TEST_CASE("every kind of listen address can be dialled") {
    for (const char* address : {"0.0.0.0:0", "*:0", "localhost:0"}) {
      CAPTURE(address);
      Cluster cluster;
      Server server(cluster, address);
      Member member = server.member();
      member.addresses = {"127.0.0.1:" + std::to_string(server.port()),
                          "localhost:" + std::to_string(server.port())};
      for (const std::string& one : member.addresses) {
        CAPTURE(one);
        Client client(cluster, {"a", {one}, member.public_key}, cluster.anna);
        CHECK(cluster.wait_for([&] { return client.frames.size() == 1; }));
      }
    }
  }

  TEST_CASE("a listener that cannot be is refused in words") {
    Cluster cluster;
    Server server(cluster);
    const auto second = ZmqListener::open(cluster.context, cluster.loop, cluster.ring,
                                          {server.listener->bound_address(), cluster.master}, {});
    REQUIRE_FALSE(second);
    CHECK(second.error().message.find("in use") != std::string::npos);
    CHECK_FALSE(ZmqListener::open(cluster.context, cluster.loop, cluster.ring,
                                  {"nowhere", cluster.master}, {}));
    Client client(cluster, server.member(), cluster.anna);  // The first one is as it was.
    CHECK(cluster.wait_for([&] { return client.frames.size() == 1; }));
  }

  TEST_CASE("who redials is let in when its key is known after all") {
    Cluster cluster;
    const Server server(cluster);
    const KeyPair late = make_key_pair();
    Client client(cluster, server.member(), late, Micros(10'000));
    REQUIRE(cluster.wait_for([&] { return client.refused.size() >= 2; }));
    CHECK(client.connected == 0);
    cluster.ring.add({Role::Admin, "late", late.public_key});
    CHECK(cluster.wait_for([&] { return client.connected == 1; }));
  }

  TEST_CASE("a key that nobody knows is refused for good") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), make_key_pair());
    REQUIRE(cluster.wait_for([&] { return !client.refused.empty(); }));
    CHECK(client.refused[0].code == Errc::NotAllowed);
    CHECK(client.refused[0].message.find("refuses this key") != std::string::npos);
    CHECK(client.connected == 0);
    CHECK(server.listener->counters().refused_connections == 1);
    CHECK(server.frames.empty());
  }

  TEST_CASE("a key that may be told later is kept waiting, and comes in when it is known") {
    Cluster cluster;
    Server server(cluster);
    cluster.ring.set_complete(false);
    const KeyPair keys = make_key_pair();
    Client client(cluster, server.member(), keys);
    REQUIRE(cluster.wait_for([&] { return server.listener->counters().refused_connections >= 2; }));
    CHECK(client.refused.empty());
    cluster.ring.add({Role::User, "late", keys.public_key});
    CHECK(cluster.wait_for([&] { return client.connected == 1; }));
    CHECK(client.refused.empty());
  }

  TEST_CASE("a master with another key than our file says is told from no master") {
    Cluster cluster;
    Server server(cluster);
    Member other = server.member();
    other.public_key = make_key_pair().public_key;
    const std::string port = std::to_string(server.port());
    SUBCASE("by number") {}
    SUBCASE("by name") {
      other.addresses = {"localhost:" + port};
    }
    SUBCASE("behind an address where nobody is") {
      other.addresses = {"127.0.0.1:1", "127.0.0.1:" + port};
    }
    Client client(cluster, other, cluster.anna);
    REQUIRE(cluster.wait_for([&] { return !client.refused.empty(); }));
    CHECK(client.refused[0].code == Errc::NotAllowed);
    CHECK(client.refused[0].message.find("another key") != std::string::npos);
    CHECK(client.connected == 0);
    CHECK(cluster.wait_for([&] { return server.listener->counters().failed_handshakes >= 3; }));
  }

  TEST_CASE("a key that leaves the ring is not heard any more") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    cluster.ring.remove(cluster.anna.public_key);
    CHECK(client.dialer->send("still me"));
    REQUIRE(cluster.wait_for([&] { return !client.refused.empty(); }));
    CHECK(server.frames.size() == 1);
    CHECK(server.listener->counters().dropped_messages == 1);
    CHECK(server.closed == std::vector{server.peers[0]});
    CHECK(client.closed == 1);
  }

  TEST_CASE("a key whose role or name changes is heard as what it is now") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    cluster.ring.add({Role::User, "berta", cluster.anna.public_key});
    CHECK(client.dialer->send("me again"));
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 2; }));
    CHECK(server.names == std::vector<std::string>{"anna", "berta"});
  }

  TEST_CASE("a dropped peer is not heard, and is told nothing") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    server.listener->drop(server.peers[0]);
    CHECK(client.dialer->send("anybody?"));
    REQUIRE(cluster.wait_for([&] { return server.listener->counters().dropped_messages == 1; }));
    CHECK_FALSE(server.listener->send(server.peers[0], "x"));
    CHECK(server.frames.size() == 1);
  }

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

  TEST_CASE("the end of a connection is told once, after its last frame") {
    Cluster cluster;
    Server server(cluster);
    auto client = std::make_unique<Client>(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return client->frames.size() == 1; }));
    server.echoes = false;
    CHECK(client->dialer->send("last words"));
    client->dialer->close(5s);
    client.reset();
    REQUIRE(cluster.wait_for([&] { return !server.closed.empty(); }));
    REQUIRE(server.frames.size() == 2);
    CHECK(server.frames[1] == "last words");
    CHECK(server.closed == std::vector{server.peers[0]});
    CHECK_FALSE(server.listener->send(server.peers[0], "too late"));
  }

  TEST_CASE("connections that come and go on one descriptor are never taken for each other") {
    Cluster cluster;
    Server server(cluster);
    constexpr std::size_t kTimes = 30;
    for (std::size_t i = 1; i <= kTimes; ++i) {
      Client client(cluster, server.member(), cluster.anna);
      REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    }
    Client last(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return server.closed.size() == kTimes; }));
    REQUIRE(cluster.wait_for([&] { return last.frames.size() == 1; }));
    CHECK(server.frames.size() == kTimes + 1);
    std::sort(server.closed.begin(), server.closed.end());
    CHECK(std::unique(server.closed.begin(), server.closed.end()) == server.closed.end());
    CHECK(last.closed == 0);
    CHECK(std::find(server.closed.begin(), server.closed.end(), server.peers.back()) ==
          server.closed.end());
  }

  TEST_CASE("a master that comes back is greeted anew") {
    Cluster cluster;
    auto server = std::make_unique<Server>(cluster);
    const std::string address = server->listener->bound_address();
    Client client(cluster, server->member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    server.reset();
    REQUIRE(cluster.wait_for([&] { return client.closed == 1; }));
    CHECK_FALSE(client.dialer->send("nobody is there"));
    server = std::make_unique<Server>(cluster, address);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 2; }));
    CHECK(client.connected == 2);
    CHECK(client.refused.empty());
    CHECK(server->frames == std::vector<std::string>{"hello"});
  }

  TEST_CASE("of several addresses the one that answers is found, and found again") {
    Cluster cluster;
    auto server = std::make_unique<Server>(cluster);
    const std::string address = server->listener->bound_address();
    Server stranger(cluster);
    // One where nobody listens, one that takes connections and says nothing, and the right one.
    const UniqueFd mute(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in bound{};
    bound.sin_family = AF_INET;
    bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof bound;
    REQUIRE(::bind(mute.get(), reinterpret_cast<sockaddr*>(&bound), size) == 0);
    REQUIRE(::listen(mute.get(), 5) == 0);
    REQUIRE(::getsockname(mute.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    Member member = server->member();
    member.addresses = {"127.0.0.1:1", "127.0.0.1:" + std::to_string(ntohs(bound.sin_port)),
                        address};
    Client client(cluster, member, cluster.anna);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 1; }));
    server.reset();
    REQUIRE(cluster.wait_for([&] { return client.closed == 1; }));
    server = std::make_unique<Server>(cluster, address);
    REQUIRE(cluster.wait_for([&] { return client.frames.size() == 2; }));
    CHECK(client.refused.empty());
  }

  TEST_CASE("at most so many frames are handled in one poll, and the rest at once after it") {
    Cluster cluster;
    Server server(cluster);
    server.echoes = false;
    server.listener->set_frames_per_poll(10);
    Client client(cluster, server.member(), cluster.anna);
    client.greeting.assign(100, "x");
    const SystemClock clock;
    const TimePoint end = clock.now() + 20s;
    std::size_t most = 0;
    while (server.frames.size() < 100 && clock.now() < end) {
      const std::size_t before = server.frames.size();
      cluster.loop.poll(end);
      most = std::max(most, server.frames.size() - before);
    }
    CHECK(server.frames.size() == 100);
    CHECK(most <= 10);
  }

  TEST_CASE("a queue that is full is told, and drops nothing that was taken") {
    Cluster cluster;
    Server server(cluster);
    server.echoes = false;
    Client client(cluster, server.member(), cluster.anna);
    REQUIRE(cluster.wait_for([&] { return server.frames.size() == 1; }));
    std::size_t taken = 1;
    const std::string frame(64 * 1024, 'x');
    while (taken < 100'000 && client.dialer->send(frame)) ++taken;
    CHECK(taken < 100'000);
    CHECK(cluster.wait_for([&] { return server.frames.size() == taken; }));
  }

  TEST_CASE("an owner may close a dialer in any of its callbacks") {
    Cluster cluster;
    Server server(cluster);
    std::unique_ptr<ZmqDialer> dialer;
    ZmqDialer::Handler handler;
    SUBCASE("connected") {
      handler.on_connected = [&] { dialer.reset(); };
    }
    SUBCASE("a frame") {
      handler.on_connected = [&] { dialer->send("hello"); };
      handler.on_frame = [&](std::string_view) { dialer.reset(); };
    }
    dialer = *ZmqDialer::open(cluster.context, cluster.loop, server.member(), cluster.anna,
                              std::move(handler));
    CHECK(cluster.wait_for([&] { return dialer == nullptr; }));
  }

  TEST_CASE("members and keys that make no sense are refused") {
    Cluster cluster;
    const auto open = [&](const Member& member, const KeyPair& keys) {
      return ZmqDialer::open(cluster.context, cluster.loop, member, keys, {}).has_value();
    };
    const std::string key = cluster.master.public_key;
    CHECK_FALSE(open({"a", {}, key}, cluster.anna));
    CHECK_FALSE(open({"a", {"nowhere"}, key}, cluster.anna));
    CHECK_FALSE(open({"a", {"127.0.0.1:1"}, "short"}, cluster.anna));
    CHECK_FALSE(open({"a", {"127.0.0.1:1"}, key}, {"short", "short"}));
  }
}

}  // namespace capstan::net
