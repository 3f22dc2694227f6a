// SPDX-License-Identifier: MIT
//
// One function for each command. See entry_events.h.
#include "master/api/entry_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "common/base/bytes.h"
#include "common/model/parse.h"
#include "master/core/retry.h"

namespace capstan::api {
namespace {

constexpr const char* kMaster = "master";
constexpr const char* kSucceeded = "succeeded";
constexpr const char* kFailed = "failed";
constexpr const char* kStopped = "stopped";
constexpr std::size_t kSpansNamed = 5;

std::string count_of(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string spans_text(const std::vector<IndexSpan>& spans) {
  if (spans.empty()) return "";
  std::string text = "tasks ";
  for (std::size_t i = 0; i < std::min(spans.size(), kSpansNamed); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ",", spans[i].first);
    if (spans[i].last != spans[i].first) text += fmt::format("-{}", spans[i].last);
  }
  return text + (spans.size() > kSpansNamed ? ",…" : "");
}

std::string end_text(const AttemptResult& result) {
  std::string text(to_string(result.end));
  if (result.end == EndClass::Exit) text = fmt::format("exit {}", result.exit_code);
  if (result.end == EndClass::Signal) text = fmt::format("signal {}", result.signal);
  if (!result.reason.empty()) text += ": " + printable(result.reason);
  return text;
}

/// Stopped: somebody had it so, or its worker's end.
const char* how_it_ended(EndClass end) {
  if (end == EndClass::Success) return kSucceeded;
  return is_failure(end) ? kFailed : kStopped;
}

class Teller {
 public:
  Teller(const Entry& entry, const EventFilter& filter, const WorkerNames& workers)
      : entry_(entry), filter_(filter), workers_(workers) {}
  std::vector<EntryEvent> take() { return std::move(events_); }

