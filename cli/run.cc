// SPDX-License-Identifier: MIT
#include "cli/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <utility>
#include <vector>

#include "cli/interrupts.h"
#include "cli/job_submission.h"
#include "cli/job_watch.h"
#include "cli/ordered_output.h"
#include "cli/output.h"
#include "cli/output_pump.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/wait.h"
#include "common/base/print_error.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

/// Failures that are named at the end.
constexpr std::size_t kNamed = 5;

/// A job that runs in front of somebody.
class Show {
 public:
  struct Options {
    JobId job;
    std::uint64_t tasks = 0;
    bool is_quiet = false;
    bool with_progress = false;
    std::vector<IndexRange> in_order;  ///< The job's tasks, for output in their order; else empty.
  };
  Show(Client& client, const Interrupts& interrupts, const Options& options)
      : client_(client),
        interrupts_(interrupts),
        options_(options),
        progress_(Terminal::of_process(), options.with_progress),
        pump_(client, pump_options()),
        ordered_(pump_, options.in_order),
        watch_(client, {options.job, true, true},
               [this](const msg::WatchEvents& events) { on_events(events); }) {}

  Outcome<int> run() {
    client_.allow_interrupts(1);
    const auto is_over = [this] {
      const bool is_unwanted = interrupts_.count() == 1 || pump_.is_broken();
      if (is_unwanted && !std::exchange(cancelled_, true)) cancel();
      if (watch_.failure()) return true;
      if (pump_.failure()) return watch_.is_finished() || !pump_.is_broken();
      ordered_.go_on(watch_.is_finished());
      if (!watch_.is_finished()) return false;
      if (pump_.is_idle() && ordered_.is_done()) return true;
      tell_undelivered();
      return false;
    };
    const Outcome<void> waited = client_.run_while_waiting(is_over);
    pump_.finish();
    progress_.clear();
    if (!waited) return tl::unexpected<Failure>(left(waited.error()));
    if (watch_.failure()) return tl::unexpected<Failure>(*watch_.failure());
    if (pump_.failure()) return tl::unexpected<Failure>(*pump_.failure());
    tell_end(*watch_.job());
    if (cancelled_) return interrupts_.exit_code();
    return watch_.job()->state == JobState::Succeeded ? kExitOk : kExitFailed;
  }

 private:
  OutputPump::Options pump_options() {
    OutputPump::Options options;
    options.job = options_.job;
    options.with_prefix = options_.tasks > 1 && !options_.is_quiet;
    options.out = &out_;
    options.err = &err_;
    options.last_only = !options_.in_order.empty();
    options.before_print = [this] { progress_.clear(); };
    options.after_print = [this] { progress_.redraw(); };
    return options;
  }
  void on_events(const msg::WatchEvents& events) {
    const bool in_order = !options_.in_order.empty();
    for (const msg::TaskEnded& ended : events.ended) {
      in_order ? ordered_.on_ended(ended) : pump_.on_ended(ended);
      note(ended.view);
    }
    for (const msg::OutputGrew& grew : events.grew) {
      in_order ? ordered_.on_grew(grew) : pump_.on_grew(grew);
    }
    if (events.caught_up) pump_.on_caught_up();
    if (!events.job.empty()) progress_.show(events.job.back(), client_.now());
  }
  void note(const msg::TaskView& task) {
    if (task.state == TaskState::Failed && failures_.size() < kNamed) failures_.push_back(task);
  }
  /// Behind its job's end it waits for workers that have its output: as long as it takes.
  void tell_undelivered() {
    const TimePoint now = client_.now();
    if (finished_at_ == TimePoint::never()) finished_at_ = now;
    if (options_.is_quiet || now < finished_at_ + kTellUndelivered || std::exchange(told_, true))
      return;
    progress_.clear();
    print_error("capstan run: job {} is finished; waiting for output that was not delivered yet\n",
                options_.job.value);
  }
  void cancel() {
    progress_.clear();
    if (!options_.is_quiet) {
      print_error("capstan run: cancelling job {}; once more to leave it behind\n",
                  options_.job.value);
    }
    Selector selector;
    selector.job = options_.job;
    // Refused means that it is finished already: the watch tells.
    client_.send_control(msg::Verb::Cancel, {selector}, [](const Result<msg::Body>&) {});
  }
  [[nodiscard]] Failure left(Failure failure) const {
    if (failure.message.empty() && !options_.is_quiet) {
      failure.message = fmt::format("left; job {} is being cancelled, see: capstan job {}",
                                    options_.job.value, options_.job.value);
    }
    return failure;
  }
  void tell_end(const msg::JobView& job) const {
    if (options_.is_quiet) return;
    for (const msg::TaskView& task : failures_) {
      print_error("capstan run: {}\n", failure_text(job.id, task));
    }
    if (job.counts.failed > failures_.size()) {
      print_error("capstan run: {} failed in all: capstan tasks {} --state failed\n",
                  job.counts.failed, job.id.value);
    }
    print_error("{}\n", summary_text(job));
  }

