// SPDX-License-Identifier: MIT
//
// Each command names its fields once, in fields(); Out writes them and In reads them, so the two
// cannot differ.
#include "master/store/entry_codec.h"

#include <concepts>
#include <limits>
#include <type_traits>
#include <utility>

#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "common/wire/version.h"
#include "master/store/run_codec.h"
#include "master/store/store.h"

namespace capstan::store {
namespace {

using wire::Reader;
using wire::Writer;

// Of one string or list in an entry. Entries are cut at kBatchBytes; one that is larger alone may
// be a message's worth above it.
constexpr std::size_t kMaxBytes = limits::kFrameBytes;
constexpr std::size_t kMaxElements = limits::kFrameBytes;

template <class C, class T>
concept Is = std::same_as<std::remove_const_t<C>, T>;

template <class Io>
void fields(Io& io, Is<Asked> auto& c) {
  io(c.owner, c.request);
}
template <class Io>
void fields(Io& io, Is<IndexSpan> auto& c) {
  io(c.first, c.last);
}
template <class Io>
void fields(Io& io, Is<cmd::ReignBegan> auto& c) {
  io(c.node, c.note, c.jobs_skipped);
}
template <class Io>
void fields(Io& io, Is<cmd::SubmissionOpened> auto& c) {
  io(c.asked, c.id, c.token, c.digest, c.spec);
}
template <class Io>
void fields(Io& io, Is<cmd::InputsStaged> auto& c) {
  io(c.asked, c.id, c.part, c.first, c.count, c.chunk);
}
template <class Io>
void fields(Io& io, Is<cmd::JobSubmitted::Ended> auto& c) {
  io(c.job, c.state);
}
template <class Io>
void fields(Io& io, Is<cmd::JobSubmitted> auto& c) {
  io(c.asked, c.id, c.job, c.inputs, c.ended);
}
template <class Io>
void fields(Io& io, Is<cmd::SubmissionDropped> auto& c) {
  io(c.id);
}
template <class Io>
void fields(Io& io, Is<cmd::JobCancelled> auto& c) {
  io(c.asked, c.job, c.spans, c.last, c.reason);
}
template <class Io>
void fields(Io& io, Is<cmd::JobPaused> auto& c) {
  io(c.asked, c.job, c.last);
}
template <class Io>
void fields(Io& io, Is<cmd::JobResumed> auto& c) {
  io(c.asked, c.job, c.last);
}
template <class Io>
void fields(Io& io, Is<cmd::TasksRetried> auto& c) {
  io(c.asked, c.job, c.spans, c.states, c.last);
}
template <class Io>
void fields(Io& io, Is<cmd::JobReopened> auto& c) {
  io(c.job, c.owner, c.spec, c.submitted_at, c.started_at, c.runs, c.token, c.inputs, c.cancelling,
     c.launched, c.mean_wall, c.round, c.skipping, c.priority, c.reason);
}
template <class Io>
void fields(Io& io, Is<cmd::RequestAnswered> auto& c) {
  io(c.asked, c.code, c.reason);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkerEnrolled> auto& c) {
  io(c.worker, c.name, c.public_key);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkerJoined::Held> auto& c) {
  io(c.key, c.started);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkerJoined> auto& c) {
  io(c.worker, c.instance, c.cpus, c.version, c.address, c.note, c.held, c.spooled, c.leaving,
     c.disk_full, c.mem_bytes);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkerLost> auto& c) {
  io(c.worker, c.instance, c.reason);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkerNoticed> auto& c) {
  io(c.worker, c.instance, c.leaving, c.disk_full);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkerLeft> auto& c) {
  io(c.worker, c.instance);
}
template <class Io>
void fields(Io& io, Is<cmd::TasksAssigned> auto& c) {
  io(c.worker, c.job, c.attempt, c.tasks);
}
template <class Io>
void fields(Io& io, Is<cmd::TasksRecalled> auto& c) {
  io(c.worker, c.keys);
}
template <class Io>
void fields(Io& io, Is<cmd::TasksReturned> auto& c) {
  io(c.worker, c.instance, c.keys);
}
template <class Io>
void fields(Io& io, Is<cmd::TasksStarted::One> auto& c) {
  io(c.key, c.ago);
}
template <class Io>
void fields(Io& io, Is<cmd::TasksStarted> auto& c) {
  io(c.worker, c.instance, c.started);
}
template <class Io>
void fields(Io& io, Is<cmd::ResultsReported> auto& c) {
  io(c.worker, c.instance, c.results);
}
template <class Io>
void fields(Io& io, Is<cmd::BackoffsOver> auto& c) {
  io(c.job, c.tasks);
}
template <class Io>
void fields(Io& io, Is<cmd::JobReleased> auto& c) {
  io(c.job);
}
template <class Io>
void fields(Io& io, Is<cmd::JobPrioritised> auto& c) {
  io(c.asked, c.job, c.priority, c.last);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkersDrained> auto& c) {
  io(c.asked, c.workers, c.drained, c.reason);
}
template <class Io>
void fields(Io& io, Is<cmd::WorkersRemoved> auto& c) {
  io(c.asked, c.workers);
}
template <class Io>
void fields(Io& io, Is<cmd::KeyAdded> auto& c) {
  io(c.asked, c.name, c.public_key, c.role);
}
template <class Io>
void fields(Io& io, Is<cmd::KeyRevoked> auto& c) {
  io(c.asked, c.name, c.own);
}
template <class Io>
void fields(Io& io, Is<cmd::JobsDeleted::One> auto& c) {
  io(c.job, c.owner, c.token, c.inputs, c.tasks);
}
template <class Io>
void fields(Io& io, Is<cmd::JobsDeleted> auto& c) {
  io(c.asked, c.jobs, c.names_jobs, c.last, c.note);
}
template <class Io>
void fields(Io& io, Is<cmd::DeletionsSwept::Step> auto& c) {
  io(c.job, c.tasks_upto, c.inputs_upto, c.last);
}
template <class Io>
void fields(Io& io, Is<cmd::DeletionsSwept> auto& c) {
  io(c.steps);
}
template <class Io>
void fields(Io& io, Is<cmd::RequestsForgotten> auto& c) {
  io(c.upto);
}
template <class Io>
void fields(Io& io, Is<cmd::MinCopiesSet> auto& c) {
  io(c.copies);
}

/// Shapes that common/wire writes and reads.
template <class T>
concept OfWire = std::same_as<T, AttemptKey> || std::same_as<T, JobSpec> ||
    std::same_as<T, AttemptResult> || std::same_as<T, Uuid>;

class Out {
 public:
  explicit Out(Writer& writer) : writer_(writer) {}
  template <class... Field>
  void operator()(const Field&... field) {
    writer_.array(sizeof...(field));
    (one(field), ...);
  }
  void one(const std::string& v) { writer_.bin(v); }  // Nobody vouches for UTF-8 here.
  void one(std::uint64_t v) { writer_.u64(v); }
  void one(std::uint32_t v) { writer_.u64(v); }
  void one(bool v) { writer_.boolean(v); }
  void one(Errc v) { writer_.u64(static_cast<std::uint64_t>(v)); }
  void one(TaskState v) { writer_.u64(static_cast<std::uint64_t>(v)); }
  void one(JobState v) { writer_.u64(static_cast<std::uint64_t>(v)); }
  void one(std::int32_t v) { writer_.i64(v); }
  void one(Role v) { writer_.u64(static_cast<std::uint64_t>(v)); }
  void one(Micros v) { writer_.i64(v.count()); }
  void one(WallTime v) { writer_.i64(v.us); }
  void one(TimePoint v) { writer_.i64(v.us); }
  template <class Tag, class Rep>
  void one(const StrongId<Tag, Rep>& v) {
    writer_.u64(v.value);
  }
  void one(const Runs& runs) { writer_.bin(packed(runs)); }
  template <class T>
  void one(const std::vector<T>& list) {
    writer_.array(list.size());
    for (const T& v : list) one(v);
  }
  void one(const OfWire auto& v) { wire::put(writer_, v); }
  template <class T>
  void one(const T& v) {
    fields(*this, v);
  }

