// SPDX-License-Identifier: MIT
#include "worker/core/shepherd.h"

#include <algorithm>

#include "common/base/check.h"
#include "worker/core/ending.h"
#include "worker/core/env_text.h"

namespace capstan {

using shepherd::Action;
using shepherd::Actions;

Shepherd::Shepherd(shepherd::Config config, std::vector<pair::SpoolItem> spooled,
                   Generation generation)
    : config_(config),
      slots_({.cpus = config_.cpus, .mem_bytes = config_.mem_bytes}),
      generation_(generation) {
  for (pair::SpoolItem& item : spooled) {
    const AttemptKey key = item.result.key;
    spool_.try_emplace(key).first->second = {std::move(item), TimePoint{}};
  }
}

Actions& Shepherd::step(shepherd::Event&& event, TimePoint now) {
  now_ = now;
  out_.clear();
  if (!exited_) std::visit([this](auto& e) { on(e); }, event);
  return out_;
}

TimePoint Shepherd::next_deadline() const {
  if (exited_) return TimePoint::never();
  TimePoint next = std::min({report_at_, disk_retry_, grace_over_, leave_over_});
  if (!timers_.empty()) next = std::min(next, timers_.begin()->first);
  if (!young_.empty()) next = std::min(next, young_.front().first + limits::kStartedHold);
  if (first_unsynced_ != first_unreported_)
    next = std::min(next, first_unsynced_->second.appended_at + limits::kSpoolSyncAfter);
  if (!grown_.empty()) next = std::min(next, growth_at_);
  return next;
}

// --- The agent comes and goes --------------------------------------------------------------------

void Shepherd::on(const shepherd::AgentUp&) {
  agent_up_ = false;
  report_ended();  // To the file only: the state tells them.
  agent_up_ = true;
  all_done_told_ = false;
  for (const JobId job : std::set<JobId>(followed_)) follow(job, false);  // It will say so again.
  tell_state();
}

void Shepherd::on(const shepherd::AgentDown&) {
  agent_up_ = false;
  if (!all_done_told_) return;
  exited_ = true;
  out_.push_back(shepherd::Exit{});
}

void Shepherd::tell_state() {
  pair::State state{.instance = config_.instance,
                    .cpus = config_.cpus,
                    .mem_bytes = config_.mem_bytes,
                    .generation = generation_,
                    .epoch = epoch_,
                    .leaving = leaving_,
                    .disk_full = disk_full_,
                    .held = {},
                    .jobs = {}};
  for (const auto& [job, kept] : templates_) {
    if (kept.is_whole) state.jobs.push_back(job);
  }
  for (const auto& [key, attempt] : held_) {
    const bool started = attempt.phase != Phase::Queued && attempt.phase != Phase::Launching;
    state.held.push_back({key, started, attempt.started_at});
  }
  young_.clear();
  tell(std::move(state));
  pair::Spooled part;
  for (const auto& [key, ended] : spool_) {
    part.items.push_back(ended.item);
    if (part.items.size() < limits::kReportBatch) continue;
    tell(std::move(part));
    part = {};
  }
  if (!part.items.empty()) tell(std::move(part));
  tell(pair::Synced{});
}

void Shepherd::on(shepherd::FromAgent& event) {
  std::visit([this](auto& message) { on_message(message); }, event.message);
}

// --- What the masters want -----------------------------------------------------------------------

bool Shepherd::tell_if_spooled(const AttemptKey& key) {
  const auto it = spool_.find(key);
  if (it == spool_.end()) return false;
  if (it->second.appended_at == TimePoint::never()) return true;  // It is told of in a moment.
  // Its result was acknowledged, and here it is only for its output; but a master that gives it
  // anew lost that result with another one (an override): it is told once more, as of the life that
  // it is given to now.
  Ended& ended = it->second;
  ended.item.acked = false;
  ended.item.instance = config_.instance;
  first_unsynced_ = spool_.begin();  // It may stand before those that are not synced: all are.
  out_.push_back(shepherd::SpoolAppend{{&ended.item}, hears()});
  return true;
}

bool Shepherd::takes_work() const {
  return !leaving_ && !disk_full_ && !setting_aside_ && !fatal_;
}

void Shepherd::on_message(pair::JobTemplate& message) {
  if (!takes_work()) return;  // What needs it is given back.
  const auto [kept, is_new] = templates_.try_emplace(message.job);
  if (!is_new && kept->second.is_whole) return;
  std::vector<std::string> env;
  for (const EnvVar& each : message.env) env.push_back(env_text(each));
  kept->second = {.part = {.settings = std::move(message.settings),
                           .argv = std::move(message.argv),
                           .env = std::move(env),
                           .has_script = !message.script.empty(),
                           .has_stdin = message.has_stdin},
                  .held = kept->second.held};
  if (!kept->second.has_files()) return;
  out_.push_back(shepherd::KeepJobFiles{.job = message.job,
                                        .script = std::move(message.script),
                                        .has_stdin = message.has_stdin,
                                        .stdin_data = std::move(message.stdin_data)});
}

void Shepherd::on(const shepherd::FilesFailed& event) {
  const auto kept = templates_.find(event.job);  // Its runs are given back, and it may come again.
  if (kept != templates_.end()) kept->second.is_whole = false;
}

void Shepherd::on_message(const pair::ForgetJob& message) {
  const auto kept = templates_.find(message.job);
  if (kept != templates_.end() && kept->second.held == 0) forget_template(message.job);
}

void Shepherd::forget_template(JobId job) {
  const auto kept = templates_.find(job);
  if (kept == templates_.end()) return;
  if (kept->second.has_files()) out_.push_back(shepherd::DropJobFiles{job});
  templates_.erase(kept);
}

void Shepherd::on_message(pair::Runs& message) {
  if (setting_aside_) return;
  pair::Returned returned;
  for (pair::Run& run : message.runs) {
    if (!tell_if_spooled(run.key) && !hold(run)) returned.keys.push_back(run.key);
  }
  if (!returned.keys.empty()) tell(std::move(returned));
}

bool Shepherd::hold(pair::Run& run) {
  const auto kept = templates_.find(run.key.job);
  const bool has_template = kept != templates_.end() && kept->second.is_whole;
  if (!takes_work() || !has_template || held_.size() >= limits::kHeldPerWorker)
    return held_.contains(run.key);
  const auto [held, is_new] = held_.try_emplace(run.key);
  if (!is_new) return true;
  Attempt& attempt = held->second;
  attempt.job = &kept->second;
  ++attempt.job->held;
  queue_.push_back(run.key);
  ++queued_;
  attempt.run = std::move(run);
  return true;
}

void Shepherd::on_message(const pair::Unrunnable& message) {
  if (setting_aside_ || held_.contains(message.key) || tell_if_spooled(message.key)) return;
  if (!takes_work()) {
    tell(pair::Returned{{message.key}});
    return;
  }
  spool(ending::launch_error(message.key, message.reason), false);
}

void Shepherd::on_message(const pair::Cancel& message) {
  const Cause cause = message.why == CancelWhy::User         ? Cause::Cancelled
                      : message.why == CancelWhy::Superseded ? Cause::Superseded
                                                             : Cause::NotGranted;
  for (const AttemptKey& key : message.keys) {
    if (const auto it = held_.find(key); it != held_.end()) end_attempt(it, cause);
  }
}

void Shepherd::on_message(const pair::Recall& message) {
  pair::Returned returned;
  for (const AttemptKey& key : message.keys) {
    const auto it = held_.find(key);
    if (it == held_.end() || it->second.phase != Phase::Queued) continue;
    returned.keys.push_back(key);
    erase(it);
  }
  if (!returned.keys.empty()) tell(std::move(returned));
}

void Shepherd::on_message(const pair::Follow& message) {
  follow(message.job, message.on);
}

void Shepherd::follow(JobId job, bool on) {
  if (on && followed_.size() >= limits::kFollowedJobs) return;
  if (on ? !followed_.insert(job).second : followed_.erase(job) == 0) return;
  out_.push_back(shepherd::FollowOutput{job, on});
  if (!on) return;
  for (auto& [key, attempt] : held_) {
    if (key.job == job && attempt.phase != Phase::Queued) attempt.followed = true;
  }
}

void Shepherd::on_message(const pair::Ready& message) {
  const bool began_anew = generation_ != message.generation;
  epoch_ = began_anew ? message.epoch : std::max(epoch_, message.epoch);
  if (began_anew) {
    generation_ = message.generation;
    out_.push_back(shepherd::SpoolGeneration{generation_});
  }
  if (said_ready_) return;
  said_ready_ = true;
  out_.push_back(shepherd::SayReady{message.name});
}

// --- Telling: to the spool first, then to the agent ----------------------------------------------

void Shepherd::spool(AttemptResult result, bool followed) {
  const AttemptKey key = result.key;
  pair::SpoolItem item{.instance = config_.instance, .result = std::move(result), .ended_at = now_};
  item.delivered[0] = item.result.stdout_bytes <= limits::kTailBytes && !followed;
  item.delivered[1] = item.result.stderr_bytes <= limits::kTailBytes && !followed;
  grown_.erase({key, Stream::Stdout});  // Its end says how much there is.
  grown_.erase({key, Stream::Stderr});
  const auto [ended, is_new] = spool_.try_emplace(key);
  CHECK(is_new);  // It was held.
  ended->second.item = std::move(item);
  if (unreported_++ == 0) {
    if (first_unsynced_ == first_unreported_) first_unsynced_ = ended;
    first_unreported_ = ended;
  }
  if (report_at_ == TimePoint::never()) report_at_ = now_ + limits::kReportLinger;
}

void Shepherd::report_ended() {
  report_at_ = TimePoint::never();
  while (unreported_ > 0) {
    std::vector<const pair::SpoolItem*> items;
    items.reserve(std::min(unreported_, limits::kReportBatch));
    for (; unreported_ > 0 && items.size() < limits::kReportBatch; --unreported_) {
      Ended& ended = (first_unreported_++)->second;
      ended.appended_at = now_;
      items.push_back(&ended.item);
    }
    out_.push_back(shepherd::SpoolAppend{std::move(items), hears()});
  }
}

std::vector<const pair::SpoolItem*> Shepherd::appended() const {
  std::vector<const pair::SpoolItem*> items;
  for (const auto& [key, ended] : spool_) {
    if (ended.appended_at == TimePoint::never()) break;
    items.push_back(&ended.item);
  }
  return items;
}

void Shepherd::tell_started() {
  while (!young_.empty() && young_.front().first + limits::kStartedHold <= now_) {
    const AttemptKey key = young_.front().second;
    young_.pop_front();
    if (const auto it = held_.find(key); it != held_.end()) {
      tell(pair::StartedAt{key, it->second.started_at});
    }
  }
}

void Shepherd::on(const shepherd::OutputGrew& event) {
  if (held_.contains(event.key)) grown_[{event.key, event.stream}] = event.total;
}

void Shepherd::tell_growth() {
  if (grown_.empty() || now_ < growth_at_) return;
  for (const auto& [output, total] : grown_) {
    tell(pair::OutputGrew{output.first, output.second, total});
  }
  grown_.clear();
  growth_at_ = now_ + limits::kGrowthPace;
}

void Shepherd::on_message(const pair::Acked& message) {
  shepherd::SpoolAcked acked;
  for (const AttemptKey& key : message.keys) {
    const auto it = spool_.find(key);
    if (it == spool_.end() || it->second.item.acked) continue;
    it->second.item.acked = true;
    acked.keys.push_back(key);
    forget_if_done(it);
  }
  skip_synced();
  if (!acked.keys.empty()) out_.push_back(std::move(acked));
}

void Shepherd::on_message(const pair::Delivered& message) {
  const auto it = spool_.find(message.key);
  if (!message.last || it == spool_.end()) return;
  bool& delivered = it->second.item.delivered[static_cast<std::size_t>(message.stream)];
  if (delivered) return;
  delivered = true;
  out_.push_back(shepherd::SpoolDelivered{message.key, message.stream});
  out_.push_back(shepherd::DropOutput{message.key, message.stream});
  forget_if_done(it);
}

void Shepherd::forget_if_done(Spool::iterator it) {
  if (!it->second.item.is_done()) return;
  if (it == first_unsynced_) ++first_unsynced_;
  if (it == first_unreported_) ++first_unreported_;
  // Acknowledged before it was told: not by an agent of ours.
  if (it->second.appended_at == TimePoint::never()) --unreported_;
  spool_.erase(it);
}

void Shepherd::skip_synced() {
  while (first_unsynced_ != first_unreported_ && first_unsynced_->second.item.acked)
    ++first_unsynced_;
}

void Shepherd::sync_spool() {
  const bool has_any = first_unsynced_ != first_unreported_;
  if (!has_any || now_ < first_unsynced_->second.appended_at + limits::kSpoolSyncAfter) return;
  out_.push_back(shepherd::SpoolSync{});
  first_unsynced_ = first_unreported_;
}

// --- Disk, generation, leaving -------------------------------------------------------------------

void Shepherd::on(const shepherd::Disk& event) {
  disk_retry_ = event.full ? now_ + limits::kDiskRetry : TimePoint::never();
  if (event.full == disk_full_) return;
  disk_full_ = event.full;
  tell(pair::Notice{leaving_, disk_full_});
  if (disk_full_) give_back_queued();
}

void Shepherd::retry_disk() {
  if (now_ < disk_retry_) return;
  disk_retry_ = now_ + limits::kDiskRetry;
  out_.push_back(shepherd::SpoolRetry{});
}

void Shepherd::on_message(const pair::NewGeneration& message) {
  const bool first = !setting_aside_;
  report_ended();
  setting_aside_ = message.generation;
  if (!first) return;
  for (auto it = held_.begin(); it != held_.end();) {
    const auto next = std::next(it);
    if (it->second.phase == Phase::Queued) erase(it);
    it = next;
  }
  queue_.clear();
  end_running(Cause::SetAside);
}

void Shepherd::set_aside_when_empty() {
  if (!setting_aside_ || aside_asked_ || !held_.empty()) return;
  report_ended();
  aside_asked_ = true;
  out_.push_back(shepherd::SetAside{});
}

void Shepherd::on(const shepherd::NewInstance& event) {
  if (!aside_asked_) return;
  spool_.clear();
  first_unreported_ = first_unsynced_ = spool_.end();
  unreported_ = 0;
  grown_.clear();
  generation_ = *setting_aside_;
  epoch_ = {};
  config_.instance = event.instance;
  // The jobs of another cluster have the same numbers.
  while (!templates_.empty()) forget_template(templates_.begin()->first);
  setting_aside_.reset();
  aside_asked_ = false;
  out_.push_back(shepherd::SpoolGeneration{generation_});
  tell_state();
}

void Shepherd::on(const shepherd::Leave&) {
  if (leaving_) {  // Told twice: at once.
    grace_over_ = now_;
    leave_over_ = now_ + config_.kill_grace + limits::kGoodbyeWait;
    return;
  }
  leaving_ = true;
  grace_over_ = now_ + config_.grace;
  leave_over_ = grace_over_ + config_.kill_grace + limits::kGoodbyeWait;
  tell(pair::Notice{leaving_, disk_full_});
  give_back_queued();
}

void Shepherd::on_message(const pair::Fatal& message) {
  if (fatal_) return;
  fatal_ = shepherd::Exit{message.exit_code, message.message};
  give_back_queued();
  end_running(Cause::Left);
}

void Shepherd::leave_when_done() {
  if (now_ >= grace_over_ && !held_.empty()) {
    grace_over_ = TimePoint::never();
    // Also when this machine stood still until long after that: first they are ended.
    leave_over_ = std::max(leave_over_, now_ + config_.kill_grace + limits::kGoodbyeWait);
    end_running(Cause::Left);
  }
  if (fatal_ && held_.empty()) {
    report_ended();
    exited_ = true;
    out_.push_back(*fatal_);
    return;
  }
  if (!leaving_) return;
  if (!held_.empty()) {
    if (now_ < leave_over_) return;
    report_ended();  // Something cannot be killed: it ends with us, or nobody can end it.
    exited_ = true;
    out_.push_back(shepherd::Exit{0, "some processes could not be killed in time"});
    return;
  }
  if (grace_over_ != TimePoint::never()) {  // Nothing runs any more: only the goodbye is left.
    grace_over_ = TimePoint::never();
    leave_over_ = std::min(leave_over_, now_ + limits::kGoodbyeWait);
  }
  if (now_ >= leave_over_ && (all_done_told_ || !agent_up_)) {
    exited_ = true;
    out_.push_back(shepherd::Exit{});
  } else if (!all_done_told_ && agent_up_ && (spool_.empty() || now_ >= leave_over_)) {
    all_done_told_ = true;
    leave_over_ = now_ + limits::kGoodbyeWait;
    tell(pair::AllDone{});
  }
}

void Shepherd::on(const shepherd::Tick&) {
  enforce_timers();
  start_what_fits();
  const bool waits_for_more = queued_ > 0 && takes_work() && unreported_ < limits::kReportBatch;
  if (!waits_for_more || now_ >= report_at_) report_ended();
  tell_started();
  tell_growth();
  sync_spool();
  retry_disk();
  set_aside_when_empty();
  leave_when_done();
}

}  // namespace capstan
