// SPDX-License-Identifier: MIT
//
// ZeroMQ with CURVE, always. The only place that sees zmq. Traps and settings: docs/protocol.md,
// "The socket rules" (libzmq 4.3.4: fails open without ZAP, drops queues at a reconnect, and more).
// One context per process; sockets belong to the loop thread, the authenticator to a thread of its
// own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/net/event_loop.h"
#include "common/net/keys.h"
#include "common/net/transport.h"

namespace capstan::net {

/// One context, its I/O thread, and (for listeners) the ZAP thread.
class ZmqContext {
 public:
  /// Seeds libzmq's routing ids from getrandom, raises RLIMIT_NOFILE.
  ZmqContext();
  ~ZmqContext();
  ZmqContext(const ZmqContext&) = delete;
  ZmqContext& operator=(const ZmqContext&) = delete;
  struct Impl;
  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Whose key is whose. Read by the ZAP thread and checked again on every message; changed by the
/// loop. Any thread.
class KeyRing {
 public:
  KeyRing();
  ~KeyRing();
  void add(const Identity& identity);
  void remove(const std::string& public_key);
  [[nodiscard]] std::optional<Identity> find(const std::string& public_key) const;
  /// False: who is not in it may only not be known here yet, gets no answer and dials again. True
  /// at first: refused for good.
  void set_complete(bool complete);
  struct Impl;
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// What was turned away so far. Grows only.
struct ListenerCounters {
  std::uint64_t refused_connections = 0;  ///< By ZAP: unknown key, too many a second.
  std::uint64_t failed_handshakes = 0;    ///< Garbage, timeouts.
  std::uint64_t dropped_messages = 0;     ///< Wrong frames, no identity, too large.
};

class ZmqListener final : public Listener {
 public:
  struct Options {
    std::string address;  ///< "HOST:PORT"; port 0 takes any free one.
    KeyPair keys;
  };
  struct Handler {
    /// A frame of at most kAnyFrameBytes from a peer whose key is in the ring now.
    std::function<void(PeerId, const Identity&, std::string_view)> on_frame;
    /// Its connection closed: a reason to suspect it, no proof that it died.
    std::function<void(PeerId)> on_closed;
  };
  /// Binds the ZAP handler, then the socket, then proves with a throw-away key that strangers are
  /// refused: an error when anything of this does not hold.
  static Result<std::unique_ptr<ZmqListener>> open(ZmqContext& context, EventLoop& loop,
                                                   KeyRing& ring, Options options, Handler handler);
  ~ZmqListener() override;
  bool send(PeerId peer, std::string frame) override;
  void drop(PeerId peer) override;
  /// The most frames that on_frame is called with in one poll(); the rest waits.
  void set_frames_per_poll(std::size_t count);
  /// "HOST:PORT" as bound.
  [[nodiscard]] std::string bound_address() const;
  /// "10.0.0.7:41234" of a peer, "" when not known.
  [[nodiscard]] std::string address_of(PeerId peer) const;
  [[nodiscard]] ListenerCounters counters() const;

 private:
  struct Impl;
  explicit ZmqListener(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Dials one master (all of its addresses, in turn, until one answers; reconnects by itself with
/// jitter).
class ZmqDialer final : public Dialer {
 public:
  struct Handler {
    std::function<void(std::string_view)> on_frame;
    /// The handshake is through: say HELLO (again; what was queued is gone).
    std::function<void()> on_connected;
    std::function<void()> on_closed;
    /// For good: our key is refused (NotAllowed), or the master has another key than our file says
    /// (NotAllowed as well; the message tells which). field-notes, "Telling a wrong key from no
    /// master".
    std::function<void(const Error&)> on_refused;
    /// Not 0: not for good, then. What is wrong at the other end may be put right; each refusal is
    /// told.
    Micros redial_after{0};
  };
  static Result<std::unique_ptr<ZmqDialer>> open(ZmqContext& context, EventLoop& loop,
                                                 const Member& master, const KeyPair& keys,
                                                 Handler handler);
  ~ZmqDialer() override;
  bool send(std::string frame) override;
  /// What is queued has `linger` to leave, then it is dropped. Does not block: ~ZmqContext waits
  /// for what still lingers. No callbacks afterwards.
  void close(Micros linger);

 private:
  struct Impl;
  explicit ZmqDialer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::net
