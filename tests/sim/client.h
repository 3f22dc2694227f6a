// SPDX-License-Identifier: MIT
//
// A user at a terminal whose network is as bad as everybody's: submits jobs (single, arrays, inputs
// in parts, some under a token), steers them, and watches each to its end. It keeps to the rules of
// docs/protocol.md, finds the master that leads, retries every mutation under its request id until
// it is answered, and writes down what it was told: that is what the checkers hold the masters to.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/wire/message.h"
#include "common/wire/session.h"
#include "tests/sim/network.h"
#include "tests/sim/schedule.h"

namespace capstan::sim {

/// What was asked of the master under one request id, and what it said.
struct Mutation {
  RequestId request;
  bool is_submission = false;
  msg::SubmitOpen open;
  std::vector<std::vector<Bytes>> parts;
  std::uint64_t inputs = 0;
  std::uint64_t stdin_parts = 0;
  msg::Control control;
  std::optional<msg::WorkerControl> workers;  ///< Instead of `control`.
  bool answered = false;
  bool refused = false;
  unsigned said = 0;  ///< In this session. A copy may be refused, and a later one done.
  JobId job;          ///< Of an answered submission.
  std::uint64_t tasks = 0;
};

/// What a watch told of one job.
struct Watched {
  std::uint64_t watch = 0;
  Seq from;
  Generation generation;
  bool open = false;  ///< Asked for in the present session.
  bool finished = false;
  JobState state = JobState::Queued;
  std::set<std::uint32_t> ended;  ///< Tasks told as ended.
};

class Client {
 public:
  /// One link to each of `masters`.
  Client(Schedule& schedule, const std::vector<Network*>& masters, const std::string& name,
         Role role = Role::User);

  void submit(JobSpec spec, std::uint64_t inputs, const std::string& token);
  void control(msg::Verb verb, JobId job, std::int32_t priority = 0);
  /// An admin's.
  void control(msg::WorkerVerb verb, const std::string& worker);

  /// The process is killed and started again, with its list of what it asked.
  void restart();

  [[nodiscard]] const std::deque<Mutation>& history() const { return history_; }
  [[nodiscard]] const std::map<JobId, Watched>& watched() const { return watched_; }
  /// It asked for that, and may not have heard the answer.
  [[nodiscard]] bool has_deleted(JobId job) const;
  /// Everything was answered, and every watch saw its job's end.
  [[nodiscard]] bool is_done() const;
  /// The first thing that the master said and must not have, or "".
  [[nodiscard]] const std::string& complaint() const { return complaint_; }

 private:
  struct Master {
    Link* link = nullptr;
    wire::SessionEnd session;
    TimePoint heard_at;
    bool is_to_be_asked = false;  ///< It said "not now".
  };
  void add_link(Network& network, Role role);
  void hello(Master& master);
  void hello_to_all();
  void end_session(Master& master);
  void on_frame(Master& master, std::string_view frame);
  void on_refused(Master& master, const msg::Refused& refused);
  void on_welcome(Master& master, const msg::Message& message);
  [[nodiscard]] bool is_open() const;
  [[nodiscard]] bool is_alone() const { return masters_.size() == 1; }
  void on_message(const msg::Message& message);
  void on_events(const msg::WatchEvents& events);
  void send(msg::Body body);
  void send_mutation(Mutation& mutation);
  void resume();
  void tick();
  void complain(const std::string& what);
  Mutation* find(const RequestId& request);
  RequestId fresh_id();

  Schedule& schedule_;
  std::string name_;
  std::deque<Master> masters_;
  Master* active_ = nullptr;  ///< Whose session is spoken in.
  Epoch highest_;
  std::deque<Mutation> history_;
  std::map<JobId, Watched> watched_;
  std::uint64_t next_watch_ = 1;
  std::string complaint_;
};

}  // namespace capstan::sim
