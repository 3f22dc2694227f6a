// SPDX-License-Identifier: MIT
#include "cli/top_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/lists.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/base/bytes.h"
#include "common/json/json.h"
#include "common/model/parse.h"

namespace capstan::cli::top {
namespace {

using Lines = std::vector<std::string>;

constexpr std::size_t kGap = 2;            ///< Between columns.
constexpr std::size_t kNarrowest = 8;      ///< Of the column that gives way.
constexpr std::size_t kAlarmsShown = 2;    ///< Of the header.
constexpr std::size_t kAttemptsShown = 4;  ///< Above the output of a task.
constexpr std::uint64_t kEnough = 9;  ///< More rows than this: the header may have its full height.

/// A table that fits: the least important columns go first, and one gives way.
class Grid {
 public:
  struct Column {
    std::string title;
    int importance = 0;
    bool is_number = false;
    bool gives_way = false;
  };
  explicit Grid(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Table::Cell> cells) { rows_.push_back(std::move(cells)); }

  /// The titles and `room` rows, among them the marked one.
  [[nodiscard]] Lines lines(std::size_t columns, std::size_t room, std::size_t marked,
                            bool with_colour) const {
    const std::vector<std::size_t> widths = fit(columns);
    Lines out = {line(titles(), widths, columns, with_colour)};
    const bool is_all = room == 0;
    const std::size_t first = is_all || marked < room ? 0 : marked - room + 1;
    const std::size_t end = is_all ? rows_.size() : std::min(rows_.size(), first + room);
    for (std::size_t i = first; i < end; ++i) {
      const bool is_marked = !is_all && i == marked;
      std::string text = line(rows_[i], widths, columns, with_colour && !is_marked);
      if (is_marked) {
        text += std::string(columns - std::min(columns, display_width(text)), ' ');
        text = "\x1b[7m" + text + "\x1b[0m";
      }
      out.push_back(std::move(text));
    }
    return out;
  }

 private:
  [[nodiscard]] std::vector<Table::Cell> titles() const {
    std::vector<Table::Cell> cells;
    for (const Column& column : columns_) cells.push_back({column.title, Colour::Dim});
    return cells;
  }
  /// 0: left out.
  [[nodiscard]] std::vector<std::size_t> fit(std::size_t columns) const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      std::size_t width = display_width(columns_[i].title);
      for (const auto& row : rows_) width = std::max(width, display_width(row[i].text));
      widths.push_back(width);
    }
    while (true) {
      std::size_t taken = 0, least = 0, shown = 0, flexible = widths.size();
      for (std::size_t i = 0; i < widths.size(); ++i) {
        if (widths[i] == 0) continue;
        if (columns_[i].gives_way) flexible = i;
        taken += (columns_[i].gives_way ? std::min(widths[i], kNarrowest) : widths[i]) +
                 (shown++ == 0 ? 0 : kGap);
        if (widths[least] == 0 || columns_[i].importance < columns_[least].importance) least = i;
      }
      if (taken > columns && shown > 1) {
        widths[least] = 0;
        continue;
      }
      if (flexible < widths.size()) {
        const std::size_t narrow = std::min(widths[flexible], kNarrowest);
        widths[flexible] = std::min(widths[flexible], columns - std::min(columns, taken) + narrow);
      }
      return widths;
    }
  }
  [[nodiscard]] std::string line(const std::vector<Table::Cell>& cells,
                                 const std::vector<std::size_t>& widths, std::size_t columns,
                                 bool with_colour) const {
    std::string text;
    std::size_t blanks = 0, used = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (widths[i] == 0 || used >= columns) continue;
      const std::size_t room = std::min(widths[i], columns - used);
      const std::string cell = shortened(cells[i].text, room);
      const std::size_t padding = room - display_width(cell);
      if (columns_[i].is_number) blanks += padding;
      if (!cell.empty()) {
        text += std::string(blanks, ' ') + coloured(cell, cells[i].colour, with_colour);
        blanks = 0;
      }
      if (!columns_[i].is_number) blanks += padding;
      blanks += kGap;
      used += room + kGap;
    }
    return text;
  }
  std::vector<Column> columns_;
  std::vector<std::vector<Table::Cell>> rows_;
};

std::uint64_t cpus_of(const msg::JobView& job) {
  return job.counts.running * job.cpus;
}

/// `left`, and `right` at the other end when there is room for both.
std::string spread(const std::string& left, const std::string& right, std::size_t columns) {
  const std::size_t taken = display_width(left) + display_width(right);
  if (taken + kGap > columns) return shortened(left, columns);
  return left + std::string(columns - taken, ' ') + right;
}

