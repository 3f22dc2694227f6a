// SPDX-License-Identifier: MIT
//
// Messages of workers to commands, effects to messages. See worker_api.h.
#include "master/api/worker_api.h"

#include <algorithm>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/net/keys.h"
#include "master/api/names.h"

namespace capstan::api {
namespace {

constexpr std::size_t kStartOverhead = 16;  ///< A task's index and the head of its inputs.
constexpr std::size_t kInputOverhead = 5;   ///< An input's head.
/// A Start is cut here: room for one more task's inputs below kReplyBytes.
constexpr std::size_t kStartBytes =
    limits::kReplyBytes - limits::kTaskInputBytes - limits::kInputsPerTask * kInputOverhead - 1024;

/// What a clock of the worker's says is a duration: from nothing to ten years, so that sums of some
/// and products with thousands cannot overflow.
Micros as_duration(Micros d) {
  constexpr Micros kMost = std::chrono::hours(24 * 3650);
  return std::clamp(d, Micros(0), kMost);
}

}  // namespace

void WorkerApi::on_enrol(net::PeerId peer, const msg::Enrol& enrol) {
  const auto refuse = [&](Errc code, std::string reason) {
    if (sessions_.count_refused())
      log::warn("worker.enrol_refused", {{"worker", printable(enrol.name)}, {"reason", reason}});
    ledger_.hold(peer, msg::Refused{code, std::move(reason)});
  };
  if (!net::is_z85_key(enrol.public_key))
    return refuse(Errc::Invalid, "the public key is not a key");
  if (const Worker* known = ledger_.queue().find_worker_by_key(enrol.public_key))
    return ledger_.hold(peer, msg::Enrolled{known->row.name});
  if (ledger_.queue().keys().contains(enrol.public_key))
    return refuse(Errc::NotAllowed, "this key was revoked: start the worker with another --dir");
  if (keys_.is_taken(enrol.public_key))
    return refuse(Errc::Conflict, "this key belongs to somebody else");
  if (!is_good_name(enrol.name))
    return refuse(Errc::Invalid,
                  "a worker's name is 1 to 255 bytes of UTF-8 without spaces and slashes: --name");
  const auto& known = ledger_.queue().workers();
  const auto enrolled = std::count_if(known.begin(), known.end(),
                                      [](const auto& one) { return !one.second.row.removed; });
  if (static_cast<std::size_t>(enrolled) >= limits::kWorkers)
    return refuse(Errc::Unavailable, "this master has as many workers as it can hold");
  if (!may_enrol()) {
    // No answer: it asks again every few seconds. A refusal would be for good.
    if (sessions_.count_refused())
      log::warn("worker.enrol_refused", {{"worker", printable(enrol.name)},
                                         {"reason", "too many new workers at once: not now"}});
    return;
  }
  const std::string name = free_name(enrol.name);
  ledger_.commit(cmd::WorkerEnrolled{ledger_.queue().next_worker(), name, enrol.public_key});
  ledger_.hold(peer, msg::Enrolled{name});
}

bool WorkerApi::may_enrol() {
  const double seconds = static_cast<double>((ledger_.at() - enrols_at_).count()) / 1e6;
  enrols_left_ = std::min(enrols_left_ + seconds * kEnrolsPerSecond, double{kEnrolBurst});
  enrols_at_ = ledger_.at();
  if (enrols_left_ < 1) return false;
  enrols_left_ -= 1;
  return true;
}

std::string WorkerApi::free_name(const std::string& wanted) const {
  const auto is_taken = [this](const std::string& name) {
    return ledger_.queue().find_worker_by_name(name) != nullptr ||
           ledger_.queue().has_key_named(name);
  };
  std::string name = wanted;
  for (unsigned number = 2; is_taken(name); ++number) {
    const std::string suffix = "-" + std::to_string(number);
    std::size_t kept = std::min(wanted.size(), limits::kNameBytes - suffix.size());
    while (kept > 0 && (static_cast<unsigned char>(wanted[kept]) & 0xC0U) == 0x80U) --kept;
    name = wanted.substr(0, kept) + suffix;
  }
  return name;
}

void WorkerApi::on_hello(net::PeerId peer, const net::Identity& identity, msg::WorkerHello hello) {
  const Worker* worker = ledger_.queue().find_worker_by_key(identity.public_key);
  if (worker == nullptr)
    return sessions_.refuse(peer, Errc::NotFound, "this key is not enrolled here");
  if (!hello.instance.is_set() || hello.cpus == 0 || hello.cpus > limits::kCpusPerTask)
    return sessions_.refuse(
        peer, Errc::Invalid,
        "a HELLO names an instance and 1 to " + std::to_string(limits::kCpusPerTask) + " cpus");
  const WorkerId id = worker->id;
  const std::string name = worker->row.name;
  const Instance before = worker->row.instance;
  if (sessions_.is_superseded(id, hello.instance)) {
    if (sessions_.count_refused())
      log::warn("worker.refused", {{"worker", name}, {"reason", "an older instance"}});
    return sessions_.refuse(peer, Errc::Conflict,
                            "another process with the key of worker " + name +
                                " took over; each worker needs a directory of its own: --dir");
  }
  if (before.is_set() && before != hello.instance) sessions_.supersede(id, before);
  if (hello.highest_epoch > ledger_.epoch() && epochs_ahead_.insert(id).second)
    log::error(
        "epoch.behind",
        {{"worker", name}, {"epoch", ledger_.epoch().value}, {"seen", hello.highest_epoch.value}});
  // What it holds from another life of the cluster is not ours: its ids mean other tasks.
  const Generation& ours = sessions_.cluster().generation;
  if (hello.generation != Generation{} && hello.generation != ours) {
    hello.held.clear();
    hello.spooled.clear();
  }
  cmd::WorkerJoined joined;
  joined.worker = id;
  joined.instance = hello.instance;
  joined.cpus = hello.cpus;
  joined.version = std::move(hello.version);
  joined.address = host_.address_of(peer);
  joined.note = std::move(hello.containment);
  for (const msg::HeldAttempt& held : hello.held) joined.held.push_back({held.key, held.started});
  joined.spooled = std::move(hello.spooled);
  joined.leaving = hello.leaving;
  joined.disk_full = hello.disk_full;
  joined.mem_bytes = hello.mem_bytes;
  sessions_.open_worker(peer, identity, id, hello.instance).hello = hello.number;
  ++unopened_[id];
  ledger_.commit(std::move(joined));
}

void WorkerApi::on_started(const Session& session, const msg::Started& started) {
  cmd::TasksStarted command{session.worker, session.instance, {}};
  for (const msg::Started::One& one : started.started)
    command.started.push_back({one.key, as_duration(one.ago)});
  if (!command.started.empty()) ledger_.commit(std::move(command));
}

void WorkerApi::on_results(const Session& session, msg::Results results) {
  for (AttemptResult& result : results.results) {
    result.ended_ago = as_duration(result.ended_ago);
    result.wall = as_duration(result.wall);
    result.cpu = as_duration(result.cpu);
  }
  if (results.results.empty()) return;
  ledger_.commit(
      cmd::ResultsReported{session.worker, session.instance, std::move(results.results)});
}

void WorkerApi::on_returned(const Session& session, msg::Returned returned) {
  if (returned.keys.empty()) return;
  ledger_.commit(cmd::TasksReturned{session.worker, session.instance, std::move(returned.keys)});
}

void WorkerApi::on_notice(const Session& session, const msg::WorkerNotice& notice) {
  ledger_.commit(
      cmd::WorkerNoticed{session.worker, session.instance, notice.leaving, notice.disk_full});
}

void WorkerApi::on_goodbye(const Session& session) {
  ledger_.commit(cmd::WorkerLeft{session.worker, session.instance});
}

Session* WorkerApi::welcomed(WorkerId worker) {
  Session* session = sessions_.of_worker(worker);
  return session != nullptr && session->welcomed ? session : nullptr;
}

void WorkerApi::tell(const effect::OpenSession& effect) {
  const auto unopened = unopened_.find(effect.worker);
  CHECK(unopened != unopened_.end());
  if (--unopened->second > 0) return;
  unopened_.erase(unopened);
  Session* session = sessions_.of_worker(effect.worker);
  if (session == nullptr) return;  // It ended meanwhile.
  session->welcomed = true;
  sessions_.send(*session, sessions_.welcome(*session));
}

Result<void> WorkerApi::tell(const effect::StartTasks& effect) {
  Session* session = welcomed(effect.worker);
  const Job* job = ledger_.queue().find_job(effect.job);
  if (session == nullptr || job == nullptr) return {};
  TRY(send_template(*session, *job));
  msg::Start start{effect.job, effect.attempt, {}};
  std::size_t bytes = 0;
  for (const TaskIndex task : effect.tasks) {
    msg::Start::One one{task, {}};
    if (job->spec->has_inputs) one.inputs = TRY(inputs_of(*job, task));
    for (const Bytes& each : one.inputs) bytes += each.size() + kInputOverhead;
    bytes += kStartOverhead;
    start.tasks.push_back(std::move(one));
    if (bytes >= kStartBytes) {
      sessions_.send(*session, std::exchange(start, {effect.job, effect.attempt, {}}));
      bytes = 0;
    }
  }
  if (!start.tasks.empty()) sessions_.send(*session, std::move(start));
  return {};
}

Result<void> WorkerApi::send_template(Session& session, const Job& job) {
  if (!session.templates.insert(job.id).second) return {};
  sessions_.send(session, msg::JobTemplate{job.id, *job.spec});
  if (!job.spec->has_stdin) return {};
  const Bytes data = TRY(read_stdin(job.inputs));
  std::size_t offset = 0;
  do {
    msg::JobStdin part{job.id, offset, data.substr(offset, limits::kMessageBytes), false};
    offset += part.data.size();
    part.last = offset == data.size();
    sessions_.send(session, std::move(part));
  } while (offset < data.size());
  return {};
}

Result<Bytes> WorkerApi::read_stdin(SubmissionId submission) {
  Bytes data;
  for (std::uint64_t part = 0; part < limits::kStdinBytes / limits::kInputChunkBytes; ++part) {
    auto chunk = store_.read_inputs(submission, kStdinFirst + part);
    if (!chunk && chunk.error().code == Errc::NotFound) break;
    if (!chunk) return tl::unexpected<Error>(chunk.error());
    data += chunk->inputs.front();
  }
  return data;
}

Result<std::vector<Bytes>> WorkerApi::inputs_of(const Job& job, TaskIndex task) {
  const auto ordinal = job.ordinal_of(task);
  if (!ordinal) return fail(Errc::Corrupt, "a task that its job does not have was to be started");
  const std::uint64_t first = std::uint64_t{*ordinal} * job.spec->inputs_per_task;
  const store::Store::InputChunk* chunk = TRY(chunk_of(job.inputs, first));
  const auto begin = chunk->inputs.begin() + static_cast<std::ptrdiff_t>(first - chunk->first);
  const auto left = static_cast<std::uint64_t>(chunk->inputs.end() - begin);
  const std::uint64_t count = std::min<std::uint64_t>(left, job.spec->inputs_per_task);
  return std::vector<Bytes>(begin, begin + static_cast<std::ptrdiff_t>(count));
}

Result<const store::Store::InputChunk*> WorkerApi::chunk_of(SubmissionId inputs,
                                                            std::uint64_t first) {
  const auto holds = [&](const auto& kept) {
    return kept.first == inputs && first >= kept.second.first &&
           first - kept.second.first < kept.second.inputs.size();
  };
  auto it = std::find_if(chunks_.begin(), chunks_.end(), holds);
  if (it == chunks_.end()) {
    chunks_.emplace_front(inputs, TRY(store_.read_inputs(inputs, first)));
    if (chunks_.size() > kChunksKept) chunks_.pop_back();
    it = chunks_.begin();
    if (!holds(*it)) return fail(Errc::Corrupt, "an input is not in the chunk that should have it");
  }
  return &it->second;
}

void WorkerApi::tell(const effect::CancelAttempts& effect) {
  if (Session* session = welcomed(effect.worker))
    sessions_.send(*session, msg::Cancel{effect.why, effect.keys});
}

void WorkerApi::tell(const effect::RecallAttempts& effect) {
  if (Session* session = welcomed(effect.worker))
    sessions_.send(*session, msg::Recall{effect.keys});
}

void WorkerApi::tell(const effect::AckResults& effect) {
  if (Session* session = welcomed(effect.worker))
    sessions_.send(*session, msg::ResultAck{runs_of(effect.keys)});
}

void WorkerApi::tell(const effect::CloseSession& effect) {
  sessions_.end_worker(effect.worker, effect.instance);
}

void WorkerApi::tell(const effect::KeyAdded& effect) {
  keys_.add(net::Identity{effect.role, effect.name, effect.public_key});
}

void WorkerApi::tell(const effect::KeyRemoved& effect) {
  keys_.remove(effect.public_key);
  sessions_.shut_out(effect.public_key, effect.reason);
}

void WorkerApi::tell(const effect::JobFinished& effect) {
  for (Session* session : sessions_.worker_sessions()) session->templates.erase(effect.job);
}

void WorkerApi::follow(const std::set<JobId>& jobs, std::uint64_t version) {
  for (Session* session : sessions_.worker_sessions()) {
    if (!session->welcomed || session->follows_version == version) continue;
    session->follows_version = version;
    std::set<JobId> before = std::exchange(session->follows, jobs);
    for (const JobId job : jobs) {
      if (before.erase(job) == 0) sessions_.send(*session, msg::Follow{job, true});
    }
    for (const JobId job : before) sessions_.send(*session, msg::Follow{job, false});
  }
}

}  // namespace capstan::api
