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

class AgentShell {
 public:
  explicit AgentShell(const WorkerOptions& options)
      : options_(options),
        pair_(UniqueFd(kPairFd)),
        machine_({.version = kVersion,
                  .containment = options.null_exec ? "starts nothing" : "weak containment",
                  .name = options.name,
                  .environment = allowed_environment(),
                  .masters = 1,
                  .mutant = AgentMutant::None}) {}

  int run() {
    loop_.watch(pair_.fd(), [this] { on_pair_readable(); });
    begin();
    while (!exit_code_) turn();
    for (int i = 0; i < 2; ++i) pair_.flush();
    if (dialer_) dialer_->close(kLinger);
    return *exit_code_;
  }

 private:
  void turn() {
    TimePoint deadline = std::min({machine_.next_deadline(), enrol_at_, unheard_at_});
    if (pair_.waiting_bytes() > 0) deadline = std::min(deadline, clock_.now() + kFullPairRetry);
    loop_.poll(deadline);
    if (clock_.now() >= enrol_at_) send_enrol();
    if (clock_.now() >= unheard_at_) say_unreachable();
    settle();
    if (!pair_.flush()) on_shepherd_gone();
    if (pair_.waiting_bytes() > 4 * limits::kPairBufferBytes) {
      log::error("agent.pair_overflowed", {{"bytes", std::uint64_t{pair_.waiting_bytes()}}});
      exit_code_ = kExitFailStop;  // The shepherd starts another one, with its state.
    }
  }

  // --- The machine ---

  template <class Event>
  void feed(Event event) {
    events_.emplace_back(std::in_place_type<Event>, std::move(event));
  }

  void settle() {
    do {
      while (!events_.empty()) {
        agent::Event event = std::move(events_.front());
        events_.pop_front();
        step(std::move(event));
      }
      step(agent::Tick{});
    } while (!events_.empty() && !exit_code_);
  }

  void step(agent::Event event) {
    for (agent::Action& action : machine_.step(std::move(event), clock_.now())) {
      std::visit([this](auto& what) { execute(what); }, action);
    }
  }

  void execute(agent::Send& send) {
    if (dialer_) dialer_->send(wire::encode(send.message));
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
                                 {"session", opened.session.value},
                                 {"epoch", opened.epoch.value}});
  }
  void execute(agent::SessionEnded& ended) { log::info("session.ended", {{"reason", ended.why}}); }
  void execute(agent::MembersChanged& changed) {
    const auto updated = update_access(options_.dir, access_, changed.name, changed.members);
    if (!updated) log::warn("access.not_updated", {{"reason", updated.error().message}});
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

  // --- The master ---

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
    dial_to_enrol();
  }

  Result<Member> first_master(const net::Access& access) {
    if (access.masters.empty()) {
      return fail(Errc::NotAllowed, "the access file names no master");
    }
    return access.masters.front();
  }

  void open_dialer(const net::Access& access, net::ZmqDialer::Handler handler) {
    const auto master = first_master(access);
    if (!master) return give_up(master.error());
    auto dialer = net::ZmqDialer::open(context_, loop_, *master, access.keys, std::move(handler));
    if (!dialer) return give_up(dialer.error());
    dialer_ = std::move(*dialer);
    dialled_ = address_text(*master);
    unheard_at_ = clock_.now() + limits::kSayUnreachable;
  }

  /// Once for each time that the master is gone: a person may be looking at a silent terminal.
  void say_unreachable() {
    unheard_at_ = TimePoint::never();
    log::warn(
        "master.unreachable",
        {{"addresses", dialled_},
         {"reason", "nobody answers there; this worker keeps trying, and what runs goes on"}});
  }

  void dial() {
    log::info("master.dialled",
              {{"worker", access_.name},
               {"addresses",
                access_.masters.empty() ? std::string() : address_text(access_.masters.front())}});
    open_dialer(access_, {.on_frame = [this](std::string_view frame) { on_frame(frame); },
                          .on_connected =
                              [this] {
                                unheard_at_ = TimePoint::never();
                                feed(agent::Connected{0});
                              },
                          .on_closed =
                              [this] {
                                unheard_at_ = clock_.now() + limits::kSayUnreachable;
                                feed(agent::Closed{0});
                              },
                          .on_refused = [this](const Error& error) { on_refused(error); }});
  }

  static std::string address_text(const Member& member) {
    std::string text;
    for (const std::string& address : member.addresses) {
      text += (text.empty() ? "" : ",") + address;
    }
    return text;
  }

  void on_frame(std::string_view frame) {
    auto message = wire::decode(frame);
    if (!message) {
      log::warn("message.refused", {{"reason", message.error().message}});
      return;
    }
    feed(agent::Received{0, std::move(*message)});
  }

  void on_refused(const Error& error) {
    feed(agent::TurnedAway{0, error.message + " (this worker's key is in " + options_.dir +
                                  "/worker.access; to enrol it anew remove that file and give "
                                  "--access FILE)"});
  }

  // --- Enrolment: before the first session ---

  void dial_to_enrol() {
    open_dialer(invitation_,
                {.on_frame = [this](std::string_view frame) { on_enrolment_frame(frame); },
                 .on_connected =
                     [this] {
                       unheard_at_ = TimePoint::never();
                       send_enrol();
                     },
                 .on_closed = [this] { enrol_at_ = TimePoint::never(); },
                 .on_refused =
                     [this](const Error& error) {
                       give_up(kExitRefused, "the invitation is not taken: " + error.message);
                     }});
  }

  void send_enrol() {
    enrol_at_ = clock_.now() + limits::kHelloRetry;
    msg::Message message;
    message.body = msg::Enrol{kProtocol, own_keys_.public_key, options_.name};
    dialer_->send(wire::encode(message));
  }

  void on_enrolment_frame(std::string_view frame) {
    const auto message = wire::decode(frame);
    if (!message) return;
    if (const auto* refused = std::get_if<msg::Refused>(&message->body)) {
      return give_up(kExitRefused, "the master does not take this worker: " + refused->reason);
    }
    const auto* enrolled = std::get_if<msg::Enrolled>(&message->body);
    if (enrolled == nullptr) return;
    if (enrolled->name != options_.name) {
      log::warn("worker.renamed", {{"asked", options_.name}, {"worker", enrolled->name}});
    }
    auto access = finish_enrolment(options_.dir, invitation_, own_keys_, enrolled->name);
    if (!access) return give_up(access.error());
    log::info("worker.enrolled", {{"worker", enrolled->name}});
    enrol_at_ = TimePoint::never();
    access_ = std::move(*access);
    // Not from within the dialer's own callback.
    loop_.post([this] {
      dialer_->close(Micros{0});
      dialer_.reset();
      dial();
    });
  }

  const WorkerOptions& options_;
  SystemClock clock_;
  net::EventLoop loop_;
  net::ZmqContext context_;
  PairChannel pair_;
  Agent machine_;
  std::deque<agent::Event> events_;
  std::unique_ptr<net::ZmqDialer> dialer_;
  std::string dialled_;                        // Its addresses, for the log.
  TimePoint unheard_at_ = TimePoint::never();  // To be said then, when nobody answered.
  net::Access access_;
  net::Access invitation_;
  net::KeyPair own_keys_;
  TimePoint enrol_at_ = TimePoint::never();
  std::optional<int> exit_code_;
};

}  // namespace

int run_agent(const WorkerOptions& options) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
  return AgentShell(options).run();
}

}  // namespace capstan
