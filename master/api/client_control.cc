// SPDX-License-Identifier: MIT
//
// Steering: selectors to jobs, jobs to commands. See client_api.h. A request acts on everything
// that it names or on nothing: all targets are looked up before the first command is made.
#include <algorithm>
#include <utility>

#include "common/model/limits.h"
#include "master/api/client_api.h"

namespace capstan::api {
namespace {

/// Selectors of one request, and jobs that they may name: a Done lists them in one message.
constexpr std::size_t kSelectorsMax = 16'384;
constexpr std::size_t kJobsMax = 100'000;

/// A selector's ranges as spans. A stepped range is a span for each task: bounded.
std::optional<std::vector<IndexSpan>> spans_of(const std::vector<IndexRange>& ranges) {
  std::vector<IndexSpan> spans;
  for (const IndexRange& range : ranges) {
    if (range.step == 1) {
      spans.push_back({range.first, range.last});
      continue;
    }
    if (range.step == 0 || range.last < range.first || range.count() > limits::kSpansPerRequest)
      return std::nullopt;
    for (std::uint64_t i = range.first; i <= range.last; i += range.step)
      spans.push_back({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i)});
  }
  std::sort(spans.begin(), spans.end());
  std::vector<IndexSpan> merged;
  for (const IndexSpan& span : spans) {
    if (!merged.empty() && std::uint64_t{merged.back().last} + 1 >= span.first)
      merged.back().last = std::max(merged.back().last, span.last);
    else
      merged.push_back(span);
  }
  if (merged.size() > limits::kSpansPerRequest) return std::nullopt;
  return merged;
}

const char* verb_text(msg::Verb verb) {
  switch (verb) {
    case msg::Verb::Cancel:
      return "cancel";
    case msg::Verb::Pause:
      return "pause";
    case msg::Verb::Resume:
      return "resume";
    case msg::Verb::Retry:
    case msg::Verb::RetryFailed:
      break;
    case msg::Verb::Prioritise:
      return "priority";
    case msg::Verb::Delete:
      return "delete";
  }
  return "retry";
}

std::uint64_t count_tasks(const Job& job, const std::vector<IndexSpan>& spans) {
  std::uint64_t sum = 0;
  for (const IndexSpan span : spans) {
    const auto ordinals = job.ordinals_in(span);
    if (ordinals) sum += std::uint64_t{ordinals->second} - ordinals->first + 1;
  }
  return sum;
}

std::string names_of(const std::vector<Selector>& selectors) {
  std::string names;
  for (const Selector& selector : selectors)
    names += (names.empty() ? "" : " ") + selector_text(selector);
  return names;
}

std::string list_of(const std::vector<JobId>& jobs) {
  std::string list;
  for (const JobId job : jobs) list += (list.empty() ? "" : ", ") + std::to_string(job.value);
  return list;
}

}  // namespace

std::string selector_text(const Selector& selector) {
  if (selector.kind == Selector::Kind::All) return "all";
  std::string text =
      selector.kind == Selector::Kind::Last ? "last" : std::to_string(selector.job.value);
  char mark = '.';
  for (const IndexRange& range : selector.tasks) {
    text += mark + std::to_string(range.first);
    if (range.last != range.first) text += '-' + std::to_string(range.last);
    if (range.step > 1) text += ':' + std::to_string(range.step);
    mark = ',';
  }
  return text;
}

Result<void> ClientApi::on_control(const Session& session, const msg::Control& control) {
  const Asked asked = ask(session, control.request);
  if (!control.request.is_set()) {
    deny(session, control.request, Errc::Invalid, "a request needs an id");
    return {};
  }
  if (control.priority > limits::kPriorityMax || control.priority < -limits::kPriorityMax) {
    const std::string most = std::to_string(limits::kPriorityMax);
    deny(session, control.request, Errc::Invalid,
         "priority " + std::to_string(control.priority) + " is out of range: use -" + most +
             " to " + most);
    return {};
  }
  if (retries_.contains(asked)) return {};  // Said again: it is on its way.
  if (TRY(was_answered(session, asked))) return {};
  if (control.verb == msg::Verb::Delete) return delete_jobs(session, control);
  const Targets targets = TRY(resolve(session, control));
  if (targets.refused) {
    deny(session, control.request, targets.refused->code, targets.refused->message);
    return {};
  }
  if (!targets.finished.empty())
    waiting_[asked].note = "finished already: " + list_of(targets.finished);
  if (control.verb == msg::Verb::Retry || control.verb == msg::Verb::RetryFailed)
    return retry(asked, control.verb, targets.found);
  for (std::size_t i = 0; i < targets.found.size(); ++i) {
    const Target& target = targets.found[i];
    const bool last = i + 1 == targets.found.size();
    switch (control.verb) {
      case msg::Verb::Cancel:
        ledger_.commit(cmd::JobCancelled{asked, target.job, target.spans, last, control.reason});
        break;
      case msg::Verb::Pause:
        ledger_.commit(cmd::JobPaused{asked, target.job, last});
        break;
      case msg::Verb::Resume:
        ledger_.commit(cmd::JobResumed{asked, target.job, last});
        break;
      case msg::Verb::Prioritise:
        ledger_.commit(cmd::JobPrioritised{asked, target.job, control.priority, last});
        break;
      case msg::Verb::Retry:
      case msg::Verb::RetryFailed:
      case msg::Verb::Delete:
        break;
    }
  }
  return {};
}

