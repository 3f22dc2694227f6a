// SPDX-License-Identifier: MIT
//
// What a peer with a key of its own may do to others, and what a crowd without one: it is refused
// and counted, others are served, and the master stays small. peer_test.cc has what one stranger or
// one piece of garbage does.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "tests/integration/peers.h"

namespace capstan::itest {
namespace {

/// What is kept of one peer with a key: a full queue in libzmq, and the loop's inbox, with the
/// largest frames that are taken at all (docs/protocol.md, "The socket rules").
constexpr std::uint64_t kOnePeerBytes =
    (limits::kHighWaterMark + limits::kInboxFrames + limits::kFramesPerPoll) *
    limits::kAnyFrameBytes;

/// A worker's key, and a session that takes no work.
struct Rogue {
  net::KeyPair keys;
  KeyedPeer peer;
  Instance instance = Uuid::random();

  explicit Rogue(const Cluster& cluster, const std::string& name = "rogue")
      : keys(enrol(cluster, name)), peer(cluster.worker_access(), &keys) {
    begin();
  }
  void begin() {
    msg::WorkerHello hello;
    hello.instance = instance;
    hello.leaving = true;
    peer.hello(hello);
  }
  /// Its session is over, as the master says: a new one.
  void expect_thrown_out() {
    (void)peer.expect<msg::NeedHello>();
    begin();
  }
};

AttemptResult forged_success(const AttemptKey& key) {
  AttemptResult result;
  result.key = key;
  result.end = EndClass::Success;
  result.wall = Micros(1);
  result.stdout_bytes = 6;
  result.stdout_tail = "forged";
  return result;
}

}  // namespace

TEST_SUITE("integration/siege") {
  TEST_CASE("a worker's key: garbage and half messages are refused and counted") {
    Cluster cluster;
    Rogue rogue(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    const std::uint64_t refused = refused_messages(cluster);
    std::string frame =
        wire::encode({rogue.peer.end.id(), rogue.peer.end.next_out(), Epoch{},
                      msg::Results{{forged_success({JobId(1), TaskIndex(1), AttemptNo(1)})}}});
    for (std::size_t cut = 0; cut < frame.size(); ++cut) rogue.peer.send(frame.substr(0, cut));
    for (std::size_t at = 0; at < frame.size(); ++at) {
      std::string bent = frame;
      bent[at] = static_cast<char>(bent[at] ^ 0x55);
      rogue.peer.send(bent);
    }
    rogue.peer.send(frame, true);  // The first half of a message that never ends …
    for (int i = 0; i < 100; ++i) rogue.peer.send(std::string(1000, 'x'), true);
    CHECK(eventually([&] { return refused_messages(cluster) >= refused + frame.size(); }));
    check_serves(cluster);
    CHECK(rss_bytes(cluster.master().pid()) < before + 50 * kMiB);
  }

  TEST_CASE("a worker's key: others' attempts are neither ended nor given back nor written to") {
    Cluster cluster;
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({}, meeting.command("echo true"));
    const Rendezvous::Arrival arrival = meeting.arrival();
    const AttemptKey key{JobId(std::stoull(job)), TaskIndex(1), AttemptNo(1)};

    Rogue rogue(cluster);
    rogue.peer.say(msg::Results{{forged_success(key)}});
    (void)rogue.peer.expect<msg::ResultAck>();
    rogue.peer.say(msg::Returned{{key}});
    rogue.peer.say(msg::Started{{{key, Micros(0)}}});
    rogue.peer.say(msg::LogChunk{key, Stream::Stdout, 0, "forged", true});
    CHECK(rogue.peer.expect<msg::LogAck>().upto == 6);
    SUBCASE("also when it claims to hold it") {
      msg::WorkerHello hello;
      hello.instance = rogue.instance;
      hello.held = {{key, true}};
      hello.leaving = true;
      rogue.peer.hello(hello);
      CHECK(rogue.peer.expect<msg::Cancel>().why == CancelWhy::NotGranted);
    }
    CHECK(cluster.cli().job(job).at("state") == "running");
    CHECK(is_alive(arrival.pid));
    meeting.let_go(1);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.cli().ok({"logs", job + ".1"}) == "true\n");
    const Database database = cluster.database();
    CHECK(database.column("SELECT w.name FROM all_attempts a JOIN workers w ON w.id = a.worker") ==
          std::vector<std::string>{"w1"});
    // And when it is over.
    rogue.peer.say(msg::Results{{forged_success(key)}});
    rogue.peer.say(msg::LogChunk{key, Stream::Stdout, 0, "forged", true});
    (void)rogue.peer.expect<msg::LogAck>();
    CHECK(cluster.cli().ok({"logs", job + ".1"}) == "true\n");
    CHECK(refused_messages(cluster) >= 2);
  }

  TEST_CASE("a worker's key: replayed messages, wrong sessions, wrong epochs") {
    Cluster cluster;
    Rogue rogue(cluster);
    const std::string frame =
        wire::encode({rogue.peer.end.id(), rogue.peer.end.next_out(), Epoch{}, msg::Heartbeat{1}});
    rogue.peer.send(frame);
    rogue.peer.send(frame);  // Replayed.
    rogue.expect_thrown_out();
    rogue.peer.send(frame);  // From the session before.
    (void)rogue.peer.expect<msg::NeedHello>();
    // An epoch that no master has reached decides nothing.
    rogue.peer.send(wire::encode(
        {rogue.peer.end.id(), rogue.peer.end.next_out(), Epoch(UINT64_MAX), msg::Heartbeat{1}}));
    msg::WorkerHello hello;
    hello.instance = rogue.instance;
    hello.leaving = true;
    hello.highest_epoch = Epoch(UINT64_MAX);
    for (int i = 0; i < 20; ++i) rogue.peer.hello(hello);
    check_serves(cluster);
    // Told once, not twenty times.
    const std::string log = cluster.master().err();
    const std::size_t first = log.find("epoch.behind");
    REQUIRE(first != std::string::npos);
    CHECK(log.find("epoch.behind", first + 1) == std::string::npos);
    // An instance that a newer one replaced stays out.
    const Instance old = rogue.instance;
    rogue.instance = Uuid::random();
    rogue.begin();
    hello.instance = old;
    hello.cpus = 1;
    hello.protocol = kProtocol;
    hello.version = kVersion;
    rogue.peer.send(hello);
    CHECK(rogue.peer.expect<msg::Refused>().code == Errc::Conflict);
  }

  TEST_CASE("a worker's key is no client's, and a user is who the key says") {
    const Cluster cluster({.workers = 0});
    Rogue rogue(cluster);
    const std::uint64_t refused = refused_messages(cluster);
    JobSpec spec;
    spec.argv = {"true"};
    spec.indices = {{1, 1, 1}};
    rogue.peer.say(msg::SubmitOpen{Uuid::random(), "", Bytes(16, 'd'), spec});
    CHECK(rogue.peer.expect<msg::Refused>().code == Errc::NotAllowed);
    rogue.peer.send(msg::ClientHello{kProtocol, kVersion, Epoch{}});
    CHECK(rogue.peer.expect<msg::Refused>().code == Errc::NotAllowed);
    CHECK(refused_messages(cluster) >= refused + 2);
    CHECK(cluster.cli().jobs().empty());
  }

  // ThreadSanitizer makes the master too slow for such a flood.
  TEST_CASE("a flood of 20 MB/s from a worker's key: others are served" *
            doctest::skip(kThreadsAreChecked)) {
    Cluster cluster;
    check_serves(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    std::atomic<bool> is_over{false};
    std::atomic<std::uint64_t> sent{0};
    std::thread flood([&] {
      Rogue rogue(cluster);
      const std::string garbage(limits::kReplyBytes, 'g');
      AttemptResult result = forged_success({JobId(1), TaskIndex(1), AttemptNo(1)});
      result.stdout_tail = std::string(limits::kTailBytes, 'f');
      const msg::Results results{std::vector<AttemptResult>(50, result)};
      while (!is_over) {  // As fast as it is taken: more than 20 MB/s.
        const std::string frame =
            wire::encode({rogue.peer.end.id(), rogue.peer.end.next_out(), Epoch{}, results});
        rogue.peer.send(frame);
        rogue.peer.send(garbage);
        sent += frame.size() + garbage.size();
      }
    });
    std::uint64_t highest = 0;
    int served = 0;
    const auto began = std::chrono::steady_clock::now();
    while (sent < 200 * kMiB || served < 5) {
      check_serves(cluster);
      ++served;
      highest = std::max(highest, rss_bytes(cluster.master().pid()));
      REQUIRE(std::chrono::steady_clock::now() - began < kPatience);
    }
    is_over = true;
    flood.join();
    const Seconds took = std::chrono::steady_clock::now() - began;
    MESSAGE("flooded with " << sent / kMiB << " MiB in " << took.count() << " s, " << served
                            << " runs meanwhile, " << (highest - before) / kMiB << " MiB more");
    CHECK(highest < before + kOnePeerBytes);
    CHECK(cluster.cli().workers().at("w1").at("state") == "up");
  }

  TEST_CASE("2,000 connections without a key cost at most 16 KiB each and go by themselves") {
    Cluster cluster;
    check_serves(cluster);
    constexpr std::uint64_t kCrowd = 2000;
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    const std::uint64_t refused = refused_connections(cluster);
    std::vector<std::unique_ptr<RawPeer>> crowd;
    for (std::uint64_t i = 0; i < kCrowd; ++i) {
      crowd.push_back(std::make_unique<RawPeer>(cluster.port()));
      crowd.back()->send(greeting());
    }
    const std::uint64_t most = rss_bytes(cluster.master().pid());
    check_serves(cluster);
    MESSAGE(kCrowd << " connections: " << (most - std::min(most, before)) / kCrowd
                   << " bytes each");
    CHECK(most < before + kCrowd * 16 * 1024);
    CHECK(eventually([&] { return refused_connections(cluster) >= refused + kCrowd; }));
    CHECK(crowd.front()->is_closed_within(20s));
    CHECK(crowd.back()->is_closed_within(20s));
    check_serves(cluster);
  }

  TEST_CASE("2,000 connects a second without a key: refused, counted, and others are served") {
    Cluster cluster;
    check_serves(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    const std::uint64_t refused = refused_connections(cluster);
    std::atomic<bool> is_over{false};
    std::atomic<std::uint64_t> made{0};
    std::thread crowd([&] {
      while (!is_over) {
        RawPeer peer(cluster.port());
        peer.send(made % 2 == 0 ? greeting() : "GET / HTTP/1.1\r\n\r\n");
        ++made;
      }
    });
    const auto began = std::chrono::steady_clock::now();
    int served = 0;
    std::uint64_t highest = 0;
    while (made < 10'000 || served < 5) {
      check_serves(cluster);
      ++served;
      highest = std::max(highest, rss_bytes(cluster.master().pid()));
      REQUIRE(std::chrono::steady_clock::now() - began < 2 * kPatience);
    }
    is_over = true;
    crowd.join();
    const Seconds took = std::chrono::steady_clock::now() - began;
    MESSAGE(made.load() << " connects in " << took.count() << " s, " << served
                        << " runs meanwhile, " << (highest - std::min(highest, before)) / kMiB
                        << " MiB more");
    CHECK(eventually([&] { return refused_connections(cluster) >= refused + made; }));
    CHECK(highest < before + 50 * kMiB);
    CHECK(cluster.cli().workers().at("w1").at("state") == "up");
  }

  TEST_CASE("a key of another cluster: 3 and a clear line, for clients and workers") {
    const Cluster ours({.workers = 0});
    const Cluster other({.workers = 0});
    // Somebody copied the file of one cluster and dials the other.
    const auto misdirect = [&](const std::string& from, const std::string& to) {
      auto access = net::read_access(from);
      REQUIRE(access);
      access->masters.at(0).addresses = {"127.0.0.1:" + std::to_string(ours.port())};
      REQUIRE(net::write_access(ours.dir() / to, *access));
      return ours.dir() / to;
    };
    const std::string client = misdirect(other.admin_access(), "client");
    const Finished done = ours.cli().run({"--access", client, "jobs"});
    CHECK(done.code == 3);
    CHECK(lines_of(done.err).size() == 1);
    CHECK(contains(done.err, "key"));

    Child::Options options;
    options.argv = {program("capstan-worker"),
                    "--access",
                    misdirect(other.worker_access(), "worker"),
                    "--dir",
                    ours.dir() / "w",
                    "--name",
                    "w"};
    options.cwd = ours.dir().path();
    const Finished worker = run(std::move(options));
    CHECK(worker.code == 3);
    CHECK(contains(worker.err, "key"));
    CHECK(ours.cli().workers().empty());
  }
}

}  // namespace capstan::itest
