// SPDX-License-Identifier: MIT
//
// libzmq behind values with one owner: messages, sockets, monitors, and what the context shares
// with listeners and dialers. Seen by the zmq_*.cc and zap.cc alone. libzmq reports by return
// codes, so nothing here throws.
#pragma once

#include <zmq.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/net/connect_rate.h"
#include "common/net/zmq_transport.h"

namespace capstan::net {

/// ZMQ_ZAP_ENFORCE_DOMAIN. Debian's header hides it, the library honours the number.
inline constexpr int kZapEnforceDomain = 93;
/// The authenticated key, on every body frame. The constant is missing as well.
inline constexpr const char* kUserIdProperty = "User-Id";
/// What the authenticator calls a connection: a number that no other connection ever has.
inline constexpr const char* kConnectionProperty = "X-Capstan-Connection";

/// The library's last error as ours.
tl::unexpected<Error> zmq_fail(const std::string& doing);

/// One frame.
class Frame {
 public:
  Frame() { zmq_msg_init(&raw_); }
  ~Frame() { zmq_msg_close(&raw_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  [[nodiscard]] zmq_msg_t* raw() { return &raw_; }
  [[nodiscard]] std::string_view bytes() {
    return {static_cast<const char*>(zmq_msg_data(&raw_)), zmq_msg_size(&raw_)};
  }
  [[nodiscard]] bool has_more() const { return zmq_msg_more(&raw_) != 0; }
  /// "" when the frame has no such property.
  [[nodiscard]] std::string_view property(const char* name) const {
    const char* value = zmq_msg_gets(&raw_, name);
    return value == nullptr ? std::string_view{} : std::string_view(value);
  }
  /// The descriptor that it came over, -1 when not known. Numbers are used again.
  [[nodiscard]] int descriptor() const { return zmq_msg_get(&raw_, ZMQ_SRCFD); }

 private:
  zmq_msg_t raw_;
};

class Socket {
 public:
  Socket() = default;
  Socket(Socket&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      close(Micros(0));
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(Micros(0)); }
  static Result<Socket> open(void* context, int type);

  [[nodiscard]] void* raw() const { return raw_; }
  [[nodiscard]] explicit operator bool() const { return raw_ != nullptr; }
  Result<void> set(int option, int value);
  Result<void> set_wide(int option, std::int64_t value);
  Result<void> set_text(int option, const std::string& value);
  [[nodiscard]] std::optional<int> get(int option) const;
  [[nodiscard]] std::string get_text(int option) const;

  /// Becomes readable when something may have changed: then ask is_readable().
  [[nodiscard]] int descriptor() const { return get(ZMQ_FD).value_or(-1); }
  /// Also makes the library look at its own events, which sends and receives put off.
  [[nodiscard]] bool is_readable() const {
    return raw_ != nullptr && (get(ZMQ_EVENTS).value_or(0) & ZMQ_POLLIN) != 0;
  }
  /// False when nothing is waiting.
  bool receive(Frame& frame);
  /// False when it cannot go out now. Never waits.
  bool send(std::string_view bytes, int flags);
  /// `linger` for what is queued; the library goes on sending behind our back.
  void close(Micros linger);

 private:
  void* raw_ = nullptr;
};

/// What every socket of ours that carries messages is set to.
Result<void> set_common_options(Socket& socket);

/// Tells what happens to a socket's connections. Its queue has no mark: with one, a full queue
/// would stop the I/O thread. It holds what happened since the loop's last turn, no more.
class Monitor {
 public:
  struct Event {
    int kind = 0;
    std::uint32_t value = 0;  ///< A descriptor, or a reason.
  };
  Monitor() = default;
  Monitor(Monitor&&) = default;
  Monitor& operator=(Monitor&&) = default;
  static Result<Monitor> open(void* context, const Socket& watched, int events);

  std::optional<Event> next();
  [[nodiscard]] const Socket& socket() const { return socket_; }
  /// REQUIRES: before `watched` is closed and while this is open, or the library waits for ever.
  void close(const Socket& watched);

 private:
  Socket socket_;
};

struct KeyRing::Impl {
  mutable std::shared_mutex mutex;
  std::map<std::string, Identity, std::less<>> keys;  // Guarded by mutex.
  std::atomic<std::uint64_t> version{1};              // Grows with each change.
  std::atomic<bool> is_complete{true};
};

/// Answers who may connect to which listener. Its thread outlives every listener; when it ends
/// before, the process ends, because libzmq lets everybody in who asks in vain.
class Authenticator {
 public:
  Authenticator() = default;
  Authenticator(const Authenticator&) = delete;
  Authenticator& operator=(const Authenticator&) = delete;
  ~Authenticator();
  /// Binds the handler and starts its thread; does nothing the second time.
  Result<void> start(void* context);
  /// REQUIRES: the context was shut down, which wakes the thread up.
  void join();
  void expect_end() { is_ending_ = true; }

  /// A listener's part of it. Refused connects are counted in `refused`.
  std::string add_domain(const KeyRing::Impl& ring, std::atomic<std::uint64_t>& refused);
  void remove_domain(const std::string& domain);

 private:
  struct Domain {
    const KeyRing::Impl* ring;
    std::atomic<std::uint64_t>* refused;
  };
  struct Request {
    std::vector<std::string> frames;
  };

  void serve() noexcept;
  bool receive(Request& request);
  void answer(const Request& request);
  void reply(const Request& request, const char* status, const std::string& key);

  Socket socket_;
  std::thread thread_;
  std::atomic<bool> is_ending_{false};
  SystemClock clock_;
  std::uint64_t connections_ = 0;  // Handed out so far. ZAP thread.
  ConnectRate rate_;               // ZAP thread.
  std::mutex mutex_;
  std::map<std::string, Domain> domains_;  // Guarded by mutex_.
  std::uint64_t domains_made_ = 0;         // Guarded by mutex_.
};

struct ZmqContext::Impl {
  void* context = nullptr;
  Authenticator authenticator;
};

}  // namespace capstan::net
