// SPDX-License-Identifier: MIT
//
// The agent as a pure machine: a mirror of what its shepherd holds, and a session with the master
// that leads. It owns nothing that its death would lose. Its shell (worker/agent_main.h) has the
// sockets; tests/sim runs it on a virtual network. No clock, no I/O, no logging.
//
//                connected, synced            Welcome of our instance, a higher session
//  [no session] -------------------> [HELLO said] ----------------------------------> [open]
//       ^                               | unanswered: again                             |
//       '-------------------------------+-----------------------------------------------'
//            NeedHello; a gap or repeat of n; silence; the connection closed
//
// One link for each master; it follows the highest epoch and refuses lower ones. A standby says
// "not now": while the leader is heard it is left alone, else asked some times a second. HELLO is a
// full reconcile, so anything that was lost on the way is repaired by the next one.
//
// Results of an earlier instance (the shepherd died, its spool did not) are told first, in sessions
// of that instance that hold nothing and take no work: a result counts only from its own instance.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/keyed_list.h"
#include "common/wire/message.h"
#include "worker/core/agent_link.h"
#include "worker/core/delivery.h"
#include "worker/core/pair.h"

namespace capstan {

/// Deliberate mistakes for tests/sim: each must be found by its checkers.
enum class AgentMutant : std::uint8_t {
  None,
  NoSessionIds,    ///< Messages of any session are taken.
  NoGapCheck,      ///< A gap in n is not noticed.
  DropSpoolEarly,  ///< The spool is emptied when a result is sent, not acknowledged.
};

namespace agent {

struct Config {
  std::string version{};
  std::string containment = "weak containment";
  std::string name{};                 ///< As asked for; Welcome tells the enrolled one.
  std::vector<EnvVar> environment{};  ///< The allow-list's variables of the worker.
  std::size_t masters = 1;            ///< Links; events name one by its index.
  AgentMutant mutant = AgentMutant::None;
};

// --- Events --------------------------------------------------------------------------------------
struct FromShepherd {
  pair::ToAgent message;
};
struct Connected {
  std::size_t master = 0;
};
struct Closed {
  std::size_t master = 0;
};
struct Received {
  std::size_t master = 0;
  msg::Message message;
};
/// The answer to ReadOutput, before any other event. `offset`: of `data`, larger than asked for
/// when bytes are gone. Empty data: nothing is to be had from there on.
struct OutputRead {
  OutputKey output;
  std::uint64_t offset = 0;
  Bytes data;
};
/// The key or the master is not what it should be: turned away for good.
struct TurnedAway {
  std::size_t master = 0;
  std::string reason;
};
/// After each batch of events, and at next_deadline().
struct Tick {};
using Event = std::variant<FromShepherd, Connected, Closed, Received, OutputRead, TurnedAway, Tick>;

// --- Actions -------------------------------------------------------------------------------------
struct Send {
  std::size_t master = 0;
  msg::Message message;
};
struct ToShepherd {
  pair::ToShepherd message;
};
/// At most kLogChunkBytes from `offset` on.
struct ReadOutput {
  OutputKey output;
  std::uint64_t offset = 0;
  std::uint64_t total = 0;  ///< Of the stream, as known.
  bool ended = false;       ///< And it will not grow.
};
struct SessionOpened {
  std::size_t master = 0;
  SessionId session;
  Epoch epoch;
  std::string name;
};
/// `why` for the log: "silent", "gap" …
struct SessionEnded {
  std::size_t master = 0;
  const char* why = "";
};
/// The masters of the cluster, as they are now: the access file is to name these.
struct MembersChanged {
  Uuid cluster;
  std::string name;
  std::vector<Member> members;
  std::uint64_t version = 0;
};
/// Something that a person should know: for the log.
struct Warn {
  const char* what = "";
  std::string detail;
};
/// Say no more: let what was sent leave, then exit.
struct Stop {
  int exit_code = 0;
  std::string message;
};
using Action = std::variant<Send, ToShepherd, ReadOutput, SessionOpened, SessionEnded,
                            MembersChanged, Warn, Stop>;
using Actions = std::vector<Action>;

}  // namespace agent

class Agent {
 public:
  explicit Agent(agent::Config config);
  Agent(const Agent&) = delete;  // It has a place of its own list.
  Agent& operator=(const Agent&) = delete;
  ~Agent() = default;

