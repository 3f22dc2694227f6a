// SPDX-License-Identifier: MIT
//
// `job ID`: one job, and why its first failed tasks failed. `job priority ID N` changes its place.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cli/access_lookup.h"
#include "cli/control.h"
#include "cli/lists.h"
#include "cli/output.h"
#include "cli/purge.h"
#include "cli/text.h"
#include "cli/wait.h"
#include "common/base/config.h"
#include "common/json/json.h"
#include "common/model/limits.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

constexpr std::uint32_t kFailuresShown = 5;
constexpr std::size_t kLinesShown = 8;
constexpr std::uint64_t kStderrShown = 2048;

/// "job 3", "jobs 3, 4".
std::string jobs_text(const std::vector<JobId>& jobs) {
  std::string text = jobs.size() == 1 ? "job" : "jobs";
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    text += fmt::format("{} {}", i == 0 ? "" : ",", jobs[i].value);
  }
  return text;
}

class JobVerb final : public Verb {
 public:
  JobVerb() : Verb("job", "show, change or delete jobs", {"ID", 1, SIZE_MAX}) {
    page_.synopsis = {"capstan job [OPTIONS] ID", "capstan job priority [OPTIONS] ID N",
                      "capstan job delete [OPTIONS] ID..."};
    page_.description =
        "Shows a job: its state, how many of its tasks are in which, and of the first tasks that "
        "failed the reason and the last lines of their standard error.\n\n"
        "job priority gives the job another one: tasks that were not handed out yet go by it "
        "from now on. Jobs of a higher priority go first; a negative one stands behind --.\n\n"
        "job delete takes finished jobs off the lists, with their output, inputs and tokens; what "
        "was deleted cannot be had back.\n\n"
        "ID is 17 or last.";
    options_.add_options()("json", po::bool_switch(&json_),
                           "One JSON object; of a change {\"jobs\":[17],\"tasks\":0}.");
    set_examples(
        "  capstan job last\n"
        "  capstan job 17 --json | jq .counts.failed\n"
        "  capstan job priority 17 100\n"
        "  capstan job priority 17 -- -5\n"
        "  capstan job delete 17 18\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    const auto& said = words.positionals;
    if (said.front() == "priority") return prioritise(said);
    if (said.front() == "delete")
      return delete_jobs(*this, {{said.begin() + 1, said.end()}, json_});
    if (said.size() > 1) return usage_error("shows one job at a time: capstan jobs lists them");
    const Selector selector = TRY(as_usage(parse_selector(words.positionals.front())));
    if (selector.kind == Selector::Kind::All || !selector.tasks.empty()) {
      return usage_error("one job is needed, as in 17 or last; for tasks: capstan tasks " +
                         printable(words.positionals.front()));
    }
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    msg::GetJob get;
    get.which = selector;
    const msg::JobView job = TRY(client->ask<msg::JobReply>(get)).job;
    Output out(STDOUT_FILENO);
    if (json_) {
      out.write(json::line(job) + "\n");
    } else {
      out.write(text_of(job));
      if (job.counts.failed != 0) out.write(TRY(failures_text(*client, job)));
    }
    TRY(out.flush());
    return kExitOk;
  }

 private:
  Outcome<int> prioritise(const std::vector<std::string>& words) {
    if (words.size() != 3) return usage_error("say which job and its priority: job priority 17 5");
    msg::Control control;
    control.verb = msg::Verb::Prioritise;
    control.targets = {TRY(as_usage(parse_selector(words[1])))};
    if (!control.targets.front().tasks.empty()) {
      return usage_error("a priority is of a whole job, as in 17");
    }
    control.priority = static_cast<std::int32_t>(TRY(as_usage(
        config::parse_whole(words[2], -limits::kPriorityMax, limits::kPriorityMax), "priority")));
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const msg::Done done = TRY(client->change(control));
    Output out(STDOUT_FILENO);
    out.write(json_ ? done_json(done) : done_text(done, "priority " + words[2]));
    TRY(out.flush());
    return kExitOk;
  }
  static std::string text_of(const msg::JobView& job) {
    const bool colour = Terminal::of_process().colours_stdout();
    std::string text = fmt::format("job {}: {}\n", job.id.value, printable(job.name));
    const auto row = [&](std::string_view name, const std::string& value) {
      text += fmt::format("  {:<10} {}\n", name, value);
    };
    row("state", coloured(to_string(job.state), colour_of(job.state), colour) +
                     (job.reason.empty() ? "" : ": " + printable(job.reason)));
    row("owner", printable(job.owner));
    row("command", printable(job.command));
    row("tasks", fmt::format("{}: {}", job.tasks, counts_text(job.counts)));
    row("each", count_text(job.cpus, "cpu") +
                    (job.mem_bytes == 0 ? "" : ", " + size_text(job.mem_bytes) + " of memory"));
    row("priority", std::to_string(job.priority));
    if (!job.tags.empty()) row("tags", list_text(job.tags));
    if (job.begin_at.us != 0) row("begin", local_time_text(job.begin_at));
    if (!job.waits_for.empty()) row("waits for", jobs_text(job.waits_for));
    row("submitted", local_time_text(job.submitted_at));
    row("started", local_time_text(job.started_at));
    row("finished", local_time_text(job.finished_at));
    return text;
  }
  static Outcome<std::string> failures_text(Client& client, const msg::JobView& job) {
    msg::ListTasks list;
    list.job = job.id;
    list.states = 1U << static_cast<unsigned>(TaskState::Failed);
    list.limit = kFailuresShown;
    const auto failed = TRY(client.ask<msg::TaskList>(list));
    std::string text;
    for (const msg::TaskView& task : failed.tasks) {
      text += "\n" + failure_text(job.id, task) +
              fmt::format(" (attempt {}, after {})\n", task.attempt.value, span_text(task.wall));
      text += TRY(stderr_text(client, job.id, task));
    }
    if (job.counts.failed > failed.tasks.size()) {
      text += fmt::format("\n{} failed in all: capstan tasks {} --state failed\n",
                          job.counts.failed, job.id.value);
    }
    return text;
  }
  static Outcome<std::string> stderr_text(Client& client, JobId job, const msg::TaskView& task) {
    if (task.stderr_bytes == 0) return std::string();
    msg::ReadLog read;
    read.job = job;
    read.task = task.task;
    read.attempt = task.attempt;
    read.stream = Stream::Stderr;
    read.offset = task.stderr_bytes - std::min(task.stderr_bytes, kStderrShown);
    auto data = client.ask<msg::LogData>(read);
    // Not here yet, or gone: the rest of the page is worth more than a failure.
    if (!data) return std::string();
    return last_lines(data->data, kLinesShown, "  | ");
  }
  bool json_ = false;
};

}  // namespace

std::string last_lines(std::string_view tail, std::size_t count, std::string_view indent) {
  if (tail.ends_with('\n')) tail.remove_suffix(1);
  std::vector<std::string_view> lines;
  while (!tail.empty() && lines.size() < count) {
    const std::size_t newline = tail.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    lines.push_back(tail.substr(begin));
    tail = tail.substr(0, begin == 0 ? 0 : newline);
  }
  std::string text;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    text += std::string(indent) + printable(*line) + "\n";
  }
  return text;
}

std::unique_ptr<Verb> make_job_verb() {
  return std::make_unique<JobVerb>();
}

}  // namespace capstan::cli
