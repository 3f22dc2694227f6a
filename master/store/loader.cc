// SPDX-License-Identifier: MIT
#include "master/store/loader.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "common/model/limits.h"
#include "master/store/entry_codec.h"
#include "master/store/row_reader.h"
#include "master/store/task_id.h"

namespace capstan::store {
namespace {

// Batches whose hashes are checked at every start: what a crash could have torn is among them.
constexpr int kBatchesChecked = 16;

constexpr const char* kLive = " WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'skipped')";
constexpr const char* kUnfinished =
    " t.state NOT IN ('succeeded', 'failed', 'cancelled', 'skipped')";
constexpr const char* kWithin = " WHERE id BETWEEN ? AND ? AND";
// Of which the queue keeps a byte.
constexpr const char* kPlain =
    " (state IN ('succeeded', 'failed', 'cancelled', 'skipped')"
    " OR (state IN ('ready', 'waiting') AND history IS NULL))";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Result<Uuid> parse_uuid(std::string_view hex) {
  Uuid id;
  if (hex.size() != 2 * id.bytes.size()) return fail(Errc::Corrupt, "meta: an id of wrong length");
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return fail(Errc::Corrupt, "meta: an id that is not hexadecimal");
    id.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return id;
}

Result<void> load_live_job(Connection& db, LoadedState::LoadedJob& job) {
  const TaskIds ids = task_ids(job.row.id);
  // There may be millions: their rows are never all in memory.
  Statement plain = TRY(db.prepare(std::string("SELECT id, state, attempts, round FROM task_rows") +
                                   kWithin + kPlain + " ORDER BY id"));
  plain.put(ids.first).put(ids.last);
  while (TRY(plain.next())) {
    const std::uint32_t task = task_of(plain.i64()).value;
    const Result<TaskState> state = parse_task_state(plain.bytes());
    if (!state) return fail(Errc::Corrupt, state.error().message);
    const AttemptNo attempts(plain.u32());
    job.add_run({{task, task}, *state, attempts, plain.u32()});
  }
  Statement tasks = TRY(db.prepare(std::string("SELECT ") + kTaskColumns + " FROM task_rows t" +
                                   kWithin + " NOT" + kPlain + " ORDER BY id"));
  tasks.put(ids.first).put(ids.last);
  while (TRY(tasks.next())) {
    ReadTask read = TRY(read_task(tasks));
    job.add_task(read.task, std::move(read.row));
  }
  // From the attempts, which are the exceptions, to their tasks.
  Statement attempts =
      TRY(db.prepare(std::string("SELECT ") + kAttemptColumns +
                     " FROM attempts a CROSS JOIN task_rows t ON t.id = a.job << 31 | a.task"
                     " WHERE a.job = ? AND a.round = t.round AND" +
                     kUnfinished + " ORDER BY a.task, a.attempt"));
  attempts.put(job.row.id.value);
  while (TRY(attempts.next())) {
    auto [key, row] = TRY(read_attempt(attempts));
    job.add_attempt(key, std::move(row));
  }
  return {};
}

Result<void> load_jobs(Connection& db, LoadedState& state) {
  Statement jobs = TRY(db.prepare(std::string("SELECT ") + kJobColumns +
                                  " FROM jobs JOIN specs ON job = id" + kLive + " ORDER BY id"));
  while (TRY(jobs.next())) state.jobs.push_back({TRY(read_job(jobs)), {}, {}, {}});
  for (LoadedState::LoadedJob& job : state.jobs) TRY(load_live_job(db, job));
  return {};
}

Result<void> load_requests(Connection& db, LoadedState& state) {
  const Micros kept = std::chrono::duration_cast<Micros>(limits::kRequestsInMemoryFor);
  Statement requests = TRY(db.prepare(std::string("SELECT ") + kRequestColumns +
                                      " FROM requests WHERE steady_at_us >= ?"));
  requests.put((state.last_at - kept).us);
  while (TRY(requests.next())) state.requests.insert(TRY(read_request(requests)));
  Statement tokens =
      TRY(db.prepare("SELECT t.owner, t.token, t.job, t.digest, t.tasks, t.at_us FROM jobs j"
                     " JOIN tokens t ON t.owner = j.owner AND t.token = j.token WHERE j.id = ?"));
  for (const auto& [asked, request] : state.requests) {
    for (const JobId job : request.jobs) {
      const Rewind rewind(tokens);
      tokens.put(job.value);
      if (!TRY(tokens.next())) continue;
      std::string owner = tokens.str();
      std::string token = tokens.str();
      state.tokens.insert_or_assign({std::move(owner), std::move(token)}, read_token(tokens));
    }
  }
  return {};
}

/// The first batch to read: the one before those that are checked, for its hash.
Result<std::int64_t> first_batch_read(Connection& db, Seq applied) {
  Result<std::int64_t> checked =
      db.read_int("SELECT first_seq FROM journal ORDER BY first_seq DESC LIMIT 1 OFFSET " +
                  std::to_string(kBatchesChecked));
  if (!checked && checked.error().code != Errc::NotFound) return checked;
  Result<std::int64_t> before_tail = db.read_int(
      "SELECT first_seq FROM journal WHERE first_seq <= " + std::to_string(applied.value) +
      " ORDER BY first_seq DESC LIMIT 1 OFFSET 1");
  if (!before_tail && before_tail.error().code != Errc::NotFound) return before_tail;
  return std::min(checked.value_or(0), before_tail.value_or(0));
}

struct Batchrow {
  Seq first;
  JournalEnd end;
  std::uint64_t bytes_before = 0;
  Digest rows_chain;
  std::string_view entries;  ///< Until the next row.
};

Batchrow read_batchrow(Statement& row) {
  Batchrow batch;
  batch.first = Seq(row.u64());
  batch.end = read_end(row);
  batch.bytes_before = row.u64();
  batch.rows_chain = read_digest(row);
  batch.entries = row.bytes();
  return batch;
}

/// Follows the chain batch by batch.
class ChainCheck {
 public:
  Result<void> check(const Batchrow& row) {
    const std::string name = "the journal's batch at " + std::to_string(row.first.value);
    if (before_ && row.first != last_.next()) {
      return fail(Errc::Corrupt, name + " does not follow " + std::to_string(last_.value));
    }
    if (row.first == Seq(1)) before_ = Digest{};
    if (before_ && chained_digest(*before_, row.entries) != row.end.chain) {
      return fail(Errc::Corrupt, name + " is not what was written (its hash differs)");
    }
    before_ = row.end.chain;
    last_ = row.end.seq;
    return {};
  }
  [[nodiscard]] bool ends_at(const Position& position) const {
    return before_ && last_ == position.last && *before_ == position.journal_chain;
  }
  [[nodiscard]] bool began() const { return before_.has_value(); }

