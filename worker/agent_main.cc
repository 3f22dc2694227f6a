// SPDX-License-Identifier: MIT
#include "worker/agent_main.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/log.h"
#include "common/net/event_loop.h"
#include "common/net/zmq_transport.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "worker/core/agent.h"
#include "worker/exec/output.h"
#include "worker/exec/process_tree.h"
#include "worker/identity.h"
#include "worker/master_links.h"
#include "worker/pair_channel.h"

namespace capstan {

namespace {

using namespace std::chrono_literals;

constexpr int kPairFd = 3;
constexpr Micros kLinger = 500ms;       // For the goodbye.
constexpr Micros kFullPairRetry = 2ms;  // The shepherd is busy: try again.

std::vector<EnvVar> allowed_environment() {
  std::vector<EnvVar> allowed;
  for (const char* name : {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"}) {
    if (const char* value = std::getenv(name)) allowed.push_back({name, value});
  }
  return allowed;
}

/// What `capstan workers` notes, but for "cgroup".
const char* containment_of(const WorkerOptions& options) {
  if (options.null_exec) return "starts nothing";
  return options.in_cgroups ? "cgroup" : "weak containment";
}

class AgentShell {
 public:
  explicit AgentShell(const WorkerOptions& options) : options_(options), pair_(UniqueFd(kPairFd)) {}

  int run() {
    loop_.watch(pair_.fd(), [this] { on_pair_readable(); });
    begin();
    while (!exit_code_) turn();
    for (int i = 0; i < 2; ++i) pair_.flush();
    if (links_) links_->close(kLinger);
    return *exit_code_;
  }

 private:
  void turn() {
    TimePoint deadline = enrol_at_;
    if (machine_) deadline = std::min(deadline, machine_->next_deadline());
    if (links_) deadline = std::min(deadline, links_->next_deadline());
    if (pair_.waiting_bytes() > 0) deadline = std::min(deadline, clock_.now() + kFullPairRetry);
    loop_.poll(deadline);
    if (clock_.now() >= enrol_at_) send_enrol();
    if (links_) links_->run();
    if (machine_) settle();
    if (!pair_.flush()) on_shepherd_gone();
    if (pair_.waiting_bytes() > 4 * limits::kPairBufferBytes) {
      log::error("agent.pair_overflowed", {{"bytes", std::uint64_t{pair_.waiting_bytes()}}});
      exit_code_ = kExitFailStop;  // The shepherd starts another one, with its state.
    }
  }

  // --- The machine ---

  void start_machine(std::size_t masters) {
    machine_.emplace(agent::Config{.version = kVersion,
                                   .containment = containment_of(options_),
                                   .name = options_.name,
                                   .environment = allowed_environment(),
                                   .masters = masters,
                                   .mutant = AgentMutant::None});
  }

  template <class Event>
  void feed(Event event) {
    events_.emplace_back(std::in_place_type<Event>, std::move(event));
  }

  void settle() {
    do {
      while (!events_.empty() && !exit_code_) {
        agent::Event event = std::move(events_.front());
        events_.pop_front();
        step(std::move(event));
      }
      step(agent::Tick{});
    } while (!events_.empty() && !exit_code_);
  }

  void step(agent::Event event) {
    for (agent::Action& action : machine_->step(std::move(event), clock_.now())) {
      std::visit([this](auto& what) { execute(what); }, action);
    }
  }

  void execute(agent::Send& send) {
    if (links_) links_->send(send.master, wire::encode(send.message));
  }
  void execute(agent::ToShepherd& message) { pair::encode(message.message, pair_.out()); }

  /// Answered at once: the machine counts on it.
  void execute(agent::ReadOutput& read) {
    const std::string path =
        output_path(options_.output_dir(), read.output.attempt, read.output.stream);
    Result<OutputSlice> slice = read_output(path, {.offset = read.offset,
                                                   .total = read.total,
                                                   .ended = read.ended,
                                                   .max = limits::kLogChunkBytes});
    if (!slice) {
      log::warn("output.unreadable", {{"file", path}, {"reason", slice.error().message}});
      slice = OutputSlice{read.offset, {}};
    }
    events_.push_front(agent::OutputRead{read.output, slice->offset, std::move(slice->data)});
  }
  void execute(agent::SessionOpened& opened) {
    log::info("session.opened", {{"worker", opened.name},
                                 {"master", access_.masters[opened.master].name},
                                 {"session", opened.session.value},
                                 {"epoch", opened.epoch.value}});
  }
  void execute(agent::SessionEnded& ended) { log::info("session.ended", {{"reason", ended.why}}); }
  /// Other masters are dialled by another agent: the shepherd starts it at once, and it says HELLO.
  void execute(agent::MembersChanged& changed) {
    const std::vector<Member> dialled = access_.masters;
    const auto updated =
        update_access(options_.dir, access_, changed.name, {changed.members, changed.version});
    if (!updated) {
      log::warn("access.not_updated", {{"reason", updated.error().message}});
    } else if (access_.masters != dialled) {
      log::info("masters.changed",
                {{"worker", access_.name}, {"addresses", addresses_text(access_.masters)}});
      exit_code_ = kExitStopped;
    }
  }
  void execute(agent::Warn& warn) {
    log::warn("agent.warned", {{"reason", warn.what}, {"detail", warn.detail}});
  }
  void execute(agent::Stop& stop) { exit_code_ = stop.exit_code; }

  // --- The shepherd ---

  void on_pair_readable() {
    const bool is_there = pair_.receive([this](std::string_view payload) {
      auto message = pair::decode_to_agent(payload);
      if (!message) return false;
      feed(agent::FromShepherd{std::move(*message)});
      return true;
    });
    if (!is_there) on_shepherd_gone();
  }

  void on_shepherd_gone() {
    if (exit_code_) return;
    loop_.unwatch(pair_.fd());
    const std::size_t killed = kill_marked(ProcessMark(options_.cookie));
    log::warn("shepherd.gone", {{"killed", std::uint64_t{killed}}});
    exit_code_ = kExitStopped;
  }

  /// Another start of the agent would not help: the shepherd is told why.
  void give_up(int code, const std::string& message) {
    pair::encode(pair::ToShepherd(pair::Fatal{code, message}), pair_.out());
    exit_code_ = code;
  }
  void give_up(const Error& error) {
    switch (error.code) {
      case Errc::Invalid:
        return give_up(kExitUsage, error.message);
      case Errc::NotAllowed:
      case Errc::Corrupt:
        return give_up(kExitRefused, error.message);
      default:
        return give_up(kExitFailStop, error.message);
    }
  }

  // --- The masters ---

  void begin() {
    auto own = own_access(options_.dir);
    if (!own) return give_up(own.error());
    if (*own) {
      access_ = std::move(**own);
      return dial();
    }
    auto invitation = find_invitation(options_.access);
    if (!invitation) return give_up(invitation.error());
    invitation_ = std::move(*invitation);
    auto keys = pending_keys(options_.dir, invitation_);
    if (!keys) return give_up(keys.error());
    own_keys_ = std::move(*keys);
    start_machine(invitation_.masters.size());  // It may be told to end before it is enrolled.
    dial_to_enrol();
  }

  void open_links(const net::Access& access, MasterLinks::Handler handler) {
    auto links = MasterLinks::open(loop_, context_, access, std::move(handler));
    if (!links) return give_up(links.error());
    links_ = std::move(*links);
  }

  void dial() {
    log::info("master.dialled",
              {{"worker", access_.name}, {"addresses", addresses_text(access_.masters)}});
    if (!machine_) start_machine(access_.masters.size());
    open_links(access_,
               {.on_frame = [this](std::size_t master,
                                   std::string_view frame) { on_frame(master, frame); },
                .on_connected = [this](std::size_t master) { feed(agent::Connected{master}); },
                .on_closed = [this](std::size_t master) { feed(agent::Closed{master}); },
                .on_refused = [this](const Error& error) { on_refused(error); }});
  }

  void on_frame(std::size_t master, std::string_view frame) {
    auto message = wire::decode(frame);
    if (!message) {
      log::warn("message.refused", {{"reason", message.error().message}});
      return;
    }
    feed(agent::Received{master, std::move(*message)});
  }

  void on_refused(const Error& error) {
    for (std::size_t master = 0; master < access_.masters.size(); ++master) {
      feed(agent::TurnedAway{master, error.message + " (this worker's key is in " + options_.dir +
                                         "/worker.access; to enrol it anew remove that file and "
                                         "give --access FILE)"});
    }
  }

  // --- Enrolment: before the first session ---

  void dial_to_enrol() {
    open_links(
        invitation_,
        {.on_frame = [this](std::size_t, std::string_view frame) { on_enrolment_frame(frame); },
         .on_connected =
             [this](std::size_t) {
               if (!is_enrolled_) send_enrol();
             },
         .on_closed = [](std::size_t) {},
         .on_refused =
             [this](const Error& error) {
               if (!is_enrolled_)
                 give_up(kExitRefused, "the invitation is not taken: " + error.message);
             }});
  }

  /// To all of them: the one that leads does it.
  void send_enrol() {
    enrol_at_ = clock_.now() + limits::kHelloRetry;
    msg::Message message;
    message.body = msg::Enrol{kProtocol, own_keys_.public_key, options_.name};
    const std::string frame = wire::encode(message);
    for (std::size_t master = 0; master < invitation_.masters.size(); ++master) {
      links_->send(master, frame);
    }
  }

  void on_enrolment_frame(std::string_view frame) {
    if (is_enrolled_) return;  // What the other masters say of it comes later.
    const auto message = wire::decode(frame);
    if (!message) return;
    if (const auto* refused = std::get_if<msg::Refused>(&message->body)) {
      if (refused->code != Errc::Unavailable) {
        return give_up(kExitRefused, "the master does not take this worker: " + refused->reason);
      }
      enrol_at_ = std::min(enrol_at_, clock_.now() + limits::kAskStandby);
      return;
    }
    const auto* enrolled = std::get_if<msg::Enrolled>(&message->body);
    if (enrolled == nullptr) return;
    is_enrolled_ = true;
    if (enrolled->name != options_.name) {
      log::warn("worker.renamed", {{"asked", options_.name}, {"worker", enrolled->name}});
    }
    auto access = finish_enrolment(options_.dir, invitation_, own_keys_, enrolled->name);
    if (!access) return give_up(access.error());
    log::info("worker.enrolled", {{"worker", enrolled->name}});
    enrol_at_ = TimePoint::never();
    access_ = std::move(*access);
    // Not from within a dialer's own callback.
    loop_.post([this] {
      links_->close(Micros{0});
      links_.reset();
      dial();
    });
  }

  const WorkerOptions& options_;
  SystemClock clock_;
  net::EventLoop loop_;
  net::ZmqContext context_;
  PairChannel pair_;
  std::optional<Agent> machine_;  // Once it is known how many masters there are.
  std::deque<agent::Event> events_;
  std::unique_ptr<MasterLinks> links_;
  net::Access access_;
  net::Access invitation_;
  net::KeyPair own_keys_;
  TimePoint enrol_at_ = TimePoint::never();
  bool is_enrolled_ = false;
  std::optional<int> exit_code_;
};

}  // namespace

int run_agent(const WorkerOptions& options) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
  return AgentShell(options).run();
}

}  // namespace capstan
