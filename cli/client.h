// SPDX-License-Identifier: MIT
//
// A connected client: one session with whichever master of the access file welcomes us. The rule
// that makes retries safe: everything that was asked and not answered is said again, with the same
// ids, in the next session; a mutation carries its RequestId, so it is done once; a watch goes on
// from the position that it reached. Loop thread only, no thread of its own.
//
// A standby answers HELLO with "not now": it is asked again four times a second while no session is
// open, or the master that leads has missed a beat.
//
//              connected            Welcome
//   [Dialling] ---------> [Greeting] ------> [Open]   everything pending is sent (again)
//        ^                    ^                |
//        |  closed            `-- NeedHello, --'
//        `------------------------ a gap, silence
//
// Two ways to use it: `ask`, `control`, `submit` block (they run the loop) until the answer or the
// time limit; `query`, `watch` and `send_control` call back from turn().
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "cli/interrupts.h"
#include "cli/outcome.h"
#include "common/base/clock.h"
#include "common/net/event_loop.h"
#include "common/net/zmq_transport.h"
#include "common/wire/message.h"
#include "common/wire/session.h"

namespace capstan::cli {

/// A job and its inputs as they are sent: one part at a time, so that a list of a million file
/// names is held once.
class Submission {
 public:
  virtual ~Submission() = default;
  /// Without inputs.
  [[nodiscard]] virtual const msg::SubmitOpen& open() const = 0;
  [[nodiscard]] virtual std::uint64_t parts() const = 0;
  [[nodiscard]] virtual std::uint64_t inputs() const = 0;
  /// A SubmitStdin or SubmitInputs.
  [[nodiscard]] virtual msg::Body part(std::uint64_t number) const = 0;
};

class Client {
 public:
  struct Options {
    net::Access access;
    std::string
        members_file{};      ///< Where the masters are remembered (known_members.h); "": nowhere.
    Micros timeout{0};       ///< For each blocking call, connecting included; a submission's goes
                             ///< on while its parts are accepted.
    std::string verb;        ///< For the lines on stderr.
    bool is_silent = false;  ///< No lines on stderr.
    /// When it counts more than was allowed, whatever waits gives up with its exit code. May be
    /// null.
    const Interrupts* interrupts = nullptr;
  };
  using Reply = std::function<void(Result<msg::Body>)>;
  /// Errors end the watch.
  using OnWatch = std::function<void(Result<msg::WatchEvents>)>;

