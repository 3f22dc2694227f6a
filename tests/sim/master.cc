// SPDX-License-Identifier: MIT
#include "tests/sim/master.h"

#include <algorithm>
#include <utility>

#include "common/wire/codec.h"
#include "master/core/invariants.h"
#include "tests/sim/enrolment.h"
#include "tests/sim/timing.h"
#include "tests/sim/told.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr Micros kTurn{200us};  // An fsync.
constexpr std::uint64_t kNode = 1;

}  // namespace

Master::Master(Schedule& schedule, Network& network, const std::vector<net::Identity>& workers,
               QueueMutant mutant)
    : schedule_(schedule), network_(network), mutant_(mutant), checked_(store_) {
  enrol(workers);
  start();
}

Master::~Master() = default;

// A reign of its own.
void Master::enrol(const std::vector<net::Identity>& workers) {
  if (!store_.open(schedule_.rng().next())) return complain("an empty store does not open");
  const Epoch epoch(++reigns_ * 256 + kNode);
  RowChanges rows;
  const store::Batch batch = enrolment(workers, {epoch, schedule_.wall()}, rows);
  const Seq last = batch.back().seq;
  if (!checked_.append(checked_.seal(batch, rows), batch, rows, last))
    complain("the first write failed");
  store_.close();
}

void Master::start() {
  if (server_) return;
  ++life_;
  schedule_.trace("master starts", life_);
  auto opened = store_.open(schedule_.rng().next());
  if (!opened) return complain("the store does not open: " + opened.error().message);
  if (opened->state.last_seq.value + opened->tail.size() < checked_.entries()) {
    complain("the store lost what it had made durable");
  }
  auto taken = take_all(checked_, std::move(*opened), mutant_);
  if (!taken) return complain("the journal does not open: " + taken.error().message);
  Server::Options options{.node = "a", .members = {}, .mutant = mutant_};
  options.retention.rows_per_step = kSweptAtOnce;
  server_ = std::make_unique<Server>(std::move(options),
                                     Server::Doors{.store = checked_,
                                                   .listener = *this,
                                                   .reads = *this,
                                                   .logs = *this,
                                                   .keys = *this,
                                                   .host = *this,
                                                   .clock = schedule_,
                                                   .replication = alone_},
                                     std::move(*taken), Epoch(++reigns_ * 256 + kNode));
  turn();
  network_.set_master(
      {.on_frame =
           [this](net::PeerId peer, const net::Identity& who, std::string_view frame) {
             if (who.role == Role::Worker) {
               worker_of_[peer] = who.name;
               note_hello(peer, frame);
             }
             server_->on_frame(peer, who, frame);
             wake(schedule_.now());
           },
       .on_closed =
           [this](net::PeerId peer) {
             hellos_.erase(peer);
             server_->on_closed(peer);
             wake(schedule_.now());
           }});
}

void Master::kill(Micros down, bool in_write) {
  if (!server_) return;
  if (in_write) {
    checked_.die_in_next_append(schedule_.rng().chance(50));
    dies_in_write_ = down;
    return;
  }
  die(down);
}

void Master::die(Micros down) {
  schedule_.trace("master dies", life_);
  ++life_;
  dies_in_write_.reset();
  checked_.live_on();
  server_.reset();
  worker_of_.clear();
  hellos_.clear();
  doomed_.clear();
  turns_ = TimePoint::never();
  network_.kill_master();
  store_.crash();
  schedule_.after(down, [this] { start(); });
}

void Master::wake(TimePoint when) {
  when = std::max({when, busy_until_, schedule_.now() + Micros(1)});
  if (when >= turns_) return;
  turns_ = when;
  schedule_.at(when, [this, when, life = life_] {
    if (life_ != life || turns_ != when) return;
    turns_ = TimePoint::never();
    turn();
  });
}

void Master::turn() {
  const Seq before = server_->committed();
  const Result<void> turned = server_->turn();
  if (!turned) {
    if (!dies_in_write_) complain("the master stopped: " + turned.error().message);
    return die(dies_in_write_.value_or(1s));
  }
  if (server_->committed() != before) {
    schedule_.trace("committed", server_->committed().value);
    if (const std::string broken = broken_invariant(server_->queue()); !broken.empty())
      complain(broken);
    busy_until_ = schedule_.now() + kTurn;
  }
  if (!checked_.complaint().empty()) complain(checked_.complaint());
  check_killed();
  check_cancelled();
  wake(server_->inbox_size() > 0 ? schedule_.now() : server_->next_deadline());
}

