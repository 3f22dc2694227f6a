// SPDX-License-Identifier: MIT
//
// Small steps. See retention.h.
#include "master/api/retention.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/model/limits.h"

namespace capstan::api {
namespace {

using namespace std::chrono_literals;

constexpr Micros kStepEvery = 50ms;
struct Pace {
  Micros every;
  std::uint64_t rows;
};
// 40,000 rows a second when there is nothing else to write, over 20,000 when there is: a row is
// deleted in about a microsecond and a half, so a step is 3 to 4 ms of the next turn. A job's last
// step takes all rows along that wait for the tables, which are thousands then.
constexpr Pace kIdle{kStepEvery, 2000};
constexpr Pace kBusy{2 * kStepEvery, 2500};
/// Taken off the lists in one step, with their templates still to be swept.
constexpr std::size_t kJobsPerStep = 200;
constexpr std::size_t kJobsPerPurge = 50'000;  // In a client's time limit.
constexpr std::size_t kPurgesWaiting = 16;
constexpr std::size_t kDeletionsPerPlan = 256;
constexpr Micros kPassEvery = 60s;
constexpr Micros kPassSoon = 1s;
constexpr Micros kVacuumEvery = 60s;
constexpr Micros kPackRetry = 5s;
constexpr std::uint32_t kRequestsPerStep = 2000;

}  // namespace

Result<void> Retention::purge(const Asked& asked, std::optional<std::string> owner,
                              WallTime finished_before) {
  for (const Purge& purge : purges_) {
    if (purge.asked == asked) return {};  // Said again.
  }
  if (purges_.size() >= kPurgesWaiting)
    return fail(Errc::Unavailable, "other purges are at work; try again later");
  Purge purge;
  purge.asked = asked;
  purge.owner = std::move(owner);
  purge.finished_before = finished_before;
  purges_.push_back(std::move(purge));
  return {};
}

void Retention::on_finished() {
  if (policy_.jobs == 0 && policy_.bytes == 0) return;
  pass_at_ = std::min(pass_at_, ledger_.at() + kPassSoon);
}

// --- In a turn -----------------------------------------------------------------------------------

void Retention::step() {
  if (!is_due() || ledger_.at() < step_at_) return;
  const Pace& pace = ledger_.empty() ? kIdle : kBusy;
  commit_purge();
  commit_expired();
  commit_steps(pace.rows);
  if (forget_upto_ != TimePoint{})
    ledger_.commit(cmd::RequestsForgotten{std::exchange(forget_upto_, TimePoint{})});
  step_at_ = ledger_.at() + pace.every;
}

bool Retention::is_due() const {
  const bool can_purge = !purges_.empty() && purges_.front().is_read;
  const bool can_sweep = !steps_.empty() && (!steps_.front().step.last ||
                                             packs_gone_.contains(steps_.front().step.job));
  return can_purge || can_sweep || !expired_.empty() || forget_upto_ != TimePoint{};
}

std::vector<cmd::JobsDeleted::One> Retention::take(std::deque<cmd::JobsDeleted::One>& jobs,
                                                   std::uint64_t& kept) {
  std::vector<cmd::JobsDeleted::One> taken;
  while (!jobs.empty() && taken.size() < kJobsPerStep) {
    cmd::JobsDeleted::One one = std::move(jobs.front());
    jobs.pop_front();
    // It may have come back to life since it was read, or be gone.
    const bool is_live = ledger_.queue().find_job(one.job) != nullptr;
    if (is_live || ledger_.queue().deletions().contains(one.job)) continue;
    if (ledger_.queue().is_waited_for(one.job))
      ++kept;
    else
      taken.push_back(std::move(one));
  }
  return taken;
}

void Retention::commit_purge() {
  if (purges_.empty() || !purges_.front().is_read) return;
  Purge& purge = purges_.front();
  if (purge.failed) {
    ledger_.commit(cmd::RequestAnswered{purge.asked, purge.failed->code, purge.failed->message});
    purges_.pop_front();
    return;
  }
  cmd::JobsDeleted deleted;
  deleted.asked = purge.asked;
  deleted.jobs = take(purge.jobs, purge.kept);
  purge.deleted += deleted.jobs.size();
  deleted.last = purge.jobs.empty();
  if (deleted.last) {
    deleted.note = std::to_string(purge.deleted) + (purge.deleted == 1 ? " job" : " jobs");
    if (purge.kept > 0)
      deleted.note += "; " + std::to_string(purge.kept) + " stay: other jobs wait for them";
    if (purge.more) deleted.note += "; there are more: purge again";
  }
  const bool last = deleted.last;
  ledger_.commit(std::move(deleted));
  if (last) purges_.pop_front();
}

void Retention::commit_expired() {
  std::uint64_t kept = 0;
  cmd::JobsDeleted deleted;
  deleted.jobs = take(expired_, kept);
  if (!deleted.jobs.empty()) ledger_.commit(std::move(deleted));
}

void Retention::commit_steps(std::uint64_t most) {
  cmd::DeletionsSwept swept;
  std::uint64_t rows = 0;
  while (!steps_.empty() && rows < most) {
    const store::Tables::SweepStep& next = steps_.front();
    if (next.step.last && packs_gone_.erase(next.step.job) == 0) break;
    rows += next.rows;
    swept.steps.push_back(next.step);
    steps_.pop_front();
  }
  if (swept.steps.empty()) return;
  ledger_.commit(std::move(swept));
  vacuum_at_ = std::min(vacuum_at_, ledger_.at() + kStepEvery);
}

// --- Behind the write ----------------------------------------------------------------------------

Result<void> Retention::after_write() {
  const TimePoint at = ledger_.at();
  if (!purges_.empty() && !purges_.front().is_read && !reads_purge_) read_purge(purges_.front());
  const bool is_swept = steps_.empty() && ledger_.queue().deletions().empty();
  if (at >= pass_at_ && is_swept && expired_.empty() && !reads_expired_) {
    read_old_requests();
    read_expired();
  }
  if (steps_.empty() && !is_swept && !reads_steps_ && at >= steps_at_) read_steps();
  if (at < vacuum_at_) return {};
  vacuum_at_ = at + (TRY(store_.give_back()) ? kStepEvery : kVacuumEvery);
  return {};
}

TimePoint Retention::next_due() const {
  TimePoint due = vacuum_at_;
  if (is_due()) due = std::min(due, step_at_);
  const bool is_swept = steps_.empty() && ledger_.queue().deletions().empty();
  if (is_swept && expired_.empty() && !reads_expired_) due = std::min(due, pass_at_);
  if (!is_swept && steps_.empty() && !reads_steps_) due = std::min(due, steps_at_);
  return due;
}

void Retention::read_purge(const Purge& purge) {
  reads_purge_ = true;
  store::Tables::Expiry expiry;
  expiry.owner = purge.owner;
  expiry.finished_before = purge.finished_before;
  expiry.limit = kJobsPerPurge;
  reads_.post([this, expiry](store::Tables& tables) -> Reads::Completion {
    return [this, page = tables.list_expired(expiry)]() mutable {
      reads_purge_ = false;
      Purge& first = purges_.front();
      first.is_read = true;
      if (!page) {
        first.failed = page.error();
        return;
      }
      first.more = page->more;
      first.jobs.assign(std::make_move_iterator(page->jobs.begin()),
                        std::make_move_iterator(page->jobs.end()));
    };
  });
}

void Retention::read_expired() {
  const bool has_policy = policy_.age.count() > 0 || policy_.jobs > 0 || policy_.bytes > 0;
  pass_at_ = ledger_.at() + kPassEvery;
  if (!has_policy) return;
  reads_expired_ = true;
  store::Tables::Expiry expiry;
  if (policy_.age.count() > 0) expiry.finished_before = ledger_.wall_before(policy_.age);
  expiry.jobs_kept = policy_.jobs;
  expiry.bytes_kept = policy_.bytes;
  expiry.after_at = passed_at_;
  expiry.after = passed_;
  reads_.post([this, expiry](store::Tables& tables) -> Reads::Completion {
    return [this, page = tables.list_expired(expiry)] {
      reads_expired_ = false;
      if (!page) return log::error("retention.failed", {{"reason", page.error().message}});
      passed_at_ = page->more ? page->last_at : WallTime{};
      passed_ = page->more ? page->jobs.back().job : JobId{};
      expired_.assign(page->jobs.begin(), page->jobs.end());
      // What went may not have been enough yet, of the size.
      const bool again = page->more || (policy_.bytes > 0 && !page->jobs.empty());
      if (again) pass_at_ = std::min(pass_at_, ledger_.at() + kPassSoon);
    };
  });
}

void Retention::read_old_requests() {
  const TimePoint before = ledger_.at() - Micros(limits::kRequestsKept);
  reads_.post([this, before](store::Tables& tables) -> Reads::Completion {
    return [this, upto = tables.find_old_requests(before, kRequestsPerStep)] {
      if (!upto) return log::error("retention.failed", {{"reason", upto.error().message}});
      forget_upto_ = *upto;
      if (*upto != TimePoint{}) pass_at_ = std::min(pass_at_, ledger_.at() + kPassSoon);
    };
  });
}

/// The steps that were committed last may not be in the tables yet: then they are planned again,
/// and sweep nothing.
void Retention::read_steps() {
  store::Tables::SweepAsk ask;
  ask.rows_per_step = policy_.rows_per_step;
  for (const auto& deletion : ledger_.queue().deletions()) {
    if (ask.deletions.size() == kDeletionsPerPlan) break;
    ask.deletions.push_back(deletion);
  }
  reads_steps_ = true;
  reads_.post([this, ask](store::Tables& tables) -> Reads::Completion {
    return [this, steps = tables.plan_sweep(ask)] {
      reads_steps_ = false;
      if (!steps) {
        steps_at_ = ledger_.at() + kPackRetry;
        return log::error("retention.failed", {{"reason", steps.error().message}});
      }
      steps_.assign(steps->begin(), steps->end());
      remove_packs();
    };
  });
}

void Retention::remove_packs() {
  std::vector<JobId> jobs;
  for (const store::Tables::SweepStep& next : steps_) {
    if (next.step.last) jobs.push_back(next.step.job);
  }
  for (const JobId job : jobs) {
    logs_.remove(job, [this, job](const Result<void>& removed) {
      if (removed) {
        packs_gone_.insert(job);
        return;
      }
      if (steps_.empty()) return;
      log::error("output.not_removed", {{"job", job.value}, {"reason", removed.error().message}});
      steps_.clear();  // They are asked for again.
      packs_gone_.clear();
      steps_at_ = ledger_.at() + kPackRetry;
    });
  }
}

}  // namespace capstan::api