  /// Starts to dial. Fails only when an address makes no sense.
  static Outcome<std::unique_ptr<Client>> open(net::EventLoop& loop, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Asks and waits. `query` of the question is filled in here.
  template <class Answer, class Question>
  Outcome<Answer> ask(Question question) {
    msg::Body body =
        TRY(blocking([&](Reply reply) { query(std::move(question), std::move(reply)); }));
    if (auto* answer = std::get_if<Answer>(&body)) return std::move(*answer);
    return fail_with(kExitRefused, "the master answered with another kind of message");
  }
  Outcome<msg::Done> control(msg::Verb verb, std::vector<Selector> targets);
  /// Says a mutation that is answered by Done, and waits. `request` is filled in here.
  template <class Mutation>
  Outcome<msg::Done> change(Mutation mutation) {
    mutation.request = RequestId::random();
    const RequestId request = mutation.request;
    msg::Body body = TRY(blocking([&](Reply reply) {
      add_mutation(request, msg::Body(std::move(mutation)), std::move(reply));
    }));
    if (auto* done = std::get_if<msg::Done>(&body)) return std::move(*done);
    return fail_with(kExitRefused, "the master answered with another kind of message");
  }
  /// REQUIRES: `submission` lives until this returns.
  Outcome<msg::Submitted> submit(const Submission& submission);

  /// Asks; `reply` is called once, from turn().
  template <class Question>
  void query(Question question, Reply reply) {
    question.query = ++last_query_;
    const std::uint64_t id = question.query;
    add_query(id, msg::Body(std::move(question)), std::move(reply));
  }
  void send_control(msg::Verb verb, std::vector<Selector> targets, Reply reply);
  /// From the beginning (or `watch.from`), across reconnects, until unwatch() or an error.
  std::uint64_t watch(msg::Watch watch, OnWatch on_events);
  void unwatch(std::uint64_t id);

  /// One round of the loop: until something happened or `deadline`.
  void turn(TimePoint deadline);
  /// turn() until `done` or the deadline; false: the deadline came first. A refusal for good is a
  /// Failure.
  Outcome<bool> run_until(const std::function<bool()>& done, TimePoint deadline);
  /// `run_until` without end, with a line on stderr when there is no master for over a second.
  Outcome<void> run_while_waiting(const std::function<bool()>& done);

  /// So many interrupts are somebody else's business: the next one makes us give up.
  void allow_interrupts(int count) { interrupts_allowed_ = count; }
  [[nodiscard]] bool is_open() const { return active_ != nullptr; }
  /// Our own name, as the master knows it; "" before the first Welcome.
  [[nodiscard]] const std::string& name() const { return welcome_.name; }
  [[nodiscard]] TimePoint now() const { return clock_.now(); }
  [[nodiscard]] Micros timeout() const { return options_.timeout; }

 private:
  struct Link;
  struct PendingQuery {
    msg::Body body;
    Reply reply;
    TimePoint again_at = TimePoint::never();  ///< Set when the master said "not now".
    std::string reason;
  };
  struct PendingSubmit;
  struct WatchState {
    msg::Watch watch;
    OnWatch on_events;
    std::uint32_t handled = 0;  ///< Not yet told to the master.
    TimePoint again_at = TimePoint::never();
  };

  explicit Client(net::EventLoop& loop, Options options);
  Outcome<void> dial(Link& link);
  void dial_again();
  void on_frame(Link& link, std::string_view frame);
  void on_turned_away(Link& link, const Error& error);
  void on_refused(Link& link, const msg::Message& message, const msg::Refused& refused);
  void on_welcome(Link& link, const msg::Message& message);
  void on_body(msg::Body body);
  void on_denied(const msg::Denied& denied);
  void on_watch_events(msg::WatchEvents events);
  void greet(Link& link);
  void end_session(Link& link);
  void send_all_pending();
  /// False when there is no open session, or it broke now: it is sent again in the next one.
  bool send(const msg::Body& body);
  void add_query(std::uint64_t id, msg::Body body, Reply reply);
  void add_mutation(const RequestId& request, msg::Body body, Reply reply);
  template <class Map, class Key>
  void answer(Map& pending, const Key& key, Result<msg::Body> body);
  void pump_submission();
  void run_timers();
  [[nodiscard]] TimePoint next_timer() const;
  [[nodiscard]] TimePoint greet_due(const Link& link) const;
  [[nodiscard]] bool no_link_left() const;
  [[nodiscard]] Failure no_answer() const;
  void notice(const std::string& line);
  Outcome<msg::Body> blocking(const std::function<void(Reply)>& start);
  /// run_until the time limit after the last sign of progress, with a line on stderr after a
  /// second without one.
  Outcome<bool> wait_for_answer(const std::function<bool()>& done);

  net::EventLoop& loop_;
  Options options_;
  SystemClock clock_;
  net::ZmqContext context_;
  std::vector<std::unique_ptr<Link>> links_;
  Link* active_ = nullptr;  ///< The link with the open session.
  msg::Welcome welcome_;
  Epoch epoch_;  ///< The highest seen.
  Error refused_{Errc::Unavailable, ""};
  std::string last_reason_;  ///< Of the last "not now".
  TimePoint progressed_at_;  ///< The call began, or a part of the submission was accepted.
  int interrupts_allowed_ = 0;
  std::uint64_t last_query_ = 0;
  std::map<std::uint64_t, PendingQuery> queries_;
  std::map<RequestId, PendingQuery> mutations_;
  std::map<std::uint64_t, WatchState> watches_;
  std::unique_ptr<PendingSubmit> submit_;
};

/// All workers, page by page.
Outcome<std::vector<msg::WorkerView>> list_workers(Client& client);

}  // namespace capstan::cli
