// SPDX-License-Identifier: MIT
//
// What strangers and broken peers do to the master's port: it is refused and counted, the master
// stays small and goes on serving.
#include <doctest/doctest.h>

#include <random>

#include "common/model/limits.h"
#include "common/net/keys.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "tests/integration/peers.h"

namespace capstan::itest {

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
