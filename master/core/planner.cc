// SPDX-License-Identifier: MIT
#include "master/core/planner.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/model/limits.h"
#include "master/core/obstacle.h"
#include "master/core/planner_placement.h"

namespace capstan::planner {
namespace {

std::string seconds_text(Micros span) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(span).count()) + " s";
}

/// What time alone brings about: silence, and whatever has waited long enough.
class Deadlines {
 public:
  Deadlines(const Queue& queue, Now now, Plan& plan)
      : queue_(queue), now_(now.at), wall_(now.wall), plan_(plan) {}

  void lose_silent(const std::map<WorkerId, Presence>& presence, const Limits& limits) {
    for (const auto& [id, seen] : presence) {
      const Worker* worker = queue_.find_worker(id);
      if (worker == nullptr || !worker->row.present) continue;
      if (is_over(seen.last_heard + limits.lost_after)) {
        lose(*worker, "silent for " + seconds_text(limits.lost_after));
      } else if (seen.closed && is_over(seen.closed_at + limits.closed_grace)) {
        lose(*worker, "its connection closed and did not come back within " +
                          seconds_text(limits.closed_grace));
      }
    }
  }

  void drop_stale_submissions() {
    for (const auto& [id, row] : queue_.submissions()) {
      if (is_over(row.opened_at + limits::kStagingTtl)) {
        plan_.commands.emplace_back(cmd::SubmissionDropped{id});
      }
    }
  }

  void begin_jobs() {
    for (const auto& [begin, id] : queue_.begins()) {
      if (begin.us > wall_.us) {
        // A wall clock that jumps is noticed by the next turn: there is one every heartbeat.
        plan_.deadline = std::min(plan_.deadline, now_ + Micros(begin.us - wall_.us));
        return;
      }
      if (is_full()) return;
      plan_.commands.emplace_back(cmd::JobReleased{id});
      plan_.deadline = now_;  // It is to be placed.
    }
  }

  void end_backoffs() {
    for (const auto& [earliest, id] : queue_.backoff_jobs()) {
      if (!is_over(earliest)) return;  // They ascend: the first one to come is the deadline.
      if (is_full()) return;
      const Job& job = *queue_.find_job(id);
      cmd::BackoffsOver over{id, {}};
      for (const auto& [when, unused] : job.backoffs) {
        if (!is_over(when.first) || over.tasks.size() == kTasksPerCommand) break;
        over.tasks.push_back(job.index_of(when.second));
      }
      plan_.commands.emplace_back(std::move(over));
      plan_.deadline = now_;  // They are to be placed.
    }
  }

 private:
  [[nodiscard]] bool is_full() {
    if (plan_.commands.size() < limits::kEntriesPerBatch) return false;
    plan_.deadline = now_;
    return true;
  }

  /// Notes the deadline when it is still to come.
  bool is_over(TimePoint deadline) {
    if (deadline <= now_) return true;
    plan_.deadline = std::min(plan_.deadline, deadline);
    return false;
  }

  void lose(const Worker& worker, std::string reason) {
    plan_.commands.emplace_back(cmd::WorkerLost{worker.id, worker.row.instance, std::move(reason)});
    plan_.deadline = now_;  // What it held is to be placed.
  }

  const Queue& queue_;
  TimePoint now_;
  WallTime wall_;
  Plan& plan_;
};

}  // namespace

bool is_suspect(const Presence& presence, const Limits& limits, TimePoint now) {
  return presence.closed || now - presence.last_heard >= limits.suspect_after;
}

Plan plan(const Queue& queue, const std::map<WorkerId, Presence>& presence, const Limits& limits,
          Now now) {
  Plan plan;
  Deadlines deadlines(queue, now, plan);
  deadlines.lose_silent(presence, limits);
  deadlines.drop_stale_submissions();
  deadlines.begin_jobs();
  deadlines.end_backoffs();

  Placement placement(queue);
  for (const auto& [id, seen] : presence) {
    const Worker* worker = queue.find_worker(id);
    if (worker == nullptr) continue;
    if (obstacle_at(*worker, &seen, limits, now.at) == Obstacle::None)
      placement.add_worker(*worker);
  }
  placement.fill_slots();
  placement.send_ahead();
  placement.take_back();
  for (Command& command : placement.take_commands()) {
    if (plan.commands.size() >= limits::kEntriesPerBatch) {
      plan.deadline = now.at;
      break;
    }
    plan.commands.push_back(std::move(command));
  }
  return plan;
}

}  // namespace capstan::planner
