// SPDX-License-Identifier: MIT
//
// Rows as people see them. See views.h.
#include "master/api/views.h"

#include <algorithm>

#include "common/base/bytes.h"

namespace capstan::api {
namespace {

constexpr std::size_t kJobNumbers = 128;  ///< Ids, counts, times of a JobView in msgpack.
constexpr std::size_t kTaskNumbers = 112;

}  // namespace

Bytes command_line(const JobSpec& spec, std::size_t bytes) {
  Bytes line;
  for (const Bytes& arg : spec.argv) {
    if (!line.empty()) line += ' ';
    // A long argument need not be quoted whole to be cut.
    line += spec.shell ? arg : shell_quoted(std::string_view(arg).substr(0, bytes + 1));
    if (line.size() > bytes) break;
  }
  if (line.size() <= bytes) return line;
  std::size_t kept = bytes - 3;
  while (kept > 0 && (static_cast<unsigned char>(line[kept]) & 0xC0U) == 0x80U) --kept;
  return line.substr(0, kept) + "...";
}

std::string waiting_reason(const JobRow& row) {
  if (row.waits_for.empty()) return row.awaits_begin ? "waits for its begin" : "";
  constexpr std::size_t kNamed = 5;
  std::string text = row.waits_for.size() == 1 ? "waits for job " : "waits for jobs ";
  for (std::size_t i = 0; i < std::min(row.waits_for.size(), kNamed); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(row.waits_for[i].value);
  }
  if (row.waits_for.size() > kNamed)
    text += " and " + std::to_string(row.waits_for.size() - kNamed) + " more";
  return text;
}

msg::JobView job_view(const JobRow& row, std::size_t command_bytes) {
  msg::JobView view;
  view.id = row.id;
  view.owner = row.owner;
  view.state = row.state;
  view.tasks = row.tasks;
  view.counts = row.counts;
  view.submitted_at = row.submitted_at;
  view.started_at = row.started_at;
  view.finished_at = row.finished_at;
  view.reason = row.reason.empty() ? waiting_reason(row) : row.reason;
  view.priority = row.priority;
  view.waits_for = row.waits_for;
  if (row.spec != nullptr) {
    view.name = row.spec->name;
    view.begin_at = row.spec->begin_at;
    view.cpus = row.spec->cpus;
    view.mem_bytes = row.spec->mem_bytes;
    view.tags = row.spec->tags;
    view.command = command_line(*row.spec, command_bytes);
  }
  return view;
}

msg::TaskView task_view(TaskIndex task, const TaskRow& row,
                        const std::map<WorkerId, Worker>& workers) {
  msg::TaskView view;
  view.task = task;
  view.state = row.state;
  view.attempt = row.attempt;
  if (const auto it = workers.find(row.worker); it != workers.end())
    view.worker = it->second.row.name;
  view.end = row.end;
  view.ended = row.ended;
  view.exit_code = row.exit_code;
  view.signal = row.signal;
  view.reason = row.reason;
  view.cancelling = row.cancelling;
  view.started_at = row.started_at;
  view.finished_at = row.finished_at;
  view.wall = row.wall;
  view.cpu = row.cpu;
  view.max_rss_bytes = row.max_rss_bytes;
  view.stdout_bytes = row.stdout_bytes;
  view.stderr_bytes = row.stderr_bytes;
  return view;
}

msg::AttemptView attempt_view(const AttemptKey& key, const AttemptRow& row,
                              const std::map<WorkerId, Worker>& workers) {
  TaskRow as_task;
  as_task.state = row.end == EndClass::Success ? TaskState::Succeeded : TaskState::Failed;
  if (row.end == EndClass::Cancelled || row.end == EndClass::Superseded)
    as_task.state = TaskState::Cancelled;
  as_task.attempt = key.attempt;
  as_task.worker = row.worker;
  as_task.started_at = row.started_at;
  as_task.finished_at = row.ended_at;
  as_task.ended = true;
  as_task.end = row.end;
  as_task.exit_code = row.exit_code;
  as_task.signal = row.signal;
  as_task.reason = row.reason;
  as_task.wall = row.wall;
  as_task.cpu = row.cpu;
  as_task.max_rss_bytes = row.max_rss_bytes;
  as_task.stdout_bytes = row.stdout_bytes;
  as_task.stderr_bytes = row.stderr_bytes;
  return {task_view(key.task, as_task, workers), row.assigned_at, row.late, false};
}

msg::TaskEnded task_ended(TaskIndex task, const TaskRow& row,
                          const std::map<WorkerId, Worker>& workers) {
  return {task_view(task, row, workers), row.stdout_tail.str(), row.stderr_tail.str()};
}

std::size_t approximate_bytes(const msg::JobView& view) {
  std::size_t tags = 0;
  for (const std::string& tag : view.tags) tags += tag.size() + 2;
  return kJobNumbers + tags + view.waits_for.size() * 9 + view.name.size() + view.owner.size() +
         view.command.size() + view.reason.size();
}

std::size_t approximate_bytes(const msg::TaskView& view) {
  return kTaskNumbers + view.worker.size() + view.reason.size();
}

std::size_t approximate_bytes(const msg::TaskEnded& ended) {
  return approximate_bytes(ended.view) + ended.stdout_tail.size() + ended.stderr_tail.size();
}

}  // namespace capstan::api