bool Master::send(net::PeerId peer, std::string frame) {
  const auto worker = worker_of_.find(peer);
  if (worker == worker_of_.end()) return network_.send(peer, std::move(frame));
  const auto message = wire::decode(frame);
  if (!message) {
    complain("what is sent to a worker does not decode");
    return false;
  }
  if (const auto* start = std::get_if<msg::Start>(&message->body); start != nullptr && server_) {
    const std::string wrong = check_start(server_->queue(), worker->second, *start, doomed_[peer]);
    if (!wrong.empty()) complain(wrong);
  }
  if (!network_.send(peer, std::move(frame))) {
    doomed_.erase(peer);  // Its session is over.
    return false;
  }
  note_answer(peer, *message);
  return true;
}

void Master::drop(net::PeerId peer) {
  network_.drop(peer);
}

void Master::note_hello(net::PeerId peer, std::string_view frame) {
  const auto message = wire::decode(frame);
  const auto* hello = message ? std::get_if<msg::WorkerHello>(&message->body) : nullptr;
  if (hello == nullptr) return;
  Hello& noted = hellos_[peer];
  ++noted.said;
  noted.held.clear();
  for (const msg::HeldAttempt& held : hello->held) noted.held.insert(held.key);
  for (const AttemptKey& key : hello->spooled) noted.held.erase(key);
}

void Master::note_answer(net::PeerId peer, const msg::Message& message) {
  const auto hello = hellos_.find(peer);
  const bool is_new = hello != hellos_.end();
  if (is_new && std::holds_alternative<msg::Welcome>(message.body)) hello->second.welcomed = true;
  const auto* cancel = std::get_if<msg::Cancel>(&message.body);
  if (cancel == nullptr) return;
  for (const AttemptKey& key : cancel->keys) {
    if (is_new) hello->second.held.erase(key);
    if (const auto doomed = doomed_.find(peer); doomed != doomed_.end()) doomed->second.erase(key);
  }
}

void Master::check_cancelled() {
  for (const auto& [peer, keys] : doomed_) {
    if (!keys.empty()) complain("a cancelled task was dispatched: " + to_string(*keys.begin()));
  }
  doomed_.clear();
}

// Whoever is welcomed goes on with what is granted to it, and was told to kill the rest. (Of two
// HELLOs at once it is not known which of them a Welcome is for.)
void Master::check_killed() {
  std::erase_if(hellos_, [this](const auto& each) {
    const auto& [peer, hello] = each;
    if (!hello.welcomed || hello.said > 1) return hello.welcomed;
    const capstan::Worker* known = server_->queue().find_worker_by_name(worker_of_.at(peer));
    for (const AttemptKey& key : hello.held) {
      if (known == nullptr || !known->granted.contains(key)) {
        complain("what is not granted goes on after a Welcome: " + to_string(key));
      }
    }
    return true;
  });
}

void Master::post(api::Reads::Question question) {
  schedule_.after(schedule_.between(Micros(10), kReadMax), [this, question, life = life_] {
    if (life_ != life) return;
    question(store_)();
    wake(schedule_.now());
  });
}

void Master::append(api::Logs::Chunk chunk, std::function<void(Result<void>)> done) {
  schedule_.after(schedule_.between(Micros(10), kReadMax), [this, chunk, done, life = life_] {
    packs_.append(chunk);
    if (life_ != life) return;
    done({});
    wake(schedule_.now());
  });
}

void Master::read(const AttemptKey& key, Stream stream, std::uint64_t offset,
                  std::function<void(Result<api::Logs::Part>)> done) {
  done(packs_.read(key, stream, offset));
}

void Master::remove(JobId job, std::function<void(Result<void>)> done) {
  schedule_.after(schedule_.between(Micros(10), kReadMax), [this, job, done, life = life_] {
    packs_.remove(job);
    if (life_ != life) return;
    done({});
    wake(schedule_.now());
  });
}

bool Master::is_at_rest() const {
  return server_ && server_->queue().jobs().empty() && server_->queue().submissions().empty();
}

std::string Master::describe() const {
  if (!server_) return "the master is down";
  std::string text = std::to_string(server_->queue().jobs().size()) + " live jobs";
  for (const auto& [id, job] : server_->queue().jobs()) {
    text += " [" + std::to_string(id.value) + " " + std::string(to_string(job.state())) +
            " waiting " + std::to_string(job.counts.waiting) + " ready " +
            std::to_string(job.counts.ready) + " running " + std::to_string(job.counts.running) +
            " backoff " + std::to_string(job.counts.backoff);
    for (const auto& [ordinal, live] : job.live) {
      text += " " + to_string({id, job.index_of(ordinal), live.attempts}) + " at w" +
              std::to_string(live.worker.value) + (live.recalled ? " recalled" : "") +
              (live.cancelling ? " cancelling" : "") + (live.started ? " started" : "");
    }
    text += "]";
  }
  return text;
}

void Master::complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = what;
}

}  // namespace capstan::sim
