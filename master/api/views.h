// SPDX-License-Identifier: MIT
//
// Rows as people see them. Pure.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "common/wire/message.h"
#include "master/core/queue.h"
#include "master/core/rows.h"

namespace capstan::api {

/// The template as one line, at most `bytes` long (an ellipsis where it is cut).
[[nodiscard]] Bytes command_line(const JobSpec& spec, std::size_t bytes);

/// Of a job's command in a list, and of a job alone.
inline constexpr std::size_t kCommandBytesInList = 256;
inline constexpr std::size_t kCommandBytes = 8192;

/// What a live job waits for, in words: "waits for job 3"; or "".
[[nodiscard]] std::string waiting_reason(const JobRow& row);
[[nodiscard]] msg::JobView job_view(const JobRow& row, std::size_t command_bytes);
/// `workers` names the task's worker.
[[nodiscard]] msg::TaskView task_view(TaskIndex task, const TaskRow& row,
                                      const std::map<WorkerId, Worker>& workers);
/// One that is not (or no more) in its task's row.
[[nodiscard]] msg::AttemptView attempt_view(const AttemptKey& key, const AttemptRow& row,
                                            const std::map<WorkerId, Worker>& workers);
[[nodiscard]] msg::TaskEnded task_ended(TaskIndex task, const TaskRow& row,
                                        const std::map<WorkerId, Worker>& workers);

/// About what they take on the wire: to cut pages, not to allocate.
[[nodiscard]] std::size_t approximate_bytes(const msg::JobView& view);
[[nodiscard]] std::size_t approximate_bytes(const msg::TaskView& view);
[[nodiscard]] std::size_t approximate_bytes(const msg::TaskEnded& ended);

}  // namespace capstan::api
