// SPDX-License-Identifier: MIT
#include "cli/logs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "cli/access_lookup.h"
#include "cli/interrupts.h"
#include "cli/job_watch.h"
#include "cli/log_files.h"
#include "cli/output.h"
#include "cli/output_pump.h"
#include "cli/selectors.h"
#include "cli/task_pages.h"
#include "cli/text.h"
#include "common/base/bytes.h"
#include "common/base/print_error.h"

namespace capstan::cli {
namespace {

/// Tasks whose beginning is read ahead, so that a job of many small outputs costs no round trip
/// each.
constexpr std::size_t kReadAhead = 16;

struct LogRequest {
  Target target;
  AttemptNo attempt;         ///< 0: each task's last.
  std::uint32_t states = 0;  ///< A bit for each TaskState; 0: all.
  Stream stream = Stream::Stdout;
  bool follow = false;
};

bool is_running(const msg::TaskView& task) {
  return task.state == TaskState::Running && task.started_at.us != 0;
}

bool has_one_task(const Target& target, std::uint64_t tasks_of_job) {
  if (target.tasks.empty()) return tasks_of_job == 1;
  return target.tasks.size() == 1 && target.tasks.front().count() == 1;
}

/// Follows: from the beginning, until everything selected has finished and is printed.
class Follower {
 public:
  Follower(Client& client, const LogRequest& request, bool with_prefix)
      : client_(client),
        request_(request),
        pump_(client, pump_options(with_prefix)),
        watch_(client, {request.target.job, true, true},
               [this](const msg::WatchEvents& events) { on_events(events); }) {}

  Outcome<int> run() {
    TRY(look_for_tasks());
    TRY(read_running());
    const auto is_over = [this] {
      return watch_.failure() || pump_.failure() || (is_finished() && pump_.is_idle());
    };
    TRY(client_.run_while_waiting(is_over));
    pump_.finish();
    if (watch_.failure()) return tl::unexpected<Failure>(*watch_.failure());
    if (pump_.failure()) return tl::unexpected<Failure>(*pump_.failure());
    return kExitOk;
  }

 private:
  /// What is not there would never end.
  Outcome<void> look_for_tasks() {
    if (request_.target.tasks.empty()) return {};
    TaskPages pages(
        client_,
        {.job = request_.target.job, .states = 0, .after = {}, .only = request_.target.tasks});
    if (!TRY(pages.next()).empty()) return {};
    return fail_with(kExitRefused, no_such_task_text(request_.target.job));
  }
  /// What running tasks printed before now: the watch tells only of what comes.
  Outcome<void> read_running() {
    msg::ListTasks list;
    list.job = request_.target.job;
    list.only = request_.target.tasks;
    list.states = 1U << static_cast<unsigned>(TaskState::Running);
    TaskPages pages(client_, std::move(list));
    while (!pages.at_end()) {
      const auto page = TRY(pages.next());
      for (const msg::TaskView& task : page) pump_.on_running(task);
    }
    return {};
  }
  OutputPump::Options pump_options(bool with_prefix) {
    OutputPump::Options options;
    options.job = request_.target.job;
    options.with_prefix = with_prefix;
    options.only = request_.target.tasks;
    (request_.stream == Stream::Stdout ? options.out : options.err) = &out_;
    return options;
  }
  void on_events(const msg::WatchEvents& events) {
    for (const msg::TaskEnded& ended : events.ended) {
      pump_.on_ended(ended);
      const bool is_ours = is_selected(request_.target.tasks, ended.view.task);
      if (!is_ours || !capstan::is_finished(ended.view.state)) continue;
      finished_.insert(ended.view.task);
      if (ended.view.end == EndClass::LaunchError) tell(ended.view);
    }
    for (const msg::OutputGrew& grew : events.grew) pump_.on_grew(grew);
    if (events.caught_up) pump_.on_caught_up();
  }
  void tell(const msg::TaskView& task) const {
    print_error("capstan logs: {}: {}\n", task_name(request_.target.job, task.task),
                end_text(task));
  }
  [[nodiscard]] bool is_finished() const {
    if (watch_.is_finished()) return true;
    const auto& tasks = request_.target.tasks;
    std::uint64_t wanted = 0;
    for (const IndexRange& range : tasks) wanted += range.count();
    return wanted != 0 && finished_.size() == wanted;
  }

