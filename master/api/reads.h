// SPDX-License-Identifier: MIT
//
// The clients' questions. What is in memory (workers, status) is answered behind the entries that
// it was computed at; what is wide is read by the reader thread, in pages, after this turn's write:
// so no answer shows what is not durable, and none is older than the question. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/wire/message.h"
#include "master/api/client_api.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/api/session.h"
#include "master/core/planner.h"

namespace capstan::api {

/// Errc::Unavailable: the tables are not at this entry yet.
[[nodiscard]] Result<void> are_at(store::Tables& tables, Seq seq);

/// The cluster in numbers, from memory. O(live jobs + workers).
struct Overview {
  std::uint32_t workers_up = 0, workers_away = 0;
  std::uint32_t cpus = 0, cpus_running = 0;
  std::uint64_t jobs_live = 0;
  JobCounts tasks;
};
[[nodiscard]] Overview overview(const Queue& queue, const Sessions& sessions,
                                const planner::Limits& silence, TimePoint at);

class ReadsApi {
 public:
  struct Parts {
    Ledger& ledger;
    Sessions& sessions;
    ClientApi& clients;
    Reads& reads;
    planner::Limits silence;
  };
  explicit ReadsApi(Parts parts)
      : ledger_(parts.ledger),
        sessions_(parts.sessions),
        clients_(parts.clients),
        reads_(parts.reads),
        silence_(parts.silence) {}

  void on_list_jobs(const Session& session, const msg::ListJobs& question);
  [[nodiscard]] Result<void> on_get_job(const Session& session, const msg::GetJob& question);
  void on_list_tasks(const Session& session, const msg::ListTasks& question);
  void on_list_events(const Session& session, const msg::ListEvents& question);
  void on_list_attempts(const Session& session, const msg::ListAttempts& question);
  void on_why(const Session& session, const msg::Why& question);
  void on_list_workers(const Session& session, const msg::ListWorkers& question);
  /// `reply` has what the server knows of itself; the numbers of the cluster are filled in here.
  void on_status(const Session& session, msg::StatusReply reply);

  /// Asks the tables something for a client's query: `read` runs at the tables, which are at least
  /// at this moment's entry; `tell` on the loop, when the client is still there.
  template <class Read, class Tell>
  void ask(const Session& session, std::uint64_t query, Read read, Tell tell) {
    if (!admit(session, query)) return;
    const Seq as_of = ledger_.queue().last_seq();
    pending_.push_back([=, this, id = session.id](store::Tables& tables) -> Reads::Completion {
      const Result<void> ready = are_at(tables, as_of);
      auto rows = ready ? read(tables) : decltype(read(tables))(tl::unexpected(ready.error()));
      return [=, this, rows = std::move(rows)] {
        Session* asker = finish(id);
        if (asker == nullptr) return;
        if (rows)
          tell(*asker, *rows);
        else
          deny(*asker, query, rows.error());
      };
    });
  }

  /// The same for ourselves: `read` runs at the tables once they are at this moment's entry, `then`
  /// on the loop with what it returned. The caller bounds how many.
  template <class Read, class Then>
  void look_up(Read read, Then then) {
    const Seq as_of = ledger_.queue().last_seq();
    pending_.push_back([=](store::Tables& tables) -> Reads::Completion {
      const Result<void> ready = are_at(tables, as_of);
      auto rows = ready ? read(tables) : decltype(read(tables))(tl::unexpected(ready.error()));
      return [=, rows = std::move(rows)] { then(rows); };
    });
  }

  void deny(Session& session, std::uint64_t query, const Error& error);
  /// Behind the write: posts what was asked in this turn.
  void post_pending();
  void on_ended(SessionId session) { open_.erase(session); }

 private:
  /// The job, when the asker may see it and the task is not finished.
  [[nodiscard]] const Job* live_job(const Session& session, const msg::Why& question) const;
  [[nodiscard]] msg::WhyReply explain_live(const Session& session, const msg::Why& question,
                                           std::map<WorkerId, std::string> errors) const;
  void explain_finished(const Session& session, const msg::Why& question);
  /// Counts it; false: too many at once, and denied.
  bool admit(const Session& session, std::uint64_t query);
  Session* finish(SessionId session);

  Ledger& ledger_;
  Sessions& sessions_;
  ClientApi& clients_;
  Reads& reads_;
  planner::Limits silence_;
  std::vector<Reads::Question> pending_;
  std::map<SessionId, std::size_t> open_;  ///< Questions not answered yet.
};

/// The row of a job that `identity` may see: NotFound, also when it is somebody else's:
/// what others have is not told.
[[nodiscard]] Result<JobRow> visible_job(store::Tables& tables, JobId job,
                                         const net::Identity& identity);

}  // namespace capstan::api
