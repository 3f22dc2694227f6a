// SPDX-License-Identifier: MIT
//
// The fields of every message (fields.h), in the order of message.h. Internal to common/wire.
#pragma once

#include "common/wire/message.h"
#include "common/wire/model_fields.h"

namespace capstan::wire {

using limits::kInputBytes;
using limits::kNameBytes;
using limits::kTailBytes;
using limits::kTemplateBytes;
using limits::kWordsBytes;

template <class E>
auto errc(E& code) {
  return one_of(code, Errc::Invalid, Errc::TooNew);
}
template <class E>
auto stream(E& which) {
  return one_of(which, Stream::Stdout, Stream::Stderr);
}

// --- Both ways -----------------------------------------------------------------------------------

auto fields(Shape, Is<msg::Heartbeat> auto& m) {
  return all(m.seen);
}
auto fields(Shape, Is<msg::NeedHello> auto& m) {
  return all(words(m.reason, kWordsBytes));
}
auto fields(Shape, Is<msg::Refused> auto& m) {
  return all(errc(m.code), words(m.reason, kWordsBytes));
}

// --- Worker -> master ----------------------------------------------------------------------------

auto fields(Shape, Is<msg::Enrol> auto& m) {
  return all(m.protocol, text(m.public_key, kNameBytes), text(m.name, kNameBytes));
}
auto fields(Shape, Is<msg::HeldAttempt> auto& m) {
  return all(m.key, m.started);
}
auto fields(Shape, Is<msg::WorkerHello> auto& m) {
  return all(m.protocol, words(m.version, kNameBytes), m.instance, m.highest_epoch, m.generation,
             m.cpus, words(m.containment, kNameBytes), m.held, m.spooled, m.leaving, m.disk_full,
             m.mem_bytes, m.number);
}
auto fields(Shape, Is<msg::Started::One> auto& m) {
  return all(m.key, m.ago);
}
auto fields(Shape, Is<msg::Started> auto& m) {
  return all(m.started);
}
auto fields(Shape, Is<msg::Results> auto& m) {
  return all(m.results);
}
auto fields(Shape, Is<msg::Returned> auto& m) {
  return all(m.keys);
}
auto fields(Shape, Is<msg::WorkerNotice> auto& m) {
  return all(m.leaving, m.disk_full);
}
auto fields(Shape, Is<msg::Goodbye> auto&) {
  return all();
}
auto fields(Shape, Is<msg::LogChunk> auto& m) {
  return all(m.key, stream(m.stream), m.offset, bin(m.data, limits::kLogChunkBytes), m.last);
}

// --- Master -> worker ----------------------------------------------------------------------------

auto fields(Shape, Is<msg::Enrolled> auto& m) {
  return all(text(m.name, kNameBytes));
}
auto fields(Shape, Is<msg::Welcome> auto& m) {
  return all(m.protocol, words(m.version, kNameBytes), m.instance, m.cluster, m.generation,
             m.members, m.members_version, m.heartbeat_every, text(m.name, kNameBytes),
             one_of(m.role, Role::Admin, Role::Witness), m.hello);
}
auto fields(Shape, Is<msg::JobTemplate> auto& m) {
  return all(m.job, m.spec);
}
auto fields(Shape, Is<msg::JobStdin> auto& m) {
  return all(m.job, m.offset, bin(m.data, limits::kMessageBytes), m.last);
}
auto fields(Shape, Is<msg::Start::One> auto& m) {
  return all(m.task, bins(m.inputs, kInputBytes));
}
auto fields(Shape, Is<msg::Start> auto& m) {
  return all(m.job, m.attempt, m.tasks);
}
auto fields(Shape, Is<msg::Cancel> auto& m) {
  return all(one_of(m.why, CancelWhy::User, CancelWhy::NotGranted), m.keys);
}
auto fields(Shape, Is<msg::Recall> auto& m) {
  return all(m.keys);
}
auto fields(Shape, Is<msg::ResultAck> auto& m) {
  return all(m.runs);
}
auto fields(Shape, Is<msg::LogAck> auto& m) {
  return all(m.key, stream(m.stream), m.upto, m.last);
}
auto fields(Shape, Is<msg::Follow> auto& m) {
  return all(m.job, m.on);
}

// --- Client -> master ----------------------------------------------------------------------------

auto fields(Shape, Is<msg::ClientHello> auto& m) {
  return all(m.protocol, words(m.version, kNameBytes), m.highest_epoch);
}
auto fields(Shape, Is<msg::SubmitOpen> auto& m) {
  return all(m.request, text(m.token, limits::kTokenBytes), bin(m.digest, sizeof(Digest)), m.spec);
}
auto fields(Shape, Is<msg::SubmitInputs> auto& m) {
  return all(m.request, m.part, bins(m.inputs, kInputBytes));
}
auto fields(Shape, Is<msg::SubmitStdin> auto& m) {
  return all(m.request, m.part, bin(m.data, limits::kMessageBytes));
}
auto fields(Shape, Is<msg::SubmitClose> auto& m) {
  return all(m.request, m.parts, m.inputs);
}
auto fields(Shape, Is<msg::Control> auto& m) {
  return all(m.request, one_of(m.verb, msg::Verb::Cancel, msg::Verb::Delete), m.targets,
             words(m.reason, limits::kReasonBytes), m.priority);
}
auto fields(Shape, Is<msg::Purge> auto& m) {
  return all(m.request, m.older_than);
}
auto fields(Shape, Is<msg::WorkerControl> auto& m) {
  return all(m.request, one_of(m.verb, msg::WorkerVerb::Drain, msg::WorkerVerb::Remove),
             texts(m.names, kNameBytes), words(m.reason, limits::kReasonBytes));
}
auto fields(Shape, Is<msg::KeyAdd> auto& m) {
  return all(m.request, text(m.name, kNameBytes), text(m.public_key, kNameBytes),
             one_of(m.role, Role::Admin, Role::Witness));
}
auto fields(Shape, Is<msg::KeyRevoke> auto& m) {
  return all(m.request, text(m.name, kNameBytes));
}
auto fields(Shape, Is<msg::ListKeys> auto& m) {
  return all(m.query);
}
auto fields(Shape, Is<msg::ListJobs> auto& m) {
  return all(m.query, m.before, m.limit, m.live_only, m.states, text(m.name, kNameBytes),
             text(m.tag, kNameBytes), text(m.owner, kNameBytes), m.submitted_since);
}
auto fields(Shape, Is<msg::GetJob> auto& m) {
  return all(m.query, m.which);
}
auto fields(Shape, Is<msg::ListTasks> auto& m) {
  return all(m.query, m.job, m.states, m.from_start, m.after, m.only, m.limit);
}
auto fields(Shape, Is<msg::ListWorkers> auto& m) {
  return all(m.query, m.after);
}
auto fields(Shape, Is<msg::GetStatus> auto& m) {
  return all(m.query);
}
auto fields(Shape, Is<msg::ListAttempts> auto& m) {
  return all(m.query, m.job, m.task);
}
auto fields(Shape, Is<msg::Why> auto& m) {
  return all(m.query, m.job, m.task);
}
auto fields(Shape, Is<msg::ListEvents> auto& m) {
  return all(m.query, m.job, m.task, m.after, m.limit, m.newest);
}
auto fields(Shape, Is<msg::ReadBackup> auto& m) {
  return all(m.query, m.backup, m.offset);
}
auto fields(Shape, Is<msg::ReadLog> auto& m) {
  return all(m.query, m.job, m.task, m.attempt, stream(m.stream), m.offset);
}
auto fields(Shape, Is<msg::Watch> auto& m) {
  return all(m.watch, m.job, m.generation, m.from, m.tasks, m.output);
}
auto fields(Shape, Is<msg::Unwatch> auto& m) {
  return all(m.watch);
}
auto fields(Shape, Is<msg::WatchCredit> auto& m) {
  return all(m.watch, m.handled);
}

// --- Master -> client ----------------------------------------------------------------------------

auto fields(Shape, Is<msg::Denied> auto& m) {
  return all(m.request, m.query, errc(m.code), words(m.reason, kWordsBytes));
}
auto fields(Shape, Is<msg::Accepted> auto& m) {
  return all(m.request, m.part);
}
auto fields(Shape, Is<msg::Submitted> auto& m) {
  return all(m.request, m.job, m.tasks, words(m.warning, kWordsBytes));
}
auto fields(Shape, Is<msg::Done> auto& m) {
  return all(m.request, m.jobs, m.tasks, words(m.note, kWordsBytes));
}
auto fields(Shape, Is<msg::JobView> auto& m) {
  return all(m.id, text(m.name, kNameBytes), text(m.owner, kNameBytes),
             one_of(m.state, JobState::Queued, JobState::Skipped), m.tasks, m.counts,
             m.submitted_at, m.started_at, m.finished_at, m.priority, m.cpus,
             bin(m.command, kTemplateBytes), words(m.reason, kWordsBytes), m.mem_bytes,
             texts(m.tags, kNameBytes), m.begin_at, m.waits_for);
}
auto fields(Shape, Is<msg::TaskView> auto& m) {
  return all(m.task, one_of(m.state, TaskState::Waiting, TaskState::Skipped), m.attempt,
             text(m.worker, kNameBytes), one_of(m.end, EndClass::Success, EndClass::Superseded),
             m.ended, m.exit_code, m.signal, words(m.reason, limits::kReasonBytes), m.cancelling,
             m.started_at, m.finished_at, m.wall, m.cpu, m.max_rss_bytes, m.stdout_bytes,
             m.stderr_bytes);
}
auto fields(Shape, Is<msg::WorkerView> auto& m) {
  return all(text(m.name, kNameBytes),
             one_of(m.state, msg::WorkerState::Up, msg::WorkerState::Left), m.cpus, m.running,
             m.queued, words(m.version, kNameBytes), words(m.address, kNameBytes),
             words(m.note, kWordsBytes), m.last_heard_ago, m.mem_bytes, m.mem_assigned_bytes);
}
auto fields(Shape, Is<msg::AttemptView> auto& m) {
  return all(m.view, m.assigned_at, m.late, m.running);
}
auto fields(Shape, Is<msg::WorkerVerdict> auto& m) {
  return all(text(m.worker, kNameBytes), m.fits, words(m.reason, kWordsBytes));
}
auto fields(Shape, Is<msg::EventView> auto& m) {
  return all(m.seq, m.at, text(m.who, kNameBytes), words(m.what, kNameBytes), m.job, m.task,
             words(m.text, kWordsBytes));
}
auto fields(Shape, Is<msg::KeyView> auto& m) {
  return all(text(m.name, kNameBytes), one_of(m.role, Role::Admin, Role::Witness),
             text(m.public_key, kNameBytes), m.added_at, text(m.added_by, kNameBytes));
}
auto fields(Shape, Is<msg::AttemptList> auto& m) {
  return all(m.query, m.attempts);
}
auto fields(Shape, Is<msg::WhyReply> auto& m) {
  return all(m.query, one_of(m.state, TaskState::Waiting, TaskState::Skipped),
             words(m.reason, kWordsBytes), m.workers);
}
auto fields(Shape, Is<msg::EventList> auto& m) {
  return all(m.query, m.events, m.upto, m.more, m.gap);
}
auto fields(Shape, Is<msg::KeyList> auto& m) {
  return all(m.query, m.keys);
}
auto fields(Shape, Is<msg::BackupData> auto& m) {
  return all(m.query, m.backup, m.offset, bin(m.data, kTemplateBytes), m.total,
             bin(m.digest, kNameBytes));
}
auto fields(Shape, Is<msg::JobList> auto& m) {
  return all(m.query, m.jobs, m.more);
}
auto fields(Shape, Is<msg::JobReply> auto& m) {
  return all(m.query, m.job);
}
auto fields(Shape, Is<msg::TaskList> auto& m) {
  return all(m.query, m.tasks, m.more);
}
auto fields(Shape, Is<msg::WorkerList> auto& m) {
  return all(m.query, m.workers, m.more, m.last);
}
auto fields(Shape, Is<msg::StatusReply> auto& m) {
  return all(m.query, words(m.version, kNameBytes), text(m.master, kNameBytes), m.cluster, m.epoch,
             m.seq, m.uptime, m.workers_up, m.workers_away, m.cpus, m.cpus_running, m.jobs_live,
             m.tasks, m.refused_messages, m.refused_connections, m.memory_bytes, m.database_bytes,
             m.disk_free_bytes, all_words(m.alarms, kWordsBytes));
}
auto fields(Shape, Is<msg::LogData> auto& m) {
  return all(m.query, m.attempt, m.offset, bin(m.data, kTemplateBytes), m.end, m.total);
}
auto fields(Shape, Is<msg::TaskEnded> auto& m) {
  return all(m.view, bin(m.stdout_tail, kTailBytes), bin(m.stderr_tail, kTailBytes));
}
auto fields(Shape, Is<msg::OutputGrew> auto& m) {
  return all(m.key, stream(m.stream), m.upto);
}
auto fields(Shape, Is<msg::WatchEvents> auto& m) {
  return all(m.watch, m.reset, m.caught_up, m.generation, m.seq, m.job, m.ended, m.grew);
}

}  // namespace capstan::wire
