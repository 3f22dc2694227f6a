// SPDX-License-Identifier: MIT
#include "cli/wait.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "cli/access_lookup.h"
#include "cli/output.h"
#include "cli/output_pump.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "common/base/print_error.h"
#include "common/json/json.h"
#include "common/model/limits.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

/// Jobs watched together; the others' turn comes when one is finished. Below kWatchesPerClient.
constexpr std::size_t kWatched = 8;

/// Tasks of a selection that have not finished yet, and whether one did not succeed.
class TaskSet {
 public:
  explicit TaskSet(const Target& target) : target_(target) {}

  /// REQUIRES: the watch was begun before: what ends in between is told there.
  Outcome<void> load(Client& client) {
    msg::ListTasks list;
    list.job = target_.job;
    list.only = target_.tasks;
    list.limit = limits::kRowsPerPage;
    std::uint64_t found = 0;
    while (true) {
      const auto page = TRY(client.ask<msg::TaskList>(list));
      for (const msg::TaskView& task : page.tasks) note(task);
      found += page.tasks.size();
      if (!page.more || page.tasks.empty()) break;
      list.from_start = false;
      list.after = page.tasks.back().task;
    }
    if (found != 0) return {};
    return fail_with(kExitRefused, no_such_task_text(target_.job));
  }
  void note(const msg::TaskView& task) {
    if (!is_selected(target_.tasks, task.task)) return;
    if (!is_finished(task.state)) {
      if (finished_.count(task.task) == 0) waiting_.insert(task.task);
      return;
    }
    finished_.insert(task.task);
    waiting_.erase(task.task);
    if (task.state != TaskState::Succeeded) all_succeeded_ = false;
  }
  [[nodiscard]] bool is_done() const { return waiting_.empty(); }
  [[nodiscard]] bool all_succeeded() const { return all_succeeded_; }

 private:
  const Target& target_;
  std::set<TaskIndex> waiting_;
  std::set<TaskIndex> finished_;
  bool all_succeeded_ = true;
};

/// One target while it is waited for.
struct Waiting {
  const Target* target = nullptr;
  std::unique_ptr<TaskSet> tasks;  ///< Null: the whole job.
  std::unique_ptr<JobWatch> watch;
  [[nodiscard]] bool is_done() const {
    return watch->is_finished() || (tasks != nullptr && watch->has_answer() && tasks->is_done());
  }
};

class Waiter {
 public:
  Waiter(Client& client, const WaitRequest& request)
      : client_(client),
        request_(request),
        progress_(Terminal::of_process(), request.with_progress && !request.is_quiet) {}

  Outcome<int> run() {
    const TimePoint began = client_.now();
    const TimePoint end = request_.at_most ? began + *request_.at_most : TimePoint::never();
    while (next_ < request_.targets.size() || !waiting_.empty()) {
      TRY(fill());
      const auto moved = [&] { return has_news() || client_.now() >= end; };
      if (!answered_) {
        const TimePoint limit = std::min(end, client_.now() + client_.timeout());
        const auto answered = [&] { return moved() || waiting_.front().watch->has_answer(); };
        if (!TRY(client_.run_until(answered, limit)) && client_.now() < end) {
          return fail_with(kExitUnavailable, "the master did not answer in time");
        }
        answered_ = true;
      }
      if (request_.at_most) {
        TRY(client_.run_until(moved, end));
      } else {
        TRY(client_.run_while_waiting(moved));
      }
      TRY(settle());
      if (!waiting_.empty() && client_.now() >= end) {
        progress_.clear();
        return fail_with(kExitTimedOut, "not finished within " + duration_text(*request_.at_most));
      }
    }
    TRY(out_.flush());
    return all_succeeded_ ? kExitOk : kExitFailed;
  }