 private:
  Writer& writer_;
};

class In {
 public:
  explicit In(Reader& reader) : reader_(reader) {}
  template <class... Field>
  void operator()(Field&... field) {
    reader_.array(sizeof...(field));
    (one(field), ...);
  }
  void one(std::string& v) { v = reader_.bin(kMaxBytes); }
  void one(std::uint64_t& v) { v = reader_.u64(); }
  void one(std::uint32_t& v) { v = static_cast<std::uint32_t>(reader_.u64(UINT32_MAX)); }
  void one(bool& v) { v = reader_.boolean(); }
  void one(Errc& v) { v = static_cast<Errc>(reader_.u64(UINT8_MAX)); }
  void one(TaskState& v) {
    v = static_cast<TaskState>(reader_.u64(static_cast<std::uint64_t>(TaskState::Skipped)));
  }
  void one(JobState& v) {
    v = static_cast<JobState>(reader_.u64(static_cast<std::uint64_t>(JobState::Skipped)));
  }
  void one(std::int32_t& v) {
    const std::int64_t wide = reader_.i64();
    v = static_cast<std::int32_t>(wide);
    if (v != wide) reader_.set_error("a number is too large");
  }
  void one(Role& v) {
    v = static_cast<Role>(reader_.u64(static_cast<std::uint64_t>(Role::Witness)));
  }
  void one(Micros& v) { v = Micros(reader_.i64()); }
  void one(WallTime& v) { v.us = reader_.i64(); }
  void one(TimePoint& v) { v.us = reader_.i64(); }
  template <class Tag, class Rep>
  void one(StrongId<Tag, Rep>& v) {
    v.value = static_cast<Rep>(reader_.u64(std::numeric_limits<Rep>::max()));
  }
  void one(Runs& runs) {
    if (!unpack(reader_.bin(kMaxBytes), runs)) reader_.set_error("runs of tasks that are none");
  }
  template <class T>
  void one(std::vector<T>& list) {
    const std::size_t count = reader_.array_up_to(kMaxElements);
    list.reserve(count);
    for (std::size_t i = 0; i < count && reader_.ok(); ++i) one(list.emplace_back());
  }
  void one(OfWire auto& v) { wire::get(reader_, v); }
  template <class T>
  void one(T& v) {
    fields(*this, v);
  }

