// SPDX-License-Identifier: MIT
#include "common/json/json.h"

#include <iterator>
#include <nlohmann/json.hpp>

#include "common/base/bytes.h"
#include "common/model/parse.h"

namespace capstan::json {
namespace {

using Json = nlohmann::ordered_json;

std::string shown(std::string_view bytes) {
  return is_utf8(bytes) ? std::string(bytes) : printable(bytes);
}

Json or_null(bool known, Json value) {
  return known ? std::move(value) : Json();
}

Json shown_or_null(std::string_view text) {
  return or_null(!text.empty(), shown(text));
}

Json time_or_null(WallTime t) {
  return t.us == 0 ? Json() : Json(rfc3339(t));
}

double seconds(Micros d) {
  return static_cast<double>(d.count()) / 1e6;
}

Json counts_of(const JobCounts& counts) {
  return {{"waiting", counts.waiting},     {"ready", counts.ready},
          {"running", counts.running},     {"backoff", counts.backoff},
          {"succeeded", counts.succeeded}, {"failed", counts.failed},
          {"cancelled", counts.cancelled}, {"skipped", counts.skipped}};
}

/// Never throws: every string went through shown(), and `replace` would mend what did not.
std::string one_line(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string line(const msg::JobView& job) {
  Json tags = Json::array(), waits_for = Json::array();
  for (const std::string& tag : job.tags) tags.push_back(shown(tag));
  for (const JobId other : job.waits_for) waits_for.push_back(other.value);
  return one_line({{"id", job.id.value},
                   {"name", shown(job.name)},
                   {"owner", shown(job.owner)},
                   {"state", to_string(job.state)},
                   {"tasks", job.tasks},
                   {"counts", counts_of(job.counts)},
                   {"submitted_at", time_or_null(job.submitted_at)},
                   {"started_at", time_or_null(job.started_at)},
                   {"finished_at", time_or_null(job.finished_at)},
                   {"priority", job.priority},
                   {"cpus", job.cpus},
                   {"command", shown(job.command)},
                   {"reason", shown_or_null(job.reason)},
                   {"mem_bytes", or_null(job.mem_bytes != 0, job.mem_bytes)},
                   {"tags", std::move(tags)},
                   {"begin_at", time_or_null(job.begin_at)},
                   {"waits_for", std::move(waits_for)}});
}

std::string line(const msg::TaskView& task) {
  const bool exited = task.ended && (task.end == EndClass::Success || task.end == EndClass::Exit);
  return one_line({{"task", task.task.value},
                   {"state", to_string(task.state)},
                   {"attempt", task.attempt.value},
                   {"worker", shown_or_null(task.worker)},
                   {"exit_code", or_null(exited, task.exit_code)},
                   {"signal", or_null(task.ended && task.signal != 0, task.signal)},
                   {"reason", shown_or_null(reason_of(task))},
                   {"started_at", time_or_null(task.started_at)},
                   {"finished_at", time_or_null(task.finished_at)},
                   {"wall_s", or_null(task.ended, seconds(task.wall))},
                   {"cpu_s", or_null(task.ended, seconds(task.cpu))},
                   {"max_rss_bytes", or_null(task.ended, task.max_rss_bytes)},
                   {"output_bytes", or_null(task.ended, task.stdout_bytes + task.stderr_bytes)}});
}

std::string line(const msg::WorkerView& worker) {
  const bool heard = worker.last_heard_ago.count() >= 0;
  return one_line({{"name", shown(worker.name)},
                   {"state", to_string(worker.state)},
                   {"cpus", worker.cpus},
                   {"running", worker.running},
                   {"version", shown(worker.version)},
                   {"address", shown(worker.address)},
                   {"last_heard_s", or_null(heard, seconds(worker.last_heard_ago))},
                   {"queued", worker.queued},
                   {"note", shown_or_null(worker.note)},
                   {"mem_bytes", or_null(worker.mem_bytes != 0, worker.mem_bytes)},
                   {"mem_assigned_bytes", worker.mem_assigned_bytes}});
}

std::string line(const msg::EventView& event) {
  return one_line({{"seq", event.seq.value},
                   {"at", time_or_null(event.at)},
                   {"who", shown(event.who)},
                   {"what", shown(event.what)},
                   {"job", or_null(event.job.value != 0, event.job.value)},
                   {"task", or_null(event.task.value != 0, event.task.value)},
                   {"text", shown(event.text)}});
}

std::string line(const msg::StatusReply& status) {
  Json alarms = Json::array();
  for (const std::string& alarm : status.alarms) alarms.push_back(shown(alarm));
  return one_line({{"version", shown(status.version)},
                   {"master", shown(status.master)},
                   {"cluster", status.cluster.hex()},
                   {"epoch", status.epoch.value},
                   {"seq", status.seq.value},
                   {"uptime_s", seconds(status.uptime)},
                   {"workers_up", status.workers_up},
                   {"workers_away", status.workers_away},
                   {"cpus", status.cpus},
                   {"cpus_running", status.cpus_running},
                   {"jobs_live", status.jobs_live},
                   {"tasks", counts_of(status.tasks)},
                   {"refused_messages", status.refused_messages},
                   {"refused_connections", status.refused_connections},
                   {"memory_bytes", status.memory_bytes},
                   {"database_bytes", status.database_bytes},
                   {"disk_free_bytes", status.disk_free_bytes},
                   {"alarms", std::move(alarms)}});
}

std::string line(JobId job, TaskIndex task, const msg::WhyReply& why) {
  Json workers = Json::array();
  for (const msg::WorkerVerdict& one : why.workers)
    workers.push_back(
        {{"worker", shown(one.worker)}, {"fits", one.fits}, {"reason", shown(one.reason)}});
  return one_line({{"job", job.value},
                   {"task", task.value},
                   {"state", to_string(why.state)},
                   {"reason", shown_or_null(why.reason)},
                   {"workers", std::move(workers)}});
}

std::string line(JobId job, const msg::AttemptView& attempt) {
  const msg::TaskView& view = attempt.view;
  const bool ended = view.ended && !attempt.running;
  const bool exited = ended && (view.end == EndClass::Success || view.end == EndClass::Exit);
  return one_line({{"job", job.value},
                   {"task", view.task.value},
                   {"attempt", view.attempt.value},
                   {"worker", shown_or_null(view.worker)},
                   {"class", or_null(ended, to_string(view.end))},
                   {"exit_code", or_null(exited, view.exit_code)},
                   {"signal", or_null(ended && view.signal != 0, view.signal)},
                   {"reason", shown_or_null(ended ? reason_of(view) : "")},
                   {"assigned_at", time_or_null(attempt.assigned_at)},
                   {"started_at", time_or_null(view.started_at)},
                   {"finished_at", time_or_null(view.finished_at)},
                   {"wall_s", or_null(ended, seconds(view.wall))},
                   {"cpu_s", or_null(ended, seconds(view.cpu))},
                   {"max_rss_bytes", or_null(ended, view.max_rss_bytes)},
                   {"late", attempt.late},
                   {"running", attempt.running}});
}

std::string line(const msg::KeyView& key) {
  return one_line({{"name", shown(key.name)},
                   {"role", to_string(key.role)},
                   {"public_key", shown(key.public_key)},
                   {"added_at", time_or_null(key.added_at)},
                   {"added_by", shown_or_null(key.added_by)}});
}

std::string line_of_workers(const std::vector<std::string>& names, std::uint64_t changed) {
  Json workers = Json::array();
  for (const std::string& name : names) workers.push_back(shown(name));
  return one_line({{"workers", std::move(workers)}, {"changed", changed}});
}

std::string node_role(std::uint32_t role) {
  constexpr const char* kRoles[] = {"standby", "primary", "witness"};
  return role < std::size(kRoles) ? kRoles[role] : "unknown";
}

std::string line(const msg::ClusterView& view, Epoch epoch) {
  Json nodes = Json::array();
  for (const msg::NodeView& node : view.nodes) {
    std::string address;
    for (const std::string& each : node.addresses)
      address += (address.empty() ? "" : ",") + shown(each);
    nodes.push_back({{"name", shown(node.name)},
                     {"role", node_role(node.role)},
                     {"address", std::move(address)},
                     {"reachable", node.reachable},
                     {"seq", node.seq.value},
                     {"lag", node.lag}});
  }
  return one_line({{"epoch", epoch.value},
                   {"primary", shown_or_null(view.primary)},
                   {"in_sync", view.in_sync},
                   {"solo", view.solo},
                   {"nodes", std::move(nodes)}});
}

std::string quoted(std::string_view text) {
  return one_line(shown(text));
}

std::string reason_of(const msg::TaskView& task) {
  if (task.cancelling && !is_finished(task.state)) return "cancelling";
  if (!task.ended || task.end == EndClass::Success) return "";
  const std::string kind(to_string(task.end));
  return task.reason.empty() ? kind : kind + ": " + task.reason;
}

}  // namespace capstan::json
