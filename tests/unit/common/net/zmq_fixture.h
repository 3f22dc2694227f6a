// SPDX-License-Identifier: MIT
//
// A listener and a dialer of ours on real sockets, for tests of the transport.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/net/addresses.h"
#include "common/net/zmq_transport.h"

namespace capstan::net::test {

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

}  // namespace capstan::net::test