 private:
  Reader& reader_;
};

template <std::size_t... I>
void make_command(Command& command, std::size_t index, std::index_sequence<I...> /*all*/) {
  static_cast<void>(((index == I ? (command.emplace<I>(), true) : false) || ...));
}

Result<Entry> read_entry(Reader& reader) {
  Entry entry;
  reader.array(7);
  In in(reader);
  in.one(entry.seq);
  in.one(entry.epoch);
  entry.at.us = reader.i64();
  in.one(entry.wall);
  in.one(entry.level);
  const std::uint64_t number = reader.u64();
  if (reader.ok() && entry.level > kEntryLevel) {
    return fail(Errc::TooNew, "entry " + std::to_string(entry.seq.value) + " has level " +
                                  std::to_string(entry.level) + ", this program knows up to " +
                                  std::to_string(kEntryLevel) + ": start the newer capstan-master");
  }
  constexpr std::size_t kCommands = std::variant_size_v<Command::variant>;
  if (reader.ok() && (number < 1 || number > kCommands)) reader.set_error("an unknown command");
  if (!reader.ok()) return fail(Errc::Corrupt, std::string("entry: ") + reader.error());
  make_command(entry.command, number - 1, std::make_index_sequence<kCommands>());
  std::visit([&in](auto& command) { fields(in, command); }, entry.command);
  if (!reader.ok()) {
    return fail(Errc::Corrupt, "entry " + std::to_string(entry.seq.value) + ", command " +
                                   std::to_string(number) + ": " + reader.error());
  }
  return entry;
}

}  // namespace

void append_entry(std::string& bytes, const Entry& entry) {
  Writer writer(bytes);
  writer.array(7);
  writer.u64(entry.seq.value);
  writer.u64(entry.epoch.value);
  writer.i64(entry.at.us);
  writer.i64(entry.wall.us);
  writer.u64(entry.level);
  writer.u64(entry.command.index() + 1);
  Out out(writer);
  std::visit([&out](const auto& command) { fields(out, command); }, entry.command);
  writer.finish();
}

std::string encode_entries(const std::vector<Entry>& entries) {
  std::string bytes;
  Writer writer(bytes);
  writer.array(entries.size());
  writer.finish();
  for (const Entry& entry : entries) append_entry(bytes, entry);
  return bytes;
}

Result<std::vector<Entry>> decode_entries(std::string_view blob) {
  Reader reader(blob);
  const std::size_t count = reader.array_up_to(kMaxElements);
  std::vector<Entry> entries;
  entries.reserve(reader.ok() ? count : 0);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    entries.push_back(TRY(read_entry(reader)));
  }
  if (!reader.finished()) {
    return fail(Errc::Corrupt,
                std::string("entries: ") + (reader.ok() ? "bytes left over" : reader.error()));
  }
  return entries;
}

