// SPDX-License-Identifier: MIT
//
// What `top` shows: what the master said last and where the person is, made into lines that fit a
// terminal. Pure, so that every size can be tested.
//
//   jobs --Enter--> tasks of a job --Enter--> attempts at a task and the end of its output
//    |  <---Esc---                 <---Esc---
//    `-- w: workers, ?: help, Esc: back
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/wire/message.h"

namespace capstan::cli::top {

enum class Page : std::uint8_t { Jobs, Tasks, Task, Workers, Help };
inline constexpr std::size_t kPages = 5;

enum class Sort : std::uint8_t { Cpus, Priority, Age, Name };

/// What the master said last.
struct Model {
  WallTime at;
  std::string trouble;  ///< Why it is not newer, or "".
  msg::StatusReply status;
  double per_second = 0;  ///< Finished tasks, of all jobs.
  std::map<JobId, double> job_rates;
  std::vector<msg::JobView> jobs;
  std::vector<msg::WorkerView> workers;
  std::vector<msg::TaskView> tasks;  ///< Of View::job: those that matter most.
  bool has_more_tasks = false;
  std::vector<msg::AttemptView> attempts;  ///< At View::task.
  Bytes tail;                              ///< The end of its output.
  std::string tail_trouble;                ///< Why there is none, or "".
};

/// Where the person is.
struct View {
  Page page = Page::Jobs;
  Sort sort = Sort::Cpus;
  bool is_reversed = false;
  std::array<std::size_t, kPages> row{};  ///< The line that is marked, of each page.
  JobId job;                              ///< Of the pages Tasks and Task.
  TaskIndex task;                         ///< Of the page Task.
  Stream stream = Stream::Stdout;
  [[nodiscard]] std::size_t marked() const { return row[static_cast<std::size_t>(page)]; }
};

struct Size {
  std::size_t columns = 80;
  std::size_t rows = 24;  ///< 0: as many as there are; then nothing is marked.
};

/// As they are listed.
std::vector<const msg::JobView*> sorted(const Model& model, const View& view);
/// Lines that can be marked.
std::size_t row_count(const Model& model, const View& view);
/// At most `size.rows` lines of at most `size.columns`, without newlines.
std::vector<std::string> frame(const Model& model, const View& view, Size size, bool with_colour);
/// One object: at, status, tasks_per_s, jobs, workers.
std::string json_line(const Model& model);

enum class Key : std::uint8_t { Up, Down, PageUp, PageDown, First, Last, Enter, Back, Tab, Other };
struct Press {
  Key key = Key::Other;
  char letter = 0;  ///< Of Other.
  bool operator==(const Press&) const = default;
};
/// What a terminal sends for keys. Unknown sequences are nothing.
std::vector<Press> presses_of(std::string_view bytes);

enum class Reaction : std::uint8_t { Stay, Moved, Quit };
/// Moves the view. Moved: other things are to be asked for now.
Reaction press(const Press& press, const Model& model, Size size, View& view);

}  // namespace capstan::cli::top
