// SPDX-License-Identifier: MIT
//
// Peers of our own making at a master's port: one that speaks plain TCP, and one that has a key and
// says whatever a test wants.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/unique_fd.h"
#include "common/net/keys.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "tests/integration/cluster.h"

namespace capstan::itest {

inline constexpr std::uint64_t kMiB = 1024 * 1024;

/// A plain TCP connection to a port of this machine.
class RawPeer {
 public:
  explicit RawPeer(int port);
  /// False once the other side has closed.
  bool send(std::string_view bytes);
  /// Like send, but gives up when nothing is taken any more. How many bytes were taken.
  std::uint64_t flood(std::uint64_t bytes);
  /// Waits until the other side closes, reading what it says before.
  bool is_closed_within(Seconds limit);

 private:
  UniqueFd fd_;
};

/// The first 64 bytes of a ZMTP 3.1 connection that wants CURVE.
std::string greeting();
/// A long ZMTP frame's header that claims so many bytes.
std::string frame_header(char flags, std::uint64_t size);

/// A DEALER with a key, speaking frames of our choice. One thread.
class KeyedPeer {
 public:
  /// With the key of an access file, or with another one at the same masters.
  explicit KeyedPeer(const std::string& access_path, const net::KeyPair* other_keys = nullptr);
  ~KeyedPeer();
  KeyedPeer(const KeyedPeer&) = delete;
  KeyedPeer& operator=(const KeyedPeer&) = delete;

  void send(const std::string& frame, bool more = false);
  /// False when the queue to the master is full.
  bool try_send(const std::string& frame);
  /// Outside of any session.
  void send(msg::Body body);
  /// Numbered, in the session that hello() opened.
  void say(msg::Body body);
  /// The next frame's body.
  msg::Body receive();
  /// The first message of type T; what comes before it is dropped.
  template <class T>
  T expect() {
    for (;;) {
      msg::Body body = receive();
      if (auto* found = std::get_if<T>(&body)) return std::move(*found);
    }
  }
  /// Is a frame waiting? Looks for so long.
  bool has_frame(Seconds limit);

  /// As a client.
  msg::Welcome hello();
  /// As a worker.
  msg::Welcome hello(msg::WorkerHello hello);

  wire::SessionEnd end;

 private:
  msg::Message receive_message();
  msg::Welcome take_welcome();
  void* context_;
  void* socket_;
};

/// A new key pair that is enrolled as a worker.
net::KeyPair enrol(const Cluster& cluster, const std::string& name);

/// A task is run from end to end.
void check_serves(const Cluster& cluster);
std::uint64_t refused_messages(const Cluster& cluster);
std::uint64_t refused_connections(const Cluster& cluster);

}  // namespace capstan::itest