std::string clock_text(WallTime at) {
  const std::string text = local_time_text(at);
  return text.size() > 11 ? text.substr(11) : text;
}

std::string speed_text(double per_second) {
  return per_second > 0 ? rate_text(per_second) : "0/s";
}

/// Who, how many, how fast, and what a person should look at.
Lines header(const Model& model, Size size, bool with_colour) {
  const msg::StatusReply& status = model.status;
  Lines lines;
  lines.push_back(
      spread(fmt::format("capstan  master {}, up {}  cluster {}", printable(status.master),
                         span_text(status.uptime), status.cluster.hex().substr(0, 8)),
             clock_text(model.at), size.columns));
  lines.push_back(shortened(
      fmt::format("workers {} up, {} away  cpus {}/{}  {}", status.workers_up, status.workers_away,
                  status.cpus_running, status.cpus, speed_text(model.per_second)),
      size.columns));
  const std::string counts = counts_text(status.tasks);
  const bool is_low = size.rows != 0 && size.rows <= kEnough + 2;
  if (!is_low) {
    lines.push_back(
        shortened(count_text(status.jobs_live, "live job") + (counts.empty() ? "" : ": " + counts),
                  size.columns));
  }
  std::vector<std::string> alarms = status.alarms;
  if (!model.trouble.empty()) alarms.insert(alarms.begin(), model.trouble);
  const std::size_t shown = is_low ? 1 : kAlarmsShown;
  for (std::size_t i = 0; i < std::min(alarms.size(), shown); ++i) {
    const std::string more =
        i + 1 == shown && alarms.size() > shown ? fmt::format(" (+{})", alarms.size() - shown) : "";
    lines.push_back(coloured(shortened("! " + printable(alarms[i]) + more, size.columns),
                             Colour::Red, with_colour));
  }
  return lines;
}

std::string state_text(const msg::JobView& job) {
  return std::string(to_string(job.state));
}

Grid jobs_grid(const Model& model, const View& view) {
  Grid grid({{"JOB", 100, true},
             {"NAME", 80, false, true},
             {"OWNER", 30},
             {"STATE", 90},
             {"DONE", 85, true},
             {"TASKS", 84, true},
             {"FAILED", 60, true},
             {"CPUS", 70, true},
             {"RATE", 50, true},
             {"PRI", 40, true},
             {"AGE", 20, true}});
  for (const msg::JobView* job : sorted(model, view)) {
    const auto rate = model.job_rates.find(job->id);
    const bool has_rate = rate != model.job_rates.end() && rate->second > 0;
    const std::int64_t age = std::max<std::int64_t>(model.at.us - job->submitted_at.us, 0);
    grid.add(
        {{std::to_string(job->id.value)},
         {printable(job->name)},
         {printable(job->owner)},
         {state_text(*job), colour_of(job->state)},
         {std::to_string(job->counts.finished())},
         {std::to_string(job->tasks)},
         {std::to_string(job->counts.failed), job->counts.failed != 0 ? Colour::Red : Colour::None},
         {std::to_string(cpus_of(*job))},
         {has_rate ? rate_text(rate->second) : "-"},
         {std::to_string(job->priority)},
         {span_text(Micros(age))}});
  }
  return grid;
}

Grid tasks_grid(const Model& model) {
  Grid grid({{"TASK", 100, true},
             {"STATE", 90},
             {"ATTEMPT", 40, true},
             {"WORKER", 60},
             {"WALL", 70, true},
             {"CPU", 30, true},
             {"MEMORY", 50, true},
             {"REASON", 80, false, true}});
  for (const msg::TaskView& task : model.tasks) {
    const bool is_running = task.state == TaskState::Running && task.started_at.us != 0;
    const Micros wall = is_running
                            ? Micros(std::max<std::int64_t>(model.at.us - task.started_at.us, 0))
                            : task.wall;
    const bool failed = task.ended && task.end != EndClass::Success;
    grid.add({{std::to_string(task.task.value)},
              {std::string(to_string(task.state)), colour_of(task.state)},
              {task.attempt.value == 0 ? "-" : std::to_string(task.attempt.value)},
              {task.worker.empty() ? "-" : printable(task.worker)},
              {is_running || task.ended ? span_text(wall) : "-"},
              {task.ended ? span_text(task.cpu) : "-"},
              {bytes_or_dash(task.max_rss_bytes)},
              {task.cancelling ? "cancelling"
               : failed        ? end_text(task)
                               : printable(task.reason)}});
  }
  return grid;
}

