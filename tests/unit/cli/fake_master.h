// SPDX-License-Identifier: MIT
//
// A scripted master on loopback, for tests of what dials one.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "common/net/event_loop.h"
#include "common/net/zmq_transport.h"
#include "common/wire/codec.h"
#include "common/wire/session.h"

namespace capstan::test {

/// Speaks the session rules and answers what `on_body` says.
class FakeMaster {
 public:
  explicit FakeMaster(net::EventLoop& loop) {
    admit(client_keys.public_key);
    net::ZmqListener::Options options{"127.0.0.1:0", keys};
    net::ZmqListener::Handler handler;
    handler.on_frame = [this](net::PeerId peer, const net::Identity&, std::string_view frame) {
      on_frame(peer, frame);
    };
    handler.on_closed = [](net::PeerId) {};
    auto opened = net::ZmqListener::open(context_, loop, ring_, options, std::move(handler));
    REQUIRE(opened);
    listener_ = std::move(*opened);
  }

  void admit(const std::string& public_key) { ring_.add({Role::Admin, "anna", public_key}); }
  [[nodiscard]] Member member(const std::string& name) const {
    return {name, {listener_->bound_address()}, keys.public_key};
  }
  net::Access access(const net::KeyPair& client) const {
    net::Access access;
    access.keys = client;
    access.masters = {{"a", {listener_->bound_address()}, keys.public_key}};
    return access;
  }
  void send(msg::Body body) {
    msg::Message message;
    message.session = session_.id();
    message.n = session_.next_out();
    message.epoch = epoch;
    message.body = std::move(body);
    listener_->send(peer_, wire::encode(message));
  }
  /// The session is forgotten, as by a master that was started again.
  void forget() {
    msg::Message message;
    message.session = session_.id();
    session_.close();
    message.epoch = epoch;
    message.body = msg::NeedHello{"forgotten"};
    listener_->send(peer_, wire::encode(message));
  }
  /// A later reign of the same node welcomes whoever said HELLO to it meanwhile.
  void lead_again(Epoch later, SessionId id) {
    epoch = later;
    session_ = wire::SessionEnd(id);
    send(welcome);
  }

  const net::KeyPair keys = net::make_key_pair();
  const net::KeyPair client_keys = net::make_key_pair();
  std::function<void(const msg::Body&)> on_body;
  int hellos = 0;
  Epoch epoch{257};
  bool is_standby = false;  ///< HELLO is answered with "not now".
  msg::Welcome welcome;
  /// Answers what is said without a session: AskCluster and ClusterControl.
  std::function<msg::Body(const msg::Body&)> on_cluster;

 private:
  void on_frame(net::PeerId peer, std::string_view frame) {
    const auto message = wire::decode(frame);
    REQUIRE(message);
    peer_ = peer;
    if (std::holds_alternative<msg::ClientHello>(message->body)) {
      session_ = wire::SessionEnd(SessionId(100 + static_cast<std::uint64_t>(++hellos)));
      if (is_standby) {
        msg::Message answer;
        answer.body = msg::Refused{Errc::Unavailable, "this is the standby"};
        session_.close();
        listener_->send(peer, wire::encode(answer));
        return;
      }
      welcome.name = "anna";
      welcome.role = Role::Admin;
      return send(welcome);
    }
    if (on_cluster && message->session == SessionId{}) {
      msg::Message answer;
      answer.epoch = epoch;
      answer.body = on_cluster(message->body);
      listener_->send(peer, wire::encode(answer));
      return;
    }
    // A HELLO that was slow to be answered is said again: then the first session is over already.
    if (!session_.is_open() || message->session < session_.id()) return;
    REQUIRE(session_.accept(message->session, message->n));
    if (!std::holds_alternative<msg::Heartbeat>(message->body)) on_body(message->body);
  }

  net::ZmqContext context_;
  net::KeyRing ring_;
  std::unique_ptr<net::ZmqListener> listener_;
  net::PeerId peer_;
  wire::SessionEnd session_;
};

}  // namespace capstan::test
