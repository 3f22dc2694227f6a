// SPDX-License-Identifier: MIT
//
// Retry: live jobs at once, finished ones after the reader thread has looked up how their tasks
// ended. See client_api.h.
//
//   on_control -> [reading] --- completion ---> [read] -> take_read(), at the beginning of a turn
//                     ^                            |
//                     `-- another retry opened one of its jobs in between
#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/model/limits.h"
#include "master/api/client_api.h"
#include "master/api/reads.h"

namespace capstan::api {
namespace {

/// Retries whose jobs are being read, and finished jobs in one: what was read waits in memory.
constexpr std::size_t kReadingMax = 8;
constexpr std::size_t kFinishedMax = 1000;
/// Runs of like tasks in all finished jobs of one retry together: 10 MB.
constexpr std::size_t kRunsMax = 400'000;

constexpr unsigned bit(TaskState state) {
  return 1U << static_cast<unsigned>(state);
}

unsigned states_of(msg::Verb verb) {
  const unsigned failed = bit(TaskState::Failed) | bit(TaskState::Skipped);
  return verb == msg::Verb::RetryFailed
             ? failed
             : failed | bit(TaskState::Succeeded) | bit(TaskState::Cancelled);
}

/// Would the retry of a reopened job find anything? Otherwise it would only be opened and closed.
bool has_any(const cmd::JobReopened& job, unsigned states) {
  return std::any_of(job.runs.begin(), job.runs.end(), [&](const cmd::JobReopened::Run& run) {
    return (states & bit(run.state)) != 0;
  });
}

/// Tasks that a retry gives a row each. Of a whole job those that never had one stay without.
std::uint64_t rows_of(const cmd::JobReopened& job, const std::vector<IndexSpan>& spans,
                      unsigned states) {
  Job shape;
  shape.set_spec(std::make_shared<const JobSpec>(job.spec));
  std::vector<Job::OrdinalSpan> ordinals;
  for (const IndexSpan span : spans) {
    if (const auto found = shape.ordinals_in(span)) ordinals.push_back(*found);
  }
  std::uint64_t sum = 0;
  std::uint64_t first = 0;
  for (const cmd::JobReopened::Run& run : job.runs) {
    const std::uint64_t end = first + run.count;
    if ((states & bit(run.state)) != 0) {
      if (spans.empty() && run.has_rows) sum += run.count;
      for (const auto& [from, to] : ordinals) {
        const std::uint64_t begin = std::max<std::uint64_t>(first, from);
        const std::uint64_t stop = std::min<std::uint64_t>(end, std::uint64_t{to} + 1);
        if (begin < stop) sum += stop - begin;
      }
    }
    first = end;
  }
  return sum;
}

std::uint64_t rows_of(const Job& job, unsigned states) {
  const JobCounts& counts = job.counts;
  std::uint64_t sum = counts.failed + counts.skipped;
  if ((states & bit(TaskState::Succeeded)) == 0) return sum;
  const std::uint64_t untouched = job.cancelling ? job.tasks - job.bytes.touched() : 0;
  return sum + counts.succeeded + counts.cancelled - std::min(counts.cancelled, untouched);
}

Result<std::map<JobId, cmd::JobReopened>> read_jobs(store::Tables& tables,
                                                    const std::set<JobId>& finished) {
  std::map<JobId, cmd::JobReopened> jobs;
  std::size_t runs = 0;
  for (const JobId id : finished) {
    Result<cmd::JobReopened> job = tables.read_finished_job(id);
    if (!job && job.error().code == Errc::Unavailable) continue;  // Another retry was faster.
    runs += TRY(job).runs.size();
    jobs.emplace(id, std::move(*job));
    if (runs > kRunsMax)
      return fail(Errc::Invalid, "too many tasks in too many states at once: name fewer jobs");
  }
  return jobs;
}

}  // namespace

Result<void> ClientApi::retry(const Asked& asked, msg::Verb verb, std::vector<Target> targets) {
  Retry retry;
  retry.states = states_of(verb);
  for (const Target& target : targets) {
    if (!target.live) retry.finished.insert(target.job);
  }
  retry.targets = std::move(targets);
  if (retry.finished.empty()) return commit_retry(asked, retry, {});
  if (retry.finished.size() > kFinishedMax) {
    refuse(asked, {Errc::Invalid, "more than " + std::to_string(kFinishedMax) +
                                      " finished jobs at once: name fewer"});
  } else if (retries_.size() >= kReadingMax) {
    refuse(asked, {Errc::Unavailable, "too many retries of finished jobs at once"});
  } else {
    retries_.emplace(asked, std::move(retry));
    unposted_.push_back(asked);
  }
  return {};
}

void ClientApi::post_pending() {
  for (const Asked& asked : std::exchange(unposted_, {})) {
    const std::set<JobId> finished = retries_.at(asked).finished;
    const Seq as_of = ledger_.queue().last_seq();
    reads_.post([this, asked, finished, as_of](store::Tables& tables) -> Reads::Completion {
      const auto read = [&]() -> Result<Reopened> {
        TRY(are_at(tables, as_of));
        return read_jobs(tables, finished);
      };
      return [this, asked, jobs = read()] {
        retries_.at(asked).read = jobs;
        read_.push_back(asked);
      };
    });
  }
}

Result<void> ClientApi::take_read() {
  if (read_.empty() || !ledger_.empty()) return {};
  const Asked asked = read_.front();
  read_.pop_front();
  auto node = retries_.extract(asked);
  Retry& retry = node.mapped();
  const Result<Reopened> read = *std::exchange(retry.read, std::nullopt);
  if (!read) {
    if (read.error().code == Errc::Io || read.error().code == Errc::Corrupt)
      log::error("read.failed", {{"reason", read.error().message}});
    refuse(asked, read.error());
    return {};
  }
  bool is_stale = std::exchange(retry.is_stale, false);
  for (const Target& target : retry.targets) {  // Live when it was named, and over since.
    if (ledger_.queue().find_job(target.job) == nullptr)
      is_stale |= retry.finished.insert(target.job).second;
  }
  if (!is_stale) return commit_retry(asked, retry, *read);
  retries_.insert(std::move(node));
  unposted_.push_back(asked);
  return {};
}

Result<std::optional<Error>> ClientApi::find_fault(const Retry& retry, const Reopened& jobs) {
  std::uint64_t rows = 0;
  for (const Target& target : retry.targets) {
    const std::string name = "job " + std::to_string(target.job.value);
    if (const Job* live = ledger_.queue().find_job(target.job)) {
      if (target.spans.empty()) rows += rows_of(*live, retry.states);
      continue;
    }
    const auto job = jobs.find(target.job);
    if (!TRY(owner_of(target.job)))
      return std::optional<Error>(Error{Errc::NotFound, name + " is gone"});
    if (job == jobs.end())
      return std::optional<Error>(Error{Errc::Unavailable, name + " has just ended: try again"});
    if (!has_any(job->second, retry.states))
      return std::optional<Error>(Error{Errc::NotFound, name + " has no failed tasks"});
    const std::uint64_t found = rows_of(job->second, target.spans, retry.states);
    if (found == 0 && !target.spans.empty())
      return std::optional<Error>(Error{
          Errc::NotFound, name + " has none of these tasks, or none that could be done again"});
    rows += found;
  }
  if (rows <= kTasksMax) return std::optional<Error>{};
  return std::optional<Error>(Error{Errc::Invalid, "at most " + std::to_string(kTasksMax) +
                                                       " tasks can be done again at once, not " +
                                                       std::to_string(rows) +
                                                       ": name ranges of them, as in 17.1-1000"});
}

Result<void> ClientApi::commit_retry(const Asked& asked, const Retry& retry, const Reopened& jobs) {
  if (const auto fault = TRY(find_fault(retry, jobs))) {
    refuse(asked, *fault);
    return {};
  }
  for (std::size_t i = 0; i < retry.targets.size(); ++i) {
    const JobId id = retry.targets[i].job;
    const auto job = jobs.find(id);  // Unless another retry was faster.
    if (job != jobs.end() && ledger_.queue().find_job(id) == nullptr) {
      ledger_.commit(job->second);
      for (auto& [other, waiting] : retries_) waiting.is_stale |= waiting.finished.contains(id);
    }
    ledger_.commit(cmd::TasksRetried{asked, id, retry.targets[i].spans, retry.states,
                                     i + 1 == retry.targets.size()});
  }
  return {};
}

}  // namespace capstan::api
