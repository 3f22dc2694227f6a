// SPDX-License-Identifier: MIT
//
// What the agent (agent.h) knows of its links to masters.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/task.h"
#include "common/wire/session.h"

namespace capstan::agent {

/// A HELLO, and what happened since that it does not say.
struct Said {
  std::uint64_t number = 0;
  Instance instance;  ///< What it said that we are.
  bool leaving = false;
  bool disk_full = false;
  std::uint64_t starts = 0;  ///< That it had heard of.
  bool is_outdated = false;  ///< Work was given to us.
  std::vector<AttemptKey> returned{};
};

/// To one of the masters.
struct Link {
  bool connected = false;
  bool turned_away = false;
  bool is_standby = false;  ///< Its last word was "not now".
  wire::SessionEnd session;
  std::uint64_t seen = 0;                   ///< The highest n accepted in it.
  Epoch epoch;                              ///< Of the session, or of the last one.
  SessionId last_session;                   ///< Ids grow within a reign.
  TimePoint hello_at = TimePoint::never();  ///< Say HELLO (again).
  Micros hello_pause{0};                    ///< Doubles while unanswered.
  int unanswered = 0;                       ///< HELLOs since the last Welcome.
  TimePoint about_earlier_until;            ///< A Refused may still be about an earlier instance:
  int earlier_unanswered = 0;               ///< so many HELLOs of such are not answered.
  std::deque<Said> asked;                   ///< HELLOs that may yet be answered.
  Instance session_instance;                ///< What the session's HELLO said that we are.
  TimePoint heard_at;
  TimePoint heartbeat_at = TimePoint::never();
  Micros heartbeat_every{0};
  std::deque<std::uint64_t> marks;  ///< sent() at the last beats: the oldest is seen by now.
};

}  // namespace capstan::agent
