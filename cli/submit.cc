// SPDX-License-Identifier: MIT
#include "cli/submit.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/job_submission.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/wait.h"
#include "common/model/limits.h"

namespace capstan::cli {

namespace {

class SubmitVerb final : public SubmittingVerb {
 public:
  SubmitVerb()
      : SubmittingVerb("submit", "put a job into the queue", limits::kRetriesDefaultSubmit) {
    page_.description =
        "Sends a job to the master and prints its id. When it returns the job is stored: it "
        "survives any crash. When it is interrupted or cut off, nothing was stored, or all of "
        "it; --token makes it safe to say it again.\n\n" +
        std::string(kCommandText);
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
        "  capstan submit -- ./train --rate {1} --depth {2} ::: 0.1 0.01 ::: 4 8 16\n"
        "  find . -name '*.gz' -print0 | capstan submit -0 --each-line - --batch 100 -- gunzip\n"
        "  capstan submit --script job.sh --stdin config.json --output 'out/%t.txt' --array 1-9\n"
        "  capstan submit --after last --begin 22:00 --mem 2G -- ./report\n"
        "  capstan submit --token nightly-2026-11-21 --wait -- ./nightly\n");
    set_exits(
        "  0    it is stored; with --wait: every task succeeded\n"
        "  1    with --wait: a task did not succeed\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused by the master: other contents under this token, not this cluster's key\n"
        "  75   no answer in time; try again, with --token\n"
        "  130  interrupted\n");
  }

 protected:
  Outcome<int> go_on(const Sent& sent) override {
    TRY(tell(sent.submitted));
    if (!wait_ && !progress_) return kExitOk;
    WaitRequest request;
    request.targets.push_back({sent.submitted.job, {}});
    request.is_quiet = quiet_;
    request.with_progress = progress_;
    return wait_for(sent.client, request);
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

  bool wait_ = false;
  bool progress_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_submit_verb() {
  return std::make_unique<SubmitVerb>();
}

}  // namespace capstan::cli