  void operator()(const cmd::ReignBegan& c) {
    std::string text = fmt::format("as {}, epoch {}", printable(c.node), entry_.epoch.value);
    if (!c.note.empty()) text += " " + printable(c.note);
    of_cluster({kMaster, "began", std::move(text)});
  }
  void operator()(const cmd::MinCopiesSet& c) {
    of_cluster({kMaster, "set", fmt::format("min_copies {}", c.copies)});
  }
  void operator()(const cmd::JobSubmitted& c) {
    of_job(c.job, {c.asked.owner, "submitted", c.inputs > 0 ? count_of(c.inputs, "input") : ""},
           c.asked.owner);
  }
  void operator()(const cmd::JobCancelled& c) {
    std::string text = spans_text(c.spans);
    if (!c.reason.empty()) text += (text.empty() ? "" : ": ") + printable(c.reason);
    of_spans(c.job, c.spans, {c.asked.owner, "cancelled", std::move(text)});
  }
  void operator()(const cmd::JobPaused& c) { of_job(c.job, {c.asked.owner, "paused", ""}); }
  void operator()(const cmd::JobResumed& c) { of_job(c.job, {c.asked.owner, "resumed", ""}); }
  void operator()(const cmd::JobReleased& c) {
    of_job(c.job, {kMaster, "released", "its begin has come"});
  }
  void operator()(const cmd::JobPrioritised& c) {
    of_job(c.job, {c.asked.owner, "prioritised", fmt::format("priority {}", c.priority)});
  }
  void operator()(const cmd::TasksRetried& c) {
    const bool all = (c.states & (1U << static_cast<unsigned>(TaskState::Succeeded))) != 0;
    const std::string spans = spans_text(c.spans);
    of_spans(c.job, c.spans,
             {c.asked.owner, "retried",
              all ? spans : "what failed" + (spans.empty() ? "" : " of " + spans)});
  }
  void operator()(const cmd::JobsDeleted& c) { deleted(c); }
  void operator()(const cmd::WorkerEnrolled& c) {
    of_cluster({printable(c.name), "enrolled", "with an invitation"});
  }
  void operator()(const cmd::WorkerJoined& c) {
    std::string text = fmt::format("{}, version {}", count_of(c.cpus, "cpu"), printable(c.version));
    if (!c.held.empty()) text += ", holds " + count_of(c.held.size(), "attempt");
    of_cluster({name(c.worker), "joined", text});
  }
  void operator()(const cmd::WorkerLost& c) {
    of_cluster({kMaster, "lost", name(c.worker) + ": " + printable(c.reason)});
  }
  void operator()(const cmd::WorkerNoticed& c) {
    of_cluster({name(c.worker), "noticed",
                c.disk_full ? "its disk is full"
                : c.leaving ? "it is leaving"
                            : "ready again"});
  }
  void operator()(const cmd::WorkerLeft& c) {
    of_cluster({name(c.worker), "left", "said goodbye"});
  }
  void operator()(const cmd::WorkersDrained& c) {
    const std::string why = c.reason.empty() ? "" : ": " + printable(c.reason);
    of_cluster({c.asked.owner, c.drained ? "drained" : "resumed", names(c.workers) + why});
  }
  void operator()(const cmd::WorkersRemoved& c) {
    of_cluster({c.asked.owner, "removed", names(c.workers)});
  }
  void operator()(const cmd::KeyAdded& c) {
    of_admins({c.asked.owner, "let in", fmt::format("{} ({})", c.name, to_string(c.role))},
              c.asked);
  }
  void operator()(const cmd::KeyRevoked& c) {
    of_admins({c.asked.owner, "shut out", printable(c.name)}, c.asked);
  }
  void operator()(const cmd::TasksAssigned& c) {
    const std::string how = fmt::format("attempt {} to {}", c.attempt.value, name(c.worker));
    if (!is_wanted(c.job)) return;
    if (!filter_.job)
      return of_job(c.job, {kMaster, "assigned", count_of(c.tasks.size(), "task") + ", " + how});
    for (const TaskIndex task : c.tasks) of_task(c.job, task, {kMaster, "assigned", how});
  }
  void operator()(const cmd::TasksRecalled& c) {
    keyed(c.keys, {kMaster, "recalled", "from " + name(c.worker)});
  }
  void operator()(const cmd::TasksReturned& c) {
    keyed(c.keys, {name(c.worker), "returned", "not started"});
  }
  void operator()(const cmd::TasksStarted& c) {
    std::vector<AttemptKey> keys;
    for (const cmd::TasksStarted::One& one : c.started) keys.push_back(one.key);
    keyed(keys, {name(c.worker), "started", ""});
  }
  void operator()(const cmd::ResultsReported& c) { results(c); }
  void operator()(const cmd::BackoffsOver& c) {
    if (!is_wanted(c.job)) return;
    if (!filter_.job)
      return of_job(
          c.job, {kMaster, "ready", count_of(c.tasks.size(), "task") + ", their backoff is over"});
    for (const TaskIndex task : c.tasks)
      of_task(c.job, task, {kMaster, "ready", "its backoff is over"});
  }
  /// Steps of something that was told, or of nobody's interest.
  template <class Other>
  void operator()(const Other&) {}

 private:
  struct Said {
    std::string who;
    std::string what;
    std::string text;
  };

  [[nodiscard]] std::string name(WorkerId id) const {
    const auto it = workers_.find(id);
    return it == workers_.end() ? fmt::format("worker {}", id.value) : printable(it->second);
  }
  [[nodiscard]] std::string names(const std::vector<WorkerId>& workers) const {
    std::string text;
    for (std::size_t i = 0; i < std::min(workers.size(), kSpansNamed); ++i)
      text += (i == 0 ? "" : ", ") + name(workers[i]);
    if (workers.size() <= kSpansNamed) return text;
    return text + fmt::format(" and {} more", workers.size() - kSpansNamed);
  }
  [[nodiscard]] bool is_wanted(JobId job) const { return !filter_.job || filter_.job == job; }

