// SPDX-License-Identifier: MIT
//
// The fields of the model's structs as they are sent and stored (fields.h). Internal to
// common/wire.
//
// Rule for change: append only, together with a new kProtocol and a new kEntryLevel.
#pragma once

#include "common/model/limits.h"
#include "common/model/member.h"
#include "common/model/parse.h"
#include "common/wire/fields.h"

namespace capstan::wire {

auto fields(Shape, Is<AttemptKey> auto& m) {
  return all(m.job, m.task, m.attempt);
}

auto fields(Shape, Is<AttemptRun> auto& m) {
  return all(m.job, m.attempt, m.first, m.count);
}

auto fields(Shape, Is<IndexRange> auto& m) {
  return all(m.first, m.last, m.step);
}

auto fields(Shape, Is<EnvVar> auto& m) {
  return all(bin(m.name, limits::kTemplateBytes), bin(m.value, limits::kTemplateBytes));
}

auto fields(Shape, Is<JobSpec> auto& m) {
  return all(text(m.name, limits::kNameBytes), bin(m.cwd, limits::kTemplateBytes),
             bins(m.argv, limits::kTemplateBytes), m.shell, m.has_inputs, m.env, m.indices, m.array,
             m.max_running, m.cpus, m.priority, m.retries, m.time_limit, m.hold, m.inputs_per_task,
             bin(m.script, limits::kScriptBytes), m.has_stdin,
             bin(m.output_path, limits::kPathBytes), bin(m.error_path, limits::kPathBytes),
             m.backoff, m.stall_limit, m.max_failures, m.nice, texts(m.tags, limits::kNameBytes),
             m.begin_at, m.mem_bytes, m.after, m.after_any);
}

auto fields(Shape, Is<AttemptResult> auto& m) {
  return all(m.key, one_of(m.end, EndClass::Success, EndClass::Superseded), m.exit_code, m.signal,
             words(m.reason, limits::kReasonBytes), m.ended_ago, m.wall, m.cpu, m.max_rss_bytes,
             m.stdout_bytes, m.stderr_bytes, bin(m.stdout_tail, limits::kTailBytes),
             bin(m.stderr_tail, limits::kTailBytes));
}

auto fields(Shape, Is<JobCounts> auto& m) {
  return all(m.waiting, m.ready, m.running, m.backoff, m.succeeded, m.failed, m.cancelled,
             m.skipped);
}

auto fields(Shape, Is<Generation> auto& m) {
  return all(m.began_us, m.random);
}

auto fields(Shape, Is<Member> auto& m) {
  return all(text(m.name, limits::kNameBytes), texts(m.addresses, limits::kNameBytes),
             text(m.public_key, limits::kNameBytes));
}

auto fields(Shape, Is<Selector> auto& m) {
  return all(one_of(m.kind, Selector::Kind::Job, Selector::Kind::All), m.job, m.tasks);
}

/// Who takes a run apart relies on it.
inline void get_field(Reader& r, AttemptRun& run) {
  get_record(r, run);
  const bool is_none = run.count == 0 || run.count > limits::kKeysPerList;
  if (is_none || run.count - 1 > UINT32_MAX - run.first.value)
    r.set_error("a run of attempts is wrong");
}

/// Arithmetic elsewhere relies on it: a step of 0 would divide by it.
inline void get_field(Reader& r, IndexRange& range) {
  get_record(r, range);
  if (range.step == 0 || range.first > range.last) r.set_error("a range is wrong");
}

}  // namespace capstan::wire