  Client& client_;
  const Interrupts& interrupts_;
  const Options options_;
  ProgressLine progress_;
  Output out_{STDOUT_FILENO};
  Output err_{STDERR_FILENO};
  OutputPump pump_;
  OrderedOutput ordered_;
  JobWatch watch_;
  std::vector<msg::TaskView> failures_;
  bool cancelled_ = false;
  bool told_ = false;  ///< That output is waited for.
  TimePoint finished_at_ = TimePoint::never();
};

class RunVerb final : public SubmittingVerb {
 public:
  RunVerb() : SubmittingVerb("run", "run a job and show its output", limits::kRetriesDefaultRun) {
    page_.description =
        "Submits a job, prints what its tasks print as they do (stdout to stdout, stderr to "
        "stderr), and ends with 0 only when every task succeeded. When the job has several tasks "
        "every line has its task in front, as in '17.42: ', and a line longer than 64 KiB is cut. "
        "A task that runs again prints again. Ctrl-C cancels the job and waits for it to end; a "
        "second one leaves. It is cancelled, too, when nobody reads the output any more.\n\n" +
        std::string(kCommandText) +
        "\n\n--timeout covers the submission; then it waits for as long as it takes.";
    // clang-format off
    options_.add_options()
        ("keep-order,k", po::bool_switch(&keep_order_),
         "Print the tasks' output in the order of the tasks, each whole; the first one that is not "
         "finished prints as it goes. Of a task that ran again before its turn, the last attempt.")
        ("progress", po::bool_switch(&progress_),
         "Show how far it is (the default on a terminal, for several tasks).")
        ("quiet,q", po::bool_switch(&quiet_),
         "The tasks' output alone: no summary, no progress.");
    // clang-format on
    set_examples(
        "  capstan run -- make -C /src/project\n"
        "  capstan run -- convert {} -resize 50% small/{/} ::: *.jpg\n"
        "  capstan run -k -q -- wc -l ::: *.txt > counts\n"
        "  capstan run --array 1-8 --shell -- './shard $CAPSTAN_TASK_INDEX'\n");
    set_exits(
        "  0    every task succeeded\n"
        "  1    a task did not succeed\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused by the master\n"
        "  75   no answer in time; try again\n"
        "  130  interrupted; the job is cancelled\n");
  }

 protected:
  Outcome<int> go_on(const Sent& sent) override {
    ::signal(SIGPIPE, SIG_IGN);  // Nobody reads on: the job is cancelled, as by Ctrl-C.
    Show::Options options;
    if (keep_order_) options.in_order = tasks_of(sent);
    options.job = sent.submitted.job;
    options.tasks = sent.submitted.tasks;
    options.is_quiet = quiet_;
    options.with_progress = !quiet_ && (sent.submitted.tasks > 1 || progress_);
    return Show(sent.client, sent.interrupts, options).run();
  }

 private:
  static std::vector<IndexRange> tasks_of(const Sent& sent) {
    if (!sent.spec.has_inputs) return sent.spec.indices;
    return {{1, static_cast<std::uint32_t>(sent.submitted.tasks), 1}};
  }

  bool progress_ = false;
  bool keep_order_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_run_verb() {
  return std::make_unique<RunVerb>();
}

}  // namespace capstan::cli
