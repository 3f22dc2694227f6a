// SPDX-License-Identifier: MIT
//
// What people and scripts read as JSON: one object, one line, without the newline. The names are
// public API (docs/cli.md): fields are appended, never renamed. Times are RFC 3339 in UTC, null
// when they have not come; bytes that are not UTF-8 are shown by printable(). Pure; the only place
// of the JSON library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/wire/message.h"

namespace capstan::json {

/// id name owner state tasks counts{…} submitted_at started_at finished_at priority cpus command
/// reason mem_bytes tags begin_at waits_for.
std::string line(const msg::JobView& job);

/// task state attempt worker exit_code signal reason started_at finished_at wall_s cpu_s
/// max_rss_bytes output_bytes. What only an ended attempt has is null before.
std::string line(const msg::TaskView& task);

/// name state cpus running version address last_heard_s queued note mem_bytes
/// mem_assigned_bytes.
std::string line(const msg::WorkerView& worker);

/// version master cluster epoch seq uptime_s workers_up … alarms.
std::string line(const msg::StatusReply& status);

/// seq at who what job task text.
std::string line(const msg::EventView& event);

/// job task state reason workers[{worker fits reason}].
std::string line(JobId job, TaskIndex task, const msg::WhyReply& why);

/// job, then as a task, and class assigned_at late running.
std::string line(JobId job, const msg::AttemptView& attempt);

/// name role public_key added_at added_by.
std::string line(const msg::KeyView& key);

/// workers changed: of those that `worker drain` and the like named.
std::string line_of_workers(const std::vector<std::string>& names, std::uint64_t changed);

/// epoch primary in_sync solo nodes[{name role address reachable seq lag}].
std::string line(const msg::ClusterView& view, Epoch epoch);

/// "standby", "primary" or "witness": NodeView::role, for tables too.
std::string node_role(std::uint32_t role);

/// Text as a JSON string, with its quotes.
std::string quoted(std::string_view text);

/// Why a task's last attempt did not succeed, as `reason` above: "exit", "timeout",
/// "launch_error: No such file or directory"; "cancelling" while its processes are being ended; ""
/// when there is nothing to say. For tables too.
std::string reason_of(const msg::TaskView& task);

}  // namespace capstan::json
