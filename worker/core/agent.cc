// SPDX-License-Identifier: MIT
//
// The sessions of the agent; what it does inside one is in agent_work.cc.
#include "worker/core/agent.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "common/base/rng.h"
#include "common/model/limits.h"
#include "common/wire/version.h"

namespace capstan {

namespace {

constexpr std::size_t kAskedKept = 8;  // By then the first one was said half a minute ago.

/// Half of it to all of it: a thousand workers that are turned away in one moment do not all come
/// back in one.
Micros ask_pause(const std::string& name, TimePoint now) {
  constexpr Micros half = Micros(limits::kAskStandby) / 2;
  const auto at = static_cast<std::uint64_t>(now.us);
  const std::uint64_t drawn = mix64(std::hash<std::string>()(name) ^ at);
  return half + Micros(static_cast<std::int64_t>(drawn % static_cast<std::uint64_t>(half.count())));
}

}  // namespace

Agent::Agent(agent::Config config) : config_(std::move(config)), links_(config_.masters) {}

agent::Actions Agent::step(agent::Event event, TimePoint now) {
  now_ = now;
  out_.clear();
  if (!stopped_) std::visit([this](auto& e) { on(e); }, event);
  return std::move(out_);
}

bool Agent::is_open() const {
  return links_[leader_].session.is_open();
}

bool Agent::is_ourselves() const {
  return is_open() && links_[leader_].session_instance == instance_;
}

TimePoint Agent::next_deadline() const {
  TimePoint next = TimePoint::never();
  if (stopped_) return next;
  for (const Link& link : links_) {
    if (link.session.is_open()) {
      next = std::min({next, link.heartbeat_at, link.heard_at + limits::kMasterSilent});
    } else if (link.connected && synced_) {
      next = std::min(next, ask_at(link));
    }
  }
  return next;
}

/// A standby need not hear of us while the master that leads speaks: once a beat is missing, it may
/// be the next.
TimePoint Agent::ask_at(const Link& link) const {
  if (!is_open()) return link.hello_at;
  const Link& leader = links_[leader_];
  return std::max(link.hello_at, leader.heard_at + leader.heartbeat_every * 3 / 2);
}

// --- Opening -------------------------------------------------------------------------------------

void Agent::on(const agent::Connected& event) {
  Link& link = links_.at(event.master);
  end_session(event.master, "connected again");
  link.connected = true;
  link.turned_away = link.is_standby = false;  // It may have been started anew, and know us now.
  link.hello_pause = Micros{0};
  link.unanswered = 0;
  say_hello(event.master);
}

void Agent::on(const agent::Closed& event) {
  Link& link = links_.at(event.master);
  end_session(event.master, "the connection closed");
  link.connected = link.is_standby = false;
  link.asked.clear();
  link.earlier_unanswered = 0;
  link.hello_at = TimePoint::never();
}

const Instance& Agent::speaking_for() const {
  return unacked_.empty() ? instance_ : unacked_.begin()->second.item.instance;
}

void Agent::say_hello(std::size_t master) {
  Link& link = links_[master];
  if (!link.connected || !synced_ || link.turned_away) return;
  const Instance& instance = speaking_for();
  const bool as_ourselves = instance == instance_;
  msg::WorkerHello hello{.protocol = kProtocol,
                         .version = config_.version,
                         .instance = instance,
                         .highest_epoch = epoch_,
                         .generation = generation_,
                         .cpus = cpus_,
                         .containment = config_.containment,
                         .held = {},
                         .spooled = {},
                         .leaving = leaving_ || !as_ourselves,
                         .disk_full = disk_full_,
                         .mem_bytes = mem_bytes_,
                         .number = ++hellos_};
  if (as_ourselves) {
    for (const auto& [key, held] : held_) hello.held.push_back({key, held.started});
  }
  for (const auto& [key, unacked] : unacked_) {
    if (unacked.item.instance != instance || hello.spooled.size() >= limits::kHeldPerWorker) break;
    hello.spooled.push_back(key);
  }
  if (link.asked.size() == kAskedKept) link.asked.pop_front();
  link.asked.push_back({.number = hellos_,
                        .instance = instance,
                        .leaving = leaving_,
                        .disk_full = disk_full_,
                        .starts = starts_heard_});
  if (!as_ourselves) {
    link.about_earlier_until = now_ + limits::kMasterSilent;
    ++link.earlier_unanswered;
  }
  ++link.unanswered;
  link.hello_pause =
      std::clamp<Micros>(2 * link.hello_pause, limits::kHelloRetry, limits::kHelloRetryMax);
  link.hello_at = now_ + link.hello_pause;
  out_.push_back(agent::Send{master, {SessionId{}, 0, epoch_, std::move(hello)}});
}

/// Of a master that does not say which, it is the last one.
Agent::Said* Agent::find_asked(Link& link, std::uint64_t number) {
  if (number == 0 && !link.asked.empty()) return &link.asked.back();
  const auto found = std::find_if(link.asked.begin(), link.asked.end(),
                                  [&](const Said& said) { return said.number == number; });
  return found == link.asked.end() ? nullptr : &*found;
}

bool Agent::is_welcome(const Link& link, const msg::Message& message, const msg::Welcome& welcome) {
  if (!synced_ || message.n != 1) return false;
  if (welcome.instance != speaking_for()) return false;  // A HELLO that says so is on its way.
  if (welcome.generation < generation_) {
    out_.push_back(agent::Warn{"a master of an earlier generation is not obeyed", ""});
    return false;
  }
  if (welcome.generation > generation_) return true;  // Epochs compare within a generation.
  if (message.epoch < epoch_) return false;
  return message.epoch > link.epoch || message.session > link.last_session;
}

/// True when the cluster is not the one that our work is from: everything is killed and set aside
/// first, then a new instance says HELLO.
bool Agent::began_anew(std::size_t master, const Generation& generation) {
  const bool changed = generation_ != Generation{} && generation != generation_;
  const bool has_nothing = held_.empty() && unacked_.empty() && deliveries_.empty();
  if (!changed || has_nothing) return false;
  out_.push_back(agent::Warn{"the cluster began anew: work of the former one is set aside", ""});
  end_session(master, "another generation");
  links_[master].hello_at = TimePoint::never();
  synced_ = false;
  tell(pair::NewGeneration{generation});
  return true;
}

void Agent::on_welcome(std::size_t master, const msg::Message& message,
                       const msg::Welcome& welcome) {
  Link& link = links_[master];
  if (!is_welcome(link, message, welcome)) return;
  if (began_anew(master, welcome.generation)) return;
  if (link.session.is_open()) {
    // The master reconciled one HELLO twice (it came doubled, or late), or an earlier one later: by
    // then it was out of date, and what was said since in this session is not heard any more.
    link.last_session = message.session;
    return renew(master, "welcomed twice");
  }
  Said* said = find_asked(link, welcome.hello);
  if (said != nullptr && said->instance != welcome.instance) return;
  if (said == nullptr || said->is_outdated) {
    // What it reconciled is not known any more, or leaves out what was given to us meanwhile.
    epoch_ = message.epoch;  // Who led in a lower one is not obeyed any more.
    if (master != leader_) end_session(leader_, "another master leads");
    link.last_session = message.session;
    return say_hello(master);
  }
  open_session(master, message, welcome, std::move(*said));
}

void Agent::open_session(std::size_t master, const msg::Message& message,
                         const msg::Welcome& welcome, Said said) {
  if (master != leader_) end_session(leader_, "another master leads");
  leader_ = master;
  Link& link = links_[master];
  link.session = wire::SessionEnd(message.session);
  if (!link.session.accept(message.session, message.n)) return end_session(master, "no session id");
  link.seen = message.n;
  link.epoch = epoch_ = message.epoch;
  link.last_session = message.session;
  link.is_standby = false;
  std::erase_if(link.asked, [&](const Said& each) { return each.number <= said.number; });
  link.session_instance = said.instance;
  link.earlier_unanswered =
      said.instance == instance_ ? 0 : std::max(link.earlier_unanswered - 1, 0);
  link.hello_at = TimePoint::never();
  link.hello_pause = Micros{0};
  link.unanswered = 0;
  link.heard_at = now_;
  link.heartbeat_every = welcome.heartbeat_every.count() > 0
                             ? std::min<Micros>(welcome.heartbeat_every, limits::kMasterSilent / 3)
                             : Micros(limits::kHeartbeatEvery);
  link.heartbeat_at = now_ + link.heartbeat_every;
  link.marks.clear();
  generation_ = welcome.generation;
  if (!welcome.name.empty()) config_.name = welcome.name;

  templates_.clear();
  template_bytes_ = 0;
  first_unsent_ = unacked_.begin();
  in_flight_bytes_ = 0;
  for (auto& [key, unacked] : unacked_) unacked.in_flight_bytes = 0;
  for (const JobId job : std::exchange(followed_, {})) tell(pair::Follow{job, false});
  starts_.clear();
  returned_early_.clear();
  for (auto& [key, held] : held_) {
    held.given_here = false;
    held.told = held.started && held.start_order <= said.starts;
    if (held.started && !held.told) starts_.push_back(key);
  }
  deliveries_.restart();
  out_.push_back(agent::SessionOpened{master, message.session, epoch_, config_.name});
  tell(pair::Ready{config_.name, generation_, epoch_});
  if (!members_told_ || members_version_ != welcome.members_version) {
    members_told_ = true;
    members_version_ = welcome.members_version;
    out_.push_back(agent::MembersChanged{welcome.cluster, config_.name, welcome.members,
                                         welcome.members_version});
  }
  tell_what_hello_missed(std::move(said));
}

// What changed between HELLO and its Welcome no session has heard of, and nothing would repair it.
void Agent::tell_what_hello_missed(Said said) {
  returned_early_.insert(said.returned.begin(), said.returned.end());
  if (!said.returned.empty()) send_as_ourselves(msg::Returned{std::move(said.returned)});
  if (said.leaving != leaving_ || said.disk_full != disk_full_) {
    send_as_ourselves(msg::WorkerNotice{leaving_, disk_full_});
  }
}

// --- Ending --------------------------------------------------------------------------------------

void Agent::end_session(std::size_t master, const char* why) {
  Link& link = links_[master];
  if (!link.session.is_open()) return;
  link.session.close();
  link.heartbeat_at = TimePoint::never();
  link.hello_at = now_ + limits::kHelloRetry;  // Unless the caller knows better.
  out_.push_back(agent::SessionEnded{master, why});
  if (master == leader_) ask_others(master);
}

/// The session with the master that leads is over: one of the others may lead by now.
void Agent::ask_others(std::size_t master) {
  for (std::size_t other = 0; other < links_.size(); ++other) {
    Link& link = links_[other];
    if (other == master || !link.connected || link.turned_away) continue;
    link.hello_pause = Micros{0};
    link.hello_at = std::min(link.hello_at, now_);
  }
}

void Agent::renew(std::size_t master, const char* why) {
  end_session(master, why);
  say_hello(master);
}

void Agent::on_need_hello(std::size_t master, const msg::Message& message) {
  const Link& link = links_[master];
  // Without a session a HELLO is on its way: all that was said before it is answered so.
  if (!link.session.is_open()) return;
  if (message.session && message.session != link.session.id()) return;
  renew(master, "the master does not know it");
}

void Agent::on_refused(std::size_t master, const msg::Refused& refused) {
  Link& link = links_[master];
  if (link.earlier_unanswered > 0) {
    --link.earlier_unanswered;
    link.about_earlier_until = std::max(link.about_earlier_until, now_ + limits::kHelloRetry);
  }
  if (refused.code == Errc::Unavailable) {  // A standby: it may lead in a moment.
    end_session(master, "not now");
    link.is_standby = true;
    link.asked.clear();
    link.unanswered = 0;
    link.hello_pause = Micros{0};
    link.hello_at = now_ + ask_pause(config_.name, now_);
    return;
  }
  const Instance speaking = speaking_for();
  if (synced_ && speaking != instance_) {
    end_session(master, "refused");
    give_up_earlier(speaking);
    say_hello(master);
  } else if (now_ < link.about_earlier_until) {
    // It may be a late answer about that one: asked again, as ourselves only.
    end_session(master, "refused");
    link.hello_at = now_ + limits::kHelloRetry;
  } else {
    on(agent::TurnedAway{master, refused.reason});
  }
}

void Agent::on(const agent::TurnedAway& event) {
  Link& link = links_.at(event.master);
  end_session(event.master, "turned away");
  link.turned_away = true;
  link.asked.clear();
  link.hello_at = TimePoint::never();
  // Standbys say nothing of their own: the word of the others is that of all.
  const bool by_all = std::all_of(links_.begin(), links_.end(), [](const Link& each) {
    return each.turned_away || each.is_standby;
  });
  if (!by_all) {
    out_.push_back(agent::Warn{"a master turned this worker away", event.reason});
    return;
  }
  tell(pair::Fatal{3, event.reason});
  stopped_ = true;
  out_.push_back(agent::Stop{3, event.reason});
}

// --- Messages ------------------------------------------------------------------------------------

bool Agent::accept(std::size_t master, const msg::Message& message) {
  Link& link = links_[master];
  if (config_.mutant == AgentMutant::NoSessionIds) return true;
  if (!link.session.is_open() || message.session != link.session.id()) return false;
  const bool in_order = link.session.accept(message.session, message.n);
  if (!in_order && config_.mutant != AgentMutant::NoGapCheck) {
    renew(master, "a message is missing");
    return false;
  }
  return true;
}

void Agent::on(const agent::Received& event) {
  const std::size_t master = event.master;
  Link& link = links_.at(master);
  if (link.turned_away) return;
  const msg::Message& message = event.message;
  if (const auto* refused = std::get_if<msg::Refused>(&message.body)) {
    const bool is_late = links_.size() > 1 && message.epoch && message.epoch < epoch_;
    if (is_late && refused->code != Errc::Unavailable) return;  // Of a master that was deposed.
    return on_refused(master, *refused);
  }
  if (std::holds_alternative<msg::NeedHello>(message.body)) return on_need_hello(master, message);
  if (const auto* welcome = std::get_if<msg::Welcome>(&message.body)) {
    return on_welcome(master, message, *welcome);
  }
  if (!synced_ || !accept(master, message) || message.epoch < epoch_) return;
  link.seen = message.n;
  link.heard_at = now_;
  std::visit([this, master](const auto& body) { on_body(master, body); }, message.body);
}

void Agent::on_body(std::size_t master, const msg::Heartbeat& body) {
  const Link& link = links_[master];
  constexpr std::size_t kOldEnough = 4;
  if (link.marks.size() >= kOldEnough && body.seen < link.marks.front()) {
    renew(master, "the master misses what was sent");
  }
}

void Agent::send(std::size_t master, msg::Body body) {
  Link& link = links_[master];
  if (!link.session.is_open()) return;
  const std::uint64_t n = link.session.next_out();
  out_.push_back(agent::Send{master, {link.session.id(), n, link.epoch, std::move(body)}});
}

void Agent::send_as_ourselves(msg::Body body) {
  if (is_ourselves()) send(leader_, std::move(body));
}

void Agent::send_heartbeats(std::size_t master) {
  Link& link = links_[master];
  if (now_ >= link.heard_at + limits::kMasterSilent) return renew(master, "the master is silent");
  if (now_ < link.heartbeat_at) return;
  send(master, msg::Heartbeat{link.seen});
  link.heartbeat_at = now_ + link.heartbeat_every;
  constexpr std::size_t kKept = 4;
  link.marks.push_back(link.session.sent());
  if (link.marks.size() > kKept) link.marks.pop_front();
}

/// The master has heard of a later instance, or does not answer to this one: what it left is not
/// wanted. Its attempts are lost there, and run again.
void Agent::give_up_earlier(const Instance& earlier) {
  pair::Acked acked;
  for (const auto& [key, unacked] : unacked_) {
    if (unacked.item.instance == earlier) acked.keys.push_back(key);
  }
  for (const AttemptKey& key : acked.keys) forget_result(key);
  out_.push_back(agent::Warn{"the master does not take the results of an earlier start", ""});
  tell(std::move(acked));
}

bool Agent::does_nobody_answer() const {
  return std::all_of(links_.begin(), links_.end(), [](const Link& link) {
    return !link.connected || link.unanswered >= limits::kHelloTries;
  });
}

void Agent::on(const agent::Tick&) {
  if (!synced_) return;
  for (std::size_t master = 0; master < links_.size() && !stopped_; ++master) {
    Link& link = links_[master];
    if (link.session.is_open() && link.session_instance != speaking_for()) {
      renew(master, "that was all of an earlier start");
    } else if (link.session.is_open()) {
      send_heartbeats(master);
    } else if (link.connected && now_ >= ask_at(link)) {
      const Instance speaking = speaking_for();
      if (speaking != instance_ && does_nobody_answer()) give_up_earlier(speaking);
      say_hello(master);
    }
  }
  send_started();
  send_results();
  pump_output();
  forget_idle_jobs();
}

}  // namespace capstan