Result<std::vector<Entry>> open_batch(const JournalEnd& before, const SealedBatch& sealed) {
  const auto wrong = [&sealed](const char* how) {
    return fail(Errc::Corrupt, "the batch at entry " + std::to_string(sealed.first.value) + how);
  };
  if (sealed.first != before.seq.next()) {
    return wrong((" does not follow entry " + std::to_string(before.seq.value)).c_str());
  }
  if (chained_digest(before.chain, sealed.entries) != sealed.end.chain) {
    return wrong(" is not what was written (its hash differs)");
  }
  std::vector<Entry> entries = TRY(decode_entries(sealed.entries));
  if (entries.empty() || sealed.end.epoch < before.epoch) return wrong(" does not fit");
  Seq expected = sealed.first;
  TimePoint at = entries.front().at;
  for (const Entry& entry : entries) {
    if (entry.seq != expected) return wrong(" has a gap");
    if (entry.epoch != sealed.end.epoch) return wrong(" has entries of several epochs");
    if (entry.at < at) return wrong(" runs back in time");
    expected = expected.next();
    at = entry.at;
  }
  if (expected != sealed.end.seq.next()) return wrong(" is cut off");
  if (entries.back().wall != sealed.wall) return wrong(" has another time than its last entry");
  return entries;
}

std::string encode_spec(const JobSpec& spec) {
  std::string bytes;
  Writer writer(bytes);
  wire::put(writer, spec);
  writer.finish();
  return bytes;
}

Result<JobSpec> decode_spec(std::string_view blob) {
  Reader reader(blob);
  JobSpec spec;
  wire::get(reader, spec);
  if (!reader.finished()) {
    return fail(Errc::Corrupt,
                std::string("template: ") + (reader.ok() ? "bytes left over" : reader.error()));
  }
  return spec;
}

std::string encode_inputs(const std::vector<Bytes>& inputs) {
  std::string bytes;
  Writer writer(bytes);
  writer.array(inputs.size());
  for (const Bytes& input : inputs) writer.bin(input);
  writer.finish();
  return bytes;
}

Result<std::vector<Bytes>> decode_inputs(std::string_view chunk) {
  Reader reader(chunk);
  const std::size_t count = reader.array_up_to(chunk.size());
  std::vector<Bytes> inputs;
  inputs.reserve(reader.ok() ? count : 0);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    inputs.emplace_back(reader.bin(limits::kInputBytes));
  }
  if (!reader.finished()) {
    return fail(Errc::Corrupt,
                std::string("inputs: ") + (reader.ok() ? "bytes left over" : reader.error()));
  }
  return inputs;
}

}  // namespace capstan::store
