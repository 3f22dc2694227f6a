// SPDX-License-Identifier: MIT
//
// The dialling side: one DEALER to one address at a time. libzmq reconnects by itself while the
// master has that one address; when there are several, each gets a while and then its turn is over.
//
//            handshake through               closed
//   [trying] ------------------> [connected] -------> [trying]         -> on_connected, on_closed
//      |  key refused (0x4000), or closed by the peer three times in the middle of a handshake
//      `-------------------------------------------------------> [stopped]          -> on_refused
//                                            (or, with redial_after: a pause, then [trying] again)
#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/model/limits.h"
#include "common/net/addresses.h"
#include "common/net/poll_source.h"
#include "common/net/zmq_internal.h"

namespace capstan::net {
namespace {

using namespace std::chrono_literals;

constexpr int kWatchedEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_CONNECT_RETRIED |
                               ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
/// The status of a refusal for good (ZAP: 3xx means later, 5xx their fault).
constexpr std::uint32_t kRefusedForGood = 400;
/// A master that cannot read our first message closes at once. One that is slow, or that holds us
/// back, lets the handshake run out: well before that is a sign, near it is none.
constexpr Micros kEarly = limits::kHandshake * 2 / 3;
constexpr int kEarlyCloses = 3;
/// How long one of several addresses has to answer: doubled with each round.
constexpr Micros kPatience = 1s;
constexpr Micros kPatienceMax = 5s;
/// The pause after a round in which no address answered: the same.
constexpr Micros kPause = 100ms;
constexpr Micros kPauseMax = 2s;
/// libzmq's own, for a single address: from 100 ms to a random bound of 2 to 5 s, so that workers
/// that lost a master together do not come back together.
constexpr int kReconnectMs = 100;
constexpr int kReconnectMsMax = 2000;
constexpr int kReconnectMsSpread = 3000;
/// A connection attempt that nobody answers, and data that nobody acknowledges: time to dial again.
constexpr int kConnectMs = 2000;
constexpr int kUnacknowledgedMs = 15'000;

/// One way to dial: a name is tried by IPv4 and by IPv6, since libzmq takes the first it is given
/// and the master may listen on the other.
struct Route {
  std::string address;
  bool v6 = false;
  int early_closes = 0;  // In a row.
};

std::vector<Route> routes_of(const HostPort& address) {
  const std::string text = to_string(address);
  in_addr v4{};
  if (address.host.find(':') != std::string::npos) return {{text, true, 0}};
  if (::inet_pton(AF_INET, address.host.c_str(), &v4) == 1) return {{text, false, 0}};
  return {{text, false, 0}, {text, true, 0}};
}

}  // namespace

struct ZmqDialer::Impl final : PollSource {
  Impl(EventLoop& the_loop, void* the_context) : loop(the_loop), context(the_context) {}
  ~Impl() override { close(Micros(0)); }

  void add_descriptors(std::vector<int>& out) const override;
  bool is_ready() override;
  TimePoint next_deadline() const override;
  void run(TimePoint now) override;

  Result<void> dial();
  void dial_next();
  void close_socket(Micros linger);
  void close(Micros linger);
  void refuse(const std::string& why);
  void on_event(const Monitor::Event& event);
  void on_connect_failed();
  void on_handshake_succeeded();
  void on_disconnected();
  bool receive_one();
  [[nodiscard]] std::string where() const { return master + " (" + routes[route].address + ")"; }

  EventLoop& loop;
  void* context;
  Handler handler;
  std::string master;  // Its name, for messages.
  std::string server_key;
  KeyPair keys;
  std::vector<Route> routes;
  std::size_t route = 0;
  Rng rng{0};

