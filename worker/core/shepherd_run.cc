// SPDX-License-Identifier: MIT
//
// The life of an attempt: starting what fits, looking at it, ending it, classing its end.
#include <algorithm>
#include <iterator>

#include "worker/core/ending.h"
#include "worker/core/shepherd.h"

namespace capstan {

// --- Starting and ending -------------------------------------------------------------------------

void Shepherd::start_what_fits() {
  while (takes_work() && !queue_.empty()) {
    const AttemptKey key = queue_.front();
    const auto it = held_.find(key);
    if (it != held_.end() && it->second.phase == Phase::Queued) {
      const pair::RunSettings& settings = it->second.job->part.settings;
      auto share = slots_.take(settings.cpus, settings.mem_bytes);
      if (!share) return;
      it->second.share = *share;
      launch(key, it->second);
    }
    queue_.pop_front();
  }
}

void Shepherd::launch(const AttemptKey& key, Attempt& attempt) {
  --queued_;
  ++running_;
  attempt.phase = Phase::Launching;
  attempt.started_at = now_;
  attempt.followed = followed_.contains(key.job);
  pair::Run& run = attempt.run;
  out_.push_back(shepherd::Launch{.key = key,
                                  .job = &attempt.job->part,
                                  .argv = std::move(run.argv),
                                  .input = std::move(run.input),
                                  .files = std::move(run.files),
                                  .followed = attempt.followed,
                                  .cpus = attempt.share.cpus});
}

void Shepherd::on(const shepherd::Launched& event) {
  const auto it = held_.find(event.key);
  if (it == held_.end() || it->second.phase == Phase::Queued) return;
  Attempt& attempt = it->second;
  attempt.started_at = now_;
  young_.emplace_back(now_, event.key);
  if (attempt.phase != Phase::Launching) return;  // Being ended already.
  attempt.phase = Phase::Running;
  const pair::RunSettings& settings = attempt.job->part.settings;
  attempt.measured = settings.mem_bytes > 0 && !event.holds_memory;
  if (settings.time_limit.count() > 0) attempt.limit_at = now_ + settings.time_limit;
  look_later(event.key, attempt, now_);
}

void Shepherd::look_later(const AttemptKey& key, Attempt& attempt, TimePoint output_at) {
  const Micros stall_limit = attempt.job->part.settings.stall_limit;
  TimePoint at = attempt.limit_at;
  if (stall_limit.count() > 0) at = std::min(at, output_at + stall_limit);
  if (attempt.measured) at = std::min(at, now_ + limits::kMemoryPace);
  set_timer(key, attempt, at);
}

void Shepherd::on(const shepherd::Seen& event) {
  const auto it = held_.find(event.key);
  if (it == held_.end() || it->second.phase != Phase::Running) return;
  Attempt& attempt = it->second;
  const pair::RunSettings& settings = attempt.job->part.settings;
  const Micros stall_limit = settings.stall_limit;
  if (attempt.measured && event.mem_bytes > settings.mem_bytes) {
    attempt.used_bytes = event.mem_bytes;
    end_attempt(it, Cause::TooLarge);
  } else if (stall_limit.count() > 0 && now_ >= event.output_at + stall_limit) {
    end_attempt(it, Cause::Stalled);
  } else {
    look_later(event.key, attempt, event.output_at);
  }
}

void Shepherd::on(const shepherd::LaunchFailed& event) {
  const auto it = held_.find(event.key);
  if (it == held_.end() || it->second.phase == Phase::Queued) return;
  AttemptResult result = ending::launch_error(event.key, event.reason);
  finish(it, std::move(result));
}

void Shepherd::on(const shepherd::Gone& event) {
  const auto it = held_.find(event.key);
  if (it == held_.end() || it->second.phase == Phase::Queued) return;
  AttemptResult result = ending::by_itself(event.key, event.end);
  result.wall = now_ - it->second.started_at;
  it->second.note = event.end.note;
  ending::by_memory(result, it->second.job->part.settings.mem_bytes, event.end);
  finish(it, std::move(result));
}

void Shepherd::end_attempt(Held::iterator it, Cause cause) {
  Attempt& attempt = it->second;
  if (attempt.phase == Phase::Queued) {
    attempt.cause = cause;
    finish(it, AttemptResult{.key = it->first, .reason = {}, .stdout_tail = {}, .stderr_tail = {}});
    return;
  }
  // The first reason stands; but a user's word says more than our own leaving does, and nothing is
  // reported to a cluster that is not there any more.
  const bool replaces = attempt.cause == Cause::None || attempt.cause == Cause::Left;
  if (replaces || cause == Cause::SetAside) attempt.cause = cause;
  if (attempt.phase == Phase::Ending) return;
  attempt.phase = Phase::Ending;
  const bool at_once = config_.kill_grace.count() <= 0;
  out_.push_back(shepherd::Kill{it->first, at_once});
  set_timer(it->first, attempt, at_once ? TimePoint::never() : now_ + config_.kill_grace);
}

void Shepherd::end_running(Cause cause) {
  for (auto it = held_.begin(); it != held_.end(); ++it) {
    if (it->second.phase != Phase::Queued) end_attempt(it, cause);
  }
}

void Shepherd::give_back_queued() {
  pair::Returned returned;
  for (auto it = held_.begin(); it != held_.end();) {
    const auto next = std::next(it);
    if (it->second.phase == Phase::Queued) {
      returned.keys.push_back(it->first);
      erase(it);
    }
    it = next;
  }
  queue_.clear();
  if (!returned.keys.empty()) tell(std::move(returned));
}

void Shepherd::set_timer(const AttemptKey& key, Attempt& attempt, TimePoint at) {
  if (attempt.timer != TimePoint::never()) timers_.erase({attempt.timer, key});
  attempt.timer = at;
  if (at != TimePoint::never()) timers_.emplace(at, key);
}

void Shepherd::enforce_timers() {
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    const auto it = held_.find(timers_.begin()->second);
    set_timer(it->first, it->second, TimePoint::never());
    if (it->second.phase == Phase::Running && now_ >= it->second.limit_at) {
      end_attempt(it, Cause::Timeout);
    } else if (it->second.phase == Phase::Running) {
      out_.push_back(shepherd::Look{it->first});
    } else {
      out_.push_back(shepherd::Kill{it->first, true});
    }
  }
}

