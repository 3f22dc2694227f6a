// SPDX-License-Identifier: MIT
//
// The listening side. Three names for one connection have to be kept together: the number that the
// authenticator gave it (on every body frame), libzmq's routing id (to send to it), and its
// descriptor (all that the monitor tells when it closes). Descriptors are used again at once, so:
// the monitor is read before a new connection is taken in (everything that happened to the
// descriptor's former owner is told by then), and of two connections on one descriptor the one with
// the higher number lives.
//
//    ACCEPTED         first frame            DISCONNECTED          queue read empty
//   ----------> [open] ---------> [a peer] ---------------> [closing] -------------> on_closed,
//   gone
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/net/addresses.h"
#include "common/net/poll_source.h"
#include "common/net/zmq_internal.h"

namespace capstan::net {
namespace {

using namespace std::chrono_literals;

constexpr int kWatchedEvents =
    ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_ACCEPT_FAILED |
    ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
/// How often connections are looked over for parked bytes, and what was turned away is logged.
constexpr Micros kLookOver = 1s;
/// A closed peer's last frames have this long to be read when others keep the loop busy.
constexpr Micros kLastFrames = 1s;
/// Answers that are queued at our end have this long to leave.
constexpr Micros kLinger = 500ms;
/// The self-test: two handshakes that time out, and one more.
constexpr Micros kSelfTest = 3 * limits::kHandshake;
/// ROUTER: a dead machine's connection is closed after a minute without an acknowledgement.
constexpr int kUnacknowledgedMs = 60'000;

struct Peer {
  std::uint64_t connection = 0;
  std::string routing_id;
  int descriptor = -1;
  Identity identity;
  std::uint64_t ring_version = 0;  // That `identity` was read from.
  std::string address;
  bool is_dropped = false;  // By drop(): nothing of it is delivered any more.
  bool is_closing = false;
};

struct Connection {
  PeerId peer;                         // None before its first frame.
  std::uint64_t delivered = 0;         // Complete messages.
  std::uint64_t delivered_before = 0;  // At the last look-over that saw it move …
  std::uint64_t received_before = 0;   // … and the bytes then.
};

std::string text_of(const sockaddr_storage& address) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), sizeof address, host.data(),
                    host.size(), port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  std::string name = host.data();
  constexpr std::string_view kMapped = "::ffff:";
  if (name.starts_with(kMapped) && name.find('.') != std::string::npos) {
    name.erase(0, kMapped.size());
  }
  const bool v6 = name.find(':') != std::string::npos;
  return (v6 ? "[" + name + "]" : name) + ":" + port.data();
}

std::string peer_address(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return text_of(address);
}

std::optional<std::uint64_t> received_bytes(int descriptor) {
  tcp_info status{};
  socklen_t size = sizeof status;
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &status, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof status.tcpi_bytes_received) {
    return std::nullopt;
  }
  return status.tcpi_bytes_received;
}

/// The number as libzmq's bind wants it: it resolves no names.
Result<std::string> numeric_host(const HostPort& address) {
  if (address.host == "*") return address.host;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), nullptr, &hints, &list);
  if (error != 0 || list == nullptr) {
    return fail(Errc::Invalid, "listen address " + to_string(address) + ": " + gai_strerror(error));
  }
  const addrinfo* chosen = list;  // IPv4 when the name has both: everybody can dial it.
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET && chosen->ai_family != AF_INET) chosen = one;
  }
  std::array<char, NI_MAXHOST> text{};
  ::getnameinfo(chosen->ai_addr, chosen->ai_addrlen, text.data(), text.size(), nullptr, 0,
                NI_NUMERICHOST);
  ::freeaddrinfo(list);
  return std::string(text.data());
}

std::string endpoint(const std::string& host, const std::string& port) {
  const bool v6 = host.find(':') != std::string::npos;
  return "tcp://" + (v6 ? "[" + host + "]" : host) + ":" + port;
}