 private:
  std::optional<Digest> before_;
  Seq last_;
};

Result<void> take_tail(const Batchrow& row, const Position& position, Tail& tail) {
  if (row.end.seq < position.applied) return {};
  Mark mark{row.end, position.applied_at, row.rows_chain, row.bytes_before + row.entries.size()};
  if (row.end.seq == position.applied) {
    tail.marks.push_back(mark);
    return {};
  }
  std::vector<Entry> entries = TRY(decode_entries(row.entries));
  Seq expected = row.first;
  for (Entry& entry : entries) {
    if (entry.seq != expected) return fail(Errc::Corrupt, "the journal's entries have a gap");
    expected = expected.next();
    mark.at = entry.at;
    tail.entries.push_back(std::move(entry));
  }
  if (expected != row.end.seq.next()) {
    return fail(Errc::Corrupt, "a batch of the journal is cut off");
  }
  tail.marks.push_back(mark);
  return {};
}

}  // namespace

Digest read_digest(Statement& row) {
  Digest digest;
  const std::string_view bytes = row.bytes();
  if (bytes.size() == sizeof digest.bytes) std::memcpy(digest.bytes, bytes.data(), bytes.size());
  return digest;
}

JournalEnd read_end(Statement& row) {
  JournalEnd end;
  end.seq = Seq(row.u64());
  end.epoch = Epoch(row.u64());
  end.chain = read_digest(row);
  return end;
}

std::string_view blob_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes), sizeof digest.bytes};
}

Result<LoadedMeta> load_meta(Connection& db) {
  Statement row = TRY(
      db.prepare("SELECT cluster, db_uuid, generation_began_us, generation_random, nonce, clean,"
                 " applied_seq, applied_epoch, applied_at_us, last_seq, last_epoch, journal_chain,"
                 " journal_bytes, rows_chain, next_job, next_submission, next_worker,"
                 " min_copies FROM meta"));
  if (!TRY(row.next())) return fail(Errc::Corrupt, "the table meta is empty");
  LoadedMeta loaded;
  Meta& meta = loaded.meta;
  meta.cluster = TRY(parse_uuid(row.bytes()));
  meta.db_uuid = TRY(parse_uuid(row.bytes()));
  meta.generation.began_us = row.i64();
  meta.generation.random = row.u64();
  meta.nonce = row.u64();
  loaded.clean = row.flag();
  Position& position = loaded.position;
  position.applied = Seq(row.u64());
  position.applied_epoch = Epoch(row.u64());
  position.applied_at.us = row.i64();
  position.last = Seq(row.u64());
  position.last_epoch = Epoch(row.u64());
  position.journal_chain = read_digest(row);
  position.journal_bytes = row.u64();
  position.rows_chain = read_digest(row);
  position.next.job = JobId(row.u64());
  position.next.submission = SubmissionId(row.u64());
  position.next.worker = WorkerId(row.u32());
  position.min_copies = row.u32();
  meta.applied_seq = position.applied;
  meta.last_seq = position.last;
  meta.last_epoch = position.last_epoch;
  return loaded;
}

