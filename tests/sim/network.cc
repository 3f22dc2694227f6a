// SPDX-License-Identifier: MIT
#include "tests/sim/network.h"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <variant>
#include <vector>

#include "common/wire/codec.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

void print_keys(const std::vector<AttemptKey>& keys) {
  for (const AttemptKey& key : keys) std::printf(" %s", to_string(key).c_str());
}

/// The attempts that it is about.
struct AttemptsPrinter {
  void operator()(const auto&) const {}
  void operator()(const msg::Cancel& cancel) const { print_keys(cancel.keys); }
  void operator()(const msg::Recall& recall) const { print_keys(recall.keys); }
  void operator()(const msg::Returned& returned) const { print_keys(returned.keys); }
  void operator()(const msg::ResultAck& ack) const { print_keys(keys_of(ack.runs)); }
  void operator()(const msg::Start& start) const {
    for (const msg::Start::One& one : start.tasks) {
      print_keys({{start.job, one.task, start.attempt}});
    }
  }
  void operator()(const msg::Results& results) const {
    for (const AttemptResult& result : results.results) print_keys({result.key});
  }
  void operator()(const msg::WorkerHello& hello) const {
    for (const msg::HeldAttempt& held : hello.held) print_keys({held.key});
    std::printf(" |");  // And what it has spooled.
    print_keys(hello.spooled);
  }
};

/// Who says what, for a person who reads a trace.
void print_message(const Schedule& schedule, const char* way, const std::string& who,
                   std::string_view frame) {
  if (!schedule.is_printing()) return;
  const auto message = wire::decode(frame);
  std::printf("%12.6f   %s %s %s n=%llu", static_cast<double>(schedule.now().us) / 1e6, way,
              who.c_str(), message ? wire::type_name(message->body) : "?",
              message ? static_cast<unsigned long long>(message->n) : 0ULL);
  if (message) std::visit(AttemptsPrinter{}, message->body);
  std::printf("\n");
}

constexpr Micros kDelayMin{50};
constexpr Micros kRedialMin{100ms};
constexpr Micros kRedialMax{1500ms};
// How long what an old connection held may still arrive, and a close stay unnoticed.
constexpr Micros kLateMax{800ms};

}  // namespace

Link::Link(Network& network, net::Identity identity, Ends ends)
    : network_(network), identity_(std::move(identity)), ends_(std::move(ends)) {}

bool Link::send(std::string frame) {
  if (!is_connected()) return false;
  network_.to_master(*this, std::move(frame));
  return true;
}

void Network::set_master(MasterEnd end) {
  master_ = std::move(end);
  listening_ = true;
  ++master_life_;
  close_all();  // What is left of an earlier life: the new one knows nothing of it.
  for (auto& link : links_) connect_later(*link);
}

void Network::kill_master(bool silently) {
  listening_ = false;
  ++master_life_;
  if (!silently) close_all();
  peers_.clear();
}

void Network::close_all() {
  for (auto& link : links_) {
    if (link->is_connected()) close(*link, false, true);
  }
}

Link& Network::add_link(net::Identity identity, Link::Ends ends) {
  links_.push_back(std::make_unique<Link>(*this, std::move(identity), std::move(ends)));
  connect_later(*links_.back());
  return *links_.back();
}

void Network::stop_dialing(Link& link) {
  link.dialing_ = false;
  ++link.life_;
  if (link.is_connected()) close(link, true, false);
}

void Network::start_dialing(Link& link) {
  link.dialing_ = true;
  link.closing_ = false;
  ++link.life_;
  connect_later(link);
}

void Network::connect_later(Link& link) {
  const std::uint64_t life = link.life_;
  const std::uint64_t master_life = master_life_;
  schedule_.after(schedule_.between(kDelayMin, kRedialMax), [this, &link, life, master_life] {
    if (link.life_ != life || master_life_ != master_life) return;
    if (!link.dialing_ || link.blocked_ || link.closing_ || !listening_ || link.is_connected())
      return;
    link.peer_ = net::PeerId(next_peer_++);
    link.last_to_master_ = link.last_to_dialer_ = schedule_.now();
    peers_[link.peer_] = &link;
    schedule_.trace("connected", link.peer_.value);
    link.ends_.on_connected();
  });
}

void Network::close(Link& link, bool tell_master, bool tell_dialer) {
  const net::PeerId peer = std::exchange(link.peer_, net::PeerId{});
  schedule_.trace("closed", peer.value);
  if (tell_master && listening_) {
    const std::uint64_t master_life = master_life_;
    schedule_.after(schedule_.between(Micros(0), kLateMax), [this, peer, master_life] {
      if (master_life_ != master_life) return;
      peers_.erase(peer);
      master_.on_closed(peer);
    });
  }
  if (tell_dialer && link.dialing_) {
    const std::uint64_t life = link.life_;
    link.closing_ = true;
    schedule_.after(schedule_.between(Micros(0), 5ms), [this, &link, life] {
      if (link.life_ != life) return;
      link.closing_ = false;
      link.ends_.on_closed();
      schedule_.after(kRedialMin, [this, &link] { connect_later(link); });
    });
  }
}

TimePoint Network::arrival(TimePoint& last) {
  last =
      std::max(last + Micros(1), schedule_.now() + schedule_.between(kDelayMin, faults_.delay_max));
  return last;
}

void Network::to_master(Link& link, std::string frame) {
  print_message(schedule_, "from", link.identity_.name, frame);
  if (link.mute_to_master_ || schedule_.rng().chance(faults_.lose)) return;
  const int copies = schedule_.rng().chance(faults_.repeat) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const net::PeerId peer = link.peer_;
    schedule_.at(arrival(link.last_to_master_),
                 [this, &link, peer, frame, master_life = master_life_] {
                   if (master_life_ != master_life || !listening_) return;
                   master_.on_frame(peer, link.identity_, frame);
                 });
  }
}

bool Network::send(net::PeerId peer, std::string frame) {
  const auto found = peers_.find(peer);
  if (found == peers_.end() || found->second->peer_ != peer) return false;
  to_dialer(*found->second, std::move(frame));
  return true;
}

void Network::drop(net::PeerId peer) {
  peers_.erase(peer);
}

void Network::to_dialer(Link& link, std::string frame) {
  print_message(schedule_, "to  ", link.identity_.name, frame);
  if (link.mute_to_dialer_ || schedule_.rng().chance(faults_.lose)) return;
  const int copies = schedule_.rng().chance(faults_.repeat) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    schedule_.at(arrival(link.last_to_dialer_), [&link, frame, life = link.life_] {
      if (link.life_ == life && link.dialing_) link.ends_.on_frame(frame);
    });
  }
}

void Network::cut(Link& link) {
  if (!link.is_connected()) return;
  close(link, true, true);
}

void Network::block(Link& link, bool on) {
  link.blocked_ = on;
  if (on) {
    cut(link);
  } else {
    connect_later(link);
  }
}

void Network::mute(Link& link, bool to_master, bool to_dialer) {
  link.mute_to_master_ = to_master;
  link.mute_to_dialer_ = to_dialer;
}

void Network::heal() {
  faults_ = NetworkFaults{};
  for (auto& link : links_) {
    mute(*link, false, false);
    link->blocked_ = false;
    connect_later(*link);
  }
}

std::vector<Link*> Network::links() {
  std::vector<Link*> all;
  all.reserve(links_.size());
  for (auto& link : links_) all.push_back(link.get());
  return all;
}

}  // namespace capstan::sim
