// SPDX-License-Identifier: MIT
#include "tests/sim/pair_node.h"

#include <algorithm>
#include <utility>

#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "tests/sim/timing.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr Micros kSupervised{1s};
constexpr Micros kExecMax{50ms};  // From the end of a life to the next.

}  // namespace

PairNode::PairNode(ClusterParts& parts, NodeId id)
    : parts_(parts),
      schedule_(parts.schedule),
      id_(id),
      voter_(parts.voters.at(id - 1U)),
      network_(*parts.networks.at(id - 1U)),
      disk_(schedule_),
      snapshots_(schedule_, disk_, parts.snapshots,
                 [this](Micros delay, std::function<void()> what) {
                   arrive_later(delay, std::move(what));
                 }) {
  disk_.on_rows([this](Seq applied) { note_rows(applied); });
  dial();
}

PairNode::~PairNode() = default;

/// Its own links to the others; nobody dials before start().
void PairNode::dial() {
  for (const Voter& other : parts_.voters) {
    if (other.id == id_) continue;
    Network& network = *parts_.networks.at(other.id - 1U);
    const Role role = voter_.is_witness ? Role::Witness : Role::Master;
    const auto told = [this, peer = other.id](bool connected) {
      arrive([this, peer, connected] { node_->on_dialled(peer, connected); });
    };
    Link& link = network.add_link(
        {.role = role, .name = voter_.name, .public_key = "key-of-" + voter_.name},
        {.on_frame = [](std::string_view) {},  // A peer says what it says over its own connection.
         .on_connected = [told] { told(true); },
         .on_closed = [told] { told(false); }});
    network.stop_dialing(link);
    links_[other.id] = &link;
  }
}

ha::Config PairNode::ha_config(std::uint64_t seed) const {
  ha::Config config;
  config.self = id_;
  config.voters = parts_.voters;
  config.generation = {1, 1};
  config.version = kVersion;
  config.min_copies = parts_.min_copies;
  config.seed = seed;
  config.mutant = parts_.ha_mutant;
  return config;
}

std::optional<Replica> PairNode::open(ha::Start& start) {
  if (snapshots_.install()) parts_.count("snapshot installed");
  auto opened = disk_.open(schedule_.rng().next(), start.vote);
  if (!opened) {
    complain("the store does not open: " + opened.error().message);
    return std::nullopt;
  }
  start.is_diverged = snapshots_.is_diverged();
  start_with(*opened, start);
  auto replica = Replica::open(disk_, std::move(*opened), parts_.queue_mutant);
  if (!replica) {
    complain("the journal does not open: " + replica.error().message);
    return std::nullopt;
  }
  return std::move(*replica);
}

void PairNode::start() {
  if (node_ || schedule_.now() < off_until_) return;
  ++life_;
  schedule_.trace("node starts", id_, life_);
  disk_.clock().begin_turn();
  ha::Start start;
  start.life = schedule_.rng().next() | 1U;
  start.has_vote = disk_.vote().has_value();
  start.vote = disk_.vote().value_or(Vote{});
  if (start.has_vote) parts_.on_vote(id_, start.vote);  // It may have died while it wrote this.
  std::optional<Replica> replica;
  if (!voter_.is_witness) {
    replica = open(start);
    if (!replica) return;
  }
  noted_ = {};
  Node::Options options{ha_config(start.life), start, {.node = voter_.name, .members = {}}};
  options.server.mutant = parts_.queue_mutant;
  options.server.tells_early = parts_.tells_early;
  options.server.retention.rows_per_step = kSweptAtOnce;
  Node::Doors doors{.store = voter_.is_witness ? nullptr : &disk_,
                    .listener = *this,
                    .votes = *this,
                    .peers = *this,
                    .snapshots = voter_.is_witness ? nullptr : &snapshots_,
                    .reads = voter_.is_witness ? nullptr : this,
                    .logs = voter_.is_witness ? nullptr : this,
                    .keys = voter_.is_witness ? nullptr : this,
                    .host = host_,
                    .clock = disk_.clock()};
  node_ = std::make_unique<Node>(std::move(options), doors, std::move(replica));
  turn();
  if (node_) listen();
}

void PairNode::listen() {
  network_.set_master(
      {.on_frame =
           [this](net::PeerId peer, const net::Identity& who, std::string_view frame) {
             who_[peer] = who;
             arrive([this, peer, who, text = std::string(frame)] {
               node_->on_frame(peer, who, text);
             });
           },
       .on_closed =
           [this](net::PeerId peer) { arrive([this, peer] { node_->on_closed(peer); }); }});
  for (const auto& [other, link] : links_) parts_.networks.at(other - 1U)->start_dialing(*link);
}

// --- The loop ------------------------------------------------------------------------------------

void PairNode::arrive(std::function<void()> what) {
  if (!node_) return;
  inbox_.push_back(std::move(what));
  wake(schedule_.now());
}