/// Dials ourselves with a key that nobody knows. The one proof that the rules hold in this library
/// as it is installed.
Result<void> prove_that_strangers_are_refused(void* context, const std::string& where,
                                              const std::string& server_key) {
  const KeyPair stranger = make_key_pair();
  Socket dealer = TRY(Socket::open(context, ZMQ_DEALER));
  TRY(set_common_options(dealer));
  TRY(dealer.set(ZMQ_RECONNECT_IVL, -1));  // Once: what it is refused is taken off our counters.
  TRY(dealer.set_text(ZMQ_CURVE_SERVERKEY, server_key));
  TRY(dealer.set_text(ZMQ_CURVE_PUBLICKEY, stranger.public_key));
  TRY(dealer.set_text(ZMQ_CURVE_SECRETKEY, stranger.secret_key));
  const int outcomes = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  Monitor monitor = TRY(Monitor::open(context, dealer, outcomes));
  if (zmq_connect(dealer.raw(), where.c_str()) != 0) return zmq_fail("testing " + where);
  const SystemClock clock;
  const TimePoint end = clock.now() + kSelfTest;
  std::optional<Monitor::Event> event;
  while (!event && clock.now() < end) {
    zmq_pollitem_t item{monitor.socket().raw(), 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, static_cast<long>((end - clock.now()).count() / 1000 + 1));
    event = monitor.next();
  }
  monitor.close(dealer);
  if (!event) {
    return fail(Errc::Timeout, "self-test: " + where + " did not answer a connection of our own");
  }
  if (event->kind != ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
    return fail(Errc::NotAllowed, "self-test: a key that nobody knows was let in; not serving");
  }
  return {};
}

}  // namespace

struct ZmqListener::Impl final : PollSource {
  Impl(EventLoop& the_loop, Authenticator& the_authenticator, const KeyRing& the_ring,
       const KeyRing::Impl& the_ring_impl)
      : loop(the_loop),
        authenticator(the_authenticator),
        ring(the_ring),
        ring_impl(the_ring_impl) {}
  ~Impl() override { close(); }

  void add_descriptors(std::vector<int>& out) const override;
  bool is_ready() override;
  TimePoint next_deadline() const override;
  void run(TimePoint now) override;

  Result<void> bind(void* context, const Options& options);
  void close();
  void drain_monitor();
  void on_event(const Monitor::Event& event);
  void on_disconnected(int descriptor);
  bool receive_one();
  void deliver(Frame& routing_id, Frame& body);
  std::pair<PeerId, Peer*> peer_of(Frame& routing_id, Frame& body);
  PeerId take_in(std::uint64_t connection, Frame& routing_id, Frame& body);
  bool is_allowed(Peer& peer, std::string_view key);
  void begin_closing(PeerId id);
  void finish_closing();
  void look_over(TimePoint now);
  void shut_down(int descriptor);
  void log_refusals();

  EventLoop& loop;
  Authenticator& authenticator;
  const KeyRing& ring;
  const KeyRing::Impl& ring_impl;
  Handler handler;
  Socket router;
  Monitor monitor;
  std::string domain;
  HostPort bound;
  bool is_closed = false;
  SystemClock clock;
  std::size_t frames_per_poll = limits::kMessagesPerTurn;

  PeerId last_peer;
  std::unordered_map<PeerId, Peer> peers;
  std::unordered_map<std::uint64_t, PeerId> by_number;  // The authenticator's.
  std::unordered_map<int, Connection> connections;      // By descriptor; open ones.
  std::vector<PeerId> closing;
  TimePoint closing_until;  // When there is one in `closing`.
  TimePoint look_over_at;
  bool is_drained = false;  // The last run read everything that was there.

  std::atomic<std::uint64_t> refused{0};  // By the authenticator.
  std::uint64_t refused_here = 0;         // Too many connections.
  std::uint64_t failed_handshakes = 0;
  std::uint64_t dropped_messages = 0;
  std::uint64_t logged = 0;  // The sum of all counters when it was last logged.
  // A closed connection that was no peer: which of three was it? Events without descriptors.
  std::uint64_t silent_successes = 0;
  std::uint64_t refusals_to_close = 0;
  bool has_counted_failure = false;  // The event that comes right before DISCONNECTED.

  [[nodiscard]] std::uint64_t turned_away() const {
    return refused + refused_here + failed_handshakes + dropped_messages;
  }
};