  Socket socket;
  Monitor monitor;
  bool is_closed = false;
  bool is_connected = false;
  std::optional<TimePoint> handshake_began;  // TCP is through, the handshake is not.
  bool is_redialling = false;                // libzmq's next "retried" only announces its pause.
  std::optional<std::size_t> proven;         // The route of the last handshake that succeeded.
  TimePoint turn_over = TimePoint::never();  // This address has had its while.
  TimePoint dial_at = TimePoint::never();    // When there is no socket.
  Micros patience = kPatience;
  Micros pause = kPause;
  SystemClock clock;
};

Result<void> ZmqDialer::Impl::dial() {
  const Route& to = routes[route];
  socket = TRY(Socket::open(context, ZMQ_DEALER));
  TRY(set_common_options(socket));
  TRY(socket.set(ZMQ_IPV6, to.v6 ? 1 : 0));
  TRY(socket.set(ZMQ_IMMEDIATE, 1));
  TRY(socket.set(ZMQ_RECONNECT_IVL, kReconnectMs));
  TRY(socket.set(ZMQ_RECONNECT_IVL_MAX,
                 kReconnectMsMax + static_cast<int>(rng.below(kReconnectMsSpread))));
  TRY(socket.set(ZMQ_CONNECT_TIMEOUT, kConnectMs));
  TRY(socket.set(ZMQ_TCP_KEEPALIVE_IDLE, 5));
  TRY(socket.set(ZMQ_TCP_KEEPALIVE_INTVL, 5));
  TRY(socket.set(ZMQ_TCP_KEEPALIVE_CNT, 3));
  TRY(socket.set(ZMQ_TCP_MAXRT, kUnacknowledgedMs));
  TRY(socket.set_text(ZMQ_CURVE_SERVERKEY, server_key));
  TRY(socket.set_text(ZMQ_CURVE_PUBLICKEY, keys.public_key));
  TRY(socket.set_text(ZMQ_CURVE_SECRETKEY, keys.secret_key));
  monitor = TRY(Monitor::open(context, socket, kWatchedEvents));
  handshake_began.reset();
  is_redialling = false;
  dial_at = TimePoint::never();
  turn_over = routes.size() > 1 ? clock.now() + patience : TimePoint::never();
  if (zmq_connect(socket.raw(), ("tcp://" + to.address).c_str()) != 0) {
    return zmq_fail("dialling " + where());
  }
  return {};
}

/// The next address: at once within a round, after a pause when no address answered.
void ZmqDialer::Impl::dial_next() {
  close_socket(Micros(0));
  turn_over = TimePoint::never();
  route = (route + 1) % routes.size();
  dial_at = clock.now();
  if (route != 0) return;
  const auto jitter =
      static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(pause.count()) / 2));
  dial_at = dial_at + pause + Micros(jitter);
  pause = std::min(pause * 2, kPauseMax);
  patience = std::min(patience * 2, kPatienceMax);
}

void ZmqDialer::Impl::close_socket(Micros linger) {
  if (!socket) return;
  monitor.close(socket);
  socket.close(linger);
}

void ZmqDialer::Impl::close(Micros linger) {
  is_closed = true;
  is_connected = false;
  close_socket(linger);
}

void ZmqDialer::Impl::refuse(const std::string& why) {
  if (handler.redial_after > Micros(0)) {
    for (Route& each : routes) each.early_closes = 0;
    dial_next();
    dial_at = clock.now() + handler.redial_after;
  } else {
    close(Micros(0));
  }
  if (handler.on_refused) handler.on_refused(Error{Errc::NotAllowed, why});
}

void ZmqDialer::Impl::add_descriptors(std::vector<int>& out) const {
  if (!socket) return;
  out.push_back(socket.descriptor());
  out.push_back(monitor.socket().descriptor());
}

bool ZmqDialer::Impl::is_ready() {
  if (is_closed || !socket) return false;
  const bool has_frames = socket.is_readable();
  const bool has_events = monitor.socket().is_readable();
  return has_frames || has_events;
}

TimePoint ZmqDialer::Impl::next_deadline() const {
  return is_closed ? TimePoint::never() : std::min(turn_over, dial_at);
}

void ZmqDialer::Impl::run(TimePoint now) {
  while (const auto event = monitor.next()) on_event(*event);
  for (std::size_t taken = 0; taken < limits::kMessagesPerTurn; ++taken) {
    if (is_closed || !receive_one()) break;
  }
  if (is_closed) return;
  if (turn_over <= now) dial_next();
  if (dial_at > clock.now()) return;
  if (auto dialled = dial(); !dialled) {
    log::warn("master.not_dialled", {{"master", master}, {"reason", dialled.error().message}});
    dial_next();
    dial_at = std::max(dial_at, clock.now() + kPauseMax);
  }
}