void PairNode::arrive_later(Micros delay, std::function<void()> what) {
  schedule_.after(delay, [this, what = std::move(what), life = life_] {
    if (life_ == life) arrive(what);
  });
}

/// Never at the end of a turn, where what it said leaves: an event of that moment may be older.
void PairNode::wake(TimePoint when) {
  when = std::max({when, busy_until_ + Micros(1), stopped_until_, schedule_.now() + Micros(1)});
  if (when >= turns_) return;
  turns_ = when;
  schedule_.at(when, [this, when, life = life_] {
    if (life_ != life || turns_ != when) return;
    turns_ = TimePoint::never();
    if (is_stopped()) return wake(stopped_until_);
    turn();
  });
}

void PairNode::turn() {
  disk_.settle();
  disk_.clock().begin_turn();
  for (const std::function<void()>& what : std::exchange(inbox_, {})) what();
  const Result<Node::Turned> turned = node_->turn();
  note_commit();
  busy_until_ = disk_.clock().now();
  if (!turned) {
    if (!write_fails_) complain("node " + voter_.name + " stopped: " + turned.error().message);
    emit([this] { exit_and_restart(); });
  } else if (*turned == Node::Turned::Restart) {
    emit([this] { begin_anew(); });
  } else {
    wake(node_->next_deadline());
  }
}

/// What is said now leaves when the writes before it are done; never, when it dies before.
void PairNode::emit(std::function<void()> what) {
  if (!disk_.clock().has_spent() && !is_stopped()) return what();
  const TimePoint when = std::max(disk_.clock().now(), stopped_until_);
  schedule_.at(when, [this, what = std::move(what), life = life_] {
    if (life_ != life) return;
    if (!is_stopped()) return what();
    schedule_.at(stopped_until_, [this, what, life] {
      if (life_ == life) what();
    });
  });
}

/// As systemd would have it.
void PairNode::exit_and_restart() {
  parts_.count("fault: a write failed");
  kill(false);
  schedule_.after(kSupervised, [this, life = life_] {
    if (life_ == life) start();
  });
}

void PairNode::fail_next_write() {
  if (!node_ || voter_.is_witness) return;
  write_fails_ = true;
  disk_.fail_next(test::MemoryStore::Fault::UnknownLost);
}

void PairNode::begin_anew() {
  parts_.count("a new life");
  disk_.clock().begin_turn();
  const Result<void> finished = node_->finish();
  if (!finished) {
    if (!write_fails_) complain("node " + voter_.name + ": " + finished.error().message);
    return exit_and_restart();
  }
  disk_.fail_next(test::MemoryStore::Fault::None);
  disk_.finish_all();
  end_life();
  if (!voter_.is_witness) disk_.close();
  network_.kill_master();
  schedule_.after(schedule_.between(1ms, kExecMax), [this, life = life_] {
    if (life_ == life) start();
  });
}

void PairNode::end_life() {
  ++life_;
  write_fails_ = false;
  node_.reset();
  inbox_.clear();
  who_.clear();
  snapshots_.end_life();
  turns_ = TimePoint::never();
  busy_until_ = stopped_until_ = {};
  for (const auto& [other, link] : links_) parts_.networks.at(other - 1U)->stop_dialing(*link);
}

void PairNode::kill(bool silently) {
  if (!node_) return;
  schedule_.trace("node dies", id_, silently ? 1 : 0);
  parts_.count(silently ? "fault: node without power" : "fault: node killed");
  end_life();
  if (disk_.crash_now()) parts_.count("fault: died in a write");
  network_.kill_master(silently);
}

void PairNode::keep_off(Micros how_long) {
  off_until_ = schedule_.now() + how_long;
}

void PairNode::stop_for(Micros how_long) {
  if (!node_) return;
  if (schedule_.now() < busy_until_) {  // A turn is computed as a whole.
    return schedule_.at(busy_until_, [this, how_long, life = life_] {
      if (life_ == life) stop_for(how_long);
    });
  }
  schedule_.trace("node stopped", id_, static_cast<std::uint64_t>(how_long.count()));
  stopped_until_ = std::max(stopped_until_, schedule_.now() + how_long);
  wake(stopped_until_);
}

// --- What it says --------------------------------------------------------------------------------

Truth::Reign PairNode::reign() const {
  return {id_, life_, node_->machine().epoch()};
}

/// Before anything that may depend on it is said.
void PairNode::note_commit() {
  if (voter_.is_witness || !node_) return;
  // Its reign may have ended in the same turn, behind what it committed.
  const bool leads = node_->machine().leader() == id_;
  Seq upto = node_->machine().committed();
  if (upto <= noted_) return;
  noted_ = upto;
  emit([this, reign = reign(), leads, upto] { commit(reign, leads, upto); });
}

/// I7: tables hold committed entries only.
void PairNode::note_rows(Seq applied) {
  note_commit();
  emit([this, applied] {
    if (applied > parts_.truth.end().seq && !parts_.has_lost)
      complain("rows are written of what is not committed");
  });
}

