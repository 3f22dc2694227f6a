// SPDX-License-Identifier: MIT
//
// Entries as lines of the log. See events.h.
#include "master/events.h"

#include <string>
#include <variant>

#include "common/base/bytes.h"
#include "common/base/log.h"

namespace capstan {
namespace {

/// Lost attempts of one write that are worth a line each; the rest is at debug level.
constexpr int kLostLines = 100;

struct EntryLog {
  const api::Ledger::Written& written;
  const Queue& queue;
  const Entry* entry = nullptr;

  [[nodiscard]] std::string name(WorkerId worker) const {
    const Worker* known = queue.find_worker(worker);
    return known != nullptr ? known->row.name : std::to_string(worker.value);
  }
  [[nodiscard]] std::uint64_t seq() const { return entry->seq.value; }
  [[nodiscard]] std::uint64_t epoch() const { return entry->epoch.value; }

  void job_event(std::string_view event, JobId job, const Asked& asked) const {
    log::info(event, {{"job", job.value},
                      {"owner", asked.owner},
                      {"request", asked.request.hex()},
                      {"seq", seq()},
                      {"epoch", epoch()}});
  }
  void worker_event(std::string_view event, WorkerId worker, const std::string& reason) const {
    log::info(event,
              {{"worker", name(worker)}, {"reason", reason}, {"seq", seq()}, {"epoch", epoch()}});
  }

