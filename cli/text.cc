// SPDX-License-Identifier: MIT
#include "cli/text.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>

#include "common/base/bytes.h"

namespace capstan::cli {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::None:
      return "";
    case Colour::Green:
      return "\x1b[32m";
    case Colour::Red:
      return "\x1b[31m";
    case Colour::Yellow:
      return "\x1b[33m";
    case Colour::Blue:
      return "\x1b[34m";
    case Colour::Dim:
      return "\x1b[2m";
  }
  return "";
}

std::string_view class_text(EndClass end) {
  switch (end) {
    case EndClass::LaunchError:
      return "launch error";
    case EndClass::WorkerLost:
      return "worker lost";
    default:
      return to_string(end);
  }
}

}  // namespace

Terminal Terminal::of_process() {
  Terminal terminal;
  terminal.stdout_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  terminal.stderr_is_terminal = ::isatty(STDERR_FILENO) == 1;
  terminal.may_colour = environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.columns = size.ws_col;
  }
  return terminal;
}

std::string coloured(std::string_view text, Colour colour, bool on) {
  if (!on || colour == Colour::None) return std::string(text);
  return std::string(code_of(colour)) + std::string(text) + "\x1b[0m";
}

Colour colour_of(JobState state) {
  switch (state) {
    case JobState::Queued:
      return Colour::None;
    case JobState::Running:
      return Colour::Blue;
    case JobState::Paused:
      return Colour::Yellow;
    case JobState::Succeeded:
      return Colour::Green;
    case JobState::Failed:
      return Colour::Red;
    case JobState::Cancelled:
    case JobState::Skipped:
      return Colour::Yellow;
  }
  return Colour::None;
}

Colour colour_of(TaskState state) {
  switch (state) {
    case TaskState::Waiting:
    case TaskState::Ready:
      return Colour::None;
    case TaskState::Running:
      return Colour::Blue;
    case TaskState::Backoff:
    case TaskState::Cancelled:
    case TaskState::Skipped:
      return Colour::Yellow;
    case TaskState::Succeeded:
      return Colour::Green;
    case TaskState::Failed:
      return Colour::Red;
  }
  return Colour::None;
}

Colour colour_of(msg::WorkerState state) {
  switch (state) {
    case msg::WorkerState::Up:
      return Colour::Green;
    case msg::WorkerState::Suspect:
    case msg::WorkerState::Draining:
      return Colour::Yellow;
    case msg::WorkerState::Lost:
      return Colour::Red;
    case msg::WorkerState::Left:
      return Colour::Dim;
  }
  return Colour::None;
}

std::string span_text(Micros span) {
  const std::int64_t ms = span.count() / 1000;
  const std::int64_t seconds = ms / 1000;
  if (ms < 10'000) return fmt::format("{:.1f}s", static_cast<double>(ms) / 1000.0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m {:02}s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{}h {:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d {:02}h", seconds / 86'400, seconds / 3600 % 24);
}

std::string local_time_text(WallTime at) {
  if (at.us == 0) return "-";
  const std::time_t seconds = at.us / 1'000'000;
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[32];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return std::string(text, length);
}

std::string no_such_task_text(JobId job) {
  return fmt::format("job {} has no such task", job.value);
}

std::string count_text(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string list_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + printable(word);
  return text;
}

std::string counts_text(const JobCounts& counts) {
  const std::pair<std::uint64_t, std::string_view> parts[] = {
      {counts.succeeded, "succeeded"}, {counts.failed, "failed"},   {counts.cancelled, "cancelled"},
      {counts.skipped, "skipped"},     {counts.running, "running"}, {counts.backoff, "in backoff"},
      {counts.ready, "ready"},         {counts.waiting, "waiting"},
  };
  std::string text;
  for (const auto& [count, word] : parts) {
    if (count == 0) continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {}", count, word);
  }
  return text;
}

std::string end_text(const msg::TaskView& task) {
  std::string text;
  if (task.end == EndClass::Exit || task.end == EndClass::Success) {
    text = fmt::format("exit {}", task.exit_code);
  } else if (task.end == EndClass::Signal) {
    const char* words = ::sigdescr_np(task.signal);
    text = fmt::format("signal {}", task.signal);
    if (words != nullptr) text += fmt::format(" ({})", words);
  } else {
    text = class_text(task.end);
  }
  if (!task.reason.empty() && task.reason != text) text += ": " + printable(task.reason);
  return text;
}

}  // namespace capstan::cli