  void add(Said said, JobId job, TaskIndex task, std::string owner) {
    msg::EventView view{entry_.seq, entry_.wall, std::move(said.who), std::move(said.what),
                        job,        task,        std::move(said.text)};
    events_.push_back({std::move(view), std::move(owner)});
  }
  void of_cluster(Said said) {
    if (!filter_.job) add(std::move(said), {}, {}, "");
  }
  /// Who has a key is no user's business.
  void of_admins(Said said, const Asked& asked) {
    if (!filter_.job) add(std::move(said), {}, {}, asked.owner);
  }
  void of_job(JobId job, Said said, std::string owner = "") {
    if (is_wanted(job)) add(std::move(said), job, {}, std::move(owner));
  }
  void of_task(JobId job, TaskIndex task, Said said) {
    if (!is_wanted(job) || (filter_.task && filter_.task != task)) return;
    add(std::move(said), job, task, "");
  }
  void of_spans(JobId job, const std::vector<IndexSpan>& spans, Said said) {
    const std::uint32_t task = filter_.task.value;
    const bool has = spans.empty() || task == 0 ||
                     std::any_of(spans.begin(), spans.end(), [&](const IndexSpan& span) {
                       return span.first <= task && task <= span.last;
                     });
    if (has) of_job(job, std::move(said));
  }
  void keyed(const std::vector<AttemptKey>& keys, const Said& said) {
    std::map<JobId, std::uint64_t> sums;
    for (const AttemptKey& key : keys) {
      if (!filter_.job) {
        ++sums[key.job];
        continue;
      }
      const std::string how = fmt::format("attempt {}", key.attempt.value);
      of_task(key.job, key.task,
              {said.who, said.what, said.text.empty() ? how : how + " " + said.text});
    }
    for (const auto& [job, count] : sums) {
      const std::string tasks = count_of(count, "task");
      of_job(job, {said.who, said.what, said.text.empty() ? tasks : tasks + " " + said.text});
    }
  }
  void results(const cmd::ResultsReported& c) {
    std::map<JobId, std::map<std::string_view, std::uint64_t>> sums;
    for (const AttemptResult& result : c.results) {
      const char* const how = how_it_ended(result.end);
      if (!filter_.job) {
        ++sums[result.key.job][how];
        continue;
      }
      std::string text =
          fmt::format("attempt {} after {}", result.key.attempt.value, duration_text(result.wall));
      if (result.end != EndClass::Success) text += ", " + end_text(result);
      of_task(result.key.job, result.key.task, {name(c.worker), how, std::move(text)});
    }
    for (auto& [job, sum] : sums) {
      std::string text;
      for (const char* const how : {kSucceeded, kFailed, kStopped}) {
        if (sum[how] > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", sum[how], how);
      }
      of_job(job, {name(c.worker), "reported", std::move(text)});
    }
  }
  void deleted(const cmd::JobsDeleted& c) {
    const std::string who = c.asked.owner.empty() ? kMaster : c.asked.owner;
    std::map<std::string, std::uint64_t> many;  // By owner.
    for (const cmd::JobsDeleted::One& one : c.jobs) {
      const std::string why = c.asked.owner.empty() ? "by the master's retention" : "";
      if (filter_.job || c.jobs.size() == 1)
        of_job(one.job, {who, "deleted", why}, one.owner);
      else
        ++many[one.owner];
    }
    for (const auto& [owner, count] : many)
      add({who, "deleted", count_of(count, "job") + " of " + owner}, {}, {}, owner);
  }

  const Entry& entry_;
  const EventFilter& filter_;
  const WorkerNames& workers_;
  std::vector<EntryEvent> events_;
};

}  // namespace

std::vector<EntryEvent> events_of(const Entry& entry, const EventFilter& filter,
                                  const WorkerNames& workers) {
  Teller teller(entry, filter, workers);
  std::visit(teller, entry.command);
  return teller.take();
}

}  // namespace capstan::api
