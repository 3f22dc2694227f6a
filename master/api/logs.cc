// SPDX-License-Identifier: MIT
//
// Chunks in, bytes out. See logs.h.
#include "master/api/logs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/log.h"
#include "common/model/limits.h"

namespace capstan::api {

void LogsApi::on_chunk(Session& session, msg::LogChunk chunk) {
  if (session.log_chunks >= limits::kLogChunksInFlight)
    return turn_away(session, chunk.key, "output beyond its credit");
  if (chunk.key.job >= ledger_.queue().next_job())
    return turn_away(session, chunk.key, "output of no job");
  if (chunk.offset > kOffsetMax || chunk.data.size() > limits::kLogChunkBytes)
    return turn_away(session, chunk.key, "output beyond all bounds");
  ++session.log_chunks;
  Logs::Chunk piece{chunk.key, chunk.stream, chunk.offset, std::move(chunk.data), chunk.last};
  // Of a deleted job nobody asks for it, and its worker may forget it.
  if (ledger_.queue().deletions().contains(piece.key.job)) return discard(piece, session);
  const auto known = holders_.find(piece.key);
  if (runs_at(piece.key, session) || (known != holders_.end() && known->second == session.worker))
    return append(std::move(piece), session.id);
  const msg::ReadLog which{0, piece.key.job, piece.key.task, piece.key.attempt, piece.stream, 0};
  reads_.look_up([which](store::Tables& tables) { return find_attempt(tables, which); },
                 [this, piece = std::move(piece), id = session.id](const Result<Attempt>& found) {
                   on_holder(piece, id, found);
                 });
}

void LogsApi::turn_away(const Session& session, const AttemptKey& key, const std::string& reason) {
  if (sessions_.count_refused())
    log::warn("message.refused",
              {{"worker", session.identity.name}, {"attempt", to_string(key)}, {"reason", reason}});
  const net::PeerId peer = session.peer;
  const SessionId over = session.id;
  sessions_.end(over);
  sessions_.need_hello(peer, over, reason);
}

bool LogsApi::runs_at(const AttemptKey& key, const Session& session) const {
  const Job* job = ledger_.queue().find_job(key.job);
  const auto ordinal = job == nullptr ? std::nullopt : job->ordinal_of(key.task);
  if (!ordinal) return false;
  const auto live = job->live.find(*ordinal);
  return live != job->live.end() && live->second.state == TaskState::Running &&
         live->second.attempts == key.attempt && live->second.worker == session.worker &&
         live->second.instance == session.instance;
}

void LogsApi::on_holder(Logs::Chunk chunk, SessionId session, const Result<Attempt>& attempt) {
  Session* worker = sessions_.find(session);
  if (worker == nullptr) return;  // It is sent again in the next one.
  if (ledger_.queue().deletions().contains(chunk.key.job)) return discard(chunk, *worker);
  // A later instance of the worker delivers what an earlier one left on its disk.
  if (attempt && attempt->worker == worker->worker) {
    if (holders_.size() >= kHoldersKept) holders_.clear();
    holders_[chunk.key] = worker->worker;
    return append(std::move(chunk), session);
  }
  const bool is_unknown = !attempt && attempt.error().code == Errc::NotFound;
  if (!attempt && !is_unknown)
    return turn_away(*worker, chunk.key, "not now: " + attempt.error().message);
  if (sessions_.count_refused())
    log::warn("message.refused", {{"worker", worker->identity.name},
                                  {"attempt", to_string(chunk.key)},
                                  {"reason", "output of an attempt that it was not given"}});
  discard(chunk, *worker);
}

void LogsApi::forget(JobId job) {
  std::erase_if(holders_, [&](const auto& each) { return each.first.job == job; });
  std::erase_if(awaited_, [&](const auto& each) { return each.first.first.job == job; });
}

void LogsApi::discard(const Logs::Chunk& chunk, Session& session) {
  --session.log_chunks;
  sessions_.send(
      session, msg::LogAck{chunk.key, chunk.stream, chunk.offset + chunk.data.size(), chunk.last});
}

void LogsApi::append(Logs::Chunk chunk, SessionId session) {
  if (ledger_.is_draining()) {
    // The last room of the disk is for results. Not acknowledged, so it stays at its worker.
    if (refused_.empty()) retry_at_ = ledger_.at() + kRetryFailed;
    refused_.push_back({std::move(chunk), session});
    return;
  }
  Logs::Chunk kept = chunk;
  logs_.append(std::move(chunk), [this, session, kept = std::move(kept)](Result<void> written) {
    if (!written) {
      // Not acknowledged, so not forgotten by the worker; its credit bounds what waits here.
      const bool busy = written.error().code == Errc::Unavailable;
      if (refused_.empty()) retry_at_ = ledger_.at() + (busy ? kRetryBusy : kRetryFailed);
      if (refused_.empty() && !busy)
        log::error("output.not_written",
                   {{"attempt", to_string(kept.key)}, {"reason", written.error().message}});
      refused_.push_back({kept, session});
      return;
    }
    const std::uint64_t upto = kept.offset + kept.data.size();
    if (Session* worker = sessions_.find(session)) {
      --worker->log_chunks;
      sessions_.send(*worker, msg::LogAck{kept.key, kept.stream, upto, kept.last});
    }
    if (kept.last) awaited_.erase({kept.key, kept.stream});
    watches_.on_output(kept.key, kept.stream, upto);
  });
}

void LogsApi::retry(TimePoint at) {
  if (at < retry_at_) return;
  retry_at_ = TimePoint::never();
  std::deque<Refused> again = std::exchange(refused_, {});
  for (Refused& one : again) {
    // Of a session that is over: the worker sends it again by itself.
    Session* worker = sessions_.find(one.session);
    if (worker == nullptr) continue;
    if (ledger_.queue().deletions().contains(one.chunk.key.job))
      discard(one.chunk, *worker);
    else
      append(std::move(one.chunk), one.session);
  }
}

TimePoint LogsApi::next_retry() const {
  return retry_at_;
}

// --- Reading -------------------------------------------------------------------------------------

void LogsApi::on_read(const Session& session, const msg::ReadLog& question) {
  const Asked asked{session.id, question.query, question.stream, question.offset};
  reads_.ask(
      session, question.query,
      [question, identity = session.identity](store::Tables& tables) -> Result<Attempt> {
        TRY(visible_job(tables, question.job, identity));
        return find_attempt(tables, question);
      },
      [this, asked](Session& asker, const Attempt& attempt) { answer(asker, asked, attempt); });
}

LogsApi::Attempt LogsApi::over(const AttemptKey& key, const AttemptRow& row, Stream stream) {
  const bool out = stream == Stream::Stdout;
  return {.key = key,
          .worker = row.worker,
          .instance = row.instance,
          .ended = true,
          .ended_at = row.ended_at,
          .end = row.end,
          .total = out ? row.stdout_bytes : row.stderr_bytes,
          .tail = out ? row.stdout_tail.str() : row.stderr_tail.str()};
}

LogsApi::Attempt LogsApi::last(const AttemptKey& key, const TaskRow& row, Stream stream) {
  Attempt attempt = over(key, attempt_in(row), stream);
  // A task that is over without an attempt has no output.
  attempt.ended = row.ended || (is_finished(row.state) && !row.attempt);
  return attempt;
}

Result<LogsApi::Attempt> LogsApi::find_attempt(store::Tables& tables,
                                               const msg::ReadLog& question) {
  const auto entry = TRY(tables.get_task(question.job, question.task));
  if (!entry) return fail(Errc::NotFound, "no task " + task_name(question.job, question.task));
  const TaskRow& row = entry->row;
  const AttemptKey key{question.job, question.task,
                       question.attempt ? question.attempt : row.attempt};
  const bool is_last = key.attempt == row.attempt;
  // Else it is over and the task is not: one that waits for its next attempt has its last one
  // among the others.
  const bool is_in_row = row.ended || row.state == TaskState::Running || !row.attempt;
  if (is_last && is_in_row) return last(key, row, question.stream);
  for (const auto& [known, earlier] : TRY(tables.list_attempts(question.job, question.task))) {
    if (known == key) return over(key, earlier, question.stream);
  }
  if (is_last) return last(key, row, question.stream);  // Handed back never started.
  return fail(Errc::NotFound, "no attempt " + to_string(key));
}

bool LogsApi::is_gone(const Attempt& attempt) const {
  // Of the generation before a restore: its workers threw away what they had.
  if (attempt.ended && attempt.ended_at.us < sessions_.cluster().generation.began_us) return true;
  const Worker* worker = ledger_.queue().find_worker(attempt.worker);
  if (worker == nullptr || !worker->row.present) return true;
  // Its worker lives, but as somebody who never ran it.
  return attempt.end == EndClass::WorkerLost && worker->row.instance != attempt.instance;
}

void LogsApi::answer(Session& asker, const Asked& asked, const Attempt& attempt) {
  msg::LogData data;
  data.query = asked.query;
  data.attempt = attempt.key.attempt;
  data.offset = asked.offset;
  data.total = attempt.total;
  const bool whole =
      attempt.ended && attempt.end != EndClass::WorkerLost && attempt.total == attempt.tail.size();
  if (whole) {
    if (asked.offset < attempt.tail.size()) data.data = attempt.tail.substr(asked.offset);
    data.end = true;
    return sessions_.send(asker, std::move(data));
  }
  if (!attempt.key.attempt) return sessions_.send(asker, std::move(data));  // Not begun.
  logs_.read(attempt.key, asked.stream, asked.offset,
             [this, asked, attempt](const Result<Logs::Part>& part) {
               Session* session = sessions_.find(asked.session);
               if (session == nullptr) return;
               if (!part) return reads_.deny(*session, asked.query, part.error());
               answer_from_pack(asked, attempt, *part);
             });
}

void LogsApi::answer_from_pack(const Asked& asked, const Attempt& attempt, const Logs::Part& part) {
  msg::LogData data;
  data.query = asked.query;
  data.attempt = attempt.key.attempt;
  data.offset = part.data.empty() ? asked.offset : part.offset;
  data.data = part.data;
  data.total = std::max(attempt.total, part.total);
  data.end = part.end;
  if (part.data.empty() && !part.end && attempt.ended && is_gone(attempt)) {
    // The rest stays undelivered; the end of it is in the result.
    const std::uint64_t begin =
        attempt.total - std::min<std::uint64_t>(attempt.total, attempt.tail.size());
    data.offset = std::max(asked.offset, begin);
    if (data.offset < attempt.total) data.data = attempt.tail.substr(data.offset - begin);
    data.end = true;
  }
  if (data.data.empty() && !data.end && awaited_.size() < limits::kWatchBacklog)
    awaited_[{attempt.key, asked.stream}] = attempt.worker;
  if (Session* session = sessions_.find(asked.session)) sessions_.send(*session, std::move(data));
}

void LogsApi::on_worker_gone(WorkerId worker) {
  std::vector<StreamKey> awaited;
  for (const auto& [key, from] : awaited_) {
    if (from == worker) awaited.push_back(key);
  }
  for (const StreamKey& key : awaited) {
    awaited_.erase(key);
    watches_.on_output(key.first, key.second, 0);
  }
}

}  // namespace capstan::api
