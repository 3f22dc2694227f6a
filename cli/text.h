// SPDX-License-Identifier: MIT
//
// Words and figures for people, and what the terminal can show. Pure but for
// `Terminal::of_process`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/model/job.h"
#include "common/model/task.h"
#include "common/wire/message.h"

namespace capstan::cli {

/// What the three streams are. Colour and progress only where a person looks.
struct Terminal {
  bool stdout_is_terminal = false;
  bool stderr_is_terminal = false;
  bool may_colour = false;  ///< NO_COLOR is unset or empty, TERM is not "dumb".
  std::size_t columns = 80;
  [[nodiscard]] bool colours_stdout() const { return stdout_is_terminal && may_colour; }
  static Terminal of_process();
};

enum class Colour : std::uint8_t { None, Green, Red, Yellow, Blue, Dim };
/// `text` in a colour when `on`.
std::string coloured(std::string_view text, Colour colour, bool on);
Colour colour_of(JobState state);
Colour colour_of(TaskState state);
Colour colour_of(msg::WorkerState state);

/// "0.4s", "12s", "3m 05s", "2h 07m", "3d 04h": short, for tables and sums.
std::string span_text(Micros span);
/// "2026-11-21 01:02:03" in the local time zone; "-" for none.
std::string local_time_text(WallTime at);
/// "1 task", "1000 tasks".
std::string count_text(std::uint64_t count, std::string_view noun);
/// "998 succeeded, 2 failed"; "nothing yet" never: an empty job has no tasks.
std::string counts_text(const JobCounts& counts);
/// "a, b": words of others, made printable.
std::string list_text(const std::vector<std::string>& words);
/// "job 17 has no such task".
std::string no_such_task_text(JobId job);
/// "exit 3", "signal 11 (Segmentation fault)", "timeout", "launch error: no such file".
std::string end_text(const msg::TaskView& task);

}  // namespace capstan::cli
