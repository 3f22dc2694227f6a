// SPDX-License-Identifier: MIT
#include "cli/control.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/access_lookup.h"
#include "cli/job_watch.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

/// One verb of four: they differ in words alone.
struct Steering {
  msg::Verb verb = msg::Verb::Cancel;
  const char* name = "";
  const char* summary = "";
  const char* done = "";  ///< "cancelled"
  const char* description = "";
  const char* examples = "";
  bool takes_tasks = true;  ///< 17.42 is possible.
};

class ControlVerb final : public Verb {
 public:
  explicit ControlVerb(const Steering& steering)
      : Verb(steering.name, steering.summary, {"ID", 1, SIZE_MAX}), steering_(steering) {
    page_.synopsis = {std::string("capstan ") + steering.name + " [OPTIONS] ID..."};
    page_.description = std::string(steering.description) + "\n\n" + std::string(kSelectorText);
    if (steering.verb == msg::Verb::Cancel) {
      options_.add_options()("reason", po::value(&reason_)->value_name("TEXT"),
                             "Why, for those who look at the job later.");
    }
    if (steering.verb == msg::Verb::Retry) {
      options_.add_options()("failed", po::bool_switch(&failed_only_),
                             "Only tasks that failed or were skipped.");
    }
    // clang-format off
    options_.add_options()
        ("quiet,q", po::bool_switch(&quiet_),
         "Print nothing.")
        ("json", po::bool_switch(&json_),
         "Print {\"jobs\":[17],\"tasks\":3}.");
    // clang-format on
    set_examples(steering.examples);
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    const auto targets = TRY(parse_selectors(words.positionals));
    for (const Selector& target : targets) {
      if (target.tasks.empty() || steering_.takes_tasks) continue;
      return usage_error(std::string(steering_.name) + " takes whole jobs, as in " +
                         std::to_string(target.job.value));
    }
    if (reason_.size() > limits::kReasonBytes || !is_utf8(reason_)) {
      return usage_error(fmt::format("--reason: at most {} bytes of UTF-8", limits::kReasonBytes));
    }
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    msg::Control control;
    control.verb = failed_only_ ? msg::Verb::RetryFailed : steering_.verb;
    control.targets = targets;
    control.reason = reason_;
    const msg::Done done = TRY(client->change(control));
    Output out(STDOUT_FILENO);
    if (json_) {
      out.write(done_json(done));
    } else if (!quiet_) {
      out.write(done_text(done, steering_.done));
    }
    TRY(out.flush());
    return kExitOk;
  }

 private:
  const Steering steering_;
  std::string reason_;
  bool failed_only_ = false;
  bool quiet_ = false;
  bool json_ = false;
};

}  // namespace

std::string done_json(const msg::Done& done) {
  std::string jobs;
  for (const JobId job : done.jobs) jobs += fmt::format("{}{}", jobs.empty() ? "" : ",", job.value);
  return fmt::format("{{\"jobs\":[{}],\"tasks\":{}}}\n", jobs, done.tasks);
}

std::string done_text(const msg::Done& done, std::string_view what) {
  if (done.tasks == 0 && !done.note.empty()) return printable(done.note) + "\n";
  const std::string tasks = done.tasks == 0 ? "" : count_text(done.tasks, "task");
  const bool is_one = done.jobs.size() == 1;
  std::string text;
  for (const JobId job : done.jobs) {
    text += fmt::format("job {}: {}{}\n", job.value, what,
                        is_one && !tasks.empty() ? ", " + tasks : "");
  }
  if (done.jobs.empty()) text = "nothing to do\n";
  if (!is_one && !tasks.empty()) text += fmt::format("{} in all\n", tasks);
  if (!done.note.empty()) text += printable(done.note) + "\n";
  return text;
}

std::unique_ptr<Verb> make_cancel_verb() {
  return std::make_unique<ControlVerb>(Steering{
      msg::Verb::Cancel, "cancel", "end jobs or tasks", "cancelled",
      "What waits is cancelled at once. What runs is ended with everything it started: TERM, then "
      "KILL after the worker's grace; it keeps its cpus and counts as running until it is gone. "
      "Jobs that are finished stay as they are.",
      "  capstan cancel 17\n  capstan cancel 17.1-100 18.3\n  capstan cancel all --reason "
      "maintenance\n",
      true});
}

std::unique_ptr<Verb> make_pause_verb() {
  return std::make_unique<ControlVerb>(
      Steering{msg::Verb::Pause, "pause", "start no more tasks of jobs", "paused",
               "No task of a paused job is started. What runs goes on to its end.",
               "  capstan pause last\n", false});
}

std::unique_ptr<Verb> make_resume_verb() {
  return std::make_unique<ControlVerb>(
      Steering{msg::Verb::Resume, "resume", "let paused jobs go on", "resumed",
               "Ends capstan pause, and lets a job go that was submitted with --hold.",
               "  capstan resume 17\n", false});
}

std::unique_ptr<Verb> make_retry_verb() {
  return std::make_unique<ControlVerb>(Steering{
      msg::Verb::Retry, "retry", "run finished tasks again", "runs again",
      "Opens a new round for tasks that are finished, each with all its retries again; with "
      "--failed only for those that failed or were skipped. Attempts are counted on. A finished "
      "job comes back to life; what it waited for (--after) it does not wait for again, so retry "
      "the jobs of a chain one after the other.",
      "  capstan retry last --failed\n  capstan retry 17.42\n", true});
}

}  // namespace capstan::cli
