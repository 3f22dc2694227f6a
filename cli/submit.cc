// SPDX-License-Identifier: MIT
#include "cli/submit.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/access_lookup.h"
#include "cli/interrupts.h"
#include "cli/job_options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/wait.h"
#include "common/model/limits.h"

namespace capstan::cli {

const char* const kCommandText =
    "Without a list there is one task. With --array there is one task for each index. With ':::' "
    "and words, '::::' and files, or --each-line and a file there is one task for each input, and "
    "these stand for it in the command:\n\n"
    "  {}    the input                  dir/photo.jpg\n"
    "  {.}   without its extension      dir/photo\n"
    "  {/}   its last part              photo.jpg\n"
    "  {//}  its directory              dir\n"
    "  {/.}  last part, no extension    photo\n"
    "  {#}   the task's number          42\n\n"
    "When none of them is used the input becomes the last argument. Inputs are bytes and arrive as "
    "they are: spaces, quotes, newlines and bytes that are not UTF-8 need no care.\n\n"
    "A task runs with PATH HOME USER LANG TZ TMPDIR of its worker, what --env adds, and "
    "CAPSTAN_JOB_ID, CAPSTAN_TASK_INDEX, CAPSTAN_ATTEMPT, CAPSTAN_INPUT, CAPSTAN_CPUS and "
    "CAPSTAN_WORKER. A command may run more than once; its result counts once.";

namespace {

class SubmitVerb final : public Verb {
 public:
  SubmitVerb()
      : Verb("submit", "put a job into the queue", {"", 0, 0, Shape::Command::Anywhere, true}) {
    job_.retries = limits::kRetriesDefaultSubmit;
    page_.synopsis = {"capstan submit [OPTIONS] [--] COMMAND [ARGUMENT...] [::: INPUT...]",
                      "capstan submit [OPTIONS] [--] COMMAND [ARGUMENT...] [:::: FILE...]"};
    page_.description =
        "Sends a job to the master and prints its id. When it returns the job is stored: it "
        "survives any crash. When it is interrupted or cut off, nothing was stored, or all of "
        "it; --token makes it safe to say it again.\n\n" +
        std::string(kCommandText);
    add_job_options(options_, job_);
    // clang-format off
    options_.add_options()
        ("hold", po::bool_switch(&job_.hold),
         "Submit it paused; capstan resume lets it go.")
        ("wait", po::bool_switch(&wait_),
         "Wait until it is finished, as capstan wait does.")
        ("progress", po::bool_switch(&progress_),
         "Wait, and show how far it is (on a terminal).")
        ("quiet,q", po::bool_switch(&quiet_),
         "Print the job's id alone.")
        ("json", po::bool_switch(&json_),
         "Print {\"id\":17,\"tasks\":1000}.");
    // clang-format on
    set_examples(
        "  capstan submit -- ffmpeg -i {} -c:v libx264 out/{/.}.mp4 ::: *.mov\n"
        "  capstan submit --array 1-1000%50 --cpus 4 -- ./simulate\n"
        "  find . -name '*.png' | capstan submit --each-line - -- optipng -quiet {}\n"
        "  capstan submit --shell -- 'gzip -c {} > /backup/{/}.gz' :::: files.txt\n"
        "  capstan submit --token nightly-2026-11-21 --wait -- ./nightly\n");
    set_exits(
        "  0    it is stored; with --wait: every task succeeded\n"
        "  1    with --wait: a task did not succeed\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused by the master: other contents under this token, not this cluster's key\n"
        "  75   no answer in time; try again, with --token\n"
        "  130  interrupted\n");
  }

  Outcome<int> run(const Words& words) override {
    const auto submission = TRY(make_submission(job_, words));
    net::EventLoop loop;
    Interrupts interrupts;
    TRY(interrupts.install(loop));
    const auto client = TRY(connect(loop, *this, &interrupts));
    const msg::Submitted submitted = TRY(client->submit(*submission));
    if (!submitted.warning.empty()) {
      fmt::print(stderr, "capstan submit: {}\n", printable(submitted.warning));
    }
    TRY(tell(submitted));
    if (!wait_ && !progress_) return kExitOk;
    WaitRequest request;
    request.targets.push_back({submitted.job, {}});
    request.is_quiet = quiet_;
    request.with_progress = progress_;
    return wait_for(*client, request);
  }

 private:
  Outcome<void> tell(const msg::Submitted& submitted) const {
    Output out(STDOUT_FILENO);
    if (json_) {
      out.write(fmt::format("{{\"id\":{},\"tasks\":{}}}\n", submitted.job.value, submitted.tasks));
    } else if (quiet_) {
      out.write(fmt::format("{}\n", submitted.job.value));
    } else {
      out.write(
          fmt::format("job {}: {}\n", submitted.job.value, count_text(submitted.tasks, "task")));
    }
    return out.flush();
  }

  JobOptions job_;
  bool wait_ = false;
  bool progress_ = false;
  bool quiet_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_submit_verb() {
  return std::make_unique<SubmitVerb>();
}

}  // namespace capstan::cli
