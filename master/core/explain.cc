// SPDX-License-Identifier: MIT
#include "master/core/explain.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/bytes.h"
#include "common/model/parse.h"
#include "master/core/obstacle.h"
#include "master/core/planner_placement.h"

namespace capstan {
namespace {

using planner::Obstacle;

constexpr std::size_t kNamed = 3;  ///< Of the jobs that go first.

std::string seconds_text(Micros span) {
  return std::to_string(std::max<std::int64_t>(span.count(), 0) / 1'000'000) + "s";
}

std::string text(std::uint64_t number) {
  return std::to_string(number);
}

std::string job_text(JobId job) {
  return "job " + text(job.value);
}

void add(std::string& sentence, const std::string& more) {
  if (!more.empty()) sentence += (sentence.empty() ? "" : "; ") + more;
}

/// One task, explained.
class Explainer {
 public:
  Explainer(const Circumstances& c, const Job& job, std::uint32_t ordinal)
      : c_(c), job_(job), ordinal_(ordinal), placement_(c.queue) {
    const auto live = job.live.find(ordinal);
    live_ = live == job.live.end() ? nullptr : &live->second;
    planner::Placement line(c.queue);
    for (const auto& [id, worker] : c.queue.workers()) {
      if (of_worker_alone(worker) != Obstacle::None) continue;
      placement_.add_worker(worker);
      line.add_worker(worker);
    }
    line.fill_slots();  // Finds who is first in line. Nothing of it is done.
    placement_.keep(line.reservation());
  }

  Explanation run() {
    Explanation all;
    const TaskState state = job_.task_state(ordinal_);
    all.reason = reason_in(state);
    for (const auto& [id, worker] : c_.queue.workers()) {
      if (!worker.row.removed) all.workers.push_back(of(worker));
    }
    return all;
  }

 private:
  // --- The task ----------------------------------------------------------------------------------

  std::string reason_in(TaskState state) {
    switch (state) {
      case TaskState::Running:
        return running();
      case TaskState::Backoff:
        return "in backoff for " + seconds_text(live_->ready_at - c_.now) + " more, then attempt " +
               text(live_->failures + 1) + " of " + text(job_.spec->retries + 1);
      case TaskState::Waiting:
        return waiting();
      case TaskState::Ready:
        break;
      case TaskState::Succeeded:
      case TaskState::Failed:
      case TaskState::Cancelled:
      case TaskState::Skipped:
        return std::string(to_string(state));
    }
    if (std::string held = waiting(); !held.empty()) return held;
    if (const char* hopeless = why_nowhere()) return hopeless;
    const std::uint32_t limit = job_.spec->max_running;
    std::string reason;
    if (limit != 0 && job_.counts.running >= limit)
      add(reason, "%limit " + text(limit) + " reached: so many tasks of the job run already");
    add(reason, others_first());
    if (const auto before = tasks_before(); before > 0)
      add(reason, text(before) + (before == 1 ? " task of this job comes first"
                                              : " tasks of this job come first"));
    return reason;
  }

  /// Whoever goes first is then no reason: what each worker lacks is said of it. Null: there is
  /// one.
  [[nodiscard]] const char* why_nowhere() const {
    bool has_workers = false;
    for (const auto& [id, worker] : c_.queue.workers()) {
      if (worker.row.removed) continue;
      if (planner::obstacle_between(worker, job_) == Obstacle::None) return nullptr;
      has_workers = true;
    }
    return has_workers ? "no worker can run it, not even an empty one" : "there is no worker";
  }

  std::string running() {
    const Worker* worker = c_.queue.find_worker(live_->worker);
    const std::string name = worker == nullptr ? "?" : worker->row.name;
    if (live_->cancelling) return "is being cancelled on " + name;
    if (live_->recalled) return "is being taken back from " + name;
    const auto since = [&](WallTime at) { return seconds_text(Micros(c_.wall.us - at.us)); };
    if (live_->started) return "runs on " + name + " since " + since(live_->started_at);
    return "was sent to " + name + " " + since(live_->assigned_at) + " ago";
  }

  std::string waiting() {
    std::string reason;
    if (job_.paused) reason = "job is paused: capstan resume " + text(job_.id.value);
    for (const JobId other : job_.waits_for) add(reason, "waits for " + job_text(other));
    if (job_.awaits_begin) add(reason, "begins at " + rfc3339(job_.spec->begin_at));
    return reason;
  }

  std::uint64_t tasks_before() {
    std::uint64_t before = 0;
    for (const auto& [first, last] : job_.ready.spans()) {
      if (first >= ordinal_) break;
      before += std::min(last + std::uint64_t{1}, std::uint64_t{ordinal_}) - first;
    }
    return before;
  }

  /// In the planner's order.
  std::string others_first() {
    const auto mine = find_level();
    if (mine == c_.queue.ready_jobs().end()) return "";
    for (auto level = c_.queue.ready_jobs().begin(); level != mine; ++level) {
      for (const auto& [owner, jobs] : level->second) {
        for (const JobId other : jobs) note_first(owner, other, "priority " + level_text(level));
      }
    }
    const std::uint64_t cpus = c_.queue.cpus_of(job_.owner);
    for (const auto& [owner, jobs] : mine->second) {
      if (owner == job_.owner) {
        for (const JobId other : jobs) {
          if (other < job_.id) note_first(owner, other, "older");
        }
      } else if (c_.queue.cpus_of(owner) < cpus) {
        note_first(owner, *jobs.begin(), "its owner has fewer cpus");
      }
    }
    if (first_.empty() && unnamed_ == 0) return "";
    std::string names;
    for (const std::string& one : first_) names += (names.empty() ? "" : ", ") + one;
    if (unnamed_ > 0) names += (names.empty() ? "" : " and ") + text(unnamed_) + " more";
    return "others go first: " + names;
  }