  /// Total: what makes no sense (any more) changes nothing.
  [[nodiscard]] agent::Actions step(agent::Event event, TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;

  // For shells, checkers and tests.
  [[nodiscard]] bool is_open() const;
  [[nodiscard]] std::size_t held_count() const { return held_.size(); }
  [[nodiscard]] std::size_t unacknowledged_count() const { return unacked_.size(); }
  [[nodiscard]] Epoch highest_epoch() const { return epoch_; }

 private:
  using Said = agent::Said;
  using Link = agent::Link;
  struct Held {
    bool started = false;
    TimePoint started_at;
    std::uint64_t start_order = 0;  // Among the starts that were heard of.
    bool told = false;              // Started was sent, or this session's HELLO listed it so.
    bool given_here = false;        // A Start of this session named it.
  };
  using HeldList = KeyedList<AttemptKey, Held>;
  struct Unacked {
    pair::SpoolItem item;
    std::size_t in_flight_bytes = 0;  // Sent in this session: so much of the window.
  };
  using UnackedList = KeyedList<AttemptKey, Unacked>;
  struct Template {
    JobSpec spec;
    std::vector<Bytes> argv;          // Of all its tasks; empty: each has its own, or none can be.
    std::vector<EnvVar> environment;  // The worker's and the job's.
    std::size_t environment_bytes = 0;
    Bytes stdin_data;
    bool has_all = true;  // Of stdin_data.
    std::size_t bytes = 0;
  };

  void on(agent::FromShepherd& event);
  void on(const agent::Connected& event);
  void on(const agent::Closed& event);
  void on(const agent::Received& event);
  void on(const agent::OutputRead& event);
  void on(const agent::TurnedAway& event);
  void on(const agent::Tick& event);

  void on_pair(const pair::State& message);
  void on_pair(pair::Spooled& message);
  void on_pair(const pair::Synced& message);
  void on_pair(const pair::StartedAt& message);
  void on_pair(pair::Ended& message);
  void on_pair(const pair::Returned& message);
  void on_pair(const pair::OutputGrew& message);
  void on_pair(const pair::Notice& message);
  void on_pair(const pair::AllDone& message);

  void on_welcome(std::size_t master, const msg::Message& message, const msg::Welcome& welcome);
  [[nodiscard]] bool is_welcome(const Link& link, const msg::Message& message,
                                const msg::Welcome& welcome);
  bool began_anew(std::size_t master, const Generation& generation);
  void open_session(std::size_t master, const msg::Message& message, const msg::Welcome& welcome,
                    Said said);
  [[nodiscard]] static Said* find_asked(Link& link, std::uint64_t number);
  void on_refused(std::size_t master, const msg::Refused& refused);
  void on_need_hello(std::size_t master, const msg::Message& message);
  [[nodiscard]] bool accept(std::size_t master, const msg::Message& message);
  template <class Other>
  void on_body(std::size_t, const Other&) {}  // What a master never says to a worker.
  void on_body(std::size_t master, const msg::Heartbeat& body);
  void on_body(std::size_t master, const msg::JobTemplate& body);
  void on_body(std::size_t master, const msg::JobStdin& body);
  void on_body(std::size_t master, const msg::Start& body);
  void on_body(std::size_t master, const msg::Cancel& body);
  void on_body(std::size_t master, const msg::Recall& body);
  void on_body(std::size_t master, const msg::ResultAck& body);
  void on_body(std::size_t master, const msg::LogAck& body);
  void on_body(std::size_t master, const msg::Follow& body);

  void send(std::size_t master, msg::Body body);
  /// To the master that leads, when a session is open there that speaks for this instance.
  void send_as_ourselves(msg::Body body);
  [[nodiscard]] bool is_ourselves() const;
  [[nodiscard]] TimePoint ask_at(const Link& link) const;
  void ask_others(std::size_t master);
  [[nodiscard]] bool does_nobody_answer() const;
  void say_hello(std::size_t master);
  void end_session(std::size_t master, const char* why);
  void renew(std::size_t master, const char* why);
  /// True: it is new.
  std::pair<HeldList::iterator, bool> hold(const AttemptKey& key);
  void let_go(HeldList::iterator held);
  /// An error: it cannot even be tried.
  [[nodiscard]] Result<pair::Run> run_of(const Template& job, const AttemptKey& key,
                                         const std::vector<Bytes>& inputs) const;
  void bound_templates(JobId newest);
  void tell_template(JobId id, const Template& job);
  void forget_idle_jobs();
  void add_ended(pair::SpoolItem item);
  /// False: it is not waited for.
  bool forget_result(const AttemptKey& key);
  [[nodiscard]] const Instance& speaking_for() const;
  void give_up_earlier(const Instance& earlier);
  void send_results();
  void send_started();
  void tell_what_hello_missed(Said said);
  void send_heartbeats(std::size_t master);
  void pump_output();
  template <class Message>
  void tell(Message message) {
    out_.push_back(agent::ToShepherd{std::move(message)});
  }

  agent::Config config_;
  std::vector<Link> links_;
  std::size_t leader_ = 0;  // The master whose session is obeyed.
  Epoch epoch_;             // The highest obeyed.
  Generation generation_;   // Of the last Welcome obeyed.
  std::uint64_t members_version_ = 0;
  bool members_told_ = false;
  bool synced_ = false;  // The mirror is whole.
  Instance instance_;
  std::uint32_t cpus_ = 0;
  std::uint64_t mem_bytes_ = 0;
  bool leaving_ = false;
  bool disk_full_ = false;
  bool stopped_ = false;
  HeldList held_;
  std::map<JobId, std::size_t> held_of_;  // How many of each job. No zeroes.
  /// Given back in this session before a Start of it, which may be on its way: the master had not
  /// heard so when it sent it, and may have given the attempt to another worker when it comes.
  std::set<AttemptKey> returned_early_;
  std::set<JobId> told_;            // The shepherd keeps their templates.
  std::set<JobId> may_be_idle_;     // Some attempt of them went since the last look.
  std::vector<AttemptKey> starts_;  // Heard of, not told yet.
  std::uint64_t starts_heard_ = 0;
  std::uint64_t hellos_ = 0;
  UnackedList unacked_;                                  // In the order in which they ended.
  UnackedList::iterator first_unsent_ = unacked_.end();  // In this session.
  std::size_t in_flight_bytes_ = 0;                      // Of results sent and not acknowledged.
  std::map<JobId, Template> templates_;                  // Of this session.
  std::size_t template_bytes_ = 0;
  std::set<JobId> followed_;  // Of this session.
  Deliveries deliveries_;
  TimePoint now_;
  agent::Actions out_;
};

}  // namespace capstan
