// SPDX-License-Identifier: MIT
//
// The shapes that others store as well.
#include <algorithm>

#include "common/wire/model_fields.h"

namespace capstan::wire {
namespace {

/// Of a string or list head, or of any number.
constexpr std::size_t kHeadBytes = 9;

std::size_t strings_bound(const std::vector<Bytes>& strings) {
  std::size_t sum = kHeadBytes;
  for (const Bytes& s : strings) sum += kHeadBytes + s.size();
  return sum;
}

}  // namespace

void put(Writer& w, const AttemptKey& key) {
  put_record(w, key);
}

void put(Writer& w, const std::vector<AttemptKey>& keys) {
  put_field(w, runs_of(keys));
}

void put(Writer& w, const JobSpec& spec) {
  put_record(w, spec);
}
void put(Writer& w, const AttemptResult& result) {
  put_record(w, result);
}
void put(Writer& w, const JobCounts& counts) {
  put_record(w, counts);
}
void put(Writer& w, const std::vector<IndexRange>& ranges) {
  put_field(w, ranges);
}
void put(Writer& w, const Generation& generation) {
  put_record(w, generation);
}
void put(Writer& w, const Uuid& id) {
  w.bin({reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()});
}

void get(Reader& r, AttemptKey& key) {
  get_record(r, key);
}

void get(Reader& r, std::vector<AttemptKey>& keys) {
  std::vector<AttemptRun> runs;
  get_field(r, runs);
  std::uint64_t count = 0;
  for (const AttemptRun& run : runs) count += run.count;
  if (count > limits::kKeysPerList) r.set_error("a list is too long");
  if (r.ok()) keys = keys_of(runs);
}

void get(Reader& r, JobSpec& spec) {
  get_record(r, spec);
}
void get(Reader& r, AttemptResult& result) {
  get_record(r, result);
}
void get(Reader& r, JobCounts& counts) {
  get_record(r, counts);
}
void get(Reader& r, std::vector<IndexRange>& ranges) {
  get_field(r, ranges);
}
void get(Reader& r, Generation& generation) {
  get_record(r, generation);
}
void get(Reader& r, Uuid& id) {
  const std::string_view bytes = r.bin(id.bytes.size());
  if (bytes.size() != id.bytes.size()) return r.set_error("an id has the wrong length");
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
}

// Sums of what is long; kEnvelopeBytes holds any struct's numbers and heads.

std::size_t size_bound(const JobSpec& spec) {
  std::size_t sum = kEnvelopeBytes + spec.name.size() + spec.cwd.size() + strings_bound(spec.argv);
  for (const EnvVar& var : spec.env) sum += 3 * kHeadBytes + var.name.size() + var.value.size();
  return sum + spec.indices.size() * 4 * kHeadBytes;
}

std::size_t size_bound(const AttemptResult& result) {
  return kEnvelopeBytes + limits::kReasonBytes + result.stdout_tail.size() +
         result.stderr_tail.size();
}

std::size_t size_bound(const msg::JobView& job) {
  return 2 * kEnvelopeBytes + job.name.size() + job.owner.size() + job.command.size() +
         std::min(job.reason.size() * 4, limits::kWordsBytes);
}

std::size_t size_bound(const msg::TaskView& task) {
  return kEnvelopeBytes + task.worker.size() +
         std::min(task.reason.size() * 4, limits::kReasonBytes);
}

std::size_t size_bound(const msg::TaskEnded& ended) {
  return size_bound(ended.view) + 3 * kHeadBytes + ended.stdout_tail.size() +
         ended.stderr_tail.size();
}

std::size_t size_bound(const msg::WorkerView& worker) {
  return kEnvelopeBytes + worker.name.size() + worker.version.size() + worker.address.size() +
         std::min(worker.note.size() * 4, limits::kWordsBytes);
}

}  // namespace capstan::wire
