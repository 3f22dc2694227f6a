// SPDX-License-Identifier: MIT
//
// Submissions and answers. See client_api.h; steering is in client_control.cc.
#include "master/api/client_api.h"

#include <algorithm>

#include "common/base/bytes.h"
#include "common/model/job.h"
#include "common/model/limits.h"

namespace capstan::api {
namespace {

constexpr std::size_t kDigestBytes = 16;

/// validate() for a specification whose inputs are still to come.
Result<void> validate_opening(const JobSpec& spec) {
  if (!spec.has_inputs) return validate(spec);
  if (!spec.indices.empty())
    return fail(Errc::Invalid, "a job with inputs has no indices of its own");
  JobSpec one = spec;
  one.indices = {IndexRange{1, 1, 1}};
  return validate(one);
}

Result<void> validate_values(const std::vector<Bytes>& inputs, std::uint32_t per_task) {
  std::size_t of_task = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].size() > limits::kInputBytes)
      return fail(Errc::Invalid,
                  "an input is longer than " + std::to_string(limits::kInputBytes) + " bytes");
    if (inputs[i].find('\0') != Bytes::npos)
      return fail(Errc::Invalid, "an input has a NUL byte: no argument can");
    of_task = (i % per_task == 0 ? 0 : of_task) + inputs[i].size();
    if (of_task > limits::kTaskInputBytes)
      return fail(Errc::Invalid, "the inputs of one task have more than " +
                                     std::to_string(limits::kTaskInputBytes) +
                                     " bytes: give fewer to each task");
  }
  return {};
}

Result<void> validate_inputs(const std::vector<Bytes>& inputs, const SubmissionRow& row) {
  if (!row.spec.has_inputs) return fail(Errc::Invalid, "this job has no inputs");
  if (inputs.empty()) return fail(Errc::Invalid, "a part of the inputs is empty");
  if (row.inputs + inputs.size() > limits::kTasksPerJob)
    return fail(Errc::Invalid, "a job has at most " + std::to_string(limits::kTasksPerJob) +
                                   " inputs: split them over several jobs");
  if (row.inputs % row.spec.inputs_per_task != 0)
    return fail(Errc::Invalid,
                "the part before this one ends within a task: all inputs of a task "
                "are in one part");
  return validate_values(inputs, row.spec.inputs_per_task);
}

Result<void> validate_stdin(const Bytes& data, const SubmissionRow& row) {
  if (!row.spec.has_stdin) return fail(Errc::Invalid, "this job has no standard input");
  if (row.inputs > 0) return fail(Errc::Invalid, "standard input comes before the inputs");
  if (data.empty() || data.size() > limits::kInputChunkBytes)
    return fail(Errc::Invalid, "a part of the standard input has 1 to " +
                                   std::to_string(limits::kInputChunkBytes) + " bytes");
  if ((row.parts + 1) * limits::kInputChunkBytes > limits::kStdinBytes)
    return fail(Errc::Invalid, "the standard input is longer than " +
                                   std::to_string(limits::kStdinBytes) +
                                   " bytes: put it where the workers can read it");
  return {};
}

}  // namespace

bool ClientApi::may_act_for(const net::Identity& identity, const std::string& owner) {
  return identity.role == Role::Admin || identity.name == owner;
}

Asked ClientApi::ask(const Session& session, const RequestId& request) {
  Asked asked{session.identity.name, request};
  waiting_[asked] = Waiting{session.id, ""};
  return asked;
}

void ClientApi::settle(SessionId session, const RequestId& request) {
  std::deque<RequestId>& kept = settled_[session];
  kept.push_back(request);
  if (kept.size() > kSettledKept) kept.pop_front();
}

bool ClientApi::is_settled(SessionId session, const RequestId& request) const {
  const auto it = settled_.find(session);
  return it != settled_.end() &&
         std::find(it->second.begin(), it->second.end(), request) != it->second.end();
}

void ClientApi::deny(const Session& session, const RequestId& request, Errc code,
                     std::string reason) {
  waiting_.erase(Asked{session.identity.name, request});
  settle(session.id, request);
  ledger_.hold(session.id, msg::Denied{request, 0, code, std::move(reason)});
}

void ClientApi::refuse(const Asked& asked, const Error& error) {
  const auto it = waiting_.find(asked);
  if (it == waiting_.end()) return;
  if (const Session* session = sessions_.find(it->second.session))
    deny(*session, asked.request, error.code, error.message);
  else
    waiting_.erase(it);
}

