// SPDX-License-Identifier: MIT
#include "tests/support/ha_world.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <string>
#include <utility>

namespace capstan::test {

namespace {

constexpr std::array kActionNames{"SaveVote",      "Send",         "Lead",          "Restart",
                                  "Commit",        "Store",        "ReadJournal",   "FindCommon",
                                  "MakeSnapshot",  "DropSnapshot", "FetchSnapshot", "Intake",
                                  "KeepMinCopies", "Answer",       "Note"};
static_assert(kActionNames.size() == std::variant_size_v<ha::Action>);
constexpr Micros kDialPause{100'000};
constexpr Micros kLateAtMost{3'000'000};

}  // namespace

HaWorld::HaWorld(HaOptions options) : options_(options), rng_(options.seed) {
  ha::Config config;
  config.cluster = Uuid{{1}};
  config.version = "test";
  config.min_copies = options_.min_copies;
  config.timers = options_.timers;
  config.mutant = options_.mutant;
  Register first;
  const std::size_t all = options_.data_nodes + options_.witnesses;
  for (std::size_t id = 1; id <= all; ++id) {
    const bool is_witness = id > options_.data_nodes;
    const char letter = is_witness ? static_cast<char>('w' + (id - options_.data_nodes - 1))
                                   : static_cast<char>('a' + (id - 1));
    config.voters.push_back({static_cast<NodeId>(id), std::string(1, letter), is_witness});
    if (!is_witness) first.isr.push_back(static_cast<NodeId>(id));
  }
  for (const Voter& voter : config.voters) {
    VirtualNode& node = nodes_.emplace_back();
    node.config = config;
    node.config.self = voter.id;
    node.config.seed = rng_.next();
    node.is_witness = voter.is_witness;
    node.vote.reg = first;
  }
}

void HaWorld::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
}

void HaWorld::count(std::string_view what) {
  const auto at = hits_.find(what);
  if (at != hits_.end()) {
    ++at->second;
  } else {
    hits_.emplace(what, 1);
  }
}

void HaWorld::trace(NodeId id, const char* what, std::uint64_t value) {
  trace_hash_ =
      mix64(trace_hash_ ^ static_cast<std::uint64_t>(now_.us) ^ (std::uint64_t{id} << 56) ^
            mix64(value + static_cast<std::uint64_t>(what[0])));
  if (!prints_) return;
  std::printf("%10.3f  %s  %s %llu\n", static_cast<double>(now_.us) / 1e6,
              node(id).config.voters.at(id - 1U).name.c_str(), what,
              static_cast<unsigned long long>(value));
}

Micros HaWorld::drawn(Micros least, Micros spread) {
  return least + Micros(static_cast<std::int64_t>(
                     rng_.below(static_cast<std::uint64_t>(spread.count()) + 1)));
}

void HaWorld::later(Micros delay, std::function<void()> what) {
  agenda_.push({now_ + delay, ++order_, std::move(what)});
}

void HaWorld::later_in(VirtualNode& node, Micros delay, std::function<void(VirtualNode&)> what) {
  later(delay, [this, id = node.id(), process = node.process, what = std::move(what)] {
    VirtualNode& it = this->node(id);
    if (it.is_up() && it.process == process) what(it);
  });
}

void HaWorld::run_until(TimePoint end) {
  while (error_.empty() && !agenda_.empty() && agenda_.top().at <= end) {
    const std::function<void()> what = std::move(const_cast<Happening&>(agenda_.top()).what);
    now_ = agenda_.top().at;
    agenda_.pop();
    what();
  }
  now_ = std::max(now_, end);
}

bool HaWorld::run_until(const std::function<bool()>& is_so, Micros within) {
  const TimePoint end = now_ + within;
  while (error_.empty() && !is_so()) {
    if (agenda_.empty() || agenda_.top().at > end) {
      now_ = end;
      return false;
    }
    run_until(agenda_.top().at);
  }
  return error_.empty();
}

// --- Processes -----------------------------------------------------------------------------------

void HaWorld::start(NodeId id) {
  VirtualNode& it = node(id);
  if (it.is_up()) return;
  it.start(rng_.next() | 1U);
  trace(id, "starts", it.process);
  feed(it, ha::event::Tick{});
  for (VirtualNode& other : nodes_) {
    if (other.id() != id) dial(id, other.id());
  }
}

void HaWorld::start_all() {
  for (VirtualNode& it : nodes_) start(it.id());
}

void HaWorld::crash(NodeId id) {
  VirtualNode& it = node(id);
  if (!it.is_up()) return;
  trace(id, "crashes", it.writing.size());
  it.stop(rng_.below(it.writing.size() + 1));
  for (VirtualNode& other : nodes_) {
    if (other.id() == id) continue;
    Connection& mine = connection(id, other.id());
    mine.is_up = mine.is_dialling = false;
    ++mine.number;
    mine.stalled.clear();
    // The other end notices, unless the way for that is cut: then only silence tells.
    if (!is_cut(id, other.id())) hang_up(other.id(), id);
  }
}

/// Crash-only: the machine asked for a new life. Sockets and all.
void HaWorld::begin_anew(VirtualNode& node) {
  crash(node.id());
  later(options_.sync, [this, id = node.id(), process = node.process] {
    if (!this->node(id).is_up() && this->node(id).process == process) start(id);
  });
}

void HaWorld::pause(NodeId id) {
  if (!node(id).is_up() || node(id).is_paused) return;
  trace(id, "is paused", 0);
  node(id).is_paused = true;
}

void HaWorld::resume(NodeId id) {
  VirtualNode& it = node(id);
  if (!it.is_paused) return;
  trace(id, "goes on", it.held_back.size());
  it.is_paused = false;
  std::vector<ha::Event> events = std::exchange(it.held_back, {});
  events.emplace_back(ha::event::Tick{});
  const std::uint64_t process = it.process;
  for (const ha::Event& event : events) {
    if (it.is_up() && it.process == process) feed(it, event);
  }
}

// --- Network -------------------------------------------------------------------------------------

void HaWorld::dial(NodeId from, NodeId to) {
  Connection& way = connection(from, to);
  if (way.is_dialling || way.is_up || !node(from).is_up()) return;
  way.is_dialling = true;
  later_in(node(from), drawn(2 * options_.latency, options_.latency_spread),
           [this, from, to](VirtualNode& it) {
             Connection& dialled = connection(from, to);
             dialled.is_dialling = false;
             if (node(to).runs() && it.runs() && !is_cut(from, to) && !is_cut(to, from)) {
               dialled.is_up = true;
               ++dialled.number;
               dialled.last_arrival = now_;
               trace(from, "is connected to", to);
               return feed(it, ha::event::Connected{to});
             }
             later_in(it, drawn(kDialPause, kDialPause),
                      [this, from, to](VirtualNode&) { dial(from, to); });
           });
}

void HaWorld::hang_up(NodeId from, NodeId to) {
  Connection& way = connection(from, to);
  if (!way.is_up) return;
  way.is_up = false;
  ++way.number;
  way.stalled.clear();
  if (!node(from).is_up()) return;
  later_in(node(from), drawn(options_.latency, options_.latency_spread),
           [this, from, to](VirtualNode& it) {
             trace(from, "lost its connection to", to);
             feed(it, ha::event::Closed{to});
             dial(from, to);
           });
}

void HaWorld::close(NodeId from, NodeId to) {
  hang_up(from, to);
}

void HaWorld::cut(NodeId from, NodeId to) {
  trace(from, "is cut from", to);
  cuts_.insert({from, to});
}

void HaWorld::heal(NodeId from, NodeId to) {
  if (cuts_.erase({from, to}) == 0) return;
  trace(from, "gets through again to", to);
  for (msg::Message& message : std::exchange(connection(from, to).stalled, {})) {
    deliver(from, to, message, Micros{0});
  }
}

void HaWorld::heal_all() {
  while (!cuts_.empty()) heal(cuts_.begin()->first, cuts_.begin()->second);
}

void HaWorld::silence(NodeId id) {
  for (const VirtualNode& other : nodes_) {
    if (other.id() == id) continue;
    cut(id, other.id());
    cut(other.id(), id);
  }
}

void HaWorld::remember(NodeId from, Connection& way, const msg::Message& message) {
  const auto* append = std::get_if<msg::Append>(&message.body);
  if (append == nullptr) return;
  if (way.append_process != node(from).process) {
    way.append_process = node(from).process;
    way.first_append = message;
    way.earlier_append = way.last_append;
  }
  if (!append->batches.empty()) way.last_append = message;
}

bool HaWorld::echo(NodeId from, NodeId to) {
  return hear_again(from, to, connection(from, to).earlier_append);
}

bool HaWorld::echo_first(NodeId from, NodeId to) {
  return hear_again(from, to, connection(from, to).first_append);
}

bool HaWorld::hear_again(NodeId from, NodeId to, const std::optional<msg::Message>& said) {
  if (!said || !node(to).runs()) return false;
  trace(to, "hears once more what was said by", from);
  feed(node(to), ha::event::Received{from, *said});
  return true;
}

void HaWorld::say(NodeId from, NodeId to, msg::Message message) {
  Connection& way = connection(from, to);
  if (!way.is_up) return;
  remember(from, way, message);
  if (is_cut(from, to)) {
    way.stalled.push_back(std::move(message));
    return;
  }
  if (rng_.chance(options_.lost_percent)) return;
  if (rng_.chance(options_.doubled_percent)) {
    deliver(from, to, message, drawn(Micros{1}, kLateAtMost));
  }
  deliver(from, to, message, Micros{0});
}

void HaWorld::deliver(NodeId from, NodeId to, const msg::Message& message, Micros extra) {
  Connection& way = connection(from, to);
  TimePoint at = now_ + drawn(options_.latency, options_.latency_spread) + extra;
  if (extra == Micros{0}) {
    at = std::max(at, way.last_arrival);
    way.last_arrival = at;
  }
  if (!node(to).is_up()) return;
  const std::uint64_t number = way.number;
  later_in(node(to), at - now_, [this, from, to, message, number](VirtualNode& it) {
    const auto arrive = [this, from, message](VirtualNode& target) {
      trace(target.id(), "gets a message of type", message.body.index() + 1);
      feed(target, ha::event::Received{from, message});
    };
    if (connection(from, to).number == number) return arrive(it);
    if (!rng_.chance(options_.late_percent)) return;
    later_in(it, drawn(Micros{1}, kLateAtMost), arrive);
  });
}

// --- Disks ---------------------------------------------------------------------------------------

void HaWorld::slow_disk(NodeId id, Micros extra) {
  trace(id, "has a disk that is slower by", static_cast<std::uint64_t>(extra.count()));
  node(id).slowness = extra;
}

void HaWorld::lose_database(NodeId id) {
  trace(id, "loses its database", 0);
  VirtualNode& it = node(id);
  it.database = VirtualDatabase{};
  it.database.nonce = rng_.chance(50) ? 0 : rng_.next();
  it.is_suspect = true;
}

void HaWorld::lose_vote(NodeId id, bool back_to_init) {
  trace(id, "loses its votes", back_to_init ? 1 : 0);
  VirtualNode& it = node(id);
  it.vote = Vote{};
  it.has_vote = back_to_init;
  if (!back_to_init) return;
  for (const Voter& voter : it.config.voters) {
    if (!voter.is_witness) it.vote.reg.isr.push_back(voter.id);
  }
}

void HaWorld::keep_copy(NodeId id) {
  copies_[id] = {node(id).database, node(id).process};
}

bool HaWorld::put_copy_back(NodeId id) {
  const auto copy = copies_.find(id);
  if (copy == copies_.end() || copy->second.second >= node(id).process) return false;
  // A start that ended before it could keep its nonce shares it with the next one.
  if (copy->second.first.nonce == node(id).vote.nonce) return false;
  trace(id, "is rolled back to batch", copy->second.first.journal.size());
  node(id).database = copy->second.first;
  node(id).is_suspect = true;
  return true;
}

void HaWorld::diverge(NodeId id) {
  VirtualNode& it = node(id);
  if (!it.runs() || it.leads || it.is_witness || it.database.is_diverged) return;
  trace(id, "diverges", 0);
  it.database.is_diverged = true;
  feed(it, ha::event::Diverged{it.database.end_of(it.database.applied).seq});
}

void HaWorld::trim(NodeId id) {
  VirtualNode& it = node(id);
  std::size_t upto = it.database.applied;
  if (it.has_hold) {
    const std::optional<std::size_t> held = it.database.find(it.hold);
    if (held) upto = std::min(upto, *held);
  }
  it.database.begin = std::max(it.database.begin, upto);
}

bool HaWorld::has_everything(NodeId id) const {
  const VirtualDatabase& database = nodes_.at(id - 1U).database;
  return truth_.empty() || (database.journal.size() >= truth_.size() &&
                            database.end_of(truth_.size()) == truth_.back());
}

// --- What people and clients want ----------------------------------------------------------------

NodeId HaWorld::leader() const {
  NodeId found = 0;
  Epoch highest;
  for (const VirtualNode& it : nodes_) {
    if (!it.is_up() || !it.machine->is_leader() || it.machine->epoch() < highest) continue;
    highest = it.machine->epoch();
    found = it.id();
  }
  return found;
}

bool HaWorld::submit() {
  bool was_taken = false;
  for (VirtualNode& it : nodes_) {
    if (!it.runs() || !it.leads || !it.has_intake || it.awaited || !it.writing.empty()) continue;
    const ha::event::Sealed sealed = seal(it);
    feed(it, sealed);
    if (it.is_up()) sync(it);
    was_taken = true;
  }
  return was_taken;
}

/// What a wall clock says that may be wrong.
WallTime HaWorld::wall() {
  constexpr std::int64_t kStart = 1'750'000'000'000'000;
  const Micros error = drawn(-options_.clocks_apart, 2 * options_.clocks_apart);
  return {kStart + now_.us + error.count()};
}

void HaWorld::control(NodeId id, const ha::event::Control& control) {
  overrides_with_lost_ =
      control.verb == msg::ClusterVerb::FailOverWithLoss && !control.lost.empty();
  trace(id, "is told", static_cast<std::uint64_t>(control.verb));
  if (control.verb == msg::ClusterVerb::FailOverWithLoss) node(id).overrides = node(id).is_up();
  ha::event::Control told = control;
  if (told.wall == WallTime{}) told.wall = wall();
  feed(node(id), told);
}

// --- Machines ------------------------------------------------------------------------------------

void HaWorld::feed(VirtualNode& node, const ha::Event& event) {
  if (!node.is_up() || !error_.empty()) return;
  if (node.is_paused) {
    node.held_back.push_back(event);
    return;
  }
  const std::uint64_t process = node.process;
  std::vector<ha::Event> events{event};
  for (std::size_t at = 0; at < events.size(); ++at) {
    std::vector<ha::Event> answers;
    act(node, node.machine->step(events[at], now_), answers);
    if (!node.is_up() || node.process != process || !error_.empty()) return;
    std::move(answers.begin(), answers.end(), std::back_inserter(events));
  }
  set_timer(node);
}

void HaWorld::set_timer(VirtualNode& node) {
  const TimePoint next = node.machine->next_deadline();
  if (next == TimePoint::never() || next >= node.timer_at) return;
  const TimePoint at = std::max(next, now_);
  node.timer_at = at;
  later_in(node, at - now_, [this, at](VirtualNode& it) {
    if (it.timer_at != at) return;
    it.timer_at = TimePoint::never();
    if (it.is_paused) return;
    if (it.machine->next_deadline() > now_) return set_timer(it);
    const std::uint64_t process = it.process;
    constexpr int kTicksAtOnce = 4;  // A round that ends may begin the next one at once.
    for (int ticks = 0; it.is_up() && it.process == process; ++ticks) {
      if (it.machine->next_deadline() > now_ || !error_.empty()) return;
      if (ticks == kTicksAtOnce) return fail("a deadline that does not pass");
      feed(it, ha::event::Tick{});
    }
  });
}

void HaWorld::act(VirtualNode& node, ha::Actions actions, std::vector<ha::Event>& answers) {
  std::size_t before_crash = actions.size();
  if (rng_.below(1000) < options_.torn_permille) before_crash = rng_.below(actions.size() + 1);
  const bool is_torn = before_crash < actions.size();
  for (std::size_t at = 0; at < before_crash && error_.empty(); ++at) {
    if (!act_on(node, actions[at], answers)) return;
  }
  if (is_torn) crash(node.id());
}

/// False: the process is gone.
bool HaWorld::act_on(VirtualNode& node, const ha::Action& action, std::vector<ha::Event>& answers) {
  using namespace ha::action;
  count(kActionNames.at(action.index()));
  if (const auto* save = std::get_if<SaveVote>(&action)) on_save_vote(node, save->vote);
  if (const auto* send = std::get_if<Send>(&action)) say(node.id(), send->peer, send->message);
  if (const auto* commit = std::get_if<Commit>(&action)) on_commit(node, commit->seq);
  if (const auto* store = std::get_if<Store>(&action)) on_store(node, *store);
  if (const auto* make = std::get_if<MakeSnapshot>(&action)) on_make_snapshot(node, make->peer);
  if (const auto* fetch = std::get_if<FetchSnapshot>(&action)) on_fetch_snapshot(node, *fetch);
  if (const auto* note = std::get_if<Note>(&action)) on_note(node, *note);
  if (const auto* read = std::get_if<ReadJournal>(&action)) {
    answers.emplace_back(node.read_journal(*read));
  }
  if (const auto* find = std::get_if<FindCommon>(&action)) {
    answers.emplace_back(node.find_common(*find));
  }
  if (const auto* intake = std::get_if<Intake>(&action)) node.has_intake = intake->is_open;
  if (std::holds_alternative<DropSnapshot>(action)) node.has_hold = false;
  if (const auto* keep = std::get_if<KeepMinCopies>(&action)) {
    answers.emplace_back(ha::event::MinCopies{keep->copies});
  }
  if (const auto* answer = std::get_if<Answer>(&action)) {
    count(answer->reason);
    node.overrides = false;
    answers_.push_back(*answer);
  }
  if (const auto* lead = std::get_if<Lead>(&action)) {
    on_lead(node, *lead);
    answers.emplace_back(seal(node));
    sync(node);
  }
  if (std::holds_alternative<Restart>(action)) {
    begin_anew(node);
    return false;
  }
  return true;
}

void HaWorld::on_note(VirtualNode& node, const ha::action::Note& note) {
  const bool is_move = std::string_view(note.event) == "role.changed";
  count(is_move ? std::string_view(note.sentence) : std::string_view(note.event));
  trace(node.id(), note.sentence.c_str(), note.epoch.value);
}

ha::event::Sealed HaWorld::seal(VirtualNode& node) {
  const JournalEnd prev =
      node.writing.empty() ? node.database.last() : node.writing.back().batches.back().end;
  SealedBatch batch = virtual_batch(prev, node.machine->epoch(), ++numbers_, 1 + rng_.below(3));
  node.awaited = batch.end.seq;
  node.writing.push_back({prev, {batch}});
  trace(node.id(), "seals up to", batch.end.seq.value);
  return {std::move(batch)};
}

/// The oldest write reaches the disk after a while.
void HaWorld::sync(VirtualNode& node) {
  const Micros takes = drawn(options_.sync, options_.sync_spread) + node.slowness;
  later_in(node, takes, [this](VirtualNode& it) {
    if (it.writing.empty()) return;
    const JournalEnd end = it.writing.front().batches.back().end;
    if (!it.finish_write()) return fail("I6: a write that does not continue the journal");
    trace(it.id(), "has written up to", end.seq.value);
    feed(it, ha::event::Written{end});
  });
}

void HaWorld::on_store(VirtualNode& node, ha::action::Store store) {
  node.writing.push_back(std::move(store));
  sync(node);
}

void HaWorld::apply(VirtualNode& node, const JournalEnd& end) {
  const std::optional<std::size_t> batches = node.database.find(end);
  if (!batches) return fail("a committed entry was taken back before it was applied");
  if (*batches <= node.database.applied) return;
  node.database.applied = *batches;
  feed(node, ha::event::Applied{end.seq});
}

void HaWorld::on_make_snapshot(VirtualNode& node, NodeId peer) {
  const bool fails = std::exchange(snapshot_fails_, false);
  VirtualDatabase copy = node.database;
  copy.truncate(copy.applied);
  copy.begin = copy.applied;
  node.has_hold = true;
  node.hold = copy.last().seq;
  Uuid id;
  id.bytes[0] = static_cast<std::uint8_t>(++numbers_);
  id.bytes[1] = static_cast<std::uint8_t>(numbers_ >> 8U);
  id.bytes[2] = static_cast<std::uint8_t>(numbers_ >> 16U);
  const ha::event::SnapshotMade made{peer, id, copy.last().seq, fails ? 0U : 1U, ""};
  snapshots_[id] = std::move(copy);
  later_in(node, 10 * drawn(options_.sync, options_.sync_spread),
           [this, made](VirtualNode& it) { feed(it, made); });
}

void HaWorld::on_fetch_snapshot(VirtualNode& node, const ha::action::FetchSnapshot& fetch) {
  if (node.fetching == fetch.offer.id) return;
  node.fetching = fetch.offer.id;
  later_in(node, 10 * drawn(options_.latency, options_.latency_spread),
           [this, id = fetch.offer.id](VirtualNode& it) {
             if (it.fetching != id) return;
             if (it.is_paused) {
               it.fetching = Uuid{};
               return;
             }
             trace(it.id(), "installs a snapshot at batch", snapshots_[id].journal.size());
             begin_anew(it);
             it.database = snapshots_[id];
             it.database.nonce = rng_.next();
             it.database.is_diverged = false;
             it.is_suspect = true;
           });
}

}  // namespace capstan::test