  using Level = Queue::ReadyJobs::const_iterator;
  /// The priority at which the job stands in line; none when it does not.
  Level find_level() {
    const auto& levels = c_.queue.ready_jobs();
    return std::find_if(levels.begin(), levels.end(), [&](const auto& level) {
      const auto owner = level.second.find(job_.owner);
      return owner != level.second.end() && owner->second.contains(job_.id);
    });
  }
  static std::string level_text(Level level) { return std::to_string(level->first); }

  void note_first(const std::string& owner, JobId other, const std::string& why) {
    if (first_.size() < kNamed && may_name(owner))
      first_.push_back(job_text(other) + " (" + why + ")");
    else
      ++unnamed_;
  }

  [[nodiscard]] bool may_name(const std::string& owner) const {
    return c_.viewer.empty() || c_.viewer == owner;
  }

  // --- The workers -------------------------------------------------------------------------------

  [[nodiscard]] const planner::Presence* presence_of(const Worker& worker) const {
    const auto it = c_.presence.find(worker.id);
    return it == c_.presence.end() ? nullptr : &it->second;
  }

  [[nodiscard]] Obstacle of_worker_alone(const Worker& worker) const {
    return planner::obstacle_at(worker, presence_of(worker), c_.limits, c_.now);
  }

  Explanation::OfWorker of(const Worker& worker) {
    Explanation::OfWorker one{worker.row.name, false, ""};
    if (live_ != nullptr && live_->state == TaskState::Running && live_->worker == worker.id) {
      one.fits = true;
      one.reason = "has it";
      return one;
    }
    Obstacle obstacle = of_worker_alone(worker);
    if (obstacle == Obstacle::None) obstacle = placement_.obstacle_to(job_, live_, worker.id);
    one.fits = obstacle == Obstacle::None;
    one.reason = words(obstacle, worker);
    return one;
  }

  std::string words(Obstacle obstacle, const Worker& worker) {
    const WorkerRow& row = worker.row;
    switch (obstacle) {
      case Obstacle::None:
        return "has room";
      case Obstacle::Gone:
        return row.left_reason.empty() ? "was never there" : row.left_reason;
      case Obstacle::Drained:
        return "drained by " + row.drained_by +
               (row.drain_reason.empty() ? "" : ": " + row.drain_reason);
      case Obstacle::Leaving:
        return "is stopping";
      case Obstacle::DiskFull:
        return "its disk is full";
      case Obstacle::Away:
        return "is not back since the master began";
      case Obstacle::Suspect:
        return suspect(*presence_of(worker));
      default:
        return words_for_the_job(obstacle, worker);
    }
  }

  [[nodiscard]] std::string suspect(const planner::Presence& presence) const {
    if (presence.closed) return "its connection closed";
    return "silent for " + seconds_text(c_.now - presence.last_heard);
  }

  std::string words_for_the_job(Obstacle obstacle, const Worker& worker) {
    const WorkerRow& row = worker.row;
    const Share share = share_of(*job_.spec);
    const std::string mem = "needs " + size_text(share.mem_bytes);
    const std::uint64_t used = std::uint64_t{worker.cpus_granted} + worker.dying_sum.cpus;
    const std::uint64_t mem_used = worker.mem_granted + worker.dying_sum.mem_bytes;
    const std::string cpus = share.cpus == 1 ? "" : ", needs " + text(share.cpus);
    switch (obstacle) {
      case Obstacle::Excluded:
        return "could not launch this job" + launch_error_of(worker.id);
      case Obstacle::TooFewCpus:
        return "needs " + text(share.cpus) + " cpus, has " + text(row.cpus) +
               (share.mem_bytes > row.mem_bytes && row.mem_bytes != 0
                    ? "; " + mem + ", has " + size_text(row.mem_bytes)
                    : "");
      case Obstacle::MemoryUnknown:
        return mem + ", does not say what it has";
      case Obstacle::TooLittleMemory:
        return mem + ", has " + size_text(row.mem_bytes);
      case Obstacle::Reserved:
        return "is kept for " + first_in_line();
      case Obstacle::CpusBusy:
        return text(std::min<std::uint64_t>(used, row.cpus)) + " of " + text(row.cpus) +
               " cpus busy" + cpus;
      case Obstacle::MemoryBusy:
        return size_text(mem_used) + " of " + size_text(row.mem_bytes) + " memory taken, " + mem;
      case Obstacle::HoldsTooMany:
        return "holds as many attempts as a worker may";
      case Obstacle::FailedThere:
        return "failed this task before: tried last";
      default:
        return "";
    }
  }

  [[nodiscard]] std::string launch_error_of(WorkerId worker) const {
    const auto it = c_.launch_errors.find(worker);
    return it == c_.launch_errors.end() || it->second.empty() ? "" : ": " + it->second;
  }

  std::string first_in_line() {
    const JobId job = placement_.reservation()->job;
    const Job* other = c_.queue.find_job(job);
    const bool is_named = other != nullptr && may_name(other->owner);
    return (is_named ? job_text(job) : "another job") + ", which is first in line";
  }

  const Circumstances& c_;
  const Job& job_;
  const std::uint32_t ordinal_;
  const LiveTask* live_ = nullptr;
  planner::Placement placement_;
  std::vector<std::string> first_;
  std::uint64_t unnamed_ = 0;
};

}  // namespace

Explanation explain(const Circumstances& now, const Job& job, std::uint32_t ordinal) {
  return Explainer(now, job, ordinal).run();
}

}  // namespace capstan
