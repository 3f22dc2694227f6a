// SPDX-License-Identifier: MIT
//
// Deleting finished jobs by their numbers. See client_api.h; retention.h has what follows.
#include <algorithm>

#include "master/api/client_api.h"
#include "master/api/retention.h"

namespace capstan::api {
namespace {

/// In one request: they leave the lists in one turn.
constexpr std::size_t kDeletedMax = 1000;

std::string job_name(JobId job) {
  return "job " + std::to_string(job.value);
}

}  // namespace

Result<std::optional<Asked>> ClientApi::begin(const Session& session, const RequestId& request) {
  const Asked asked = ask(session, request);
  if (!request.is_set()) {
    deny(session, request, Errc::Invalid, "a request needs an id");
    return std::optional<Asked>();
  }
  if (TRY(was_answered(session, asked))) return std::optional<Asked>();
  return std::optional<Asked>(asked);
}

Result<void> ClientApi::delete_jobs(const Session& session, const msg::Control& control) {
  const auto refuse = [&](const Error& error) -> Result<void> {
    deny(session, control.request, error.code, error.message);
    return {};
  };
  if (control.targets.empty()) return refuse({Errc::Invalid, "name a job"});
  if (control.targets.size() > kDeletedMax)
    return refuse({Errc::Invalid, "at most " + std::to_string(kDeletedMax) +
                                      " jobs at once; `capstan purge` takes them by age"});
  cmd::JobsDeleted deleted;
  deleted.asked = {session.identity.name, control.request};
  deleted.names_jobs = true;
  for (const Selector& selector : control.targets) {
    Result<cmd::JobsDeleted::One> one = TRY(deletable(session, selector));
    if (!one) return refuse(one.error());
    const bool is_named = std::any_of(deleted.jobs.begin(), deleted.jobs.end(),
                                      [&](const auto& each) { return each.job == one->job; });
    if (!is_named) deleted.jobs.push_back(std::move(*one));
  }
  ledger_.commit(std::move(deleted));
  return {};
}

Result<Result<cmd::JobsDeleted::One>> ClientApi::deletable(const Session& session,
                                                           const Selector& selector) {
  using One = Result<cmd::JobsDeleted::One>;
  const std::string& user = session.identity.name;
  JobId job = selector.job;
  if (selector.kind == Selector::Kind::All)
    return One(
        fail(Errc::Invalid, "all are your live jobs: name finished ones, or `capstan purge`"));
  if (selector.kind == Selector::Kind::Last) {
    const auto last = TRY(last_job_of(user));
    if (!last) return One(fail(Errc::NotFound, "last: " + user + " has submitted no job"));
    job = *last;
  }
  const std::string name = job_name(job);
  if (!selector.tasks.empty())
    return One(fail(Errc::Invalid, "only whole jobs: delete " + std::to_string(job.value)));
  const auto owner = TRY(owner_of(job));
  if (!owner || !may_act_for(session.identity, *owner))  // What others have is not told.
    return One(fail(Errc::NotFound, name + " does not exist (any more)"));
  if (ledger_.queue().find_job(job) != nullptr)
    return One(fail(Errc::Conflict, name + " is not finished: end it first with `capstan cancel " +
                                        std::to_string(job.value) + "`"));
  if (ledger_.queue().is_waited_for(job))
    return One(fail(Errc::Conflict, name + " is waited for by another job (submitted --after it): "
                                           "delete it when that one has ended"));
  const auto one = TRY(store_.find_deletable(job));
  if (!one) return One(fail(Errc::NotFound, name + " does not exist (any more)"));
  return One(*one);
}

}  // namespace capstan::api