void ZmqDialer::Impl::on_event(const Monitor::Event& event) {
  switch (event.kind) {
    case ZMQ_EVENT_CONNECTED:
      handshake_began = clock.now();
      break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      on_handshake_succeeded();
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      if (event.value == kRefusedForGood) {
        refuse("master " + where() + " refuses this key: it is not, or not any more, a member");
      }
      break;
    case ZMQ_EVENT_DISCONNECTED:
      on_disconnected();
      break;
    case ZMQ_EVENT_CLOSED:
      on_connect_failed();
      break;
    case ZMQ_EVENT_CONNECT_RETRIED:
      // A name that has no address comes here alone; after a lost connection it is just the pause.
      if (!std::exchange(is_redialling, false)) on_connect_failed();
      break;
    default:
      break;
  }
}

void ZmqDialer::Impl::on_connect_failed() {
  routes[route].early_closes = 0;
  if (routes.size() > 1 && socket) dial_next();
}

void ZmqDialer::Impl::on_handshake_succeeded() {
  handshake_began.reset();
  routes[route].early_closes = 0;
  proven = route;
  patience = kPatience;
  pause = kPause;
  turn_over = TimePoint::never();
  is_connected = true;
  // Has the library take over the new connection: a send right now would find none.
  (void)socket.is_readable();
  if (handler.on_connected) handler.on_connected();
}

void ZmqDialer::Impl::on_disconnected() {
  is_redialling = true;
  if (is_connected) {
    // Its last frames first. The next connection has none before we spoke on it.
    while (!is_closed && receive_one()) continue;
    if (is_closed) return;
    is_connected = false;
    if (routes.size() > 1) turn_over = clock.now() + patience;
    if (handler.on_closed) handler.on_closed();
    return;
  }
  const auto began = std::exchange(handshake_began, std::nullopt);
  const bool is_early = began && clock.now() - *began < kEarly;
  int& closes = routes[route].early_closes;
  closes = is_early ? closes + 1 : 0;
  // Each other route had its turn between two of them. One that was right before may just be down:
  // then a stranger at this address proves nothing.
  if (closes >= kEarlyCloses && proven.value_or(route) == route) {
    refuse("what answers at " + routes[route].address +
           " is not the master that our key file is of (it has " +
           "another key): was that cluster made anew? then use its new files");
  } else if (routes.size() > 1) {
    dial_next();
  }
}

/// One message: a single frame, or it is dropped whole.
bool ZmqDialer::Impl::receive_one() {
  Frame body;
  if (!socket || !socket.receive(body)) return false;
  const bool is_single = !body.has_more();
  for (bool more = !is_single; more;) {
    Frame rest;
    if (!socket.receive(rest)) break;
    more = rest.has_more();
  }
  if (is_single && body.bytes().size() <= limits::kAnyFrameBytes && handler.on_frame) {
    handler.on_frame(body.bytes());
  }
  return true;
}

ZmqDialer::ZmqDialer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<ZmqDialer>> ZmqDialer::open(ZmqContext& context, EventLoop& loop,
                                                   const Member& master, const KeyPair& keys,
                                                   Handler handler) {
  auto impl = std::make_unique<Impl>(loop, context.impl().context);
  if (!is_z85_key(master.public_key)) {
    return fail(Errc::Invalid, "the key of master " + master.name + " is not 40 characters of Z85");
  }
  if (!is_z85_key(keys.public_key) || !is_z85_key(keys.secret_key)) {
    return fail(Errc::Invalid, "our own key is not 40 characters of Z85");
  }
  for (const std::string& text : master.addresses) {
    for (Route& route : routes_of(TRY(parse_address(text)))) {
      impl->routes.push_back(std::move(route));
    }
  }
  if (impl->routes.empty()) {
    return fail(Errc::Invalid, "master " + master.name + " has no address");
  }
  impl->master = master.name;
  impl->server_key = master.public_key;
  impl->keys = keys;
  impl->handler = std::move(handler);
  impl->rng = Rng(random_number());
  TRY(impl->dial());
  loop.attach(*impl);
  return std::unique_ptr<ZmqDialer>(new ZmqDialer(std::move(impl)));
}

ZmqDialer::~ZmqDialer() {
  impl_->close(Micros(0));
  EventLoop& loop = impl_->loop;
  loop.retire(std::move(impl_));
}

bool ZmqDialer::send(std::string frame) {
  if (!impl_->is_connected) return false;
  if (frame.size() > limits::kAnyFrameBytes) {
    log::error("frame.too_large", {{"bytes", frame.size()}, {"max", limits::kAnyFrameBytes}});
    return false;
  }
  return impl_->socket.send(frame, 0);
}

void ZmqDialer::close(Micros linger) {
  impl_->close(linger);
}

}  // namespace capstan::net
