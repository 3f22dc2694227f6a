// SPDX-License-Identifier: MIT
//
// Stamping, applying, writing. See ledger.h.
#include "master/api/ledger.h"

#include <algorithm>

#include "common/model/limits.h"
#include "master/store/run_codec.h"

namespace capstan::api {
namespace {

/// Keys and small integers in msgpack: job 5, task 5, attempt 2, array head 1.
constexpr std::size_t kKeyBytes = 13;
constexpr std::size_t kHeadBytes = 64;    ///< seq, epoch, times, level, type, one id.
constexpr std::size_t kResultBytes = 64;  ///< A result's numbers.

std::size_t spec_bytes(const JobSpec& spec) {
  std::size_t bytes = spec.name.size() + spec.cwd.size() + 48 + spec.indices.size() * 15;
  for (const Bytes& arg : spec.argv) bytes += arg.size() + 5;
  for (const EnvVar& var : spec.env) bytes += var.name.size() + var.value.size() + 10;
  for (const std::string& tag : spec.tags) bytes += tag.size() + 5;
  bytes += spec.script.size() + spec.output_path.size() + spec.error_path.size() + 64;
  bytes += (spec.after.size() + spec.after_any.size()) * 9;
  return bytes;
}

struct CommandBytes {
  std::size_t operator()(const cmd::SubmissionOpened& c) const { return spec_bytes(c.spec); }
  std::size_t operator()(const cmd::InputsStaged& c) const { return c.chunk.size(); }
  std::size_t operator()(const cmd::JobSubmitted& c) const { return 64 + c.ended.size() * 11; }
  std::size_t operator()(const cmd::JobCancelled& c) const {
    return c.spans.size() * 11 + c.reason.size();
  }
  std::size_t operator()(const cmd::TasksRetried& c) const { return c.spans.size() * 11; }
  std::size_t operator()(const cmd::JobReopened& c) const {
    return spec_bytes(c.spec) + store::packed_size(c.runs);
  }
  std::size_t operator()(const cmd::WorkerJoined& c) const {
    return (c.held.size() + c.spooled.size()) * (kKeyBytes + 2) + 256;
  }
  std::size_t operator()(const cmd::TasksAssigned& c) const { return c.tasks.size() * 5; }
  std::size_t operator()(const cmd::TasksRecalled& c) const { return c.keys.size() * kKeyBytes; }
  std::size_t operator()(const cmd::TasksReturned& c) const { return c.keys.size() * kKeyBytes; }
  std::size_t operator()(const cmd::TasksStarted& c) const {
    return c.started.size() * (kKeyBytes + 6);
  }
  std::size_t operator()(const cmd::ResultsReported& c) const {
    std::size_t bytes = 0;
    for (const AttemptResult& r : c.results)
      bytes += kResultBytes + r.reason.size() + r.stdout_tail.size() + r.stderr_tail.size();
    return bytes;
  }
  std::size_t operator()(const cmd::BackoffsOver& c) const { return c.tasks.size() * 5; }
  std::size_t operator()(const cmd::JobsDeleted& c) const {
    std::size_t bytes = 64 + c.note.size();
    for (const auto& one : c.jobs) bytes += 32 + one.owner.size() + one.token.size();
    return bytes;
  }
  std::size_t operator()(const cmd::DeletionsSwept& c) const { return c.steps.size() * 28; }
  template <class Other>
  std::size_t operator()(const Other&) const {
    return 256;  // Names, reasons, a key.
  }
};

}  // namespace

std::size_t approximate_bytes(const Command& command) {
  return kHeadBytes + std::visit(CommandBytes{}, command);
}

Ledger::Ledger(Queue queue, Epoch epoch, const Clock& clock)
    : queue_(std::move(queue)),
      epoch_(epoch),
      clock_(clock),
      steady_began_(clock.now()),
      at_began_(std::max(queue_.last_at(), TimePoint{clock.wall().us})),
      at_(at_began_),
      wall_(clock.wall()),
      durable_(queue_.last_seq()),
      applied_(queue_.last_seq()) {}

TimePoint Ledger::now() const {
  return std::max(at_, at_began_ + (clock_.now() - steady_began_));
}

void Ledger::begin_turn() {
  at_ = now();
  wall_ = clock_.wall();
}

TimePoint Ledger::steady(TimePoint at) const {
  if (at == TimePoint::never()) return at;
  return steady_began_ + (at - at_began_);
}

void Ledger::commit(Command command) {
  const std::size_t bytes = approximate_bytes(command);
  if (part_.batch.size() >= limits::kEntriesPerBatch ||
      (!part_.batch.empty() && part_.bytes + bytes > limits::kBatchBytes)) {
    // A reopened job is in the tables again with the retry that follows, not before.
    const bool is_half = std::holds_alternative<cmd::JobReopened>(part_.batch.back().command);
    if (!is_half) close_part();
  }
  part_.bytes += bytes;
  part_.batch.push_back(Entry{.seq = queue_.last_seq().next(),
                              .epoch = epoch_,
                              .at = at_,
                              .wall = wall_,
                              .level = level_,
                              .command = std::move(command)});
  queue_.apply(part_.batch.back(), effects_, part_.rows);
  for (Effect& effect : effects_) held_.emplace_back(std::move(effect));
  effects_.clear();
}

void Ledger::close_part() {
  part_.rows.tasks.sort();
  full_.push_back(std::exchange(part_, {}));
}

void Ledger::hold(SessionId session, msg::Body body) {
  held_.emplace_back(Reply{session, std::move(body)});
}

void Ledger::hold(net::PeerId peer, msg::Body body) {
  held_.emplace_back(PeerReply{peer, std::move(body)});
}

std::string Ledger::drain_reason() const {
  return "the master's disk is nearly full" + (disk_figures_.empty() ? "" : ": " + disk_figures_) +
         "; free some there, or delete jobs (capstan purge); what runs goes on";
}

void Ledger::drain(std::string figures) {
  draining_ = true;
  disk_figures_ = std::move(figures);
}

bool Ledger::is_full() const {
  return !full_.empty() || part_.batch.size() >= limits::kEntriesPerBatch / 2 ||
         part_.bytes >= limits::kBatchBytes / 4 || part_.rows.tasks.size() >= limits::kRowsPerTurn;
}

const JobRow* Ledger::find_row(JobId job) const {
  const auto in = [job](const Part& part) -> const JobRow* {
    const auto it = part.rows.jobs.find(job);
    return it == part.rows.jobs.end() ? nullptr : &it->second;
  };
  const JobRow* row = in(part_);
  for (auto part = full_.rbegin(); row == nullptr && part != full_.rend(); ++part) row = in(*part);
  return row;
}

const TokenRow* Ledger::find_token(const std::string& owner, const std::string& token) const {
  const auto in = [key = std::pair(owner, token)](const Part& part) -> const TokenRow* {
    const auto it = part.rows.tokens.find(key);
    return it == part.rows.tokens.end() ? nullptr : &it->second;
  };
  const TokenRow* row = in(part_);
  for (auto part = full_.rbegin(); row == nullptr && part != full_.rend(); ++part) row = in(*part);
  return row;
}

JobId Ledger::last_job_of(const std::string& owner) const {
  JobId last;
  const auto look = [&](const Part& part) {
    for (const auto& [id, row] : part.rows.jobs) {
      if (row.owner == owner) last = std::max(last, id);
    }
  };
  for (const Part& part : full_) look(part);
  look(part_);
  return last;
}

template <class Write>
Result<void> Ledger::with_ballast(store::Store& store, Write write) {
  Result<void> written = write();
  if (written || written.error().code != Errc::DiskFull) return written;
  if (!store.release_ballast())
    return fail(std::move(written.error()), "the disk is full and the ballast is gone");
  draining_ = true;
  written = write();
  if (!written) return fail(std::move(written.error()), "the disk is full, second attempt");
  return written;
}

Result<void> Ledger::append(store::Store& store, const Part& part, const RowChanges& rows,
                            Seq applied) {
  const SealedBatch sealed = store.seal_alone(part.batch);
  TRY(with_ballast(store, [&] { return store.append(sealed, part.batch, rows, applied); }));
  durable_ = sealed.end.seq;
  applied_ = applied;
  return {};
}

/// The whole turn. False: its rows are in the journal alone.
Result<bool> Ledger::write_part(store::Store& store) {
  const Seq end = queue_.last_seq();
  part_.rows.tasks.sort();
  if (part_.rows.is_progress()) {
    TRY(append(store, part_, deferred_.ahead(), applied_));
    deferred_.written_ahead();
    return false;
  }
  if (!part_.rows.archived.empty()) TRY(bring_up(store));  // It moves rows that must be there.
  if (!deferred_.empty()) deferred_.all().merge(part_.rows);
  TRY(append(store, part_, deferred_.empty() ? part_.rows : deferred_.all(), end));
  deferred_.clear();
  return true;
}

/// A large turn: each part with its own rows, which may need those of the one before.
Result<void> Ledger::write_parts(store::Store& store) {
  TRY(bring_up(store));
  close_part();
  for (Part& part : full_) {
    TRY(append(store, part, part.rows, part.batch.back().seq));
    part_.batch.insert(part_.batch.end(), std::make_move_iterator(part.batch.begin()),
                       std::make_move_iterator(part.batch.end()));
    part_.rows.merge(std::move(part.rows));
  }
  full_.clear();
  return {};
}

Result<Ledger::Written> Ledger::write(store::Store& store) {
  bool in_tables = true;
  if (!full_.empty()) {
    TRY(write_parts(store));
  } else if (!part_.batch.empty()) {
    in_tables = TRY(write_part(store));
  }
  Part part = std::exchange(part_, {});
  return Written{std::move(part.batch), std::move(part.rows), std::exchange(held_, {}), durable_,
                 in_tables};
}

Result<void> Ledger::write_shipped(store::Store& store, Replication& others) {
  close_part();
  for (Part& part : full_) {
    const SealedBatch sealed = store.seal(part.batch, part.rows);
    others.ship(sealed);  // In parallel with our own fsync.
    const RowChanges& ahead = deferred_.ahead();
    TRY(with_ballast(store, [&] { return store.append(sealed, part.batch, ahead, applied_); }));
    deferred_.written_ahead();
    others.written(sealed.end);
    shipped_.push_back(std::move(part));
  }
  full_.clear();
  return {};
}

Result<Ledger::Written> Ledger::settle(store::Store& store) {
  Written written;
  for (Part& part : std::exchange(shipped_, {})) {
    // It moves rows that must be there.
    if (!part.rows.archived.empty()) TRY(bring_up(store));
    durable_ = part.batch.back().seq;
    defer(part.rows);
    written.entries.insert(written.entries.end(), std::make_move_iterator(part.batch.begin()),
                           std::make_move_iterator(part.batch.end()));
    written.rows.merge(std::move(part.rows));
  }
  written.held = std::exchange(held_, {});
  written.upto = durable_;
  return written;
}

// --- Behind the journal --------------------------------------------------------------------------

void Ledger::defer(RowChanges rows) {
  deferred_.add(std::move(rows), applied_, at_);
}

Result<void> Ledger::bring_up(store::Store& store) {
  if (applied_ == durable_) return {};
  TRY(with_ballast(store, [&] { return store.flush(deferred_.all(), durable_); }));
  applied_ = durable_;
  deferred_.clear();
  return {};
}

}  // namespace capstan::api