Result<void> ZmqListener::Impl::bind(void* context, const Options& options) {
  bound = TRY(parse_address(options.address));
  const std::string host = TRY(numeric_host(bound));
  router = TRY(Socket::open(context, ZMQ_ROUTER));
  TRY(set_common_options(router));
  TRY(router.set(ZMQ_ROUTER_MANDATORY, 1));
  TRY(router.set(ZMQ_ROUTER_HANDOVER, 0));
  TRY(router.set(ZMQ_BACKLOG, 1024));
  TRY(router.set(ZMQ_TCP_KEEPALIVE_IDLE, 30));
  TRY(router.set(ZMQ_TCP_KEEPALIVE_INTVL, 10));
  TRY(router.set(ZMQ_TCP_KEEPALIVE_CNT, 3));
  TRY(router.set(ZMQ_TCP_MAXRT, kUnacknowledgedMs));
  TRY(router.set(ZMQ_CURVE_SERVER, 1));
  TRY(router.set_text(ZMQ_CURVE_SECRETKEY, options.keys.secret_key));
  domain = authenticator.add_domain(ring_impl, refused);
  TRY(router.set_text(ZMQ_ZAP_DOMAIN, domain));
  TRY(router.set(kZapEnforceDomain, 1));
  if (router.get_text(ZMQ_ZAP_DOMAIN) != domain || router.get(kZapEnforceDomain) != 1 ||
      router.get(ZMQ_MECHANISM) != ZMQ_CURVE) {
    return fail(Errc::NotAllowed, "this libzmq does not keep its authentication; not serving");
  }
  monitor = TRY(Monitor::open(context, router, kWatchedEvents));
  const std::string port = bound.port == 0 ? "*" : std::to_string(bound.port);
  if (zmq_bind(router.raw(), endpoint(host, port).c_str()) != 0) {
    const bool is_taken = zmq_errno() == EADDRINUSE;
    auto error = zmq_fail("listening on " + to_string(bound));
    if (is_taken) error.value().message += ": stop what listens there, or give another port";
    return error;
  }
  const std::string last = router.get_text(ZMQ_LAST_ENDPOINT);
  const std::string bound_port = last.substr(last.rfind(':') + 1);
  std::from_chars(bound_port.data(), bound_port.data() + bound_port.size(), bound.port);
  if (bound.port == 0) return fail(Errc::Io, "listening on " + last + ", which has no port");
  const std::string near = !is_any_host(host) ? host : host == "::" ? "::1" : "127.0.0.1";
  TRY(prove_that_strangers_are_refused(context, endpoint(near, bound_port),
                                       options.keys.public_key));
  refused = 0;  // That one was us.
  return {};
}

void ZmqListener::Impl::close() {
  if (is_closed) return;
  is_closed = true;
  if (router) {
    monitor.close(router);
    zmq_unbind(router.raw(), router.get_text(ZMQ_LAST_ENDPOINT).c_str());
    router.close(kLinger);
  }
  if (!domain.empty()) authenticator.remove_domain(domain);
}

void ZmqListener::Impl::add_descriptors(std::vector<int>& out) const {
  out.push_back(router.descriptor());
  out.push_back(monitor.socket().descriptor());
}

bool ZmqListener::Impl::is_ready() {
  // Both are asked, always: asking is what makes their descriptors tell again.
  const bool has_frames = router.is_readable();
  const bool has_events = monitor.socket().is_readable();
  return has_frames || has_events || !closing.empty();
}

TimePoint ZmqListener::Impl::next_deadline() const {
  return connections.empty() && logged == turned_away() ? TimePoint::never() : look_over_at;
}

void ZmqListener::Impl::run(TimePoint now) {
  drain_monitor();
  is_drained = false;
  for (std::size_t taken = 0; taken < frames_per_poll && !is_closed && !is_drained; ++taken) {
    is_drained = !receive_one();
  }
  if (is_closed) return;
  if (!closing.empty() && (is_drained || now >= closing_until)) finish_closing();
  if (!is_closed && now >= look_over_at) look_over(now);
}

void ZmqListener::Impl::drain_monitor() {
  while (const auto event = monitor.next()) on_event(*event);
}

void ZmqListener::Impl::on_event(const Monitor::Event& event) {
  const int descriptor = static_cast<int>(event.value);
  switch (event.kind) {
    case ZMQ_EVENT_ACCEPTED:
      on_disconnected(descriptor);  // Should its former owner's end have gone untold.
      connections[descriptor] = Connection{};
      if (connections.size() > limits::kConnections) {
        ++refused_here;
        shut_down(descriptor);
      }
      break;
    case ZMQ_EVENT_DISCONNECTED:
      on_disconnected(descriptor);
      break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      ++silent_successes;
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      ++refusals_to_close;
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      if (!has_counted_failure) ++failed_handshakes;
      has_counted_failure = true;
      break;
    case ZMQ_EVENT_ACCEPT_FAILED:
      ++refused_here;
      break;
    default:
      break;
  }
}

