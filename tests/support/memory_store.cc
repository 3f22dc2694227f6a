// SPDX-License-Identifier: MIT
#include "tests/support/memory_store.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/model/glob.h"
#include "common/model/limits.h"
#include "master/store/entry_codec.h"
#include "master/store/job_walk.h"
#include "master/store/row_hash.h"
#include "master/store/row_reader.h"

namespace capstan::test {

using store::Batch;
using store::has_state;
using store::IndexWalk;
using store::Opened;
using store::RunBuilder;
using store::untouched_state;

namespace {

constexpr std::size_t kJournalKept = 20'000;

template <class T>
T without_tails(T row) {
  row.stdout_tail.clear();
  row.stderr_tail.clear();
  return row;
}

Uuid uuid_from(Rng& rng) {
  Uuid id;
  for (std::uint8_t& byte : id.bytes) byte = static_cast<std::uint8_t>(rng.next());
  return id;
}

}  // namespace

MemoryStore::MemoryStore(Options options)
    : options_(options), rng_(options.seed), cluster_(uuid_from(rng_)), db_uuid_(uuid_from(rng_)) {}

Result<Opened> MemoryStore::open(std::uint64_t nonce, const std::optional<Vote>& vote) {
  CHECK(!is_open_);
  is_open_ = true;
  is_broken_ = false;
  has_ballast_ = true;
  held_.reset();
  Opened out;
  out.clean = disk_.clean;
  const store::NonceChoice choice =
      vote ? store::choose_nonce(*vote, {disk_.nonce, disk_.last, nonce})
           : store::NonceChoice{true, nonce};
  out.is_complete = choice.is_complete;
  disk_.nonce = choice.nonce;
  disk_.clean = false;
  disk_.drop_rows_ahead();
  cache_ = options_.manual_sync ? disk_ : Image{};
  out.meta = {cluster_,      db_uuid_,   options_.generation, choice.nonce,
              disk_.applied, disk_.last, disk_.last_epoch};
  out.state = load();
  for (const Entry& entry : disk_.journal) {
    if (entry.seq > disk_.applied) out.tail.push_back(entry);
  }
  out.ends = disk_.ends();
  out.rows_chain = disk_.rows_chain_at(disk_.applied);
  return out;
}

void MemoryStore::close() {
  sync();
  disk_.clean = true;
  is_open_ = false;
}

void MemoryStore::crash() {
  crash(rng_.below(unsynced_.size() + 1));
}

void MemoryStore::crash(std::size_t kept) {
  for (std::size_t i = 0; i < kept; ++i) keep(unsynced_[i]);
  unsynced_.clear();
  fault_ = Fault::None;
  is_open_ = false;
}

void MemoryStore::sync_first() {
  keep(unsynced_.front());
  unsynced_.erase(unsynced_.begin());
}

void MemoryStore::sync() {
  for (const Write& write : unsynced_) keep(write);
  unsynced_.clear();
}

void MemoryStore::keep(const Write& write) {
  disk_.write(write);
}

void MemoryStore::Image::apply_rows(const RowChanges& changes) {
  for (const auto& [job, span] : changes.archived) {
    auto it = tasks.lower_bound({job, TaskIndex(span.first)});
    for (; it != tasks.end() && it->first <= std::pair(job, TaskIndex(span.last)); ++it) {
      if (!it->second.ended) continue;
      const AttemptKey key{job, it->first.second, it->second.attempt};
      attempts.insert_or_assign(key, attempt_in(it->second));
    }
  }
  for (const auto& [job, row] : changes.deleted) {
    jobs.erase(job);
    const auto token = tokens.find({row.owner, row.token});
    if (token != tokens.end() && token->second.job == job) tokens.erase(token);
    deletions[job] = row.inputs;
  }
  for (const auto& [id, row] : changes.jobs) jobs[id] = row;
  for (const auto& [key, row] : changes.tasks) tasks[key] = *row;
  for (const auto& [key, row] : changes.attempts) {
    if (row)
      attempts[key] = *row;
    else
      attempts.erase(key);
  }
  for (const auto& [id, row] : changes.workers) workers[id] = row;
  for (const auto& [key, row] : changes.keys) keys[key] = row;
  for (const auto& [asked, row] : changes.requests) requests[asked] = row;
  for (const auto& [key, row] : changes.tokens) tokens[key] = row;
  for (const auto& [id, row] : changes.submissions) {
    if (row)
      submissions[id] = *row;
    else
      submissions.erase(id);
  }
  for (const auto& [key, row] : changes.inputs) inputs[key] = row;
  for (const SubmissionId id : changes.inputs_dropped) {
    inputs.erase(inputs.lower_bound({id, 0}), inputs.upper_bound({id, UINT64_MAX}));
  }
  for (const SweptRow& row : changes.swept) sweep(row);
  std::erase_if(requests, [&](const auto& each) {
    return each.second.steady_at <= changes.requests_forgotten;
  });
  next.pass(changes);
  if (changes.min_copies != 0) min_copies = changes.min_copies;
}

void MemoryStore::Image::sweep(const SweptRow& row) {
  std::erase_if(tasks, [&](const auto& each) {
    return each.first.first == row.job && (row.last || each.first.second <= row.tasks_upto);
  });
  std::erase_if(attempts, [&](const auto& each) {
    return each.first.job == row.job && (row.last || each.first.task <= row.tasks_upto);
  });
  std::erase_if(inputs, [&](const auto& each) {
    return row.inputs && each.first.first == row.inputs &&
           (row.last || each.first.second <= row.inputs_upto);
  });
  if (row.last) deletions.erase(row.job);
}

void MemoryStore::Image::write(const Write& write) {
  if (write.keep) return take_back(*write.keep);
  apply_rows(write.rows);
  journal.insert(journal.end(), write.batch.begin(), write.batch.end());
  if (write.sealed) {
    last = write.sealed->end.seq;
    last_epoch = write.sealed->end.epoch;
    journal_chain = write.sealed->end.chain;
    rows_chain = write.sealed->rows_chain;
    batches.push_back(*write.sealed);
  }
  if (write.applied == applied) return;
  const auto reached = from(write.applied);
  CHECK(write.applied > applied && reached != batches.end());
  CHECK(reached->end.seq == write.applied);
  applied = reached->end.seq;
  applied_epoch = reached->end.epoch;
  applied_at = journal[applied.value - journal.front().seq.value].at;
}

std::vector<JournalEnd> MemoryStore::Image::ends() const {
  std::vector<JournalEnd> ends;
  if (before.seq == applied) ends.push_back(before);
  for (auto batch = from(applied); batch != batches.end(); ++batch) ends.push_back(batch->end);
  return ends;
}

std::deque<SealedBatch>::const_iterator MemoryStore::Image::from(Seq seq) const {
  return std::lower_bound(batches.begin(), batches.end(), seq,
                          [](const SealedBatch& each, Seq s) { return each.end.seq < s; });
}

Digest MemoryStore::Image::rows_chain_at(Seq seq) const {
  const auto batch = from(seq);
  return seq && batch != batches.end() ? batch->rows_chain : Digest{};
}

void MemoryStore::Image::take_back(Seq keep) {
  while (!batches.empty() && batches.back().end.seq > keep) batches.pop_back();
  while (!journal.empty() && journal.back().seq > keep) journal.pop_back();
  const JournalEnd end = batches.empty() ? before : batches.back().end;
  last = end.seq;
  last_epoch = end.epoch;
  journal_chain = end.chain;
  rows_chain = rows_chain_at(keep);
}

/// What a real store keeps: the batch that ends at `kept`, and everything behind it.
void MemoryStore::Image::trim(std::size_t entries, Seq kept) {
  while (journal.size() > entries && batches.front().end.seq < std::min(applied, kept)) {
    before = batches.front().end;
    batches.pop_front();
    while (journal.front().seq <= before.seq) journal.pop_front();
  }
}

Result<void> MemoryStore::write(Write write) {
  CHECK(is_open_ && !is_broken_);
  const Fault fault = std::exchange(fault_, Fault::None);
  if (fault == Fault::DiskFull) {
    if (!has_ballast_) fault_ = fault;
    return fail(Errc::DiskFull, "writing the database: database or disk is full");
  }
  if (fault == Fault::UnknownLost || fault == Fault::UnknownKept) {
    is_broken_ = true;
    if (fault == Fault::UnknownKept) {
      sync();  // Transactions are kept in order.
      keep(write);
    }
    return fail(Errc::OutcomeUnknown, "writing the database: disk I/O error");
  }
  if (!options_.manual_sync) {
    keep(write);
    return {};
  }
  cache_.write(write);
  unsynced_.push_back(std::move(write));
  return {};
}

SealedBatch MemoryStore::seal(const Batch& batch, const RowChanges& rows) const {
  SealedBatch sealed = seal_alone(batch);
  sealed.rows_chain = store::hash_rows(now().rows_chain, batch, rows);
  return sealed;
}

SealedBatch MemoryStore::seal_alone(const Batch& batch) const {
  SealedBatch sealed;
  sealed.first = batch.front().seq;
  sealed.entries = store::encode_entries(batch);
  sealed.end = {batch.back().seq, batch.back().epoch,
                chained_digest(now().journal_chain, sealed.entries)};
  sealed.wall = batch.back().wall;
  return sealed;
}

Result<void> MemoryStore::append(const SealedBatch& sealed, const Batch& batch,
                                 const RowChanges& committed, Seq applied) {
  CHECK(sealed.first == now().last.next() && batch.back().seq == sealed.end.seq);
  return write({.sealed = sealed, .batch = batch, .rows = committed, .applied = applied});
}

Result<void> MemoryStore::flush(const RowChanges& committed, Seq applied) {
  return write({.rows = committed, .applied = applied});
}

Result<void> MemoryStore::truncate(Seq keep) {
  const auto ends = journal_ends();
  const bool is_end = std::any_of(ends.begin(), ends.end(),
                                  [keep](const JournalEnd& end) { return end.seq == keep; });
  if (!is_end) return fail(Errc::Invalid, "the journal cannot be taken back to there");
  return keep == now().last ? Result<void>() : write({.keep = keep});
}

Result<std::optional<JournalEnd>> MemoryStore::find_end(Seq seq) {
  if (!seq && !now().before.seq) return std::optional(JournalEnd{});
  const auto batch = now().from(seq);
  const bool found = batch != now().batches.end() && batch->end.seq == seq;
  return found ? std::optional(batch->end) : std::nullopt;
}

Result<store::JournalBatches> MemoryStore::read_batches(const JournalEnd& after,
                                                        std::size_t bytes) {
  store::JournalBatches read;
  read.gone = TRY(find_end(after.seq)) != after;
  if (read.gone) return read;
  std::size_t taken = 0;
  for (auto batch = now().from(after.seq.next()); batch != now().batches.end(); ++batch) {
    if (taken > 0 && taken >= bytes) break;
    taken += batch->entries.size();
    read.batches.push_back(*batch);
  }
  return read;
}

Result<void> MemoryStore::maintain() {
  const Seq kept = held_.value_or(Seq(UINT64_MAX));
  for (Image* image : {&disk_, &cache_}) image->trim(kJournalKept, kept);
  return {};
}

bool MemoryStore::release_ballast() {
  return std::exchange(has_ballast_, false);
}

Result<std::optional<RequestRow>> MemoryStore::find_request(const Asked& asked) {
  const auto it = now().requests.find(asked);
  return it == now().requests.end() ? std::nullopt : std::optional(it->second);
}

Result<std::optional<TokenRow>> MemoryStore::find_token(const std::string& owner,
                                                        const std::string& token) {
  const auto it = now().tokens.find({owner, token});
  return it == now().tokens.end() ? std::nullopt : std::optional(it->second);
}

Result<store::Store::InputChunk> MemoryStore::read_inputs(SubmissionId submission,
                                                          std::uint64_t ordinal) {
  auto it = now().inputs.upper_bound({submission, ordinal});
  if (it != now().inputs.begin()) {
    --it;
    const std::uint64_t first = it->first.second;
    if (it->first.first == submission && ordinal - first < it->second.count) {
      return InputChunk{first, TRY(store::decode_inputs(it->second.chunk))};
    }
  }
  return fail(Errc::NotFound, "input " + std::to_string(ordinal) + " of submission " +
                                  std::to_string(submission.value));
}

Result<cmd::JobReopened> MemoryStore::read_finished_job(JobId id) {
  const std::string name = "job " + std::to_string(id.value);
  const auto it = now().jobs.find(id);
  if (it == now().jobs.end()) return fail(Errc::NotFound, name + " is not known");
  const JobRow& job = it->second;
  if (!is_finished(job.state)) return fail(Errc::Unavailable, name + " is not finished yet");
  cmd::JobReopened reopened{job.id,         job.owner,    *job.spec,     job.submitted_at,
                            job.started_at, {},           job.token,     job.inputs,
                            job.cancelling, job.launched, job.mean_wall, 1,
                            job.skipping,   job.priority, job.reason};
  RunBuilder runs(job);
  auto task = now().tasks.lower_bound({id, TaskIndex(0)});
  for (; task != now().tasks.end() && task->first.first == id; ++task) {
    TRY(runs.add(task->first.second, task->second));
  }
  TRY(runs.finish(reopened));
  return reopened;
}

Result<std::optional<std::string>> MemoryStore::find_owner(JobId job) {
  const auto it = now().jobs.find(job);
  return it == now().jobs.end() ? std::nullopt : std::optional(it->second.owner);
}

Result<std::optional<store::Store::JobOutline>> MemoryStore::find_outline(JobId job) {
  const auto it = now().jobs.find(job);
  if (it == now().jobs.end()) return std::optional<JobOutline>();
  return std::optional<JobOutline>(JobOutline{it->second.owner, it->second.state});
}

namespace {

cmd::JobsDeleted::One deletable(const JobRow& row) {
  return {row.id, row.owner, row.token, row.inputs, row.tasks};
}

}  // namespace

Result<std::optional<cmd::JobsDeleted::One>> MemoryStore::find_deletable(JobId job) {
  const auto it = now().jobs.find(job);
  if (it == now().jobs.end() || !is_finished(it->second.state)) {
    return std::optional<cmd::JobsDeleted::One>();
  }
  return std::optional<cmd::JobsDeleted::One>(deletable(it->second));
}

Result<std::optional<JobId>> MemoryStore::last_job_of(const std::string& owner) {
  std::optional<JobId> last;
  for (const auto& [id, job] : now().jobs) {
    if (job.owner == owner) last = id;
  }
  return last;
}

Result<std::vector<JobRow>> MemoryStore::list_jobs(const JobFilter& filter) {
  std::vector<JobRow> list;
  for (auto it = now().jobs.rbegin(); it != now().jobs.rend(); ++it) {
    const JobRow& job = it->second;
    if (list.size() == filter.limit) break;
    if (filter.before && it->first >= filter.before) continue;
    if (filter.owner && job.owner != *filter.owner) continue;
    if (filter.live_only && is_finished(job.state)) continue;
    if (filter.states != 0 && (filter.states >> static_cast<unsigned>(job.state) & 1U) == 0)
      continue;
    if (!filter.name.empty() && !matches_glob(filter.name, job.spec->name)) continue;
    const auto& tags = job.spec->tags;
    const bool is_tagged = std::find(tags.begin(), tags.end(), filter.tag) != tags.end();
    if (!filter.tag.empty() && !is_tagged) continue;
    if (job.submitted_at < filter.submitted_since) continue;
    list.push_back(job);
  }
  return list;
}

Result<std::optional<JobRow>> MemoryStore::get_job(JobId job) {
  const auto it = now().jobs.find(job);
  return it == now().jobs.end() ? std::nullopt : std::optional(it->second);
}

const TaskRow* MemoryStore::find_task(JobId job, std::uint32_t index) const {
  const auto it = now().tasks.find({job, TaskIndex(index)});
  return it == now().tasks.end() ? nullptr : &it->second;
}

Result<store::Tables::TaskPage> MemoryStore::list_tasks(const TaskFilter& filter) {
  TaskPage page;
  const auto job = now().jobs.find(filter.job);
  if (job == now().jobs.end()) return page;
  TaskRow untouched;
  untouched.state = untouched_state(job->second);
  IndexWalk walk(job->second.spec->indices, filter.only);
  std::uint64_t from = filter.from_start ? 0 : std::uint64_t{filter.after.value} + 1;
  for (auto index = TRY(walk.next(from)); index; index = TRY(walk.next(from))) {
    from = std::uint64_t{*index} + 1;
    const TaskRow* found = find_task(filter.job, *index);
    const TaskRow& row = found != nullptr ? *found : untouched;
    if (!has_state(filter.states, row.state)) continue;
    if (page.tasks.size() == filter.limit) {
      page.more = true;
      break;
    }
    page.tasks.push_back({TaskIndex(*index), without_tails(row)});
  }
  return page;
}

Result<store::Tables::TaskPage> MemoryStore::list_ended(const EndedFilter& filter) {
  TaskPage page;
  auto it = filter.from_start ? now().tasks.lower_bound({filter.job, TaskIndex(0)})
                              : now().tasks.upper_bound({filter.job, filter.after});
  for (; it != now().tasks.end() && it->first.first == filter.job; ++it) {
    const Seq at = it->second.finished_seq;
    if (at <= filter.from || at > filter.to) continue;
    if (page.tasks.size() == filter.limit) {
      page.more = true;
      break;
    }
    page.tasks.push_back({it->first.second, it->second});
  }
  return page;
}

Result<std::optional<store::Tables::TaskEntry>> MemoryStore::get_task(JobId job, TaskIndex task) {
  if (const TaskRow* row = find_task(job, task.value)) {
    return std::optional<TaskEntry>(TaskEntry{task, *row});
  }
  const auto owner = now().jobs.find(job);
  if (owner == now().jobs.end() ||
      !IndexWalk(owner->second.spec->indices, {}).contains(task.value)) {
    return std::optional<TaskEntry>();
  }
  TaskRow untouched;
  untouched.state = untouched_state(owner->second);
  return std::optional<TaskEntry>(TaskEntry{task, untouched});
}

Result<std::vector<std::pair<AttemptKey, AttemptRow>>> MemoryStore::list_attempts(JobId job,
                                                                                  TaskIndex task) {
  std::vector<std::pair<AttemptKey, AttemptRow>> list;
  auto it = now().attempts.lower_bound({job, task, AttemptNo(0)});
  for (; it != now().attempts.end() && it->first.job == job && it->first.task == task; ++it) {
    list.emplace_back(*it);
  }
  return list;
}

Result<store::Tables::JournalPiece> MemoryStore::read_journal(const JournalAsk& ask) {
  JournalPiece piece;
  const std::deque<Entry>& journal = now().journal;
  const Seq oldest = journal.empty() ? Seq(1) : journal.front().seq;
  const Seq behind = std::min(ask.end, now().applied);
  const Seq before = ask.end ? ask.end : now().applied.next();
  piece.gap = ask.backward ? oldest > Seq(1) : oldest > behind.next();
  for (const Entry& entry : journal) {
    const bool wanted = ask.backward ? entry.seq < before : entry.seq > behind;
    if (!wanted || entry.seq > now().applied) continue;
    piece.entries.push_back(entry);
    const Asked* asked = store::asked_of(entry.command);
    const auto answer = asked == nullptr ? now().requests.end() : now().requests.find(*asked);
    if (answer != now().requests.end() && answer->second.code != Errc{})
      piece.entries.back().command =
          cmd::RequestAnswered{*asked, answer->second.code, answer->second.reason};
  }
  return piece;
}

Result<store::Tables::ExpiredPage> MemoryStore::list_expired(const Expiry& expiry) {
  std::map<std::pair<WallTime, JobId>, const JobRow*> finished;
  for (const auto& [id, row] : now().jobs) {
    if (is_finished(row.state)) finished[{row.finished_at, id}] = &row;
  }
  std::uint64_t beyond = 0;  // So many of the oldest are too many.
  if (expiry.jobs_kept > 0 && finished.size() > expiry.jobs_kept) {
    beyond = finished.size() - expiry.jobs_kept;
  }
  if (expiry.bytes_kept > 0) beyond = finished.size();  // Nothing is that small.
  ExpiredPage page;
  for (const auto& [end, row] : finished) {
    const bool is_beyond = beyond > 0 && beyond-- > 0;
    if (!is_beyond && end.first >= expiry.finished_before) break;
    if (end <= std::pair(expiry.after_at, expiry.after)) continue;
    if (expiry.owner && row->owner != *expiry.owner) continue;
    if (page.jobs.size() == expiry.limit) {
      page.more = true;
      break;
    }
    page.jobs.push_back(deletable(*row));
    page.last_at = end.first;
  }
  return page;
}

Result<std::vector<store::Tables::SweepStep>> MemoryStore::plan_sweep(const SweepAsk& ask) {
  std::vector<SweepStep> steps;
  for (const auto& [job, inputs] : ask.deletions) {
    std::uint64_t rows = 0;
    auto task = now().tasks.lower_bound({job, TaskIndex(0)});
    for (; task != now().tasks.end() && task->first.first == job; ++task) {
      if (++rows < ask.rows_per_step) continue;
      steps.push_back({{job, task->first.second, 0, false}, rows});
      rows = 0;
    }
    steps.push_back({{job, TaskIndex(UINT32_MAX), UINT64_MAX, true}, rows + 3});
  }
  return steps;
}

Result<TimePoint> MemoryStore::find_old_requests(TimePoint before, std::uint32_t limit) {
  std::vector<TimePoint> old;
  for (const auto& [asked, row] : now().requests) {
    if (row.steady_at < before) old.push_back(row.steady_at);
  }
  if (old.empty()) return TimePoint{};
  std::sort(old.begin(), old.end());
  return old[std::min<std::size_t>(old.size(), limit) - 1];
}

LoadedState MemoryStore::load() const {
  LoadedState state;
  state.last_seq = disk_.applied;
  state.last_epoch = disk_.applied_epoch;
  state.last_at = disk_.applied_at;
  state.next_job = disk_.next.job;
  state.next_submission = disk_.next.submission;
  state.next_worker = disk_.next.worker;
  state.min_copies = disk_.min_copies;
  state.workers = disk_.workers;
  state.keys = disk_.keys;
  state.submissions = disk_.submissions;
  state.deletions = disk_.deletions;
  for (const auto& [id, job] : disk_.jobs) {
    if (!is_finished(job.state)) state.jobs.push_back({job, {}, {}, {}});
  }
  for (LoadedState::LoadedJob& job : state.jobs) {
    const JobId id = job.row.id;
    auto task = disk_.tasks.lower_bound({id, TaskIndex(0)});
    for (; task != disk_.tasks.end() && task->first.first == id; ++task) {
      job.add_task(task->first.second, without_tails(task->second));
    }
    auto attempt = disk_.attempts.lower_bound({id, TaskIndex(0), AttemptNo(0)});
    for (; attempt != disk_.attempts.end() && attempt->first.job == id; ++attempt) {
      const auto row = disk_.tasks.find({id, attempt->first.task});
      if (row == disk_.tasks.end() || is_finished(row->second.state)) continue;
      if (row->second.round != attempt->second.round) continue;
      job.add_attempt(attempt->first, without_tails(attempt->second));
    }
  }
  load_recent_requests(state);
  return state;
}

void MemoryStore::load_recent_requests(LoadedState& state) const {
  const Micros kept = std::chrono::duration_cast<Micros>(limits::kRequestsInMemoryFor);
  for (const auto& [asked, request] : disk_.requests) {
    if (request.steady_at < state.last_at - kept) continue;
    state.requests.emplace(asked, request);
    for (const JobId id : request.jobs) {
      const auto job = disk_.jobs.find(id);
      if (job == disk_.jobs.end()) continue;
      const auto token = disk_.tokens.find({job->second.owner, job->second.token});
      if (token != disk_.tokens.end()) state.tokens.insert(*token);
    }
  }
}

}  // namespace capstan::test