  Client& client_;
  const LogRequest& request_;
  Output out_{STDOUT_FILENO};
  std::set<TaskIndex> finished_;
  OutputPump pump_;
  JobWatch watch_;
};

/// Prints what is there, task after task. What an ended attempt's worker has not delivered yet is
/// waited for; of a running one what has come so far is printed.
class Reader {
 public:
  Reader(Client& client, const LogRequest& request, bool with_prefix)
      : client_(client),
        request_(request),
        with_prefix_(with_prefix),
        pages_(client, {.job = request.target.job,
                        .states = request.states,
                        .after = {},
                        .only = request.target.tasks}) {}

  Outcome<int> run() {
    TRY(load_page());
    while (true) {
      while (ahead_.size() < kReadAhead && !tasks_.empty()) start();
      if (ahead_.empty() && pages_.at_end()) break;
      if (tasks_.empty() && !pages_.at_end() && ahead_.empty()) {
        TRY(load_page());
        continue;
      }
      if (Outcome<void> printed = print_front(); !printed) {
        TRY(out_.flush());
        return tl::unexpected<Failure>(printed.error());
      }
      ahead_.pop_front();
    }
    TRY(out_.flush());
    if (running_ != 0) {
      print_error("capstan logs: {} running: -f shows what they print as they do\n",
                  count_text(running_, "task"));
    }
    if (printed_tasks_ != 0) return kExitOk;
    return fail_with(kExitRefused, no_such_task_text(request_.target.job));
  }

 private:
  struct Ahead {
    msg::TaskView task;
    std::optional<Result<msg::Body>> answer;  ///< To the last question, when it is here.
  };

