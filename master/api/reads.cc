// SPDX-License-Identifier: MIT
//
// Questions and their answers. See reads.h.
#include "master/api/reads.h"

#include <algorithm>
#include <optional>

#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "master/api/views.h"

namespace capstan::api {
namespace {

/// A page is cut here: room for one more row below kReplyBytes.

/// Ranges that a list of tasks is narrowed to: each is tried for each row.
constexpr std::size_t kOnlyRanges = 1024;

std::uint32_t page_limit(std::uint32_t wanted) {
  constexpr auto kMost = static_cast<std::uint32_t>(limits::kRowsPerPage);
  return wanted == 0 ? kMost : std::min(wanted, kMost);
}

/// As the queue words it (queue_workers.cc).
bool was_lost(const WorkerRow& row) {
  return row.left_reason.starts_with("was lost");
}

msg::WorkerState worker_state(const Worker& worker, bool suspect) {
  if (!worker.row.present)
    return was_lost(worker.row) ? msg::WorkerState::Lost : msg::WorkerState::Left;
  if (suspect) return msg::WorkerState::Suspect;
  const WorkerRow& row = worker.row;
  const bool takes_work = !row.drained && !row.leaving && !row.disk_full;
  return takes_work ? msg::WorkerState::Up : msg::WorkerState::Draining;
}

std::string worker_note(const WorkerRow& row) {
  std::string note = row.note == "cgroup" ? "" : row.note;
  const auto add = [&](const std::string& more) {
    if (!more.empty()) note += (note.empty() ? "" : ", ") + more;
  };
  if (row.drained)
    add("drained by " + row.drained_by + (row.drain_reason.empty() ? "" : ": " + row.drain_reason));
  if (row.disk_full) add("disk full");
  if (!row.present) add(row.left_reason);
  return note;
}

bool seems_suspect(const Sessions& sessions, WorkerId worker, const planner::Limits& silence,
                   TimePoint at) {
  const auto it = sessions.presence().find(worker);
  return it == sessions.presence().end() || planner::is_suspect(it->second, silence, at);
}

void add_counts(JobCounts& sum, const JobCounts& more) {
  sum.waiting += more.waiting;
  sum.ready += more.ready;
  sum.running += more.running;
  sum.backoff += more.backoff;
  sum.succeeded += more.succeeded;
  sum.failed += more.failed;
  sum.cancelled += more.cancelled;
  sum.skipped += more.skipped;
}

}  // namespace

Overview overview(const Queue& queue, const Sessions& sessions, const planner::Limits& silence,
                  TimePoint at) {
  Overview all;
  for (const auto& [id, worker] : queue.workers()) {
    if (worker.row.removed) continue;
    if (!worker.row.present || seems_suspect(sessions, id, silence, at)) {
      ++all.workers_away;
      continue;
    }
    ++all.workers_up;
    all.cpus += worker.row.cpus;
    all.cpus_running += std::min(worker.cpus_granted, worker.row.cpus);
  }
  all.jobs_live = queue.jobs().size();
  for (const auto& [id, job] : queue.jobs()) add_counts(all.tasks, job.counts);
  return all;
}

Result<JobRow> visible_job(store::Tables& tables, JobId job, const net::Identity& identity) {
  std::optional<JobRow> row = TRY(tables.get_job(job));
  if (!row || !ClientApi::may_act_for(identity, row->owner))
    return fail(Errc::NotFound, "job " + std::to_string(job.value) + " does not exist (any more)");
  return std::move(*row);
}

Result<void> are_at(store::Tables& tables, Seq seq) {
  // With one master the tables are never behind what is durable; with a standby they may be.
  if (TRY(tables.applied_seq()) < seq)
    return fail(Errc::Unavailable, "the tables are behind; ask again");
  return {};
}

bool ReadsApi::admit(const Session& session, std::uint64_t query) {
  if (open_[session.id] < limits::kQuestionsPerClient) {
    ++open_[session.id];
    return true;
  }
  ledger_.hold(session.id, msg::Denied{RequestId{}, query, Errc::Unavailable,
                                       "too many questions at once; wait for answers"});
  return false;
}

Session* ReadsApi::finish(SessionId id) {
  const auto it = open_.find(id);
  if (it == open_.end()) return nullptr;
  --it->second;
  return sessions_.find(id);
}

void ReadsApi::deny(Session& session, std::uint64_t query, const Error& error) {
  if (error.code == Errc::Io || error.code == Errc::Corrupt)
    log::error("read.failed", {{"reason", error.message}});
  sessions_.send(session, msg::Denied{RequestId{}, query, error.code, error.message});
}

void ReadsApi::post_pending() {
  // A door that answers at once may lead to more questions: those are for the next round.
  std::vector<Reads::Question> questions = std::exchange(pending_, {});
  for (Reads::Question& question : questions) reads_.post(std::move(question));
}

void ReadsApi::on_list_jobs(const Session& session, const msg::ListJobs& question) {
  store::Tables::JobFilter filter;
  const bool is_admin = session.identity.role == Role::Admin;
  const auto refuse = [&](Errc code, const std::string& reason) {
    ledger_.hold(session.id, msg::Denied{RequestId{}, question.query, code, reason});
  };
  if (!is_admin && !question.owner.empty() && question.owner != session.identity.name)
    return refuse(Errc::NotAllowed, "only an admin sees the jobs of others");
  if (question.name.size() > limits::kNameBytes)
    return refuse(Errc::Invalid, "a pattern has at most " + std::to_string(limits::kNameBytes) +
                                     " bytes, as a name");
  if (!is_admin) filter.owner = session.identity.name;
  if (is_admin && !question.owner.empty()) filter.owner = question.owner;
  filter.states = question.states;
  filter.name = question.name;
  filter.tag = question.tag;
  filter.submitted_since = question.submitted_since;
  filter.before = question.before;
  filter.live_only = question.live_only;
  const std::uint32_t limit = page_limit(question.limit);
  filter.limit = limit + 1;
  ask(
      session, question.query, [filter](store::Tables& tables) { return tables.list_jobs(filter); },
      [this, query = question.query, limit](Session& asker, const std::vector<JobRow>& rows) {
        msg::JobList list;
        list.query = query;
        std::size_t bytes = 0;
        for (const JobRow& row : rows) {
          if (list.jobs.size() == limit || bytes > limits::kPageBytes) {
            list.more = true;
            break;
          }
          list.jobs.push_back(job_view(row, kCommandBytesInList));
          bytes += approximate_bytes(list.jobs.back());
        }
        sessions_.send(asker, std::move(list));
      });
}

Result<void> ReadsApi::on_get_job(const Session& session, const msg::GetJob& question) {
  const auto refuse = [&](Errc code, std::string reason) -> Result<void> {
    ledger_.hold(session.id, msg::Denied{RequestId{}, question.query, code, std::move(reason)});
    return {};
  };
  JobId job = question.which.job;
  if (question.which.kind == Selector::Kind::All)
    return refuse(Errc::Invalid, "one job at a time: name its number, or last");
  if (question.which.kind == Selector::Kind::Last) {
    const auto last = TRY(clients_.last_job_of(session.identity.name));
    if (!last)
      return refuse(Errc::NotFound, "last: " + session.identity.name + " has submitted no job");
    job = *last;
  }
  ask(
      session, question.query,
      [job, identity = session.identity](store::Tables& tables) {
        return visible_job(tables, job, identity);
      },
      [this, query = question.query](Session& asker, const JobRow& row) {
        sessions_.send(asker, msg::JobReply{query, job_view(row, kCommandBytes)});
      });
  return {};
}

void ReadsApi::on_list_tasks(const Session& session, const msg::ListTasks& question) {
  if (question.only.size() > kOnlyRanges) {
    ledger_.hold(session.id, msg::Denied{RequestId{}, question.query, Errc::Invalid,
                                         "too many ranges of tasks at once: name at most " +
                                             std::to_string(kOnlyRanges)});
    return;
  }
  store::Tables::TaskFilter filter;
  filter.job = question.job;
  filter.states = question.states;
  filter.from_start = question.from_start;
  filter.after = question.after;
  filter.only = question.only;
  filter.limit = page_limit(question.limit);
  ask(
      session, question.query,
      [filter,
       identity = session.identity](store::Tables& tables) -> Result<store::Tables::TaskPage> {
        TRY(visible_job(tables, filter.job, identity));
        return tables.list_tasks(filter);
      },
      [this, query = question.query](Session& asker, const store::Tables::TaskPage& page) {
        msg::TaskList list;
        list.query = query;
        list.more = page.more;
        std::size_t bytes = 0;
        for (const store::Tables::TaskEntry& entry : page.tasks) {
          if (bytes > limits::kPageBytes) {
            list.more = true;
            break;
          }
          list.tasks.push_back(task_view(entry.task, entry.row, ledger_.queue().workers()));
          bytes += approximate_bytes(list.tasks.back());
        }
        sessions_.send(asker, std::move(list));
      });
}

void ReadsApi::on_list_workers(const Session& session, const msg::ListWorkers& question) {
  msg::WorkerList list;
  list.query = question.query;
  std::size_t bytes = 0;
  const auto& workers = ledger_.queue().workers();
  for (auto next = workers.upper_bound(question.after); next != workers.end(); ++next) {
    const auto& [id, worker] = *next;
    if (bytes > limits::kPageBytes) {
      list.more = true;
      break;
    }
    list.last = id;
    if (worker.row.removed) continue;
    const bool suspect = seems_suspect(sessions_, id, silence_, ledger_.at());
    msg::WorkerView view;
    view.name = worker.row.name;
    view.state = worker_state(worker, suspect);
    view.cpus = worker.row.cpus;
    view.running = std::min(worker.cpus_granted, worker.row.cpus);
    if (worker.cpus_granted > worker.row.cpus) {  // Sent ahead: a share of what it holds.
      const std::uint64_t ahead = worker.cpus_granted - worker.row.cpus;
      view.queued = static_cast<std::uint32_t>(worker.granted.size() * ahead / worker.cpus_granted);
    }
    view.mem_bytes = worker.row.mem_bytes;
    view.mem_assigned_bytes = worker.mem_granted;
    view.version = worker.row.version;
    view.address = worker.row.address;
    view.note = worker_note(worker.row);
    const auto it = sessions_.presence().find(id);
    view.last_heard_ago = it != sessions_.presence().end() && sessions_.was_heard(id)
                              ? ledger_.at() - it->second.last_heard
                              : Micros(-1);
    bytes += wire::size_bound(view);
    list.workers.push_back(std::move(view));
  }
  ledger_.hold(session.id, std::move(list));
}

void ReadsApi::on_status(const Session& session, msg::StatusReply reply) {
  const Overview all = overview(ledger_.queue(), sessions_, silence_, ledger_.at());
  reply.workers_up = all.workers_up;
  reply.workers_away = all.workers_away;
  reply.cpus = all.cpus;
  reply.cpus_running = all.cpus_running;
  reply.jobs_live = all.jobs_live;
  reply.tasks = all.tasks;
  ledger_.hold(session.id, std::move(reply));
}

}  // namespace capstan::api
