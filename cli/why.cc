// SPDX-License-Identifier: MIT
#include "cli/why.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cli/access_lookup.h"
#include "cli/job_watch.h"
#include "cli/lists.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/worker_names.h"
#include "common/base/print_error.h"
#include "common/json/json.h"

namespace capstan::cli {
namespace {

struct OneTask {
  JobId job;
  TaskIndex task;
};

/// 17.42; a job with one task needs no task.
Outcome<OneTask> one_task(Client& client, const std::string& word) {
  const Target target = TRY(resolve_one(client, word));
  const bool is_one = target.tasks.size() == 1 && target.tasks.front().count() == 1;
  if (is_one) return OneTask{target.job, TaskIndex(target.tasks.front().first)};
  if (!target.tasks.empty()) return usage_error("one task is needed, as in 17.42");
  msg::ListTasks list;
  list.job = target.job;
  list.limit = 2;
  const auto page = TRY(client.ask<msg::TaskList>(list));
  if (page.tasks.size() == 1 && !page.more) return OneTask{target.job, page.tasks.front().task};
  return usage_error(fmt::format("job {} has several tasks: name one, as in {}.{}",
                                 target.job.value, target.job.value,
                                 page.tasks.empty() ? 1 : page.tasks.front().task.value));
}

bool colour_on_stdout() {
  const Terminal terminal = Terminal::of_process();
  return terminal.stdout_is_terminal && terminal.may_colour;
}

class WhyVerb final : public Verb {
 public:
  WhyVerb() : Verb("why", "say why a task does not run (yet)", {"ID", 1, 1}) {
    page_.synopsis = {"capstan why [OPTIONS] ID.TASK"};
    page_.description =
        "Says what a task waits for, or where it runs, and of each worker the exact reason why it "
        "does not run the task. The answer is what the master's planner would decide now.\n\n"
        "ID.TASK is 17.42; of a job with a single task 17 or last will do.";
    options_.add_options()("json", po::bool_switch(&json_), "One JSON object.");
    set_examples("  capstan why 17.42\n  capstan why last --json | jq .reason\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const OneTask task = TRY(one_task(*client, words.positionals.front()));
    auto why = TRY(client->ask<msg::WhyReply>(msg::Why{0, task.job, task.task}));
    std::sort(why.workers.begin(), why.workers.end(),
              [](const auto& a, const auto& b) { return comes_before(a.worker, b.worker); });
    Output out(STDOUT_FILENO);
    if (json_) {
      out.write(json::line(task.job, task.task, why) + "\n");
    } else {
      const std::string state =
          coloured(to_string(why.state), colour_of(why.state), colour_on_stdout());
      out.write(fmt::format("{} is {}{}\n", task_name(task.job, task.task), state,
                            why.reason.empty() ? "" : ": " + printable(why.reason)));
      Table table({{"WORKER"}, {"WHY"}}, colour_on_stdout());
      for (const msg::WorkerVerdict& one : why.workers)
        table.add({{printable(one.worker)},
                   {printable(one.reason), one.fits ? Colour::Green : Colour::None}});
      out.write(table.page());
    }
    TRY(out.flush());
    return kExitOk;
  }

 private:
  bool json_ = false;
};

class AttemptsVerb final : public Verb {
 public:
  AttemptsVerb() : Verb("attempts", "list all attempts at a task", {"ID", 1, 1}) {
    page_.synopsis = {"capstan attempts [OPTIONS] ID.TASK"};
    page_.description =
        "Lists every attempt at a task, the first one first: where it ran, how it ended, when. A "
        "late result came after its attempt was given up.\n\n"
        "ID.TASK is 17.42; of a job with a single task 17 or last will do.";
    options_.add_options()("json", po::bool_switch(&json_), "One JSON object for each attempt.");
    set_examples("  capstan attempts 17.42\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const OneTask task = TRY(one_task(*client, words.positionals.front()));
    const auto list = TRY(client->ask<msg::AttemptList>(msg::ListAttempts{0, task.job, task.task}));
    Table table({{"ATTEMPT"},
                 {"WORKER"},
                 {"ENDED"},
                 {"ASSIGNED"},
                 {"STARTED"},
                 {"WALL", true},
                 {"CPU", true},
                 {"MEMORY", true},
                 {"REASON"}},
                colour_on_stdout());
    Output out(STDOUT_FILENO);
    for (const msg::AttemptView& attempt : list.attempts) {
      if (json_)
        out.write(json::line(task.job, attempt) + "\n");
      else
        add(task, attempt, table);
    }
    out.write(table.page());
    TRY(out.flush());
    if (list.attempts.empty() && !json_)
      print_error("capstan attempts: none yet; capstan why {} says more\n",
                  task_name(task.job, task.task));
    return kExitOk;
  }

 private:
  static void add(const OneTask& task, const msg::AttemptView& attempt, Table& table) {
    const msg::TaskView& view = attempt.view;
    const bool ended = view.ended && !attempt.running;
    std::string end = ended ? std::string(to_string(view.end)) : "runs";
    if (!ended && view.started_at.us == 0) end = "sent";
    if (attempt.late) end += " (late)";
    const Colour colour = !ended                          ? Colour::Blue
                          : view.end == EndClass::Success ? Colour::Green
                                                          : Colour::Red;
    table.add({{to_string(AttemptKey{task.job, task.task, view.attempt})},
               {view.worker.empty() ? "-" : printable(view.worker)},
               {end, colour},
               {local_time_text(attempt.assigned_at)},
               {local_time_text(view.started_at)},
               {ended ? span_text(view.wall) : "-"},
               {ended ? span_text(view.cpu) : "-"},
               {bytes_or_dash(view.max_rss_bytes)},
               {ended && view.end != EndClass::Success ? shortened(end_text(view), kReasonColumns)
                                                       : ""}});
  }
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_why_verb() {
  return std::make_unique<WhyVerb>();
}
std::unique_ptr<Verb> make_attempts_verb() {
  return std::make_unique<AttemptsVerb>();
}

}  // namespace capstan::cli
