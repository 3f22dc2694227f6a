// SPDX-License-Identifier: MIT
#include "cli/job_watch.h"

#include <algorithm>
#include <utility>

#include "common/model/limits.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

/// Our own live jobs, oldest first. An admin sees those of others too: `all` means one's own.
Outcome<std::vector<Target>> own_live_jobs(Client& client) {
  std::vector<Target> found;
  JobId before;
  while (true) {
    msg::ListJobs list;
    list.before = before;
    list.limit = limits::kRowsPerPage;
    list.live_only = true;
    const auto page = TRY(client.ask<msg::JobList>(list));
    for (const msg::JobView& job : page.jobs) {
      before = job.id;
      if (job.owner == client.name()) found.push_back({job.id, {}});
    }
    if (!page.more || page.jobs.empty()) break;
  }
  std::reverse(found.begin(), found.end());
  return found;
}

}  // namespace

JobWatch::JobWatch(Client& client, Options options, OnEvents on_events)
    : client_(client), on_events_(std::move(on_events)) {
  msg::Watch watch;
  watch.job = options.job;
  watch.tasks = options.tasks;
  watch.output = options.output;
  id_ = client_.watch(watch, [this](Result<msg::WatchEvents> events) {
    if (!events) {
      failure_ = Failure{exit_code_of(events.error().code), events.error().message};
      return;
    }
    if (events->reset) caught_up_ = false;
    if (on_events_) on_events_(*events);
    if (!events->job.empty()) job_ = std::move(events->job.back());
    caught_up_ = caught_up_ || events->caught_up;
  });
}

JobWatch::~JobWatch() {
  client_.unwatch(id_);
}

Outcome<std::vector<Target>> resolve(Client& client, const std::vector<Selector>& selectors) {
  std::vector<Target> targets;
  for (const Selector& selector : selectors) {
    if (selector.kind == Selector::Kind::All) {
      auto live = TRY(own_live_jobs(client));
      std::move(live.begin(), live.end(), std::back_inserter(targets));
    } else if (selector.kind == Selector::Kind::Last) {
      msg::GetJob get;
      get.which = selector;
      targets.push_back({TRY(client.ask<msg::JobReply>(get)).job.id, selector.tasks});
    } else {
      targets.push_back({selector.job, selector.tasks});
    }
  }
  return targets;
}

Outcome<Target> resolve_one(Client& client, const std::string& text) {
  const Selector selector = TRY(as_usage(parse_selector(text)));
  if (selector.kind == Selector::Kind::All) {
    return usage_error("'all' is more than one job: name one, as in 17 or last");
  }
  return TRY(resolve(client, {selector})).front();
}

Outcome<std::vector<Selector>> parse_selectors(const std::vector<std::string>& words) {
  std::vector<Selector> selectors;
  for (const std::string& word : words) {
    selectors.push_back(TRY(as_usage(parse_selector(word))));
  }
  return selectors;
}

}  // namespace capstan::cli
