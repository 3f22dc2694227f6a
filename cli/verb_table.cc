// SPDX-License-Identifier: MIT
#include "cli/verb_table.h"

#include "cli/backup.h"
#include "cli/cluster.h"
#include "cli/completion.h"
#include "cli/config.h"
#include "cli/control.h"
#include "cli/dev.h"
#include "cli/events.h"
#include "cli/key.h"
#include "cli/lists.h"
#include "cli/logs.h"
#include "cli/purge.h"
#include "cli/run.h"
#include "cli/submit.h"
#include "cli/top.h"
#include "cli/wait.h"
#include "cli/why.h"
#include "cli/worker.h"

namespace capstan::cli {
namespace {

using Factory = std::unique_ptr<Verb> (*)();

constexpr Factory kVerbs[] = {
    make_submit_verb,  make_run_verb,      make_jobs_verb,       make_job_verb,
    make_tasks_verb,   make_attempts_verb, make_why_verb,        make_logs_verb,
    make_wait_verb,    make_cancel_verb,   make_pause_verb,      make_resume_verb,
    make_retry_verb,   make_purge_verb,    make_workers_verb,    make_worker_verb,
    make_status_verb,  make_top_verb,      make_events_verb,     make_key_verb,
    make_config_verb,  make_dev_verb,      make_completion_verb, make_backup_verb,
    make_restore_verb, make_cluster_verb,  make_failover_verb,
};

}  // namespace

std::vector<std::unique_ptr<Verb>> make_all_verbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  for (const Factory make : kVerbs) verbs.push_back(make());
  return verbs;
}

std::unique_ptr<Verb> find_verb(const std::string& name) {
  for (const Factory make : kVerbs) {
    auto verb = make();
    if (verb->name() == name) return verb;
  }
  return nullptr;
}

tl::unexpected<Failure> no_such_verb(const std::string& name) {
  std::vector<std::string> names = {"help"};
  for (const auto& verb : make_all_verbs()) names.push_back(verb->name());
  const std::string meant = config::nearest(names, name);
  return usage_error("there is no verb '" + printable(name) + "'" +
                     (meant.empty() ? " (see capstan --help)" : ": did you mean '" + meant + "'?"));
}

}  // namespace capstan::cli
