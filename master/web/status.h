// SPDX-License-Identifier: MIT
//
// What the web thread may know of the loop: a value, made anew after a turn and never changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/alarm.h"
#include "common/model/job.h"

namespace capstan::web {

struct StatusSnapshot {
  TimePoint turned_at;    ///< Steady: when the loop last turned.
  bool primary = false;   ///< It serves: its reign has begun and is durable.
  bool store_ok = false;  ///< Writes succeed and the disk is not full.
  std::string node;
  Epoch epoch;
  Seq seq;
  std::uint32_t workers_up = 0, workers_away = 0;
  std::uint32_t cpus = 0, cpus_running = 0;
  std::uint64_t jobs_live = 0;
  JobCounts tasks;  ///< Of live jobs.
  std::vector<Alarm> alarms;
};

}  // namespace capstan::web