void ZmqListener::Impl::on_disconnected(int descriptor) {
  const bool is_counted = std::exchange(has_counted_failure, false);
  const auto found = connections.find(descriptor);
  if (found == connections.end()) return;
  const PeerId id = found->second.peer;
  connections.erase(found);
  if (id) return begin_closing(id);
  if (is_counted) return;
  // Garbage instead of a greeting has no event of its own: it is what is left when nobody was
  // refused and nobody got through without a word.
  if (refusals_to_close > 0) {
    --refusals_to_close;
  } else if (silent_successes > 0) {
    --silent_successes;
  } else {
    ++failed_handshakes;
  }
}

bool ZmqListener::Impl::receive_one() {
  Frame routing_id;
  if (!router.receive(routing_id)) return false;
  Frame body;
  if (!routing_id.has_more() || !router.receive(body)) {
    ++dropped_messages;
    return true;
  }
  if (const auto found = connections.find(body.descriptor()); found != connections.end()) {
    ++found->second.delivered;
  }
  bool has_extra = false;
  for (bool more = body.has_more(); more; has_extra = true) {
    Frame rest;
    if (!router.receive(rest)) break;
    more = rest.has_more();
  }
  if (has_extra || body.bytes().size() > limits::kAnyFrameBytes) {
    ++dropped_messages;
  } else {
    deliver(routing_id, body);
  }
  return true;
}

void ZmqListener::Impl::deliver(Frame& routing_id, Frame& body) {
  const auto [id, peer] = peer_of(routing_id, body);
  if (peer == nullptr || peer->is_dropped) {
    ++dropped_messages;
    return;
  }
  handler.on_frame(id, peer->identity, body.bytes());
}

/// The frame's sender, or nothing when its key may not speak now.
std::pair<PeerId, Peer*> ZmqListener::Impl::peer_of(Frame& routing_id, Frame& body) {
  const std::pair<PeerId, Peer*> nobody{PeerId{}, nullptr};
  // Both are null on the routing id's frame: only a body tells.
  const std::string_view key = body.property(kUserIdProperty);
  const std::string_view number = body.property(kConnectionProperty);
  std::uint64_t connection = 0;
  std::from_chars(number.data(), number.data() + number.size(), connection);
  if (key.empty() || connection == 0) return nobody;
  auto known = by_number.find(connection);
  if (known == by_number.end()) {
    if (!ring.find(std::string(key))) {
      shut_down(body.descriptor());
      return nobody;
    }
    drain_monitor();
    known = by_number.emplace(connection, take_in(connection, routing_id, body)).first;
  }
  Peer& peer = peers.at(known->second);
  if (!is_allowed(peer, key)) return nobody;
  return {known->second, &peer};
}

PeerId ZmqListener::Impl::take_in(std::uint64_t number, Frame& routing_id, Frame& body) {
  last_peer = last_peer.next();
  const PeerId id = last_peer;
  Peer peer;
  peer.connection = number;
  peer.routing_id = routing_id.bytes();
  peer.descriptor = body.descriptor();
  peers.emplace(id, peer);
  const auto open = connections.find(peer.descriptor);
  if (open == connections.end()) {
    begin_closing(id);  // Its last words.
    return id;
  }
  const PeerId other = open->second.peer;
  if (other && peers.at(other).connection > number) {
    begin_closing(id);
    return id;
  }
  if (other) begin_closing(other);
  if (silent_successes > 0) {
    --silent_successes;
  } else {
    ++failed_handshakes;  // A stranger's end was taken for the end of this one.
  }
  open->second.peer = id;
  peers.at(id).address = peer_address(peer.descriptor);
  return id;
}

bool ZmqListener::Impl::is_allowed(Peer& peer, std::string_view key) {
  const std::uint64_t version = ring_impl.version;
  if (peer.ring_version != version) {
    const auto identity = ring.find(std::string(key));
    peer.identity = identity.value_or(Identity{});
    peer.ring_version = version;
  }
  if (peer.identity.public_key == key) return true;
  // Taken out of the ring since it connected. The library cannot let go of a peer, so we end its
  // connection: it comes back once more and is refused.
  if (!peer.is_closing) shut_down(peer.descriptor);
  return false;
}

