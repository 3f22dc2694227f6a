// SPDX-License-Identifier: MIT
//
// The clients' mutations: submissions and steering. Each carries a request id and is answered once
// in substance: a repetition is found in the queue (recent ones) or in the tables, and gets the
// same answer. The owner is always the authenticated name. Loop thread only.
//
//   SubmitOpen -> SubmitStdin x N -> SubmitInputs x N -> SubmitClose: staged, invisible, dropped by
//   the planner after kStagingTtl
//
// A Result's error is the store's, and fatal; what is wrong with a request is a Denied.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/wire/message.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/api/session.h"
#include "master/core/command.h"
#include "master/core/effect.h"
#include "master/core/rows.h"
#include "master/store/store.h"

namespace capstan::api {

class ClientApi {
 public:
  /// `own_keys`: those that the master made for itself, which are in no table.
  struct Parts {
    Ledger& ledger;
    Sessions& sessions;
    store::Store& store;
    Reads& reads;
    std::vector<net::Identity> own_keys;
  };
  explicit ClientApi(Parts parts)
      : ledger_(parts.ledger),
        sessions_(parts.sessions),
        store_(parts.store),
        reads_(parts.reads),
        own_keys_(std::move(parts.own_keys)) {}

  /// Tasks that one request may give a row each: all in one transaction (0.3 GB of memory). A whole
  /// job that nobody touched costs nothing like that.
  static constexpr std::uint64_t kTasksMax = 1'000'000;

  void on_hello(net::PeerId peer, const net::Identity& identity);
  [[nodiscard]] Result<void> on_open(const Session& session, msg::SubmitOpen open);
  [[nodiscard]] Result<void> on_stdin(const Session& session, const msg::SubmitStdin& stdin_part);
  [[nodiscard]] Result<void> on_inputs(const Session& session, const msg::SubmitInputs& inputs);
  [[nodiscard]] Result<void> on_close(const Session& session, const msg::SubmitClose& close);
  [[nodiscard]] Result<void> on_control(const Session& session, const msg::Control& control);
  /// A request that is carried out elsewhere; none: it was answered before, or makes no sense.
  [[nodiscard]] Result<std::optional<Asked>> begin(const Session& session,
                                                   const RequestId& request);
  void refuse(const Session& session, const RequestId& request, const Error& error) {
    deny(session, request, error.code, error.message);
  }
  // An admin's (client_admin.cc).
  [[nodiscard]] Result<void> on_worker_control(const Session& session,
                                               const msg::WorkerControl& control);
  [[nodiscard]] Result<void> on_key_add(const Session& session, const msg::KeyAdd& add);
  [[nodiscard]] Result<void> on_key_revoke(const Session& session, const msg::KeyRevoke& revoke);
  void on_list_keys(const Session& session, const msg::ListKeys& question);
  /// At the beginning of a turn: carries out a retry whose finished jobs were read, one a turn. It
  /// moves rows that are in the tables, so the batch must be empty.
  [[nodiscard]] Result<void> take_read();
  [[nodiscard]] bool has_read() const { return !read_.empty(); }
  /// Behind the write: asks the tables for what the retries of this turn need.
  void post_pending();
  /// Its session is over: nobody waits there any more.
  void on_ended(SessionId session);

  void tell(const effect::Answer& effect);
  void tell(const effect::PartAccepted& effect);

  /// May this peer see and steer what `owner` submitted?
  [[nodiscard]] static bool may_act_for(const net::Identity& identity, const std::string& owner);
  /// The newest job that `owner` submitted, also in this very turn.
  [[nodiscard]] Result<std::optional<JobId>> last_job_of(const std::string& owner);
  /// Live, finished, or finished in this very turn.
  [[nodiscard]] Result<std::optional<std::string>> owner_of(JobId job);

 private:
  struct Waiting {
    SessionId session;
    std::string note;  ///< For a person, beside the answer.
  };
  struct Target {
    JobId job;
    std::vector<IndexSpan> spans;  ///< Empty: the whole job.
    bool live = true;
  };
  /// What a Control's selectors name, or why it is refused.
  struct Targets {
    std::vector<Target> found;
    std::vector<JobId> finished;  ///< Named, but there is nothing to steer any more.
    std::uint64_t named = 0;      ///< Tasks that get a row each.
    std::optional<Error> refused;
  };

