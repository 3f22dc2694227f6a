// SPDX-License-Identifier: MIT
#include "worker/core/pair_codec.h"

#include <algorithm>
#include <concepts>
#include <span>
#include <utility>

#include "common/base/check.h"
#include "common/base/little_endian.h"
#include "common/model/limits.h"

namespace capstan::pair {

namespace {

using wire::Reader;
using wire::Writer;

constexpr std::size_t kLengthBytes = 4;
// Of Runs that say nothing but their keys, whose tasks follow each other: [job, attempt, first
// task, how many].
constexpr std::size_t kGroupFields = 4;
constexpr std::size_t kRunFields = 5;

void put(Writer& w, TimePoint t) {
  w.i64(t.us);
}
void get(Reader& r, TimePoint& t) {
  t.us = r.i64();
}

Stream get_stream(Reader& r) {
  return static_cast<Stream>(r.u64(1));
}
std::string get_text(Reader& r) {
  return std::string(r.bin(limits::kPairFrameBytes));
}

void put(Writer& w, const Bytes& text) {
  w.bin(text);
}
void get(Reader& r, Bytes& text) {
  text = get_text(r);
}

void put(Writer& w, const std::vector<Run>& runs);
void get(Reader& r, std::vector<Run>& runs);

template <class One>
void put(Writer& w, const std::vector<One>& list) {
  w.array(list.size());
  for (const One& one : list) put(w, one);
}
template <class One>
void get(Reader& r, std::vector<One>& list) {
  const std::size_t count = r.array_up_to(limits::kPairFrameBytes);
  list.reserve(std::min(count, limits::kHeldPerWorker));
  for (std::size_t i = 0; i < count && r.ok(); ++i) get(r, list.emplace_back());
}

void put(Writer& w, const std::vector<EnvVar>& variables) {
  w.array(variables.size() * 2);
  for (const EnvVar& variable : variables) {
    w.bin(variable.name);
    w.bin(variable.value);
  }
}
void get(Reader& r, std::vector<EnvVar>& variables) {
  const std::size_t count = r.array_up_to(limits::kPairFrameBytes) / 2;
  for (std::size_t i = 0; i < count && r.ok(); ++i) {
    EnvVar& variable = variables.emplace_back();
    variable.name = get_text(r);
    variable.value = get_text(r);
  }
}

// Each message: how many fields, and which. The order is the order of pair.h.
template <class M>
concept IsOneList =
    std::same_as<M, Spooled> || std::same_as<M, Ended> || std::same_as<M, Returned> ||
    std::same_as<M, Runs> || std::same_as<M, Recall> || std::same_as<M, Acked>;

template <IsOneList M>
void write(Writer& w, const M& m) {
  const auto& [list] = m;
  w.array(1);
  put(w, list);
}
template <IsOneList M>
void read(Reader& r, M& m) {
  auto& [list] = m;
  r.array(1);
  get(r, list);
}

void write(Writer& w, const State& m) {
  w.array(9);
  wire::put(w, m.instance);
  w.u64(m.cpus);
  w.u64(m.mem_bytes);
  wire::put(w, m.generation);
  w.u64(m.epoch.value);
  w.boolean(m.leaving);
  w.boolean(m.disk_full);
  w.array(m.held.size());
  for (const Held& held : m.held) {
    w.array(3);
    wire::put(w, held.key);
    w.boolean(held.started);
    put(w, held.started_at);
  }
  w.array(m.jobs.size());
  for (const JobId job : m.jobs) w.u64(job.value);
}
void read(Reader& r, State& m) {
  r.array(9);
  wire::get(r, m.instance);
  m.cpus = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  m.mem_bytes = r.u64();
  wire::get(r, m.generation);
  m.epoch = Epoch(r.u64());
  m.leaving = r.boolean();
  m.disk_full = r.boolean();
  const std::size_t count = r.array_up_to(limits::kPairFrameBytes);
  for (std::size_t i = 0; i < count && r.ok(); ++i) {
    Held& held = m.held.emplace_back();
    r.array(3);
    wire::get(r, held.key);
    held.started = r.boolean();
    get(r, held.started_at);
  }
  const std::size_t jobs = r.array_up_to(limits::kPairFrameBytes);
  for (std::size_t i = 0; i < jobs && r.ok(); ++i) m.jobs.push_back(JobId(r.u64()));
}

void write(Writer& w, const Synced&) {
  w.array(0);
}
void read(Reader& r, Synced&) {
  r.array(0);
}

void write(Writer& w, const StartedAt& m) {
  w.array(2);
  wire::put(w, m.key);
  put(w, m.at);
}
void read(Reader& r, StartedAt& m) {
  r.array(2);
  wire::get(r, m.key);
  get(r, m.at);
}

void write(Writer& w, const OutputGrew& m) {
  w.array(3);
  wire::put(w, m.key);
  w.u64(static_cast<std::uint64_t>(m.stream));
  w.u64(m.total);
}
void read(Reader& r, OutputGrew& m) {
  r.array(3);
  wire::get(r, m.key);
  m.stream = get_stream(r);
  m.total = r.u64();
}

void write(Writer& w, const Notice& m) {
  w.array(2);
  w.boolean(m.leaving);
  w.boolean(m.disk_full);
}
void read(Reader& r, Notice& m) {
  r.array(2);
  m.leaving = r.boolean();
  m.disk_full = r.boolean();
}

void write(Writer& w, const AllDone&) {
  w.array(0);
}
void read(Reader& r, AllDone&) {
  r.array(0);
}

void put(Writer& w, const RunSettings& settings) {
  w.array(6);
  w.bin(settings.cwd);
  w.u64(settings.cpus);
  w.i64(settings.time_limit.count());
  w.i64(settings.stall_limit.count());
  w.u64(settings.mem_bytes);
  w.i64(settings.nice);
}
void get(Reader& r, RunSettings& settings) {
  r.array(6);
  settings.cwd = get_text(r);
  settings.cpus = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  settings.time_limit = Micros(r.i64(0));
  settings.stall_limit = Micros(r.i64(0));
  settings.mem_bytes = r.u64();
  settings.nice = static_cast<std::int32_t>(r.i64(limits::kNiceMin, limits::kNiceMax));
}

void write(Writer& w, const JobTemplate& m) {
  w.array(7);
  w.u64(m.job.value);
  put(w, m.settings);
  put(w, m.argv);
  put(w, m.env);
  w.bin(m.script);
  w.boolean(m.has_stdin);
  w.bin(m.stdin_data);
}
void read(Reader& r, JobTemplate& m) {
  r.array(7);
  m.job = JobId(r.u64());
  get(r, m.settings);
  get(r, m.argv);
  get(r, m.env);
  m.script = get_text(r);
  m.has_stdin = r.boolean();
  m.stdin_data = get_text(r);
}

void write(Writer& w, const ForgetJob& m) {
  w.array(1);
  w.u64(m.job.value);
}
void read(Reader& r, ForgetJob& m) {
  r.array(1);
  m.job = JobId(r.u64());
}

void put(Writer& w, const Run& run) {
  w.array(kRunFields);
  wire::put(w, run.key);
  put(w, run.argv);
  w.array(run.input ? 1 : 0);
  if (run.input) w.bin(*run.input);
  for (const SparseText& file : run.files) w.bin(file);
}
/// Behind its array's head.
void get(Reader& r, Run& run) {
  wire::get(r, run.key);
  get(r, run.argv);
  if (r.array_up_to(1) > 0) run.input = get_text(r);
  for (SparseText& file : run.files) file = get_text(r);
}

/// It says nothing but its key.
bool is_plain(const Run& run) {
  return run.argv.empty() && !run.input && run.files[0].empty() && run.files[1].empty();
}

/// What is said together with this one.
AttemptRun group_at(const std::vector<Run>& runs, std::size_t at) {
  const AttemptKey& key = runs[at].key;
  AttemptRun group{key.job, key.attempt, key.task};
  if (!is_plain(runs[at])) return group;
  while (++at < runs.size() && is_plain(runs[at]) && extend(group, runs[at].key)) {}
  return group;
}

void put(Writer& w, const std::vector<Run>& runs) {
  std::size_t groups = 0;
  for (std::size_t at = 0; at < runs.size(); at += group_at(runs, at).count) ++groups;
  w.array(groups);
  for (std::size_t at = 0; at < runs.size();) {
    const AttemptRun group = group_at(runs, at);
    if (is_plain(runs[at])) {
      w.array(kGroupFields);
      w.u64(group.job.value);
      w.u64(group.attempt.value);
      w.u64(group.first.value);
      w.u64(group.count);
    } else {
      put(w, runs[at]);
    }
    at += group.count;
  }
}

void get(Reader& r, std::vector<Run>& runs) {
  const std::size_t groups = r.array_up_to(limits::kKeysPerList);
  for (std::size_t i = 0; i < groups && r.ok(); ++i) {
    if (runs.size() == limits::kKeysPerList) return r.set_error("more runs than a frame has");
    const std::size_t fields = r.array_up_to(kRunFields);
    if (fields == kRunFields) {
      get(r, runs.emplace_back());
      continue;
    }
    if (fields != kGroupFields) return r.set_error("runs that are none");
    AttemptKey key{JobId(r.u64()), {}, AttemptNo(static_cast<std::uint32_t>(r.u64(UINT32_MAX)))};
    key.task = TaskIndex(static_cast<std::uint32_t>(r.u64(UINT32_MAX)));
    const std::uint64_t count = r.u64(limits::kKeysPerList - runs.size());
    if (count == 0 || count - 1 > UINT32_MAX - key.task.value)
      return r.set_error("runs that are none");
    for (std::uint64_t n = 0; n < count; ++n) {
      runs.push_back({.key = key});
      ++key.task.value;
    }
  }
}

void write(Writer& w, const Unrunnable& m) {
  w.array(2);
  wire::put(w, m.key);
  w.bin(m.reason);
}
void read(Reader& r, Unrunnable& m) {
  r.array(2);
  wire::get(r, m.key);
  m.reason = get_text(r);
}

void write(Writer& w, const Cancel& m) {
  w.array(2);
  w.u64(static_cast<std::uint64_t>(m.why));
  put(w, m.keys);
}
void read(Reader& r, Cancel& m) {
  r.array(2);
  m.why = static_cast<CancelWhy>(r.u64(static_cast<std::uint64_t>(CancelWhy::NotGranted)));
  get(r, m.keys);
}

void write(Writer& w, const Follow& m) {
  w.array(2);
  w.u64(m.job.value);
  w.boolean(m.on);
}
void read(Reader& r, Follow& m) {
  r.array(2);
  m.job = JobId(r.u64());
  m.on = r.boolean();
}

void write(Writer& w, const Delivered& m) {
  w.array(4);
  wire::put(w, m.key);
  w.u64(static_cast<std::uint64_t>(m.stream));
  w.u64(m.upto);
  w.boolean(m.last);
}
void read(Reader& r, Delivered& m) {
  r.array(4);
  wire::get(r, m.key);
  m.stream = get_stream(r);
  m.upto = r.u64();
  m.last = r.boolean();
}

void write(Writer& w, const Ready& m) {
  w.array(3);
  w.bin(m.name);
  wire::put(w, m.generation);
  w.u64(m.epoch.value);
}
void read(Reader& r, Ready& m) {
  r.array(3);
  m.name = get_text(r);
  wire::get(r, m.generation);
  m.epoch = Epoch(r.u64());
}

void write(Writer& w, const NewGeneration& m) {
  w.array(1);
  wire::put(w, m.generation);
}
void read(Reader& r, NewGeneration& m) {
  r.array(1);
  wire::get(r, m.generation);
}

void write(Writer& w, const Fatal& m) {
  w.array(2);
  w.i64(m.exit_code);
  w.bin(m.message);
}
void read(Reader& r, Fatal& m) {
  r.array(2);
  m.exit_code = static_cast<int>(r.i64(0, 255));
  m.message = get_text(r);
}

/// One message of this type behind its length.
template <class Write>
void frame(std::size_t type, std::string& out, Write write) {
  const std::size_t begin = out.size();
  out.append(kLengthBytes, '\0');
  Writer writer(out);
  writer.array(2);
  writer.u64(type);
  write(writer);
  writer.finish();
  const std::size_t length = out.size() - begin - kLengthBytes;
  CHECK(length <= limits::kPairFrameBytes);
  set_int(std::span(out).subspan(begin, kLengthBytes), length);
}

template <class Variant>
void encode_any(const Variant& message, std::string& out) {
  frame(message.index(), out, [&](Writer& writer) {
    std::visit([&writer](const auto& m) { write(writer, m); }, message);
  });
}

template <class Variant, std::size_t kIndex = 0>
void read_alternative(Reader& r, std::uint64_t type, Variant& message) {
  if constexpr (kIndex < std::variant_size_v<Variant>) {
    if (type == kIndex) {
      read(r, message.template emplace<kIndex>());
    } else {
      read_alternative<Variant, kIndex + 1>(r, type, message);
    }
  }
}

template <class Variant>
Result<Variant> decode_any(std::string_view payload) {
  Reader reader(payload);
  reader.array(2);
  const std::uint64_t type = reader.u64(std::variant_size_v<Variant> - 1);
  Variant message;
  if (reader.ok()) read_alternative(reader, type, message);
  if (!reader.finished()) {
    return fail(Errc::Corrupt, std::string("a message between shepherd and agent: ") +
                                   (reader.ok() ? "bytes left over" : reader.error()));
  }
  return message;
}

}  // namespace

void put(Writer& w, const SpoolItem& item) {
  w.array(6);
  wire::put(w, item.instance);
  wire::put(w, item.result);
  put(w, item.ended_at);
  w.boolean(item.acked);
  w.boolean(item.delivered[0]);
  w.boolean(item.delivered[1]);
}

void get(Reader& r, SpoolItem& item) {
  r.array(6);
  wire::get(r, item.instance);
  wire::get(r, item.result);
  get(r, item.ended_at);
  item.acked = r.boolean();
  item.delivered[0] = r.boolean();
  item.delivered[1] = r.boolean();
}

void encode_ended(std::size_t items, std::string_view written, std::string& out) {
  static const std::size_t kType = ToAgent(Ended{}).index();
  frame(kType, out, [&](Writer& writer) {
    writer.array(1);
    writer.array(items);
    writer.written(written);
  });
}

void encode(const ToAgent& message, std::string& out) {
  encode_any(message, out);
}
void encode(const ToShepherd& message, std::string& out) {
  encode_any(message, out);
}

Result<ToAgent> decode_to_agent(std::string_view payload) {
  return decode_any<ToAgent>(payload);
}
Result<ToShepherd> decode_to_shepherd(std::string_view payload) {
  return decode_any<ToShepherd>(payload);
}

Result<bool> Framer::next(std::string_view& payload) {
  const std::size_t available = buffer_.size() - at_;
  std::size_t length = 0;
  if (available >= kLengthBytes) {
    length = get_int(std::string_view(buffer_).substr(at_, kLengthBytes));
  }
  if (length > limits::kPairFrameBytes) {
    return fail(Errc::Corrupt, "a frame between shepherd and agent is too long");
  }
  if (available < kLengthBytes || available - kLengthBytes < length) {
    buffer_.erase(0, at_);
    at_ = 0;
    return false;
  }
  payload = std::string_view(buffer_).substr(at_ + kLengthBytes, length);
  at_ += kLengthBytes + length;
  return true;
}

void Framer::clear() {
  buffer_.clear();
  at_ = 0;
}

}  // namespace capstan::pair
