// SPDX-License-Identifier: MIT
//
// Entries as people read them: who decided what, and when. One entry is no event, one, or one for
// each task that it names; told of everything at once, a batch is summed up for each job. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/view.h"
#include "master/core/command.h"

namespace capstan::api {

/// What was asked for. job 0: everything, in sums; task 0: all tasks of the job.
struct EventFilter {
  JobId job;
  TaskIndex task;
};

struct EntryEvent {
  msg::EventView view;
  /// Whose business it is, as far as the entry says; "": the owner of `view.job`, or everybody's
  /// when there is none.
  std::string owner;
};

using WorkerNames = std::map<WorkerId, std::string>;

[[nodiscard]] std::vector<EntryEvent> events_of(const Entry& entry, const EventFilter& filter,
                                                const WorkerNames& workers);

}  // namespace capstan::api
