// SPDX-License-Identifier: MIT
//
// Questions about one task: all its attempts, and why it does not run. See reads.h.
#include <algorithm>
#include <utility>

#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "master/api/reads.h"
#include "master/api/views.h"
#include "master/core/explain.h"

namespace capstan::api {
namespace {

constexpr std::size_t kMoreBytes = 64;  ///< Heads and numbers beside what is counted.

/// A task with everything that was tried.
struct TaskHistory {
  store::Tables::TaskEntry entry;
  std::vector<std::pair<AttemptKey, AttemptRow>> earlier;
};

Result<store::Tables::TaskEntry> visible_task(store::Tables& tables, const net::Identity& identity,
                                              JobId job, TaskIndex task) {
  TRY(visible_job(tables, job, identity));
  auto entry = TRY(tables.get_task(job, task));
  if (!entry) return fail(Errc::NotFound, "no task " + task_name(job, task));
  return std::move(*entry);
}

/// What became of a finished task, in words.
std::string ended_text(const msg::TaskView& view) {
  std::string text(to_string(view.state));
  if (view.ended && view.end != EndClass::Success) {
    text += ": " + std::string(to_string(view.end));
    if (view.end == EndClass::Exit) text += " " + std::to_string(view.exit_code);
    if (view.end == EndClass::Signal) text += " " + std::to_string(view.signal);
  }
  if (!view.reason.empty()) text += (view.ended ? ", " : ": ") + view.reason;
  if (view.attempt) text += " (attempt " + std::to_string(view.attempt.value);
  if (view.attempt) text += (view.worker.empty() ? "" : " on " + view.worker) + ")";
  return text;
}

}  // namespace

void ReadsApi::on_list_attempts(const Session& session, const msg::ListAttempts& question) {
  ask(
      session, question.query,
      [question, identity = session.identity](store::Tables& tables) -> Result<TaskHistory> {
        TaskHistory history;
        history.entry = TRY(visible_task(tables, identity, question.job, question.task));
        history.earlier = TRY(tables.list_attempts(question.job, question.task));
        return history;
      },
      [this, query = question.query](Session& asker, const TaskHistory& history) {
        const auto& workers = ledger_.queue().workers();
        msg::AttemptList list;
        list.query = query;
        for (const auto& [key, row] : history.earlier)
          list.attempts.push_back(attempt_view(key, row, workers));
        const TaskRow& row = history.entry.row;
        if (row.ended || row.state == TaskState::Running) {
          msg::AttemptView current;
          current.view = task_view(history.entry.task, row, workers);
          current.assigned_at = row.assigned_at;
          current.running = row.state == TaskState::Running;
          list.attempts.push_back(std::move(current));
        }
        std::sort(list.attempts.begin(), list.attempts.end(),
                  [](const auto& a, const auto& b) { return a.view.attempt < b.view.attempt; });
        std::size_t bytes = 0;  // The newest ones, when there are thousands.
        auto first = list.attempts.end();
        while (first != list.attempts.begin() && bytes <= limits::kPageBytes)
          bytes += wire::size_bound((--first)->view) + kMoreBytes;
        list.attempts.erase(list.attempts.begin(), first);
        sessions_.send(asker, std::move(list));
      });
}

const Job* ReadsApi::live_job(const Session& session, const msg::Why& question) const {
  const Job* job = ledger_.queue().find_job(question.job);
  if (job == nullptr || !ClientApi::may_act_for(session.identity, job->owner)) return nullptr;
  const auto ordinal = job->ordinal_of(question.task);
  return ordinal && !is_finished(job->task_state(*ordinal)) ? job : nullptr;
}

void ReadsApi::on_why(const Session& session, const msg::Why& question) {
  const Job* job = live_job(session, question);
  if (job == nullptr) return explain_finished(session, question);
  if (job->excluded.empty()) {
    ledger_.hold(session.id, explain_live(session, question, {}));
    return;
  }
  // What they said is in the attempts of the tasks that failed there.
  std::map<WorkerId, TaskIndex> tried;
  for (const auto& [ordinal, live] : job->live) {
    for (const WorkerId worker : live.failed_on) {
      if (job->is_excluded(worker)) tried.emplace(worker, job->index_of(ordinal));
    }
  }
  ask(
      session, question.query,
      [question, tried](store::Tables& tables) -> Result<std::map<WorkerId, std::string>> {
        std::map<WorkerId, std::string> errors;
        for (const auto& [worker, task] : tried) {
          for (const auto& [key, row] : TRY(tables.list_attempts(question.job, task))) {
            if (row.worker == worker && row.end == EndClass::LaunchError)
              errors[worker] = row.reason;
          }
        }
        return errors;
      },
      [this, question](Session& asker, const std::map<WorkerId, std::string>& errors) {
        if (live_job(asker, question) == nullptr) return explain_finished(asker, question);
        sessions_.send(asker, explain_live(asker, question, errors));
      });
}

void ReadsApi::explain_finished(const Session& session, const msg::Why& question) {
  struct Ended {
    store::Tables::TaskEntry entry;
    std::string of_job;  ///< Why its job was skipped or cancelled.
  };
  ask(
      session, question.query,
      [question, identity = session.identity](store::Tables& tables) -> Result<Ended> {
        Ended ended{TRY(visible_task(tables, identity, question.job, question.task)), ""};
        const TaskState state = ended.entry.row.state;
        if (state != TaskState::Skipped && state != TaskState::Cancelled) return ended;
        if (const auto job = TRY(tables.get_job(question.job))) ended.of_job = job->reason;
        return ended;
      },
      [this, query = question.query](Session& asker, const Ended& ended) {
        const msg::TaskView view =
            task_view(ended.entry.task, ended.entry.row, ledger_.queue().workers());
        std::string reason = ended.of_job.empty() ? ended_text(view) : ended.of_job;
        sessions_.send(asker, msg::WhyReply{query, view.state, std::move(reason), {}});
      });
}

msg::WhyReply ReadsApi::explain_live(const Session& session, const msg::Why& question,
                                     std::map<WorkerId, std::string> errors) const {
  const Job& job = *live_job(session, question);
  const bool is_admin = session.identity.role == Role::Admin;
  const Circumstances now{ledger_.queue(),  sessions_.presence(),
                          silence_,         ledger_.at(),
                          ledger_.wall(),   is_admin ? "" : session.identity.name,
                          std::move(errors)};
  const std::uint32_t ordinal = *job.ordinal_of(question.task);
  Explanation why = explain(now, job, ordinal);
  msg::WhyReply reply{question.query, job.task_state(ordinal), std::move(why.reason), {}};
  std::size_t bytes = 0;
  for (Explanation::OfWorker& one : why.workers) {
    msg::WorkerVerdict verdict{std::move(one.worker), one.fits, std::move(one.reason)};
    bytes += kMoreBytes + verdict.worker.size() + verdict.reason.size();
    if (bytes > limits::kPageBytes) break;
    reply.workers.push_back(std::move(verdict));
  }
  return reply;
}

}  // namespace capstan::api