  void operator()(const cmd::ReignBegan& c) const {
    log::info("reign.began", {{"node", c.node}, {"seq", seq()}, {"epoch", epoch()}});
    if (!c.note.empty()) log::warn("reign.overrides", {{"reason", c.note}, {"epoch", epoch()}});
  }
  void operator()(const cmd::MinCopiesSet& c) const {
    log::info("min_copies.set", {{"copies", c.copies}, {"seq", seq()}, {"epoch", epoch()}});
  }
  void operator()(const cmd::JobSubmitted& c) const {
    const auto row = written.rows.jobs.find(c.job);
    log::info("job.submitted",
              {{"job", c.job.value},
               {"tasks", row == written.rows.jobs.end() ? std::uint64_t{0} : row->second.tasks},
               {"owner", c.asked.owner},
               {"request", c.asked.request.hex()},
               {"seq", seq()},
               {"epoch", epoch()}});
  }
  void operator()(const cmd::JobCancelled& c) const { job_event("job.cancelled", c.job, c.asked); }
  void operator()(const cmd::JobPrioritised& c) const {
    job_event("job.prioritised", c.job, c.asked);
  }
  void operator()(const cmd::JobReleased& c) const {
    log::info("job.released", {{"job", c.job.value}, {"seq", seq()}, {"epoch", epoch()}});
  }
  void operator()(const cmd::JobPaused& c) const { job_event("job.paused", c.job, c.asked); }
  void operator()(const cmd::JobResumed& c) const { job_event("job.resumed", c.job, c.asked); }
  void operator()(const cmd::TasksRetried& c) const { job_event("job.retried", c.job, c.asked); }
  void operator()(const cmd::WorkerEnrolled& c) const {
    log::info("worker.enrolled", {{"worker", c.name}, {"seq", seq()}, {"epoch", epoch()}});
  }
  void operator()(const cmd::WorkerJoined& c) const {
    log::info("worker.joined", {{"worker", name(c.worker)},
                                {"cpus", c.cpus},
                                {"address", c.address},
                                {"version", printable(c.version)},
                                {"held", c.held.size()},
                                {"spooled", c.spooled.size()},
                                {"seq", seq()},
                                {"epoch", epoch()}});
  }
  void operator()(const cmd::WorkerLost& c) const {
    worker_event("worker.lost", c.worker, c.reason);
  }
  void operator()(const cmd::WorkerNoticed& c) const {
    worker_event("worker.noticed", c.worker,
                 c.disk_full ? "its disk is full"
                 : c.leaving ? "it is leaving"
                             : "ready again");
  }
  void operator()(const cmd::WorkerLeft& c) const {
    worker_event("worker.left", c.worker, "goodbye");
  }
  void admin_event(std::string_view event, const Asked& asked, const std::string& of) const {
    log::info(event, {{"name", printable(of)},
                      {"by", asked.owner},
                      {"request", asked.request.hex()},
                      {"seq", seq()},
                      {"epoch", epoch()}});
  }
  void operator()(const cmd::WorkersDrained& c) const {
    for (const WorkerId worker : c.workers)
      admin_event(c.drained ? "worker.drained" : "worker.resumed", c.asked, name(worker));
  }
  void operator()(const cmd::WorkersRemoved& c) const {
    for (const WorkerId worker : c.workers) admin_event("worker.removed", c.asked, name(worker));
  }
  void operator()(const cmd::KeyAdded& c) const { admin_event("key.added", c.asked, c.name); }
  void operator()(const cmd::KeyRevoked& c) const { admin_event("key.revoked", c.asked, c.name); }
  void operator()(const cmd::TasksAssigned& c) const {
    if (!log::is_enabled(log::Level::Debug)) return;
    for (const TaskIndex task : c.tasks)
      log::debug("task.assigned", {{"job", c.job.value},
                                   {"task", task_name(c.job, task)},
                                   {"attempt", to_string(AttemptKey{c.job, task, c.attempt})},
                                   {"worker", name(c.worker)},
                                   {"seq", seq()},
                                   {"epoch", epoch()}});
  }
  void operator()(const cmd::ResultsReported& c) const {
    if (!log::is_enabled(log::Level::Debug)) return;
    for (const AttemptResult& result : c.results)
      log::debug("attempt.ended", {{"job", result.key.job.value},
                                   {"task", task_name(result.key.job, result.key.task)},
                                   {"attempt", to_string(result.key)},
                                   {"worker", name(c.worker)},
                                   {"end", to_string(result.end)},
                                   {"exit_code", result.exit_code},
                                   {"signal", result.signal},
                                   {"reason", printable(result.reason)},
                                   {"seq", seq()},
                                   {"epoch", epoch()}});
  }
  void operator()(const cmd::JobsDeleted& c) const {
    if (c.jobs.empty()) return;
    log::info("jobs.deleted", {{"jobs", c.jobs.size()},
                               {"first", c.jobs.front().job.value},
                               {"last", c.jobs.back().job.value},
                               {"owner", c.asked.owner.empty() ? "retention" : c.asked.owner},
                               {"seq", seq()},
                               {"epoch", epoch()}});
  }
  template <class Other>
  void operator()(const Other&) const {}
};

/// Attempts that were given up by this write: in the tasks' rows, or behind a newer one.
void log_lost(const api::Ledger::Written& written, const EntryLog& names) {
  int lines = 0;
  const auto lost = [&](const AttemptKey& key, WorkerId worker) {
    const log::Fields fields = {{"job", key.job.value},
                                {"task", task_name(key.job, key.task)},
                                {"attempt", to_string(key)},
                                {"worker", names.name(worker)},
                                {"seq", written.upto.value}};
    ++lines <= kLostLines ? log::info("attempt.lost", fields) : log::debug("attempt.lost", fields);
  };
  for (const auto& [key, row] : written.rows.tasks) {
    if (row->ended && row->end == EndClass::WorkerLost && row->state != TaskState::Running)
      lost({key.first, key.second, row->attempt}, row->worker);
  }
  for (const auto& [key, row] : written.rows.attempts) {
    if (row && row->end == EndClass::WorkerLost) lost(key, row->worker);
  }
}

bool may_lose(const Command& command) {
  return std::holds_alternative<cmd::WorkerLost>(command) ||
         std::holds_alternative<cmd::WorkerLeft>(command) ||
         std::holds_alternative<cmd::WorkerJoined>(command);
}

}  // namespace

void log_written(const api::Ledger::Written& written, const Queue& queue) {
  EntryLog lines{written, queue};
  bool lost = false;
  for (const Entry& entry : written.entries) {
    lines.entry = &entry;
    std::visit(lines, entry.command);
    lost = lost || may_lose(entry.command);
  }
  if (lost) log_lost(written, lines);
  for (const auto& [id, row] : written.rows.jobs) {
    if (!is_finished(row.state)) continue;
    log::info("job.finished", {{"job", id.value},
                               {"state", to_string(row.state)},
                               {"succeeded", row.counts.succeeded},
                               {"failed", row.counts.failed},
                               {"cancelled", row.counts.cancelled},
                               {"owner", row.owner},
                               {"seq", written.upto.value}});
  }
}

}  // namespace capstan