void ZmqListener::Impl::begin_closing(PeerId id) {
  Peer& peer = peers.at(id);
  if (peer.is_closing) return;
  peer.is_closing = true;
  if (closing.empty()) closing_until = clock.now() + kLastFrames;
  closing.push_back(id);
}

void ZmqListener::Impl::finish_closing() {
  for (const PeerId id : std::exchange(closing, {})) {
    const auto found = peers.find(id);
    const bool is_told = !found->second.is_dropped;
    by_number.erase(found->second.connection);
    peers.erase(found);
    if (is_told && !is_closed && handler.on_closed) handler.on_closed(id);
  }
}

void ZmqListener::Impl::look_over(TimePoint now) {
  look_over_at = now + kLookOver;
  log_refusals();
  if (!is_drained) return;  // What was received may still wait for us.
  for (auto& [descriptor, connection] : connections) {
    const auto bytes = received_bytes(descriptor);
    if (!bytes) continue;
    if (connection.delivered != connection.delivered_before) {
      connection.delivered_before = connection.delivered;
      connection.received_before = *bytes;
    } else if (*bytes > connection.received_before + limits::kParkedBytes) {
      ++dropped_messages;
      shut_down(descriptor);
    }
  }
}

/// Ends a connection from the outside: libzmq sees it closed by the peer. The descriptor may have
/// another owner by now, so only a connection to our own port is touched; at worst another peer
/// has to connect again.
void ZmqListener::Impl::shut_down(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  in_port_t port = 0;
  if (address.ss_family == AF_INET) port = reinterpret_cast<sockaddr_in&>(address).sin_port;
  if (address.ss_family == AF_INET6) port = reinterpret_cast<sockaddr_in6&>(address).sin6_port;
  if (ntohs(port) == bound.port) ::shutdown(descriptor, SHUT_RDWR);
}

void ZmqListener::Impl::log_refusals() {
  if (logged == turned_away()) return;
  logged = turned_away();
  log::warn("connections.turned_away", {{"refused", refused + refused_here},
                                        {"failed_handshakes", failed_handshakes},
                                        {"dropped_messages", dropped_messages}});
}

ZmqListener::ZmqListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<ZmqListener>> ZmqListener::open(ZmqContext& context, EventLoop& loop,
                                                       KeyRing& ring, Options options,
                                                       Handler handler) {
  Authenticator& authenticator = context.impl().authenticator;
  TRY(authenticator.start(context.impl().context));
  auto impl = std::make_unique<Impl>(loop, authenticator, ring, ring.impl());
  TRY(impl->bind(context.impl().context, options));
  impl->handler = std::move(handler);
  loop.attach(*impl);
  return std::unique_ptr<ZmqListener>(new ZmqListener(std::move(impl)));
}

ZmqListener::~ZmqListener() {
  impl_->close();
  EventLoop& loop = impl_->loop;
  loop.retire(std::move(impl_));
}

bool ZmqListener::send(PeerId peer, std::string frame) {
  const auto found = impl_->peers.find(peer);
  if (found == impl_->peers.end() || found->second.is_dropped || found->second.is_closing) {
    return false;
  }
  if (frame.size() > limits::kAnyFrameBytes) {
    log::error("frame.too_large", {{"bytes", frame.size()}, {"max", limits::kAnyFrameBytes}});
    return false;
  }
  return impl_->router.send(found->second.routing_id, ZMQ_SNDMORE) && impl_->router.send(frame, 0);
}

void ZmqListener::drop(PeerId peer) {
  const auto found = impl_->peers.find(peer);
  if (found != impl_->peers.end()) found->second.is_dropped = true;
}

void ZmqListener::set_frames_per_poll(std::size_t count) {
  impl_->frames_per_poll = count;
}

std::string ZmqListener::bound_address() const {
  return to_string(impl_->bound);
}

std::string ZmqListener::address_of(PeerId peer) const {
  const auto found = impl_->peers.find(peer);
  return found == impl_->peers.end() ? std::string() : found->second.address;
}

ListenerCounters ZmqListener::counters() const {
  return {impl_->refused + impl_->refused_here, impl_->failed_handshakes, impl_->dropped_messages};
}

}  // namespace capstan::net
