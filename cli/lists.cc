// SPDX-License-Identifier: MIT
#include "cli/lists.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/access_lookup.h"
#include "cli/job_watch.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/task_pages.h"
#include "cli/text.h"
#include "common/base/print_error.h"
#include "common/json/json.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

class TasksVerb final : public Verb {
 public:
  TasksVerb() : Verb("tasks", "list a job's tasks", {"ID", 1, 1}) {
    page_.synopsis = {"capstan tasks [OPTIONS] ID"};
    page_.description =
        "Lists the tasks of a job in their order, each with what became of its last attempt.\n\n"
        "ID is 17, 17.42, 17.1-100 or last.";
    // clang-format off
    options_.add_options()
        ("state,s", po::value(&states_)->value_name("STATE"),
         "Only tasks in this state: waiting, ready, running, backoff, succeeded, failed, "
         "cancelled or skipped. Again for more.")
        ("json", po::bool_switch(&json_),
         "One JSON object for each task.");
    // clang-format on
    set_examples("  capstan tasks last --state failed\n  capstan tasks 17.1-100 --json\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    msg::ListTasks list;
    for (const std::string& state : states_) {
      const TaskState wanted = TRY(as_usage(parse_task_state(state), "--state"));
      list.states |= 1U << static_cast<unsigned>(wanted);
    }
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const Target target = TRY(resolve_one(*client, words.positionals.front()));
    list.job = target.job;
    list.only = target.tasks;
    Table table({{"TASK", true},
                 {"STATE"},
                 {"ATTEMPT", true},
                 {"WORKER"},
                 {"STARTED"},
                 {"WALL", true},
                 {"CPU", true},
                 {"MEMORY", true},
                 {"OUTPUT", true},
                 {"REASON"}},
                colour_on_stdout());
    Output out(STDOUT_FILENO);
    TaskPages pages(*client, std::move(list));
    while (!pages.at_end()) {
      const auto page = TRY(pages.next());
      for (const msg::TaskView& task : page) add(task, table, out);
      out.write(table.page());
      TRY(out.flush());
    }
    return kExitOk;
  }

 private:
  void add(const msg::TaskView& task, Table& table, Output& out) const {
    if (json_) return out.write(json::line(task) + "\n");
    const bool failed = task.ended && task.end != EndClass::Success;
    std::string reason = task.cancelling ? "cancelling" : failed ? end_text(task) : "";
    if (!task.ended && !task.reason.empty()) {
      reason += (reason.empty() ? "" : ": ") + printable(task.reason);
    }
    table.add({Table::number(task.task.value),
               {std::string(to_string(task.state)), colour_of(task.state)},
               {task.attempt.value == 0 ? "-" : std::to_string(task.attempt.value)},
               {task.worker.empty() ? "-" : printable(task.worker)},
               {local_time_text(task.started_at)},
               {task.ended ? span_text(task.wall) : "-"},
               {task.ended ? span_text(task.cpu) : "-"},
               {bytes_or_dash(task.max_rss_bytes)},
               {bytes_or_dash(task.stdout_bytes + task.stderr_bytes)},
               {shortened(reason, kReasonColumns)}});
  }
  std::vector<std::string> states_;
  bool json_ = false;
};

std::string memory_text(const msg::WorkerView& worker) {
  if (worker.mem_bytes == 0) return "-";
  return size_text(worker.mem_assigned_bytes) + " / " + size_text(worker.mem_bytes);
}

class WorkersVerb final : public Verb {
 public:
  WorkersVerb() : Verb("workers", "list workers", {"", 0, 0}) {
    page_.synopsis = {"capstan workers [OPTIONS]"};
    page_.description =
        "Lists every worker that was enrolled. RUNNING counts the cpus in use, QUEUED the attempts "
        "that were sent ahead. A worker is up; suspect (silent: it gets no new work); draining "
        "(by an admin, or it was told to stop: it gets no new work either); lost (its tasks run "
        "elsewhere); or left. MEMORY is what its tasks were promised, of what it has.";
    options_.add_options()("json", po::bool_switch(&json_), "One JSON object for each worker.");
    set_examples("  capstan workers\n  capstan workers --json | jq -s 'map(.cpus) | add'\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words&) override {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const auto workers = TRY(list_workers(*client));
    Table table({{"WORKER"},
                 {"STATE"},
                 {"CPUS", true},
                 {"RUNNING", true},
                 {"QUEUED", true},
                 {"MEMORY", true},
                 {"HEARD", true},
                 {"VERSION"},
                 {"ADDRESS"},
                 {"NOTE"}},
                colour_on_stdout());
    Output out(STDOUT_FILENO);
    for (const msg::WorkerView& worker : workers) {
      if (json_) {
        out.write(json::line(worker) + "\n");
        continue;
      }
      const bool heard = worker.last_heard_ago.count() >= 0;
      table.add({{printable(worker.name)},
                 {std::string(to_string(worker.state)), colour_of(worker.state)},
                 Table::number(worker.cpus),
                 Table::number(worker.running),
                 Table::number(worker.queued),
                 {memory_text(worker)},
                 {heard ? span_text(worker.last_heard_ago) + " ago" : "-"},
                 {printable(worker.version)},
                 {printable(worker.address)},
                 {printable(worker.note)}});
    }
    out.write(table.page());
    TRY(out.flush());
    if (workers.empty() && !json_) {
      print_error(
          "capstan workers: none yet; on each machine: capstan-worker --access "
          "worker.access\n");
    }
    return kExitOk;
  }

 private:
  bool json_ = false;
};

class StatusVerb final : public Verb {
 public:
  StatusVerb() : Verb("status", "show how the cluster is", {"", 0, 0}) {
    page_.synopsis = {"capstan status [OPTIONS]"};
    page_.description =
        "Shows the master, its workers and cpus, the tasks of live jobs, and what a person should "
        "look at.";
    options_.add_options()("json", po::bool_switch(&json_), "One JSON object.");
    set_examples("  capstan status\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words&) override {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const auto status = TRY(client->ask<msg::StatusReply>(msg::GetStatus{}));
    Output out(STDOUT_FILENO);
    out.write(json_ ? json::line(status) + "\n" : text_of(status));
    TRY(out.flush());
    return kExitOk;
  }

 private:
  static std::string text_of(const msg::StatusReply& status) {
    std::string text;
    text += fmt::format("master    {} (capstan {}), up {}\n", printable(status.master),
                        printable(status.version), span_text(status.uptime));
    text += fmt::format("cluster   {}\n", status.cluster.hex());
    text += fmt::format("position  epoch {}, entry {}\n", status.epoch.value, status.seq.value);
    text += fmt::format("workers   {} up, {} away; {} of {} cpus in use\n", status.workers_up,
                        status.workers_away, status.cpus_running, status.cpus);
    const std::string tasks = counts_text(status.tasks);
    text += fmt::format("live      {}{}\n", count_text(status.jobs_live, "job"),
                        tasks.empty() ? "" : ": " + tasks);
    text += fmt::format("memory    {}\n", size_text(status.memory_bytes));
    text += fmt::format("storage   {} in the database, {} free\n", size_text(status.database_bytes),
                        size_text(status.disk_free_bytes));
    text += fmt::format("refused   {} connections, {} messages\n", status.refused_connections,
                        status.refused_messages);
    for (const std::string& alarm : status.alarms) {
      text += fmt::format("ALARM     {}\n", printable(alarm));
    }
    return text;
  }
  bool json_ = false;
};

}  // namespace

bool colour_on_stdout() {
  return Terminal::of_process().colours_stdout();
}

std::string bytes_or_dash(std::uint64_t bytes) {
  return bytes == 0 ? "-" : size_text(bytes);
}

std::unique_ptr<Verb> make_tasks_verb() {
  return std::make_unique<TasksVerb>();
}
std::unique_ptr<Verb> make_workers_verb() {
  return std::make_unique<WorkersVerb>();
}
std::unique_ptr<Verb> make_status_verb() {
  return std::make_unique<StatusVerb>();
}

}  // namespace capstan::cli
