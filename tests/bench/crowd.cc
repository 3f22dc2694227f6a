// SPDX-License-Identifier: MIT
//
// bench-crowd INVITATION N: N workers in one process, for failovers with many of them. Each has the
// real agent, its own key, and its own connection to every master; what stands for its shepherd
// starts nothing and reports success. Runs until it is killed, and says what happens, a line each:
//
//   123456789 session 17 0    worker 17's session with master 0 was opened (µs, steady clock)
//   123456789 link 17 1       its connection to master 1 is up
//
// A loop's thread for each hundred: a libzmq context holds 1,023 sockets, and each connection takes
// three.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/net/event_loop.h"
#include "common/net/keys.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "worker/core/agent.h"
#include "worker/master_links.h"

namespace capstan {
namespace {

constexpr std::size_t kPerThread = 100;
constexpr std::size_t kEnrolsAtOnce = 50;  // Well within a queue of kHighWaterMark.

void say(const char* what, std::size_t worker, std::size_t master) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::printf("%lld %s %zu %zu\n", static_cast<long long>(SystemClock().now().us), what, worker,
              master);
  std::fflush(stdout);
}

std::string name_of(std::size_t worker) {
  return "crowd" + std::to_string(worker);
}

/// One worker of the crowd: what worker/agent_main.cc is to a real one, and its shepherd.
class Worker {
 public:
  Worker(std::size_t number, net::Access access)
      : number_(number),
        access_(std::move(access)),
        machine_({.version = kVersion,
                  .name = access_.name,
                  .masters = access_.masters.size(),
                  .mutant = AgentMutant::None}) {}

  Result<void> open(net::EventLoop& loop, net::ZmqContext& context) {
    MasterLinks::Handler handler{
        .on_frame = [this](std::size_t master, std::string_view frame) { on_frame(master, frame); },
        .on_connected =
            [this](std::size_t master) {
              say("link", number_, master);
              events_.emplace_back(agent::Connected{master});
            },
        .on_closed = [this](std::size_t master) { events_.emplace_back(agent::Closed{master}); },
        .on_refused =
            [this](const Error& error) {
              log::error("worker.refused", {{"worker", access_.name}, {"reason", error.message}});
            }};
    links_ = TRY(MasterLinks::open(loop, context, access_, std::move(handler)));
    events_.emplace_back(agent::FromShepherd{pair::State{.instance = instance_, .cpus = 1}});
    events_.emplace_back(agent::FromShepherd{pair::Synced{}});
    return {};
  }

  [[nodiscard]] TimePoint next_deadline() const {
    if (!events_.empty()) return TimePoint{};
    return std::min(links_->next_deadline(), machine_.next_deadline());
  }

  void run() {
    links_->run();
    if (events_.empty() && machine_.next_deadline() > clock_.now()) return;
    do {
      while (!events_.empty()) {
        agent::Event event = std::move(events_.front());
        events_.pop_front();
        step(std::move(event));
      }
      step(agent::Tick{});
    } while (!events_.empty());
  }

 private:
  void on_frame(std::size_t master, std::string_view frame) {
    auto message = wire::decode(frame);
    if (message) events_.emplace_back(agent::Received{master, std::move(*message)});
  }

  void step(agent::Event event) {
    for (agent::Action& action : machine_.step(std::move(event), clock_.now())) {
      std::visit([this](auto& what) { execute(what); }, action);
    }
  }

  template <class Other>
  void execute(const Other&) {}  // For the log, or about output that no task has.
  void execute(agent::Send& send) { links_->send(send.master, wire::encode(send.message)); }
  void execute(agent::SessionOpened& opened) { say("session", number_, opened.master); }
  void execute(agent::Stop& stop) {
    log::error("worker.stopped", {{"worker", access_.name}, {"reason", stop.message}});
  }
  void execute(agent::ToShepherd& told) {
    const auto* runs = std::get_if<pair::Runs>(&told.message);
    if (runs == nullptr) return;
    const TimePoint now = clock_.now();
    pair::Ended ended;
    for (const pair::Run& run : runs->runs) {
      AttemptResult result;
      result.key = run.key;
      ended.items.push_back({.instance = instance_,
                             .result = std::move(result),
                             .ended_at = now,
                             .delivered = {true, true}});
      events_.emplace_back(agent::FromShepherd{pair::StartedAt{run.key, now}});
    }
    events_.emplace_back(agent::FromShepherd{std::move(ended)});
  }