  Outcome<void> load_page() {
    auto page = TRY(pages_.next());
    printed_tasks_ += page.size();
    for (const msg::TaskView& task : page) {
      if (request_.attempt > task.attempt) {
        return fail_with(kExitRefused,
                         fmt::format("{} has had {}", task_name(request_.target.job, task.task),
                                     count_text(task.attempt.value, "attempt")));
      }
      running_ += is_running(task) && is_last(task) ? 1 : 0;
    }
    for (msg::TaskView& task : page) tasks_.push_back(std::move(task));
    return {};
  }
  msg::ReadLog question(const msg::TaskView& task, std::uint64_t offset) const {
    msg::ReadLog read;
    read.job = request_.target.job;
    read.task = task.task;
    read.attempt = request_.attempt ? request_.attempt : task.attempt;
    read.stream = request_.stream;
    read.offset = offset;
    return read;
  }
  /// The last attempt is meant: what the task says is of it.
  [[nodiscard]] bool is_last(const msg::TaskView& task) const {
    return !request_.attempt || request_.attempt == task.attempt;
  }
  [[nodiscard]] bool is_ended(const msg::TaskView& task) const {
    return task.ended || !is_last(task);
  }
  void start() {
    Ahead& ahead = ahead_.emplace_back();
    ahead.task = std::move(tasks_.front());
    tasks_.pop_front();
    const msg::TaskView& task = ahead.task;
    const bool wrote_nothing = is_last(task) && task.ended && bytes_of(task) == 0;
    if (task.attempt.value == 0 || wrote_nothing) {
      msg::LogData nothing;
      nothing.end = true;
      ahead.answer = Result<msg::Body>(msg::Body(std::move(nothing)));
      return;
    }
    read(ahead, 0);
  }
  void read(Ahead& ahead, std::uint64_t offset) {
    ahead.answer.reset();
    // A deque keeps its elements where they are.
    client_.query(question(ahead.task, offset),
                  [&ahead](Result<msg::Body> reply) { ahead.answer = std::move(reply); });
  }
  [[nodiscard]] std::uint64_t bytes_of(const msg::TaskView& task) const {
    return request_.stream == Stream::Stdout ? task.stdout_bytes : task.stderr_bytes;
  }
  Outcome<void> print_front() {
    Ahead& ahead = ahead_.front();
    const auto is_here = [&] { return ahead.answer.has_value(); };
    const msg::TaskView& task = ahead.task;
    LinePrefixer lines(with_prefix_ ? task_name(request_.target.job, task.task) + ": "
                                    : std::string());
    std::uint64_t offset = 0;
    while (true) {
      TRY(client_.run_while_waiting(is_here));
      const Result<msg::Body>& reply = *ahead.answer;
      if (!reply && reply.error().code == Errc::NotFound) break;  // Its output is gone.
      if (!reply) return fail_with(exit_code_of(reply.error().code), reply.error().message);
      const auto& data = std::get<msg::LogData>(*reply);
      if (data.offset > offset && !data.data.empty()) note_hole(task, data.offset - offset);
      if (!data.data.empty()) offset = data.offset + data.data.size();
      out_.write(lines.add(data.data));
      if (data.end || (data.data.empty() && !is_ended(task))) break;
      if (data.data.empty()) TRY(await_delivery(task));
      has_grown_ = false;
      read(ahead, offset);
    }
    out_.write(lines.finish());
    if (is_last(task) && task.ended && task.end == EndClass::LaunchError) {
      TRY(out_.flush());
      print_error("capstan logs: {}: {}\n", task_name(request_.target.job, task.task),
                  end_text(task));
    }
    return {};
  }
  void note_hole(const msg::TaskView& task, std::uint64_t bytes) {
    static_cast<void>(out_.flush());
    print_error("capstan logs: {}: {} bytes were dropped here\n",
                task_name(request_.target.job, task.task), bytes);
  }
  /// Until the master may have more of this stream than when it was asked last.
  Outcome<void> await_delivery(const msg::TaskView& task) {
    TRY(out_.flush());
    const auto on_events = [this](const msg::WatchEvents& events) {
      for (const msg::OutputGrew& grew : events.grew) {
        has_grown_ |= grew.stream == request_.stream && grew.key.task == awaited_;
      }
      // What came between the question and this watch was told to nobody.
      has_grown_ |= events.caught_up;
    };
    if (std::exchange(awaited_, task.task) != task.task && watch_) return {};  // Ask once more.
    if (!watch_) {
      JobWatch::Options options;
      options.job = request_.target.job;
      options.output = true;
      watch_ = std::make_unique<JobWatch>(client_, options, on_events);
    }
    const auto is_news = [&] { return has_grown_ || watch_->failure().has_value(); };
    if (!TRY(client_.run_until(is_news, client_.now() + kTellUndelivered)) && !has_told_) {
      has_told_ = true;
      print_error("capstan logs: waiting for what {} has not delivered of {} yet\n",
                  printable(task.worker), task_name(request_.target.job, task.task));
    }
    TRY(client_.run_while_waiting(is_news));
    if (watch_->failure()) return tl::unexpected<Failure>(*watch_->failure());
    return {};
  }

  Client& client_;
  const LogRequest& request_;
  const bool with_prefix_;
  Output out_{STDOUT_FILENO};
  TaskPages pages_;
  std::deque<msg::TaskView> tasks_;
  std::deque<Ahead> ahead_;
  std::uint64_t printed_tasks_ = 0;
  std::uint64_t running_ = 0;
  std::unique_ptr<JobWatch> watch_;  ///< Since something was waited for.
  TaskIndex awaited_;
  bool has_told_ = false;  ///< That something is waited for.
  bool has_grown_ = false;
};

class LogsVerb final : public Verb {
 public:
  LogsVerb() : Verb("logs", "print what tasks printed", {"ID", 1, 1}) {
    page_.synopsis = {"capstan logs [OPTIONS] ID[.TASK[.ATTEMPT]]",
                      "capstan logs --to DIR [OPTIONS] ID[.TASK]"};
    page_.description =
        "Prints the standard output of a job's tasks in their order, of each its last attempt. "
        "With several tasks every line has its task in front, as in '17.42: '. Of a finished task "
        "everything is printed, also what is still on its way from its worker; of a running one "
        "what has been delivered so far, which may be nothing when nobody follows it.\n\n"
        "Kept of each stream are the first 1 MiB and the last 15 MiB; where bytes were dropped "
        "between them a line on stderr says so. A task that could not be started has no output: "
        "the reason is on stderr.\n\n"
        "With --to each task's output becomes files of DIR, 17.42.out and (when there is any) "
        "17.42.err, each of which is there when it is whole; a line on stderr says what was "
        "written, what is not there yet and what is gone.\n\n"
        "ID is 17, 17.42, 17.1-100 or last; 17.42.2 is the second attempt at that task.";
    // clang-format off
    options_.add_options()
        ("follow,f", po::bool_switch(&follow_),
         "Print what comes as it comes, of every attempt, until the job is finished.")
        ("stderr", po::bool_switch(&stderr_),
         "The standard error of the tasks instead.")
        ("to", po::value(&to_)->value_name("DIR"),
         "Write files into DIR, which is made when it is missing. Files that are there are "
         "replaced.")
        ("state,s", po::value(&states_)->value_name("STATE"),
         "Only tasks in this state, as with capstan tasks. Again for more.")
        ("failed", po::bool_switch(&failed_),
         "Only tasks that failed; as --state failed.")
        ("json", po::bool_switch(&json_),
         "With --to: what was written, as one JSON object.");
    // clang-format on
    set_examples(
        "  capstan logs 17.42\n"
        "  capstan logs -f last\n"
        "  capstan logs --stderr 17.1-10\n"
        "  capstan logs --to out --failed last\n");
    set_exits(
        "  0    done\n"
        "  1    with --to: some output is not kept any more, or a file could not be written\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused by the master: no such job, not yours, not this cluster's key\n"
        "  75   no answer in time; try again\n");
  }