  /// A part of what a submission stages, before it is looked at.
  struct Part {
    RequestId request;
    std::uint64_t number = 0;
  };
  /// What the inputs table gets for it.
  struct Staged {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    Bytes chunk;
  };
  using MakeStaged = std::function<Result<Staged>(const SubmissionRow&)>;
  using Reopened = std::map<JobId, cmd::JobReopened>;
  struct Retry {
    std::vector<Target> targets;
    unsigned states = 0;       ///< A bit for each TaskState that is done again.
    std::set<JobId> finished;  ///< Of the targets: to be read.
    bool is_stale = false;     ///< One of them was opened since it was asked for.
    std::optional<Result<Reopened>> read;
  };

  Asked ask(const Session& session, const RequestId& request);
  /// The submission that is open under `asked`. None: it was answered, or refused now.
  [[nodiscard]] Result<std::optional<SubmissionId>> open_submission(const Session& session,
                                                                    const Asked& asked);
  /// Stages the next part; `make` is asked for it, or why it is refused.
  [[nodiscard]] Result<void> stage(const Session& session, const Part& part,
                                   const MakeStaged& make);
  /// A submission that was answered before its close: what is still on its way is not answered
  /// again.
  void settle(SessionId session, const RequestId& request);
  [[nodiscard]] bool is_settled(SessionId session, const RequestId& request) const;
  void deny(const Session& session, const RequestId& request, Errc code, std::string reason);
  /// True when this request was answered before, and is again now.
  [[nodiscard]] Result<bool> was_answered(const Session& session, const Asked& asked);
  [[nodiscard]] Result<std::optional<TokenRow>> find_token(const Asked& asked,
                                                           const std::string& token);
  void answer(SessionId session, const RequestId& request, const RequestRow& row, std::string note);
  [[nodiscard]] std::string warning_for(JobId job) const;
  /// How those ended that `spec` is to run after and that are not live; NotFound when one does not
  /// exist for this peer. An error besides is the store's.
  using Ended = std::vector<cmd::JobSubmitted::Ended>;
  [[nodiscard]] Result<Result<Ended>> find_ended(const net::Identity& identity,
                                                 const JobSpec& spec);
  [[nodiscard]] Result<std::optional<store::Store::JobOutline>> outline_of(JobId job);
  [[nodiscard]] const net::Identity* own_key(const std::string& name) const;

  [[nodiscard]] Result<Targets> resolve(const Session& session, const msg::Control& control);
  [[nodiscard]] Result<void> resolve_one(const Session& session, const Selector& selector,
                                         Targets& targets);
  [[nodiscard]] Result<void> add_target(const net::Identity& identity, JobId job,
                                        const Selector& selector, Targets& targets);
  [[nodiscard]] Result<void> delete_jobs(const Session& session, const msg::Control& control);
  /// One of them: what JobsDeleted says of it, or why it is refused.
  [[nodiscard]] Result<Result<cmd::JobsDeleted::One>> deletable(const Session& session,
                                                                const Selector& selector);
  [[nodiscard]] Result<void> retry(const Asked& asked, msg::Verb verb, std::vector<Target> targets);
  /// Why it cannot be done, if so.
  [[nodiscard]] Result<std::optional<Error>> find_fault(const Retry& retry, const Reopened& jobs);
  [[nodiscard]] Result<void> commit_retry(const Asked& asked, const Retry& retry,
                                          const Reopened& jobs);
  /// Denies, when whoever asked is still there.
  void refuse(const Asked& asked, const Error& error);

  Ledger& ledger_;
  Sessions& sessions_;
  store::Store& store_;
  Reads& reads_;
  std::vector<net::Identity> own_keys_;
  std::map<Asked, Waiting> waiting_;
  std::map<Asked, Retry> retries_;                      ///< Of finished jobs, on their way.
  std::vector<Asked> unposted_;                         ///< Of these: not asked for yet …
  std::deque<Asked> read_;                              ///< … and read.
  std::map<SessionId, std::deque<RequestId>> settled_;  ///< At most kSettledKept each.
  static constexpr std::size_t kSettledKept = 256;
};

/// "17", "17.1-100,200", "last", "all".
[[nodiscard]] std::string selector_text(const Selector& selector);

}  // namespace capstan::api