void ClientApi::on_hello(net::PeerId peer, const net::Identity& identity) {
  Result<Session*> session = sessions_.open_client(peer, identity);
  if (!session) return sessions_.refuse(peer, session.error().code, session.error().message);
  ledger_.hold((*session)->id, sessions_.welcome(**session));
}

Result<bool> ClientApi::was_answered(const Session& session, const Asked& asked) {
  std::optional<RequestRow> stored;
  const RequestRow* row = ledger_.queue().find_request(asked);
  if (row == nullptr) {
    stored = TRY(store_.find_request(asked));
    if (!stored) return false;
    row = &*stored;
  }
  // Cut off by a crash between its parts: what is left of it is done now.
  if (row->code == Errc::OutcomeUnknown) return false;
  waiting_.erase(asked);
  settle(session.id, asked.request);
  answer(session.id, asked.request, *row, "");
  return true;
}

void ClientApi::answer(SessionId session, const RequestId& request, const RequestRow& row,
                       std::string note) {
  if (row.code != Errc{}) {
    ledger_.hold(session, msg::Denied{request, 0, row.code, row.reason});
  } else if (row.submission && !row.jobs.empty()) {
    ledger_.hold(session,
                 msg::Submitted{request, row.jobs.front(), row.tasks,
                                row.reason.empty() ? warning_for(row.jobs.front()) : row.reason});
  } else {
    ledger_.hold(session, msg::Done{request, row.jobs, row.tasks, std::move(note)});
  }
}

Result<std::optional<TokenRow>> ClientApi::find_token(const Asked& asked,
                                                      const std::string& token) {
  if (token.empty()) return std::optional<TokenRow>{};
  if (const TokenRow* row = ledger_.find_token(asked.owner, token))
    return std::optional<TokenRow>(*row);
  return store_.find_token(asked.owner, token);
}

Result<void> ClientApi::on_open(const Session& session, msg::SubmitOpen open) {
  const Asked asked = ask(session, open.request);
  if (const auto it = settled_.find(session.id); it != settled_.end())
    std::erase(it->second, open.request);  // Tried again.
  if (!open.request.is_set() || open.digest.size() != kDigestBytes) {
    deny(session, open.request, Errc::Invalid, "a submission needs a request id and a digest");
    return {};
  }
  if (TRY(was_answered(session, asked))) return {};
  if (ledger_.queue().find_submission(asked)) return {};  // Said again; its parts follow.
  if (const auto taken = TRY(find_token(asked, open.token))) {
    if (taken->digest != open.digest) {
      deny(session, open.request, Errc::Conflict,
           "token " + open.token + " was used for other contents: job " +
               std::to_string(taken->job.value));
    } else {
      waiting_.erase(asked);
      settle(session.id, open.request);
      ledger_.hold(session.id, msg::Submitted{open.request, taken->job, taken->tasks,
                                              "submitted before, with the same token"});
    }
    return {};
  }
  if (ledger_.is_draining()) {
    deny(session, open.request, Errc::Unavailable, ledger_.drain_reason());
    return {};
  }
  if (const Result<void> valid = validate_opening(open.spec); !valid) {
    deny(session, open.request, valid.error().code, valid.error().message);
    return {};
  }
  if (const Result<Ended> ended = TRY(find_ended(session.identity, open.spec)); !ended) {
    deny(session, open.request, ended.error().code, ended.error().message);
    return {};
  }
  const auto& staged = ledger_.queue().submissions();
  const auto own = std::count_if(staged.begin(), staged.end(), [&](const auto& each) {
    return each.second.asked.owner == asked.owner;
  });
  if (static_cast<std::size_t>(own) >= limits::kStagedPerOwner) {
    deny(session, open.request, Errc::Unavailable,
         "too many submissions of " + asked.owner + " stand open; try again later");
    return {};
  }
  ledger_.commit(cmd::SubmissionOpened{asked, ledger_.queue().next_submission(),
                                       std::move(open.token), std::move(open.digest),
                                       std::move(open.spec)});
  return {};
}

Result<std::optional<SubmissionId>> ClientApi::open_submission(const Session& session,
                                                               const Asked& asked) {
  const auto id = ledger_.queue().find_submission(asked);
  if (id || TRY(was_answered(session, asked))) return id;
  deny(session, asked.request, Errc::NotFound,
       "this submission is not open (any more): send it again from the beginning");
  return id;
}