Grid attempts_grid(const Model& model) {
  Grid grid({{"ATTEMPT", 100, true},
             {"WORKER", 80},
             {"STARTED", 40},
             {"WALL", 70, true},
             {"END", 90, false, true}});
  for (const msg::AttemptView& attempt : model.attempts) {
    const msg::TaskView& task = attempt.view;
    grid.add({{std::to_string(task.attempt.value)},
              {task.worker.empty() ? "-" : printable(task.worker)},
              {clock_text(task.started_at)},
              {task.ended ? span_text(task.wall) : "-"},
              {attempt.running ? "running"
               : task.ended    ? end_text(task)
                               : "-"}});
  }
  return grid;
}

Grid workers_grid(const Model& model) {
  Grid grid({{"WORKER", 100},
             {"STATE", 90},
             {"RUNNING", 80, true},
             {"CPUS", 85, true},
             {"QUEUED", 50, true},
             {"MEMORY", 40, true},
             {"HEARD", 60, true},
             {"NOTE", 70, false, true}});
  for (const msg::WorkerView& worker : model.workers) {
    const bool heard = worker.last_heard_ago.count() >= 0;
    grid.add({{printable(worker.name)},
              {std::string(to_string(worker.state)), colour_of(worker.state)},
              {std::to_string(worker.running)},
              {std::to_string(worker.cpus)},
              {std::to_string(worker.queued)},
              {bytes_or_dash(worker.mem_bytes)},
              {heard ? span_text(worker.last_heard_ago) + " ago" : "-"},
              {printable(worker.note)}});
  }
  return grid;
}

const msg::JobView* find_job(const Model& model, JobId id) {
  const auto found = std::find_if(model.jobs.begin(), model.jobs.end(),
                                  [&](const msg::JobView& job) { return job.id == id; });
  return found == model.jobs.end() ? nullptr : &*found;
}

std::string tasks_title(const Model& model, const View& view) {
  const msg::JobView* job = find_job(model, view.job);
  std::string text = fmt::format("job {}", view.job.value);
  if (job != nullptr) {
    text += fmt::format(" {}: {}, {}", printable(job->name), state_text(*job),
                        counts_text(job->counts));
    if (!job->reason.empty()) text += " (" + printable(job->reason) + ")";
  }
  return model.has_more_tasks ? text + fmt::format("; {} shown", model.tasks.size()) : text;
}

/// The last lines of a task's output that fit.
Lines tail_lines(const Model& model, std::size_t columns, std::size_t room) {
  Lines lines;
  std::string_view text = model.tail;
  if (text.ends_with('\n')) text.remove_suffix(1);
  while (!text.empty() && lines.size() < room) {
    const std::size_t newline = text.rfind('\n');
    const std::size_t begin = newline == text.npos ? 0 : newline + 1;
    lines.push_back(shortened(printable(text.substr(begin)), columns));
    text = text.substr(0, begin == 0 ? 0 : newline);
  }
  std::reverse(lines.begin(), lines.end());
  if (lines.empty()) {
    lines.push_back(model.tail_trouble.empty() ? "(nothing was printed yet)"
                                               : printable(model.tail_trouble));
    lines.back() = shortened(lines.back(), columns);
  }
  return lines;
}

const char* const kHelp[] = {
    "c p a n     sort by cpus, priority, age, name",
    "            (again: the other way round)",
    "up down     move; also j k, PgUp PgDn, Home End",
    "Enter       into a job, into a task",
    "Esc         back",
    "Tab         stdout or stderr of a task",
    "w           workers",
    "?           this page",
    "q           leave",
};

std::string hints_of(const View& view) {
  switch (view.page) {
    case Page::Jobs: {
      constexpr std::array<const char*, 4> kSorts = {"cpus", "priority", "age", "name"};
      return fmt::format("q quit  ? help  Enter tasks  w workers  sort c p a n: {}{}",
                         kSorts[static_cast<std::size_t>(view.sort)],
                         view.is_reversed ? ", reversed" : "");
    }
    case Page::Tasks:
      return "q quit  Esc back  Enter attempts and output";
    case Page::Task:
      return "q quit  Esc back  Tab stdout/stderr";
    case Page::Workers:
    case Page::Help:
      return "q quit  Esc back";
  }
  return "";
}

