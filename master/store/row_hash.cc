// SPDX-License-Identifier: MIT
#include "master/store/row_hash.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "master/store/entry_codec.h"

namespace capstan::store {
namespace {

static_assert(std::endian::native == std::endian::little);

// Integers little-endian in the width of their type, strings as their length (8 bytes) and bytes,
// lists as their length and elements; each row behind a letter for its table.
class Bytestream {
 public:
  template <class... Field>
  Bytestream& row(char table, const Field&... field) {
    one(table);
    (one(field), ...);
    return *this;
  }
  [[nodiscard]] std::string_view bytes() const { return std::string_view(buffer_).substr(0, at_); }
  template <class... Field>
  void more(const Field&... field) {
    (one(field), ...);
  }

 private:
  static constexpr std::size_t kFirst = 4096;

  void raw(const void* bytes, std::size_t count) {
    if (buffer_.size() - at_ < count) buffer_.resize(std::max(2 * buffer_.size(), at_ + count));
    std::memcpy(buffer_.data() + at_, bytes, count);
    at_ += count;
  }
  template <class T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void one(T v) { raw(&v, sizeof v); }
  void one(std::string_view v) {
    one(v.size());
    raw(v.data(), v.size());
  }
  void one(const Uuid& v) { raw(v.bytes.data(), v.bytes.size()); }
  void one(WallTime v) { one(v.us); }
  void one(TimePoint v) { one(v.us); }
  void one(Micros v) { one(v.count()); }
  template <class Tag, class Rep>
  void one(const StrongId<Tag, Rep>& v) {
    one(v.value);
  }
  template <class T>
  void one(const std::vector<T>& list) {
    one(list.size());
    for (const T& v : list) one(v);
  }

  std::string buffer_ = std::string(kFirst, '\0');  // Filled up to at_.
  std::size_t at_ = 0;
};

void add(Bytestream& out, const JobRow& row, bool is_new) {
  out.row('j', row.id, row.owner, row.token, row.state, row.paused, row.cancelling, row.tasks);
  const JobCounts& c = row.counts;
  out.more(c.waiting, c.ready, c.running, c.backoff, c.succeeded, c.failed, c.cancelled, c.skipped);
  out.more(row.submitted_at, row.started_at, row.finished_at, row.reason, row.excluded);
  out.more(row.launched, row.mean_wall, row.inputs);
  out.more(row.skipping, row.awaits_begin, row.waits_for, row.priority);
  if (is_new && row.spec != nullptr) out.more(encode_spec(*row.spec));
}

void add(Bytestream& out, const std::pair<JobId, TaskIndex>& key, const TaskRow& row) {
  out.row('t', key.first, key.second, row.state, row.attempt, row.attempts, row.worker,
          row.instance, row.round, row.failures, row.losses);
  out.more(row.cancelling, row.recalled, row.number_free, row.ready_at, row.assigned_at,
           row.started_at, row.finished_at, row.ended, row.finished_seq, row.reason);
  if (!row.ended) return;
  out.more(row.end, row.exit_code, row.signal, row.wall, row.cpu, row.max_rss_bytes,
           row.stdout_bytes, row.stderr_bytes, row.stdout_tail, row.stderr_tail);
}

void add(Bytestream& out, const AttemptKey& key, const AttemptRow& row) {
  out.row('a', key.job, key.task, key.attempt, row.worker, row.instance, row.round, row.assigned_at,
          row.started_at, row.ended_at, row.end, row.late);
  out.more(row.exit_code, row.signal, row.reason, row.wall, row.cpu, row.max_rss_bytes,
           row.stdout_bytes, row.stderr_bytes, row.stdout_tail, row.stderr_tail);
}

void add(Bytestream& out, WorkerId id, const WorkerRow& row) {
  out.row('w', id, row.name, row.public_key, row.instance, row.cpus, row.version, row.address,
          row.note, row.present, row.leaving, row.disk_full, row.joined_at, row.left_at,
          row.left_reason);
  out.more(row.mem_bytes, row.drained, row.drained_by, row.drain_reason, row.removed);
}

void add(Bytestream& out, SubmissionId id, const SubmissionRow& row) {
  out.row('s', id, row.asked.owner, row.asked.request, row.token, row.digest, row.opened_at,
          row.parts, row.inputs);
}

/// Ids are given in order: what is new in a batch is from the first one on that it submits.
JobId first_submitted(const std::vector<Entry>& batch) {
  for (const Entry& entry : batch) {
    if (const auto* submitted = std::get_if<cmd::JobSubmitted>(&entry.command)) {
      return submitted->job;
    }
  }
  return JobId(UINT64_MAX);
}

}  // namespace

Digest hash_rows(const Digest& before, const std::vector<Entry>& batch, const RowChanges& changes) {
  if (changes.empty()) return before;
  const JobId first_new = first_submitted(batch);
  Bytestream out;
  for (const auto& [job, span] : changes.archived) out.row('A', job, span.first, span.last);
  for (const auto& [id, row] : changes.deleted) out.row('d', id, row.owner, row.token, row.inputs);
  for (const auto& [id, row] : changes.jobs) add(out, row, id >= first_new);
  for (const auto& [key, row] : changes.tasks) add(out, key, *row);
  for (const auto& [key, row] : changes.attempts) {
    if (row)
      add(out, key, *row);
    else
      out.row('-', key.job, key.task, key.attempt);
  }
  for (const auto& [id, row] : changes.workers) add(out, id, row);
  for (const auto& [key, row] : changes.keys) {
    out.row('K', key, row.name, row.role, row.added_at, row.added_by, row.revoked_at,
            row.revoked_by);
  }
  for (const auto& [asked, row] : changes.requests) {
    out.row('r', asked.owner, asked.request, row.at, row.steady_at, row.code, row.reason, row.jobs,
            row.tasks, row.submission);
  }
  for (const auto& [key, row] : changes.tokens) {
    out.row('k', key.first, key.second, row.job, row.digest, row.tasks, row.at);
  }
  for (const auto& [id, row] : changes.submissions) {
    if (row)
      add(out, id, *row);
    else
      out.row('-', id);
  }
  for (const auto& [key, row] : changes.inputs) {
    out.row('i', key.first, key.second, row.count, row.chunk);
  }
  for (const SubmissionId id : changes.inputs_dropped) out.row('D', id);
  for (const SweptRow& row : changes.swept) {
    out.row('S', row.job, row.inputs, row.tasks_upto, row.inputs_upto, row.last);
  }
  if (changes.requests_forgotten != TimePoint{}) out.row('f', changes.requests_forgotten);
  if (changes.next_job) out.row('n', changes.next_job);
  if (changes.min_copies != 0) out.row('c', changes.min_copies);
  return chained_digest(before, out.bytes());
}

}  // namespace capstan::store
