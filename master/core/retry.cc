// SPDX-License-Identifier: MIT
#include "master/core/retry.h"

#include <algorithm>

#include "common/base/rng.h"
#include "common/model/limits.h"

namespace capstan {

Outcome outcome_of(EndClass end, const BeforeResult& before) {
  if (before.cancelling) return Outcome::Cancelled;
  switch (end) {
    case EndClass::Success:
      return Outcome::Succeeded;
    case EndClass::WorkerLost:
    case EndClass::Cancelled:
    case EndClass::Superseded:
      return Outcome::Ready;
    case EndClass::LaunchError:
      if (!before.launched) return Outcome::Excluded;
      break;
    case EndClass::Exit:
    case EndClass::Signal:
    case EndClass::Timeout:
    case EndClass::Stall:
    case EndClass::Oom:
      break;
  }
  return before.failures < before.retries ? Outcome::Backoff : Outcome::Failed;
}

bool is_failure(EndClass end) {
  return end == EndClass::LaunchError || (proves_launch(end) && end != EndClass::Success);
}

bool proves_launch(EndClass end) {
  switch (end) {
    case EndClass::Success:
    case EndClass::Exit:
    case EndClass::Signal:
    case EndClass::Timeout:
    case EndClass::Stall:
    case EndClass::Oom:
      return true;
    case EndClass::LaunchError:
    case EndClass::WorkerLost:
    case EndClass::Cancelled:
    case EndClass::Superseded:
      break;
  }
  return false;
}

Micros backoff_after(const AttemptKey& key, std::uint32_t failures, Micros first) {
  if (first.count() <= 0) first = limits::kBackoffFirst;
  const std::int64_t most = std::max<Micros>(limits::kBackoffMax, first).count();
  std::int64_t full = first.count();
  for (std::uint32_t failure = 1; failure < failures && full < most; ++failure) full *= 2;
  full = std::min(full, most);
  const std::uint64_t hash =
      mix64(key.job.value ^ mix64(key.task.value ^ mix64(key.attempt.value)));
  const auto quarter = static_cast<std::uint64_t>(full / 4);
  return Micros(full - static_cast<std::int64_t>(hash % (quarter + 1)));
}

}  // namespace capstan