void Shepherd::erase(Held::iterator it) {
  set_timer(it->first, it->second, TimePoint::never());
  if (it->second.phase == Phase::Queued) {
    --queued_;
  } else {
    --running_;
    slots_.give_back(it->second.share);
  }
  --it->second.job->held;
  held_.erase(it);
  // Or each short task would wake us when its start were due to be told.
  while (!young_.empty() && !held_.contains(young_.front().second)) young_.pop_front();
}

void Shepherd::class_by(const Attempt& attempt, bool never_ran, AttemptResult& result) const {
  const pair::RunSettings& settings = attempt.job->part.settings;
  switch (attempt.cause) {
    case Cause::None:
    case Cause::SetAside:
      break;
    case Cause::Cancelled:
      ending::cancelled(result, never_ran);
      break;
    case Cause::Superseded:
      ending::superseded(result);
      break;
    case Cause::NotGranted:
      ending::not_granted(result);
      break;
    case Cause::Timeout:
      ending::timed_out(result, settings.time_limit);
      break;
    case Cause::Stalled:
      ending::stalled(result, settings.stall_limit);
      break;
    case Cause::TooLarge:
      ending::too_large(result, attempt.used_bytes, settings.mem_bytes);
      break;
    case Cause::Left:
      ending::left(result);
      break;
  }
  ending::add_note(result, attempt.note);
}

void Shepherd::finish(Held::iterator it, AttemptResult result) {
  const Cause cause = it->second.cause;
  bool followed = it->second.followed;
  class_by(it->second, it->second.phase == Phase::Queued, result);
  erase(it);
  if (cause == Cause::NotGranted || cause == Cause::SetAside) {  // Nobody waits for its output.
    for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
      out_.push_back(shepherd::DropOutput{result.key, stream});
    }
    result.stdout_bytes = result.stdout_tail.size();
    result.stderr_bytes = result.stderr_tail.size();
    followed = false;
  }
  if (cause != Cause::SetAside) spool(std::move(result), followed);
}

}  // namespace capstan