void PairNode::commit(const Truth::Reign& reign, bool leads, Seq upto) {
  schedule_.trace(leads ? "committed" : "standby knows as committed", id_, upto.value);
  if (!leads) {
    if (parts_.has_lost) return;  // It may know of what was committed, and lost.
    upto = std::min(upto, disk_.journal_ends().back().seq);
    const std::string wrong = parts_.truth.commit_as_standby(disk_, upto);
    return wrong.empty() ? void() : complain(wrong);
  }
  const Seq before = parts_.truth.end().seq;
  std::string wrong = parts_.truth.commit_as_leader(reign, disk_, upto);
  if (!wrong.empty() && parts_.may_lose) wrong = commit_after_loss(reign, upto);
  if (wrong.empty()) wrong = parts_.truth.complaint();
  if (wrong.empty() && parts_.truth.end().seq > before)
    wrong = parts_.check_commit(reign, parts_.truth.end());
  if (!wrong.empty()) complain(wrong);
}

std::string PairNode::commit_after_loss(const Truth::Reign& reign, Seq upto) {
  if (parts_.truth.cut_back_to(disk_)) {
    schedule_.trace("acknowledged, and lost", parts_.truth.end().seq.value);
    parts_.has_lost = true;
    parts_.on_loss();
  }
  return parts_.truth.commit_as_leader(reign, disk_, upto);
}

/// As if its rows were not those that the other one will make of the same entries.
std::string PairNode::differing(NodeId peer, std::string frame) {
  if (!differs_ || parts_.voters.at(peer - 1U).is_witness) return frame;
  auto message = wire::decode(frame);
  auto* append = message ? std::get_if<msg::Append>(&message->body) : nullptr;
  if (append == nullptr || append->batches.empty()) return frame;
  differs_ = false;
  parts_.count("fault: other rows");
  parts_.truth.expect_other_rows();
  append->batches.back().rows_chain.bytes[0] ^= 1U;
  return wire::encode(*message);
}

bool PairNode::send(net::PeerId peer, std::string frame) {
  if (!network_.has(peer)) return false;
  note_commit();
  emit([this, peer, reign = reign(), frame = std::move(frame)] { say(peer, reign, frame); });
  return true;
}

void PairNode::say(net::PeerId peer, const Truth::Reign& reign, std::string frame) {
  const auto who = who_.find(peer);
  if (who != who_.end()) {
    const auto message = wire::decode(frame);
    if (!message) return complain("what is sent does not decode");
    const std::string wrong = parts_.truth.check_told(reign, who->second, *message);
    if (!wrong.empty()) complain(wrong);
  }
  network_.send(peer, std::move(frame));
}

void PairNode::drop(net::PeerId peer) {
  network_.drop(peer);
}

bool PairNode::send(NodeId peer, std::string frame) {
  Link& link = *links_.at(peer);
  if (!link.is_connected()) return false;
  note_commit();
  emit([&link, said = differing(peer, std::move(frame))] { link.send(said); });
  return true;
}

Result<void> PairNode::save(const Vote& vote) {
  disk_.save(vote);
  emit([this, vote] {
    disk_.settle();
    parts_.on_vote(id_, vote);
  });
  return {};
}

// --- The doors of its Server ---------------------------------------------------------------------

void PairNode::post(api::Reads::Question question) {
  schedule_.after(schedule_.between(Micros(10), kReadMax), [this, question, life = life_] {
    if (life_ == life) arrive(question(disk_));
  });
}

void PairNode::append(api::Logs::Chunk chunk, std::function<void(Result<void>)> done) {
  schedule_.after(schedule_.between(Micros(10), kReadMax), [this, chunk, done, life = life_] {
    packs_.append(chunk);
    if (life_ == life) arrive([done] { done({}); });
  });
}

void PairNode::read(const AttemptKey& key, Stream stream, std::uint64_t offset,
                    std::function<void(Result<api::Logs::Part>)> done) {
  done(packs_.read(key, stream, offset));
}

void PairNode::remove(JobId job, std::function<void(Result<void>)> done) {
  schedule_.after(schedule_.between(Micros(10), kReadMax), [this, job, done, life = life_] {
    packs_.remove(job);
    if (life_ == life) arrive([done] { done({}); });
  });
}

std::string PairNode::describe() const {
  if (!node_) return voter_.name + " is down";
  const ha::Machine& machine = node_->machine();
  std::string text = voter_.name + " is " + ha::to_string(machine.role()) + " in epoch " +
                     std::to_string(machine.epoch().value) + ", committed " +
                     std::to_string(machine.committed().value);
  if (machine.abstains()) text += ", abstains";
  if (!machine.is_complete()) text += ", incomplete";
  if (node_->queue() != nullptr)
    text += ", " + std::to_string(node_->queue()->jobs().size()) + " live jobs";
  return text;
}

void PairNode::complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = what;
}

}  // namespace capstan::sim