Result<void> drop_rows_ahead(Connection& db, Seq applied) {
  Statement live = TRY(db.prepare(std::string("SELECT id FROM jobs") + kLive));
  Statement drop =
      TRY(db.prepare("DELETE FROM task_rows WHERE id BETWEEN ? AND ? AND finished_seq > ?"));
  while (TRY(live.next())) {
    const TaskIds ids = task_ids(JobId(live.u64()));
    TRY(drop.put(ids.first).put(ids.last).put(applied.value).run());
  }
  return {};
}

Result<LoadedState> load_state(Connection& db, const Position& position) {
  LoadedState state;
  state.last_seq = position.applied;
  state.last_epoch = position.applied_epoch;
  state.last_at = position.applied_at;
  state.next_job = position.next.job;
  state.next_submission = position.next.submission;
  state.next_worker = position.next.worker;
  state.min_copies = position.min_copies;
  Statement workers =
      TRY(db.prepare(std::string("SELECT ") + kWorkerColumns + " FROM workers ORDER BY id"));
  while (TRY(workers.next())) state.workers.insert(read_worker(workers));
  Statement keys =
      TRY(db.prepare(std::string("SELECT ") + kKeyColumns + " FROM keys ORDER BY public_key"));
  while (TRY(keys.next())) state.keys.insert(TRY(read_key(keys)));
  Statement submissions = TRY(
      db.prepare(std::string("SELECT ") + kSubmissionColumns + " FROM submissions ORDER BY id"));
  while (TRY(submissions.next())) state.submissions.insert(TRY(read_submission(submissions)));
  TRY(load_requests(db, state));
  Statement deletions = TRY(db.prepare("SELECT job, inputs FROM deletions"));
  while (TRY(deletions.next())) {
    const JobId job(deletions.u64());
    state.deletions.emplace(job, SubmissionId(deletions.u64()));
  }
  TRY(load_jobs(db, state));
  return state;
}

Result<Tail> load_tail(Connection& db, const Position& position) {
  const std::int64_t first = TRY(first_batch_read(db, position.applied));
  Statement rows =
      TRY(db.prepare("SELECT first_seq, last_seq, epoch, chain, bytes_before, rows_chain, entries"
                     " FROM journal WHERE first_seq >= ? ORDER BY first_seq"));
  rows.put(first);
  Tail tail;
  if (!position.applied) tail.marks.emplace_back();
  ChainCheck chain;
  while (TRY(rows.next())) {
    const Batchrow row = read_batchrow(rows);
    TRY(chain.check(row));
    TRY(take_tail(row, position, tail));
  }
  if (chain.began() ? !chain.ends_at(position) : position.last != position.applied) {
    return fail(Errc::Corrupt, "the journal does not end at entry " +
                                   std::to_string(position.last.value) + ", where meta says");
  }
  const std::uint64_t behind = position.last.value - position.applied.value;
  if (tail.entries.size() != behind || tail.marks.empty() ||
      tail.marks.front().end.seq != position.applied) {
    return fail(Errc::Corrupt, "the journal lacks entries behind the tables");
  }
  return tail;
}

Result<void> cut_journal(Connection& db, const Mark& keep) {
  Statement cut = TRY(db.prepare("DELETE FROM journal WHERE first_seq > ?"));
  TRY(cut.put(keep.end.seq.value).run());
  Statement meta = TRY(db.prepare(
      "UPDATE meta SET last_seq = ?, last_epoch = ?, journal_chain = ?, journal_bytes = ?,"
      " rows_chain = ?"));
  meta.put(keep.end.seq.value).put(keep.end.epoch.value).blob(blob_of(keep.end.chain));
  return meta.put(keep.journal_bytes).blob(blob_of(keep.rows_chain)).run();
}

}  // namespace capstan::store