/// What stands between the header and the hints; `room` 0: as much as there is.
Lines body(const Model& model, const View& view, Size size, bool with_colour) {
  const auto table = [&](const Grid& grid, std::size_t room) {
    return grid.lines(size.columns, room, view.marked(), with_colour);
  };
  const std::size_t below = size.rows - std::min<std::size_t>(size.rows, 1);
  Lines lines;
  switch (view.page) {
    case Page::Jobs:
      return table(jobs_grid(model, view), below);
    case Page::Workers:
      return table(workers_grid(model), below);
    case Page::Help:
      for (const char* line : kHelp) lines.push_back(shortened(line, size.columns));
      return lines;
    case Page::Tasks:
      lines = table(tasks_grid(model), below - std::min<std::size_t>(below, 1));
      lines.insert(lines.begin(), shortened(tasks_title(model, view), size.columns));
      return lines;
    case Page::Task:
      break;
  }
  const std::size_t attempts = std::min(model.attempts.size(), kAttemptsShown);
  Lines all = attempts_grid(model).lines(size.columns, 0, 0, with_colour);
  lines = {shortened("task " + task_name(view.job, view.task), size.columns), all.front()};
  lines.insert(lines.end(), all.end() - static_cast<std::ptrdiff_t>(attempts), all.end());
  lines.push_back(
      coloured(view.stream == Stream::Stdout ? "stdout" : "stderr", Colour::Dim, with_colour));
  const std::size_t room = size.rows - std::min(size.rows, lines.size());
  for (std::string& line : tail_lines(model, size.columns, std::max<std::size_t>(room, 1))) {
    lines.push_back(std::move(line));
  }
  return lines;
}

/// The identity of the marked line survives a new order.
void follow_sort(const Model& model, View& view, JobId marked) {
  const auto jobs = sorted(model, view);
  const auto at = std::find_if(jobs.begin(), jobs.end(),
                               [&](const msg::JobView* job) { return job->id == marked; });
  if (at != jobs.end()) view.row[0] = static_cast<std::size_t>(at - jobs.begin());
}

Reaction go(View& view, Page page) {
  view.page = page;
  return Reaction::Moved;
}

Reaction enter(const Model& model, View& view) {
  if (view.page == Page::Jobs && view.marked() < model.jobs.size()) {
    view.job = sorted(model, view)[view.marked()]->id;
    view.row[static_cast<std::size_t>(Page::Tasks)] = 0;
    return go(view, Page::Tasks);
  }
  if (view.page == Page::Tasks && view.marked() < model.tasks.size()) {
    view.task = model.tasks[view.marked()].task;
    return go(view, Page::Task);
  }
  return Reaction::Stay;
}

Reaction letter(char c, const Model& model, View& view) {
  constexpr std::string_view kSorts = "cpan";
  const std::size_t sort = kSorts.find(c);
  if (c == 'q') return Reaction::Quit;
  if (c == 'w') return go(view, Page::Workers);
  if (c == '?' || c == 'h') return go(view, Page::Help);
  if (sort != std::string_view::npos && view.page == Page::Jobs) {
    const auto jobs = sorted(model, view);
    const JobId marked = view.marked() < jobs.size() ? jobs[view.marked()]->id : JobId();
    view.is_reversed = view.sort == static_cast<Sort>(sort) && !view.is_reversed;
    view.sort = static_cast<Sort>(sort);
    follow_sort(model, view, marked);
  }
  return Reaction::Stay;
}

}  // namespace

std::vector<const msg::JobView*> sorted(const Model& model, const View& view) {
  std::vector<const msg::JobView*> jobs;
  for (const msg::JobView& job : model.jobs) jobs.push_back(&job);
  const auto before = [&](const msg::JobView* a, const msg::JobView* b) {
    switch (view.sort) {
      case Sort::Cpus:
        return cpus_of(*a) > cpus_of(*b);
      case Sort::Priority:
        return a->priority > b->priority;
      case Sort::Age:
        return a->id > b->id;
      case Sort::Name:
        return a->name < b->name;
    }
    return false;
  };
  // Newest first where it says nothing.
  std::sort(jobs.begin(), jobs.end(), [](const auto* a, const auto* b) { return a->id > b->id; });
  std::stable_sort(jobs.begin(), jobs.end(), [&](const auto* a, const auto* b) {
    return view.is_reversed ? before(b, a) : before(a, b);
  });
  return jobs;
}

std::size_t row_count(const Model& model, const View& view) {
  switch (view.page) {
    case Page::Jobs:
      return model.jobs.size();
    case Page::Tasks:
      return model.tasks.size();
    case Page::Workers:
      return model.workers.size();
    case Page::Task:
    case Page::Help:
      return 0;
  }
  return 0;
}