  std::size_t number_;
  net::Access access_;
  Instance instance_ = Uuid::random();
  SystemClock clock_;
  Agent machine_;
  std::deque<agent::Event> events_;
  std::unique_ptr<MasterLinks> links_;
};

/// Some of the crowd, on a thread of their own.
class Group {
 public:
  Result<void> add(std::size_t number, net::Access access) {
    workers_.push_back(std::make_unique<Worker>(number, std::move(access)));
    return workers_.back()->open(loop_, context_);
  }
  void run_for_ever() {
    for (;;) {
      TimePoint deadline = TimePoint::never();
      for (const auto& worker : workers_) deadline = std::min(deadline, worker->next_deadline());
      loop_.poll(deadline);
      for (const auto& worker : workers_) worker->run();
    }
  }

 private:
  net::EventLoop loop_;
  net::ZmqContext context_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

/// All of them, with one invitation and over one connection to each master.
class Enrolment {
 public:
  Enrolment(net::Access invitation, std::size_t count) : invitation_(std::move(invitation)) {
    for (std::size_t i = 0; i < count; ++i) waiting_.emplace(name_of(i), net::make_key_pair());
  }

  Result<std::vector<net::Access>> run() {
    net::EventLoop loop;
    net::ZmqContext context;
    links_ = TRY(MasterLinks::open(
        loop, context, invitation_,
        {.on_frame = [this](std::size_t, std::string_view frame) { on_frame(frame); },
         .on_connected = [this](std::size_t) { ask(); },
         .on_closed = [](std::size_t) {},
         .on_refused = [this](const Error& error) { refused_ = error.message; }}));
    while (!waiting_.empty() && refused_.empty()) {
      loop.poll(links_->next_deadline());
      links_->run();
    }
    links_->close(Micros{0});
    links_.reset();
    if (!refused_.empty()) return fail(Errc::NotAllowed, refused_);
    return std::move(enrolled_);
  }

 private:
  /// All masters: the one that leads does it. Who is asked for twice is enrolled once.
  void ask() {
    asked_ = 0;
    for (const auto& [name, keys] : waiting_) {
      if (++asked_ > kEnrolsAtOnce) break;
      msg::Message message;
      message.body = msg::Enrol{kProtocol, keys.public_key, name};
      const std::string frame = wire::encode(message);
      for (std::size_t i = 0; i < invitation_.masters.size(); ++i) links_->send(i, frame);
    }
    asked_ = std::min(asked_, kEnrolsAtOnce);
  }

  void on_frame(std::string_view frame) {
    const auto message = wire::decode(frame);
    if (!message) return;
    const auto* enrolled = std::get_if<msg::Enrolled>(&message->body);
    if (enrolled == nullptr) return;  // "Not now", a standby's.
    const auto found = waiting_.find(enrolled->name);
    if (found == waiting_.end()) return;
    net::Access access = invitation_;
    access.role = Role::Worker;
    access.name = enrolled->name;
    access.keys = found->second;
    enrolled_.push_back(std::move(access));
    waiting_.erase(found);
    if (--asked_ == 0) ask();
  }

  net::Access invitation_;
  std::map<std::string, net::KeyPair> waiting_;  // By the worker's name.
  std::vector<net::Access> enrolled_;
  std::size_t asked_ = 0;  // And not answered.
  std::string refused_;
  std::unique_ptr<MasterLinks> links_;
};

Result<void> run(const std::string& invitation_file, std::size_t count) {
  net::Access invitation = TRY(net::read_access(invitation_file));
  std::vector<net::Access> accesses = TRY(Enrolment(std::move(invitation), count).run());
  std::vector<std::unique_ptr<Group>> groups;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % kPerThread == 0) groups.push_back(std::make_unique<Group>());
    TRY(groups.back()->add(i, std::move(accesses[i])));
  }
  std::vector<std::thread> threads;
  for (const auto& group : groups) threads.emplace_back([&group] { group->run_for_ever(); });
  for (std::thread& thread : threads) thread.join();
  return {};
}

}  // namespace
}  // namespace capstan

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench-crowd INVITATION N\n");
    return 2;
  }
  capstan::log::configure(capstan::log::Level::Warn, capstan::log::Format::Text);
  const auto done = capstan::run(argv[1], std::strtoul(argv[2], nullptr, 10));
  if (done) return 0;
  std::fprintf(stderr, "bench-crowd: %s\n", done.error().message.c_str());
  return 1;
}
