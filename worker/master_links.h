// SPDX-License-Identifier: MIT
//
// A worker's connections: one dialer for each master of its access file. One that refuses our key
// is dialled again for as long as another one does not: a standby hears of a new worker a moment
// later than the master that enrolled it. Loop thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/net/event_loop.h"
#include "common/net/keys.h"
#include "common/net/zmq_transport.h"

namespace capstan {

class MasterLinks {
 public:
  /// A master is named by its place in the access file.
  struct Handler {
    std::function<void(std::size_t, std::string_view)> on_frame;
    std::function<void(std::size_t)> on_connected;
    std::function<void(std::size_t)> on_closed;
    /// All of them refuse us, the last one for this reason: for good.
    std::function<void(const Error&)> on_refused;
  };
  /// Starts to dial. Errors: NotAllowed (the file names no master), Invalid.
  static Result<std::unique_ptr<MasterLinks>> open(net::EventLoop& loop, net::ZmqContext& context,
                                                   net::Access access, Handler handler);
  MasterLinks(const MasterLinks&) = delete;
  MasterLinks& operator=(const MasterLinks&) = delete;

  /// Dropped when that master is not connected.
  void send(std::size_t master, std::string frame);
  /// What is due: dials again, and says once when nobody answers for a while.
  void run();
  [[nodiscard]] TimePoint next_deadline() const;
  /// What is queued has `linger` to leave. No callbacks afterwards.
  void close(Micros linger);

 private:
  struct Link {
    std::unique_ptr<net::ZmqDialer> dialer;
    bool is_connected = false;
    bool is_refused = false;
    TimePoint dial_at = TimePoint::never();
  };
  MasterLinks(net::EventLoop& loop, net::ZmqContext& context, net::Access access, Handler handler)
      : loop_(loop),
        context_(context),
        access_(std::move(access)),
        handler_(std::move(handler)),
        links_(access_.masters.size()) {}
  Result<void> dial(std::size_t master);
  void on_connected(std::size_t master);
  void on_closed(std::size_t master);
  void on_refused(std::size_t master, const Error& error);
  [[nodiscard]] bool is_any_connected() const;

  net::EventLoop& loop_;
  net::ZmqContext& context_;
  SystemClock clock_;
  net::Access access_;
  Handler handler_;
  std::vector<Link> links_;
  TimePoint unheard_at_ = TimePoint::never();  // To be said then, when nobody answered.
};

/// Their addresses, for the log.
std::string addresses_text(const std::vector<Member>& masters);

}  // namespace capstan
