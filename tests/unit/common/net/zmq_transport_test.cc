// SPDX-License-Identifier: MIT
#include "common/net/zmq_transport.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/model/limits.h"
#include "tests/support/loopback.h"
#include "tests/unit/common/net/zmq_fixture.h"

namespace capstan::net {

using namespace test;

TEST_SUITE("common/net/zmq_transport") {
  TEST_CASE("a frame goes there and back, with the name of its key") {
    Cluster cluster;
    Server server(cluster);
    Client client(cluster, server.member(), cluster.anna);
    client.greeting = {"hello", "", std::string("\0\xFF", 2),
                       std::string(limits::kAnyFrameBytes, 'x')};
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
    CHECK_FALSE(client.dialer->send(std::string(limits::kAnyFrameBytes + 1, 'x')));
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
    const capstan::test::BoundSocket mute;
    REQUIRE(::listen(mute.fd.get(), 5) == 0);
    Member member = server->member();
    member.addresses = {"127.0.0.1:1", "127.0.0.1:" + std::to_string(mute.port), address};
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