  Outcome<int> run(const Words& words) override {
    const AttemptSelector named = TRY(parse_attempt_selector(words.positionals.front()));
    if (named.selector.kind == Selector::Kind::All) {
      return usage_error("'all' is more than one job: name one, as in 17 or last");
    }
    LogRequest request;
    request.attempt = named.attempt;
    request.states = TRY(wanted_states());
    TRY(check(request));
    net::EventLoop loop;
    Interrupts interrupts;
    TRY(interrupts.install(loop));
    const auto client = TRY(connect(loop, *this, &interrupts));
    request.target = TRY(resolve(*client, {named.selector})).front();
    if (!to_.empty()) return write_files(*client, request);
    request.stream = stderr_ ? Stream::Stderr : Stream::Stdout;
    msg::GetJob get;
    get.which.job = request.target.job;
    const msg::JobView job = TRY(client->ask<msg::JobReply>(get)).job;
    const bool with_prefix = !has_one_task(request.target, job.tasks);
    if (follow_) return Follower(*client, request, with_prefix).run();
    return Reader(*client, request, with_prefix).run();
  }

 private:
  Outcome<std::uint32_t> wanted_states() const {
    std::uint32_t states = failed_ ? 1U << static_cast<unsigned>(TaskState::Failed) : 0;
    for (const std::string& state : states_) {
      const TaskState wanted = TRY(as_usage(parse_task_state(state), "--state"));
      states |= 1U << static_cast<unsigned>(wanted);
    }
    return states;
  }
  [[nodiscard]] Outcome<void> check(const LogRequest& request) const {
    if (follow_ && (request.attempt || request.states != 0 || !to_.empty())) {
      return usage_error(
          "-f shows every attempt as it comes: leave the attempt, --state, --to out");
    }
    if (json_ && to_.empty()) return usage_error("--json is for --to");
    return {};
  }
  [[nodiscard]] Outcome<int> write_files(Client& client, const LogRequest& request) const {
    LogFilesRequest files;
    files.target = request.target;
    files.attempt = request.attempt;
    files.states = request.states;
    files.dir = to_;
    files.with_stdout = !stderr_;
    const LogFilesSummary summary = TRY(write_log_files(client, files));
    if (summary.tasks == 0) { return fail_with(kExitRefused, no_such_task_text(summary.job)); }
    Output out(STDOUT_FILENO);
    if (json_) out.write(summary_json(summary));
    TRY(out.flush());
    if (!json_) print_error("capstan logs: {}\n", summary_text(summary, to_));
    return summary.gone == 0 ? kExitOk : kExitFailed;
  }
  std::string to_;
  std::vector<std::string> states_;
  bool failed_ = false;
  bool json_ = false;
  bool follow_ = false;
  bool stderr_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_logs_verb() {
  return std::make_unique<LogsVerb>();
}

}  // namespace capstan::cli