 private:
  Outcome<void> fill() {
    while (waiting_.size() < kWatched && next_ < request_.targets.size()) {
      const Target& target = request_.targets[next_++];
      Waiting& waiting = waiting_.emplace_back();
      waiting.target = &target;
      JobWatch::Options options;
      options.job = target.job;
      options.tasks = !target.tasks.empty();
      if (options.tasks) waiting.tasks = std::make_unique<TaskSet>(target);
      TaskSet* const tasks = waiting.tasks.get();
      waiting.watch = std::make_unique<JobWatch>(
          client_, options, [this, tasks](const msg::WatchEvents& events) {
            for (const msg::TaskEnded& ended : events.ended) {
              if (tasks != nullptr) tasks->note(ended.view);
            }
            if (!events.job.empty()) progress_.show(events.job.back(), client_.now());
          });
      if (tasks != nullptr) TRY(tasks->load(client_));
    }
    return {};
  }
  [[nodiscard]] bool has_news() const {
    return std::any_of(waiting_.begin(), waiting_.end(), [](const Waiting& waiting) {
      return waiting.watch->failure().has_value() || waiting.is_done();
    });
  }
  /// Tells of what is done, and lets go of it.
  Outcome<void> settle() {
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      if (it->watch->failure()) return tl::unexpected<Failure>(*it->watch->failure());
      if (!it->is_done()) {
        ++it;
        continue;
      }
      progress_.clear();
      tell(*it);
      it = waiting_.erase(it);
    }
    return out_.flush();
  }
  void tell(const Waiting& waiting) {
    const msg::JobView& job = *waiting.watch->job();
    const bool whole = waiting.tasks == nullptr;
    const bool succeeded =
        whole ? job.state == JobState::Succeeded : waiting.tasks->all_succeeded();
    all_succeeded_ = all_succeeded_ && succeeded;
    if (request_.as_json) {
      out_.write(json::line(job) + "\n");
    } else if (!request_.is_quiet && whole) {
      print_error("{}\n", summary_text(job));
    } else if (!request_.is_quiet) {
      print_error("tasks of job {}: {}\n", job.id.value,
                  succeeded ? "all succeeded" : "finished, not all succeeded");
    }
  }

  Client& client_;
  const WaitRequest& request_;
  ProgressLine progress_;
  Output out_{STDOUT_FILENO};
  std::vector<Waiting> waiting_;
  std::size_t next_ = 0;
  bool answered_ = false;
  bool all_succeeded_ = true;
};

class WaitVerb final : public Verb {
 public:
  WaitVerb() : Verb("wait", "wait until jobs are finished", {"ID", 1, SIZE_MAX}) {
    page_.synopsis = {"capstan wait [OPTIONS] ID..."};
    page_.description =
        "Returns when every job or task that is named has finished; its exit code tells whether "
        "all of them succeeded. The master pushes what happens; nothing is polled. On a terminal "
        "a line shows how far they are. Ctrl-C ends the waiting; the jobs go on.\n\n" +
        std::string(kSelectorText) +
        "\n\nIt waits for as long as it takes, unless --timeout is given: then for that long, and "
        "exits with 124 when something is not finished by then. Without it only the master's first "
        "answer has a limit (30 s).";
    // clang-format off
    options_.add_options()
        ("quiet,q", po::bool_switch(&quiet_),
         "No summary and no progress line.")
        ("json", po::bool_switch(&json_),
         "Print each finished job as a JSON object, one a line.")
        ("progress", po::bool_switch(&progress_),
         "Show the progress line (the default on a terminal).");
    // clang-format on
    set_examples(
        "  capstan wait last\n"
        "  capstan wait 17 18.1-100\n"
        "  capstan wait --timeout 10m all && echo done\n");
    set_exits(
        "  0    everything succeeded\n"
        "  1    something failed or was cancelled\n"
        "  2    the command line cannot be meant\n"
        "  3    refused by the master: no such job, not yours, not this cluster's key\n"
        "  75   no answer in time; try again\n"
        "  124  the time of --timeout has passed\n"
        "  130  interrupted\n");
  }

  Outcome<int> run(const Words& words) override {
    const auto selectors = TRY(parse_selectors(words.positionals));
    WaitRequest request;
    // Of the jobs' end; the master's answers have the usual limit.
    if (words.has("timeout"))
      request.at_most = std::exchange(common_.timeout, limits::kClientTimeout);
    net::EventLoop loop;
    Interrupts interrupts;
    TRY(interrupts.install(loop));
    const auto client = TRY(connect(loop, *this, &interrupts));
    request.targets = TRY(resolve(*client, selectors));
    request.is_quiet = quiet_;
    request.as_json = json_;
    request.with_progress = !quiet_;
    return wait_for(*client, request);
  }

 private:
  bool quiet_ = false;
  bool json_ = false;
  bool progress_ = false;
};

}  // namespace

Outcome<int> wait_for(Client& client, const WaitRequest& request) {
  return Waiter(client, request).run();
}

std::string summary_text(const msg::JobView& job) {
  std::string text = fmt::format(
      "job {} {}: {}", job.id.value, to_string(job.state),
      job.counts.succeeded == job.tasks ? count_text(job.tasks, "task") : counts_text(job.counts));
  const WallTime began = job.started_at.us != 0 ? job.started_at : job.submitted_at;
  if (job.finished_at.us > began.us) {
    text += " in " + span_text(Micros(job.finished_at.us - began.us));
  }
  if (!job.reason.empty()) text += " (" + printable(job.reason) + ")";
  return text;
}

std::string failure_text(JobId job, const msg::TaskView& task) {
  std::string text = fmt::format("{} {}", task_name(job, task.task), to_string(task.state));
  if (!task.worker.empty()) text += " on " + printable(task.worker);
  if (task.ended) text += ": " + end_text(task);
  return text;
}

std::unique_ptr<Verb> make_wait_verb() {
  return std::make_unique<WaitVerb>();
}

}  // namespace capstan::cli