std::vector<std::string> frame(const Model& model, const View& view, Size size, bool with_colour) {
  const bool is_bounded = size.rows != 0;
  Lines lines = header(model, size, with_colour);
  if (!is_bounded) {
    for (std::string& line : body(model, view, size, with_colour)) lines.push_back(std::move(line));
    return lines;
  }
  lines.resize(std::min(lines.size(), size.rows - 1));
  Size inner = size;
  inner.rows = size.rows - 1 - lines.size();
  if (inner.rows > 0) {
    for (std::string& line : body(model, view, inner, with_colour))
      lines.push_back(std::move(line));
  }
  lines.resize(size.rows - 1);
  lines.push_back(coloured(shortened(hints_of(view), size.columns), Colour::Dim, with_colour));
  return lines;
}

std::string json_line(const Model& model) {
  const auto list = [](const auto& views) {
    std::string text;
    for (const auto& view : views) text += (text.empty() ? "" : ",") + json::line(view);
    return "[" + text + "]";
  };
  return fmt::format(
      "{{\"at\":\"{}\",\"status\":{},\"tasks_per_s\":{:.3f},\"jobs\":{},"
      "\"workers\":{}}}",
      rfc3339(model.at), json::line(model.status), model.per_second, list(model.jobs),
      list(model.workers));
}

std::vector<Press> presses_of(std::string_view bytes) {
  struct Sequence {
    std::string_view bytes;
    Key key;
  };
  static constexpr Sequence kSequences[] = {
      {"\x1b[A", Key::Up},    {"\x1bOA", Key::Up},      {"\x1b[B", Key::Down},
      {"\x1bOB", Key::Down},  {"\x1b[5~", Key::PageUp}, {"\x1b[6~", Key::PageDown},
      {"\x1b[H", Key::First}, {"\x1bOH", Key::First},   {"\x1b[1~", Key::First},
      {"\x1b[F", Key::Last},  {"\x1bOF", Key::Last},    {"\x1b[4~", Key::Last},
      {"\x1b[C", Key::Enter}, {"\x1bOC", Key::Enter},   {"\x1b[D", Key::Back},
      {"\x1bOD", Key::Back},  {"\r", Key::Enter},       {"\n", Key::Enter},
      {"\x7f", Key::Back},    {"\b", Key::Back},        {"\t", Key::Tab},
      {"k", Key::Up},         {"j", Key::Down},         {"g", Key::First},
      {"G", Key::Last},
  };
  std::vector<Press> presses;
  while (!bytes.empty()) {
    const auto known = std::find_if(std::begin(kSequences), std::end(kSequences),
                                    [&](const Sequence& s) { return bytes.starts_with(s.bytes); });
    if (known != std::end(kSequences)) {
      presses.push_back({known->key, 0});
      bytes.remove_prefix(known->bytes.size());
    } else if (bytes[0] != '\x1b') {
      presses.push_back({Key::Other, bytes[0]});
      bytes.remove_prefix(1);
    } else if (bytes.size() == 1 || (bytes[1] != '[' && bytes[1] != 'O')) {
      presses.push_back({Key::Back, 0});
      bytes.remove_prefix(1);
    } else {  // Another sequence: up to its last letter.
      std::size_t end = 2;
      while (end < bytes.size() && (bytes[end] < '@' || bytes[end] > '~')) ++end;
      bytes.remove_prefix(std::min(end + 1, bytes.size()));
    }
  }
  return presses;
}

Reaction press(const Press& press, const Model& model, Size size, View& view) {
  const std::size_t count = row_count(model, view);
  const std::size_t last = count - std::min<std::size_t>(count, 1);
  const std::size_t step = std::max<std::size_t>(size.rows / 2, 1);
  std::size_t& row = view.row[static_cast<std::size_t>(view.page)];
  row = std::min(row, last);
  switch (press.key) {
    case Key::Up:
      row -= std::min<std::size_t>(row, 1);
      return Reaction::Stay;
    case Key::Down:
      row = std::min(row + 1, last);
      return Reaction::Stay;
    case Key::PageUp:
      row -= std::min(row, step);
      return Reaction::Stay;
    case Key::PageDown:
      row = std::min(row + step, last);
      return Reaction::Stay;
    case Key::First:
      row = 0;
      return Reaction::Stay;
    case Key::Last:
      row = last;
      return Reaction::Stay;
    case Key::Enter:
      return enter(model, view);
    case Key::Back:
      if (view.page == Page::Jobs) return Reaction::Stay;
      return go(view, view.page == Page::Task ? Page::Tasks : Page::Jobs);
    case Key::Tab:
      view.stream = view.stream == Stream::Stdout ? Stream::Stderr : Stream::Stdout;
      return view.page == Page::Task ? Reaction::Moved : Reaction::Stay;
    case Key::Other:
      return letter(press.letter, model, view);
  }
  return Reaction::Stay;
}

}  // namespace capstan::cli::top
