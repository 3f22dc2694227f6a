// SPDX-License-Identifier: MIT
//
// Waiting for jobs: `wait`, and the second half of `submit --wait`. Pushed, not polled.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cli/client.h"
#include "cli/interrupts.h"
#include "cli/job_watch.h"
#include "cli/text.h"
#include "cli/verb.h"

namespace capstan::cli {

struct WaitRequest {
  std::vector<Target> targets;
  bool is_quiet = false;
  bool as_json = false;
  bool with_progress = false;
  std::optional<Micros> at_most;
};
/// The exit code: 0 when everything succeeded, 1 when not, 124 when `at_most` has passed.
Outcome<int> wait_for(Client& client, const WaitRequest& request);

/// "job 17 failed: 998 succeeded, 2 failed in 12s".
std::string summary_text(const msg::JobView& job);
/// "17.42 failed on w1: exit 3".
std::string failure_text(JobId job, const msg::TaskView& task);

std::unique_ptr<Verb> make_wait_verb();

}  // namespace capstan::cli
