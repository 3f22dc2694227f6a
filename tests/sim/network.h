// SPDX-License-Identifier: MIT
//
// A network that behaves like ZeroMQ over TCP on a bad day: in order within a connection, but
// messages are lost, doubled, delayed; connections are cut, refuse to come back for a while, carry
// one way only; and what an old connection still held may arrive after a new one was made. That a
// connection closed is told late, or never to one side.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/net/transport.h"
#include "tests/sim/schedule.h"

namespace capstan::sim {

/// Chances in percent, drawn afresh for each seed; zero when the faults stop.
struct NetworkFaults {
  unsigned lose = 0;
  unsigned repeat = 0;
  Micros delay_max{300};
};

class Network;

/// One dialling process's connection to the master, re-made when it was cut.
class Link final : public net::Dialer {
 public:
  struct Ends {
    std::function<void(std::string_view)> on_frame;
    std::function<void()> on_connected;
    std::function<void()> on_closed;
  };
  Link(Network& network, net::Identity identity, Ends ends);
  bool send(std::string frame) override;
  [[nodiscard]] bool is_connected() const { return peer_.value != 0; }

 private:
  friend class Network;
  Network& network_;
  net::Identity identity_;
  Ends ends_;
  net::PeerId peer_;             // Of the connection that is up; 0: none.
  bool dialing_ = true;          // Its process lives.
  bool blocked_ = false;         // No connection comes up.
  bool closing_ = false;         // It was closed, and does not know yet.
  bool mute_to_master_ = false;  // One-way losses.
  bool mute_to_dialer_ = false;
  TimePoint last_to_master_, last_to_dialer_;
  std::uint64_t life_ = 0;  // Of its process: what was sent to an earlier one is dropped.
};

class Network final : public net::Listener {
 public:
  struct MasterEnd {
    std::function<void(net::PeerId, const net::Identity&, std::string_view)> on_frame;
    std::function<void(net::PeerId)> on_closed;
  };
  explicit Network(Schedule& schedule) : schedule_(schedule) {}

  // The master's side.
  [[nodiscard]] bool has(net::PeerId peer) const { return peers_.contains(peer); }
  void set_master(MasterEnd end);  ///< It listens: links connect soon.
  /// Its process died: every connection closes. `silently`, with its machine: nobody is told
  /// before it listens again.
  void kill_master(bool silently = false);
  bool send(net::PeerId peer, std::string frame) override;
  void drop(net::PeerId peer) override;

  // The dialling side.
  Link& add_link(net::Identity identity, Link::Ends ends);
  void stop_dialing(Link& link);  ///< Its process died: the connection closes.
  void start_dialing(Link& link);

  // Faults.
  NetworkFaults& faults() { return faults_; }
  void cut(Link& link);             ///< Closes; it dials again.
  void block(Link& link, bool on);  ///< Cut, and nothing comes up while on.
  void mute(Link& link, bool to_master, bool to_dialer);
  void heal();  ///< No fault any more, everything connects.
  [[nodiscard]] std::vector<Link*> links();

 private:
  friend class Link;
  void connect_later(Link& link);
  void close(Link& link, bool tell_master, bool tell_dialer);
  void close_all();
  void to_master(Link& link, std::string frame);
  void to_dialer(Link& link, std::string frame);
  TimePoint arrival(TimePoint& last);

  Schedule& schedule_;
  NetworkFaults faults_;
  MasterEnd master_;
  bool listening_ = false;
  std::uint64_t master_life_ = 0;
  std::uint64_t next_peer_ = 1;
  std::vector<std::unique_ptr<Link>> links_;
  std::map<net::PeerId, Link*> peers_;
};

}  // namespace capstan::sim
