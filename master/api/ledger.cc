// SPDX-License-Identifier: MIT
//
// Stamping, applying, writing. See ledger.h.
#include "master/api/ledger.h"

#include <algorithm>

#include "common/model/limits.h"

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
    return spec_bytes(c.spec) + c.runs.size() * 12;
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
  batch_bytes_ += approximate_bytes(command);
  batch_.push_back(Entry{.seq = queue_.last_seq().next(),
                         .epoch = epoch_,
                         .at = at_,
                         .wall = wall_,
                         .level = limits::kEntryLevel,
                         .command = std::move(command)});
  queue_.apply(batch_.back(), effects_, rows_);
  for (Effect& effect : effects_) held_.emplace_back(std::move(effect));
  effects_.clear();
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
  return batch_.size() >= limits::kEntriesPerBatch / 2 || batch_bytes_ >= limits::kBatchBytes / 4;
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

/// The batch in parts; `rows` with the last one, when they go into the tables at all.
Result<void> Ledger::append(store::Store& store, const RowChanges& rows, bool in_tables) {
  std::size_t begin = 0;
  while (begin < batch_.size()) {
    std::size_t end = begin;
    std::size_t bytes = 0;
    while (end < batch_.size() && end - begin < limits::kEntriesPerBatch) {
      const std::size_t more = approximate_bytes(batch_[end].command);
      if (end > begin && bytes + more > limits::kBatchBytes) break;
      bytes += more;
      ++end;
    }
    const bool last = end == batch_.size();
    const bool with_rows = last && in_tables;
    if (with_rows) applied_ = batch_.back().seq;
    const auto put = [&](const store::Batch& part) {
      return with_ballast(
          store, [&] { return store.append(part, with_rows ? rows : RowChanges{}, applied_); });
    };
    if (begin == 0 && last) {  // Nearly always: no copy.
      TRY(put(batch_));
    } else {
      TRY(put(store::Batch(batch_.begin() + static_cast<std::ptrdiff_t>(begin),
                           batch_.begin() + static_cast<std::ptrdiff_t>(end))));
    }
    durable_ = batch_[end - 1].seq;
    begin = end;
  }
  return {};
}

Result<Ledger::Written> Ledger::write(store::Store& store) {
  const bool in_tables = !rows_.is_progress();
  if (!in_tables || deferred_.empty()) {
    TRY(append(store, rows_, in_tables));
  } else if (!rows_.archived.empty()) {  // It moves rows that must be there.
    TRY(bring_up(store));
    TRY(append(store, rows_, true));
  } else {
    deferred_.merge(rows_);
    TRY(append(store, deferred_, true));
  }
  if (in_tables) forget_deferred();
  Written written{std::exchange(batch_, {}), std::exchange(rows_, {}), std::exchange(held_, {}),
                  durable_, in_tables};
  batch_bytes_ = 0;
  return written;
}

// --- Behind the journal --------------------------------------------------------------------------

void Ledger::defer(RowChanges rows) {
  for (const auto& [key, row] : rows.tasks)
    deferred_bytes_ += row.reason.size() + row.stdout_tail.size() + row.stderr_tail.size();
  deferred_.merge(std::move(rows));
  const bool is_much = deferred_.tasks.size() >= limits::kDeferredRows ||
                       deferred_.attempts.size() >= limits::kDeferredRows ||
                       deferred_bytes_ >= limits::kDeferredBytes;
  deferred_due_ = std::min(deferred_due_, is_much ? at_ : at_ + Micros(limits::kIdleFlush));
}

void Ledger::forget_deferred() {
  deferred_ = {};
  deferred_bytes_ = 0;
  deferred_due_ = TimePoint::never();
}

Result<void> Ledger::bring_up(store::Store& store) {
  if (applied_ == durable_) return {};
  TRY(with_ballast(store, [&] { return store.flush(deferred_, durable_); }));
  applied_ = durable_;
  forget_deferred();
  return {};
}

}  // namespace capstan::api