Result<ClientApi::Targets> ClientApi::resolve(const Session& session, const msg::Control& control) {
  Targets targets;
  if (control.targets.empty()) targets.refused = Error{Errc::Invalid, "name a job"};
  if (control.targets.size() > kSelectorsMax)
    targets.refused = Error{Errc::Invalid, "too many jobs and tasks at once: name fewer"};
  bool has_all = false;
  std::size_t spans = 0;
  for (const Selector& selector : control.targets) {
    if (targets.refused) return targets;
    if (selector.kind == Selector::Kind::All && std::exchange(has_all, true)) continue;
    TRY(resolve_one(session, selector, targets));
    if (!targets.found.empty()) spans += targets.found.back().spans.size();
    if (targets.found.size() > kJobsMax || spans > limits::kSpansPerRequest)
      targets.refused = Error{Errc::Invalid, "too many jobs and tasks at once: name fewer"};
  }
  if (targets.refused) return targets;
  const bool whole = control.verb == msg::Verb::Pause || control.verb == msg::Verb::Resume ||
                     control.verb == msg::Verb::Prioritise;
  const bool retry = control.verb == msg::Verb::Retry || control.verb == msg::Verb::RetryFailed;
  for (const Target& target : targets.found) {
    if (whole && !target.spans.empty())
      targets.refused =
          Error{Errc::Invalid, std::string("only whole jobs: ") + verb_text(control.verb) + " " +
                                   std::to_string(target.job.value)};
    if (!retry && !target.live) targets.finished.push_back(target.job);
  }
  if (!retry) std::erase_if(targets.found, [](const Target& target) { return !target.live; });
  if (targets.refused || !targets.found.empty()) return targets;
  const std::string names = names_of(control.targets);
  const bool is_verb = control.verb != msg::Verb::Prioritise;
  const std::string nothing = is_verb ? std::string(", nothing to ") + verb_text(control.verb) : "";
  targets.refused =
      Error{Errc::NotFound, targets.finished.empty() ? names + ": you have no live jobs"
                                                     : names + ": finished already" + nothing};
  return targets;
}

Result<void> ClientApi::resolve_one(const Session& session, const Selector& selector,
                                    Targets& targets) {
  const std::string& owner = session.identity.name;
  switch (selector.kind) {
    case Selector::Kind::Job:
      TRY(add_target(session.identity, selector.job, selector, targets));
      break;
    case Selector::Kind::Last: {
      const auto last = TRY(last_job_of(owner));
      if (!last)
        targets.refused = Error{Errc::NotFound, "last: " + owner + " has submitted no job"};
      else
        TRY(add_target(session.identity, *last, selector, targets));
      break;
    }
    case Selector::Kind::All:
      for (const auto& [id, job] : ledger_.queue().jobs()) {
        if (job.owner == owner) targets.found.push_back({id, {}, true});
      }
      break;
  }
  return {};
}

Result<void> ClientApi::add_target(const net::Identity& identity, JobId job,
                                   const Selector& selector, Targets& targets) {
  const auto owner = TRY(owner_of(job));
  const auto spans = spans_of(selector.tasks);
  const std::string name = selector_text(selector);
  const Job* live = ledger_.queue().find_job(job);
  const std::uint64_t count = live != nullptr && spans ? count_tasks(*live, *spans) : 0;
  // What is simply the whole job costs no row each.
  if (count > 0 && !(spans->size() == 1 && count == live->tasks)) targets.named += count;
  if (!owner || !may_act_for(identity, *owner))  // What others have is not told.
    targets.refused = Error{Errc::NotFound, "job " + name + " does not exist (any more)"};
  else if (!spans)
    targets.refused = Error{Errc::Invalid, name + ": too many single tasks; name a range"};
  else if (live != nullptr && !spans->empty() && count == 0)
    targets.refused = Error{Errc::NotFound, name + ": the job has no such task"};
  else if (targets.named > kTasksMax)
    targets.refused = Error{Errc::Invalid, name + ": at most " + std::to_string(kTasksMax) +
                                               " tasks at once, or the whole job"};
  else
    targets.found.push_back({job, *spans, live != nullptr});
  return {};
}

}  // namespace capstan::api