Result<void> ClientApi::stage(const Session& session, const Part& part, const MakeStaged& make) {
  if (is_settled(session.id, part.request)) return {};
  const Asked asked = ask(session, part.request);
  const auto id = TRY(open_submission(session, asked));
  if (!id) return {};
  const SubmissionRow& row = ledger_.queue().submissions().at(*id);
  if (part.number < row.parts) {  // Staged before a reconnection.
    ledger_.hold(session.id, msg::Accepted{part.request, part.number});
    return {};
  }
  if (part.number > row.parts) {
    deny(session, part.request, Errc::Conflict, "a part of the inputs is missing before this one");
    return {};
  }
  if (ledger_.is_draining()) {
    deny(session, part.request, Errc::Unavailable, ledger_.drain_reason());
    return {};
  }
  Result<Staged> staged = make(row);
  if (!staged) {
    deny(session, part.request, staged.error().code, staged.error().message);
    return {};
  }
  ledger_.commit(cmd::InputsStaged{asked, *id, part.number, staged->first, staged->count,
                                   std::move(staged->chunk)});
  return {};
}

Result<void> ClientApi::on_inputs(const Session& session, const msg::SubmitInputs& inputs) {
  const auto make = [&](const SubmissionRow& row) -> Result<Staged> {
    TRY(validate_inputs(inputs.inputs, row));
    return Staged{row.inputs, inputs.inputs.size(), store::encode_inputs(inputs.inputs)};
  };
  return stage(session, {inputs.request, inputs.part}, make);
}

Result<void> ClientApi::on_stdin(const Session& session, const msg::SubmitStdin& stdin_part) {
  const auto make = [&](const SubmissionRow& row) -> Result<Staged> {
    TRY(validate_stdin(stdin_part.data, row));
    return Staged{kStdinFirst + row.parts, 1, store::encode_inputs({stdin_part.data})};
  };
  return stage(session, {stdin_part.request, stdin_part.part}, make);
}

Result<void> ClientApi::on_close(const Session& session, const msg::SubmitClose& close) {
  if (is_settled(session.id, close.request)) return {};
  const Asked asked = ask(session, close.request);
  const auto id = TRY(open_submission(session, asked));
  if (!id) return {};
  const SubmissionRow row = ledger_.queue().submissions().at(*id);
  if (close.parts != row.parts || close.inputs != row.inputs) {
    deny(session, close.request, Errc::Conflict, "parts of the inputs are missing");
    return {};
  }
  if (row.spec.has_inputs && row.inputs == 0) {
    ledger_.commit(cmd::SubmissionDropped{*id});
    ledger_.commit(
        cmd::RequestAnswered{asked, Errc::Invalid, "there are no inputs: nothing to run"});
    return {};
  }
  if (const auto taken = TRY(find_token(asked, row.token))) {  // Another one was faster.
    ledger_.commit(cmd::SubmissionDropped{*id});
    if (taken->digest != row.digest) {
      ledger_.commit(cmd::RequestAnswered{asked, Errc::Conflict,
                                          "token " + row.token +
                                              " was used for other contents: job " +
                                              std::to_string(taken->job.value)});
    } else {
      waiting_.erase(asked);
      ledger_.hold(session.id, msg::Submitted{close.request, taken->job, taken->tasks,
                                              "submitted before, with the same token"});
    }
    return {};
  }
  if (ledger_.is_draining()) {
    deny(session, close.request, Errc::Unavailable, ledger_.drain_reason());
    return {};
  }
  Result<Ended> ended = TRY(find_ended(session.identity, row.spec));
  if (!ended) {  // It was deleted since the opening.
    ledger_.commit(cmd::SubmissionDropped{*id});
    ledger_.commit(cmd::RequestAnswered{asked, ended.error().code, ended.error().message});
    return {};
  }
  ledger_.commit(
      cmd::JobSubmitted{asked, *id, ledger_.queue().next_job(), row.inputs, std::move(*ended)});
  return {};
}

Result<std::optional<store::Store::JobOutline>> ClientApi::outline_of(JobId id) {
  using Outline = store::Store::JobOutline;
  if (const Job* job = ledger_.queue().find_job(id))
    return std::optional<Outline>(Outline{job->owner, job->state()});
  if (const JobRow* row = ledger_.find_row(id))
    return std::optional<Outline>(Outline{row->owner, row->state});
  return store_.find_outline(id);
}

