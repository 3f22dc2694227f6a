// SPDX-License-Identifier: MIT
//
// A master on a bench: the real Server with a listener that records frames, a store in memory,
// doors that answer at once, and a clock that is moved by hand. Peers number their messages as real
// ones do.
#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/wire/codec.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "common/wire/version.h"
#include "master/server.h"
#include "tests/support/builders.h"
#include "tests/support/memory_store.h"
#include "tests/unit/master/fakes.h"

namespace capstan::test {

class Bench;

/// One connection, with the peer's end of its session.
class Peer {
 public:
  Peer(Bench& bench, net::PeerId id, net::Identity identity)
      : bench_(&bench), id_(id), identity_(std::move(identity)) {}

  /// In its session, numbered.
  void send(msg::Body body);
  /// HELLO, Enrol: outside of any session.
  void send_bare(msg::Body body);
  void send_frame(const msg::Message& message);
  void close();

  /// The first message of this type that is waiting; everything before it is dropped.
  template <class T>
  std::optional<T> take();
  /// The same, which must be there.
  template <class T>
  T expect() {
    std::optional<T> found = take<T>();
    REQUIRE(found.has_value());
    return std::move(*found);
  }
  template <class T>
  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] std::deque<msg::Message>& inbox() const;

  /// As a client; takes the Welcome.
  void hello();
  /// As a worker.
  msg::Welcome hello(msg::WorkerHello hello);
  /// Turns; the session that was opened is this peer's from now on.
  msg::Welcome take_welcome();

  [[nodiscard]] net::PeerId id() const { return id_; }
  [[nodiscard]] const net::Identity& identity() const { return identity_; }
  wire::SessionEnd end;

 private:
  Bench* bench_;
  net::PeerId id_;
  net::Identity identity_;
};

class Bench {
 public:
  Bench() { start(); }

  void start() { begin({store, listener, reads, logs, keys, host, clock, alone}); }
  void begin(const Server::Doors& doors) {
    auto opened = memory.open();
    REQUIRE(opened);
    auto taken = take_all(store, std::move(*opened));
    REQUIRE(taken);
    server =
        std::make_unique<Server>(options, doors, std::move(*taken), Epoch((++reigns << 8U) + 1));
    turn();
  }
  /// kill -9 of the master: connections are gone, what was durable is not.
  void restart() {
    server.reset();
    memory.crash();
    listener.sent.clear();
    start();
  }

  void turn() {
    const Result<void> turned = server->turn();
    REQUIRE_MESSAGE(turned, turned.error().message);
  }
  /// Turns at every deadline until `d` has passed, as a loop does.
  void pass(Micros d) {
    const TimePoint until = clock.now() + d;
    while (clock.now() < until) {
      const TimePoint next = std::max(server->next_deadline(), clock.now() + Micros(1000));
      clock.steady_us = std::min(next, until).us;
      turn();
    }
  }

  Peer peer(Role role, const std::string& name) {
    return {*this, net::PeerId(++peers_), {role, name, key_of(name)}};
  }
  Peer client(const std::string& name = "ann", Role role = Role::User) {
    Peer client = peer(role, name);
    client.hello();
    return client;
  }
  /// Enrols a worker; no HELLO yet.
  Peer enrolled(const std::string& name) {
    Peer invited = peer(Role::Enrolment, "invitation");
    invited.send_bare(msg::Enrol{kProtocol, key_of(name), name});
    turn();
    const auto answer = invited.expect<msg::Enrolled>();
    return {*this, net::PeerId(++peers_), {Role::Worker, answer.name, key_of(name)}};
  }
  /// 40 characters of Z85, its own for each name.
  static std::string key_of(const std::string& name) {
    std::string key = "k";
    for (const char c : name)
      key += {static_cast<char>('a' + (c & 15)), static_cast<char>('a' + ((c >> 4) & 15))};
    key.resize(40, '0');
    return key;
  }

  FakeClock clock;
  FakeListener listener;
  MemoryStore memory;
  ObservedStore store{memory, listener};
  InlineReads reads{memory};
  FakeLogs logs;
  FakeKeys keys;
  FakeHost host;
  Alone alone;
  Server::Options options;
  std::uint64_t reigns = 0;
  std::unique_ptr<Server> server;

 private:
  std::uint64_t peers_ = 0;
};

inline std::deque<msg::Message>& Peer::inbox() const {
  return bench_->listener.sent[id_];
}

inline void Peer::send_frame(const msg::Message& message) {
  bench_->server->on_frame(id_, identity_, wire::encode(message));
}
inline void Peer::send(msg::Body body) {
  send_frame({end.id(), end.next_out(), Epoch(0), std::move(body)});
}
inline void Peer::send_bare(msg::Body body) {
  send_frame({SessionId{}, 0, Epoch(0), std::move(body)});
}
inline void Peer::close() {
  bench_->server->on_closed(id_);
  inbox().clear();
}

template <class T>
std::optional<T> Peer::take() {
  std::deque<msg::Message>& messages = inbox();
  while (!messages.empty()) {
    msg::Message message = std::move(messages.front());
    messages.pop_front();
    if (const auto* body = std::get_if<T>(&message.body)) return *body;
  }
  return std::nullopt;
}

template <class T>
std::size_t Peer::count() const {
  std::size_t found = 0;
  for (const msg::Message& message : inbox()) found += std::holds_alternative<T>(message.body);
  return found;
}

inline void Peer::hello() {
  send_bare(msg::ClientHello{kProtocol, kVersion, Epoch(0)});
  take_welcome();
}

inline msg::Welcome Peer::hello(msg::WorkerHello hello) {
  hello.protocol = kProtocol;
  hello.version = kVersion;
  if (hello.cpus == 0) hello.cpus = 1;
  if (!hello.instance.is_set()) hello.instance = an_id(1000 + id_.value);
  hello.containment = "cgroup";
  send_bare(std::move(hello));
  return take_welcome();
}

inline msg::Welcome Peer::take_welcome() {
  bench_->turn();
  while (!inbox().empty() && !std::holds_alternative<msg::Welcome>(inbox().front().body))
    inbox().pop_front();
  REQUIRE(!inbox().empty());
  const msg::Message welcome = inbox().front();
  CHECK(welcome.n == 1);
  inbox().pop_front();
  end = wire::SessionEnd(welcome.session);
  return std::get<msg::Welcome>(welcome.body);
}

/// Open and close of a submission without inputs.
inline void submit(Peer& client, RequestId request, const JobSpec& spec,
                   const std::string& token = "", const Bytes& digest = Bytes(16, 'd')) {
  client.send(msg::SubmitOpen{request, token, digest, spec});
  client.send(msg::SubmitClose{request, 0, 0});
}

}  // namespace capstan::test