Result<Result<ClientApi::Ended>> ClientApi::find_ended(const net::Identity& identity,
                                                       const JobSpec& spec) {
  // Nothing can happen between this look-up and apply: both are in this turn.
  Ended ended;
  for (const std::vector<JobId>* jobs : {&spec.after, &spec.after_any}) {
    for (const JobId id : *jobs) {
      const auto outline = TRY(outline_of(id));
      if (!outline || !may_act_for(identity, outline->owner))
        return Result<Ended>(fail(Errc::NotFound, "job " + std::to_string(id.value) +
                                                      " does not exist (any more): name one of "
                                                      "yours, `capstan jobs` lists them"));
      if (is_finished(outline->state)) ended.push_back({id, outline->state});
    }
  }
  return Result<Ended>(std::move(ended));
}

void ClientApi::on_ended(SessionId session) {
  settled_.erase(session);
  std::erase_if(waiting_, [&](const auto& each) { return each.second.session == session; });
}

void ClientApi::tell(const effect::Answer& effect) {
  const auto it = waiting_.find(effect.asked);
  if (it == waiting_.end()) return;
  const Waiting waiting = std::move(it->second);
  waiting_.erase(it);
  Session* session = sessions_.find(waiting.session);
  if (session == nullptr) return;
  const RequestId& request = effect.asked.request;
  if (effect.code != Errc{}) {
    sessions_.send(*session, msg::Denied{request, 0, effect.code, effect.reason});
  } else if (effect.submission && !effect.jobs.empty()) {
    sessions_.send(*session, msg::Submitted{request, effect.jobs.front(), effect.tasks,
                                            effect.reason.empty() ? warning_for(effect.jobs.front())
                                                                  : effect.reason});
  } else {
    sessions_.send(*session, msg::Done{request, effect.jobs, effect.tasks,
                                       waiting.note.empty() ? effect.reason : waiting.note});
  }
}

void ClientApi::tell(const effect::PartAccepted& effect) {
  const auto it = waiting_.find(effect.asked);
  if (it == waiting_.end()) return;
  if (Session* session = sessions_.find(it->second.session))
    sessions_.send(*session, msg::Accepted{effect.asked.request, effect.part});
}

std::string ClientApi::warning_for(JobId id) const {
  const Job* job = ledger_.queue().find_job(id);
  if (job == nullptr) return "";
  // The same words of size as `why` has for each worker (obstacle.h).
  bool is_any_up = false, has_cpus = false, has_both = false;
  for (const auto& [worker_id, worker] : ledger_.queue().workers()) {
    if (!worker.row.present) continue;
    is_any_up = true;
    has_cpus = has_cpus || worker.row.cpus >= job->spec->cpus;
    const bool fits = worker.row.mem_bytes >= job->spec->mem_bytes;
    has_both = has_both || (fits && worker.row.cpus >= job->spec->cpus);
  }
  if (!is_any_up) return "no worker is connected: the job waits for one";
  if (has_both) return "";
  std::string size = std::to_string(job->spec->cpus) + (job->spec->cpus == 1 ? " cpu" : " cpus");
  if (has_cpus) size += " and " + size_text(job->spec->mem_bytes) + " of memory";
  return "no connected worker has " + size + ": the job waits for one";
}

Result<std::optional<JobId>> ClientApi::last_job_of(const std::string& owner) {
  std::optional<JobId> last = TRY(store_.last_job_of(owner));
  const auto& live = ledger_.queue().jobs();
  for (auto it = live.rbegin(); it != live.rend() && (!last || it->first > *last); ++it) {
    if (it->second.owner == owner) {
      last = it->first;
      break;
    }
  }
  // Submitted and over in this very turn.
  if (const JobId id = ledger_.last_job_of(owner); id && (!last || id > *last)) last = id;
  return last;
}

Result<std::optional<std::string>> ClientApi::owner_of(JobId id) {
  if (const Job* job = ledger_.queue().find_job(id)) return std::optional<std::string>(job->owner);
  if (const JobRow* row = ledger_.find_row(id)) return std::optional<std::string>(row->owner);
  return store_.find_owner(id);
}

}  // namespace capstan::api
