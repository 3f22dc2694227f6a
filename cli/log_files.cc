// SPDX-License-Identifier: MIT
#include "cli/log_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "cli/task_pages.h"
#include "cli/text.h"
#include "common/base/bytes.h"
#include "common/base/unique_fd.h"

namespace capstan::cli {
namespace {

/// Streams that are read at once: enough to hide the round trip, few enough to be fair to others.
constexpr std::size_t kAtOnce = 16;

/// A file that gets its name when it is whole, and is gone when it never is.
class NewFile {
 public:
  static Outcome<NewFile> make(const std::string& dir, const std::string& name) {
    NewFile file;
    file.path_ = dir + "/" + name;
    file.temporary_ = fmt::format("{}/.{}.{}", dir, name, ::getpid());
    ::unlink(file.temporary_.c_str());  // Of an earlier process, or somebody's link to elsewhere.
    file.fd_ =
        UniqueFd(::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file.fd_) return file.broken("make", file.temporary_);
    return file;
  }
  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile() {
    if (fd_) ::unlink(temporary_.c_str());
  }

  Outcome<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno != EINTR) return broken("write", path_);
      if (written > 0) bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
  }
  Outcome<void> finish() {
    // Some file systems tell of a full disk only now.
    if (::close(fd_.release()) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
      auto failure = broken("write", path_);
      ::unlink(temporary_.c_str());
      return failure;
    }
    return {};
  }

 private:
  NewFile() = default;
  [[nodiscard]] static tl::unexpected<Failure> broken(const char* what, const std::string& path) {
    return fail_with(kExitFailed,
                     fmt::format("cannot {} {}: {}", what, printable(path), errno_text(errno)));
  }
  std::string path_, temporary_;
  UniqueFd fd_;
};

class Collector {
 public:
  Collector(Client& client, const LogFilesRequest& request)
      : client_(client),
        request_(request),
        pages_(client, {.job = request.target.job,
                        .states = request.states,
                        .after = {},
                        .only = request.target.tasks}) {
    summary_.job = request.target.job;
  }

  Outcome<LogFilesSummary> run() {
    std::error_code error;
    std::filesystem::create_directories(request_.dir, error);
    if (error) {
      return fail_with(kExitFailed,
                       "cannot make " + printable(request_.dir) + ": " + error.message());
    }
    TRY(load_page());
    while (true) {
      TRY(fill());
      if (flows_.empty() && tasks_.empty() && pages_.at_end()) return summary_;
      const std::size_t before = flows_.size();
      const auto has_news = [&] {
        if (watch_ && watch_->failure()) note(*watch_->failure());
        return failure_ || needs_watch() || flows_.size() < before;
      };
      if (!flows_.empty()) TRY(client_.run_while_waiting(has_news));
      if (needs_watch()) start_watch();
      if (failure_) return tl::unexpected<Failure>(*failure_);
    }
  }

 private:
  /// One stream on its way into its file.
  struct Flow {
    msg::ReadLog question;
    bool is_ended = false;  ///< Its attempt: then there is an end to be waited for.
    bool is_stalled = false;
    bool has_news = false;  ///< Told of while the question was under way.
    NewFile file;
  };

  Outcome<void> load_page() {
    auto page = TRY(pages_.next());
    for (msg::TaskView& task : page) tasks_.push_back(std::move(task));
    return {};
  }
  Outcome<void> fill() {
    while (flows_.size() < kAtOnce) {
      if (tasks_.empty() && !pages_.at_end()) TRY(load_page());
      if (tasks_.empty()) return {};
      const msg::TaskView task = std::move(tasks_.front());
      tasks_.pop_front();
      ++summary_.tasks;
      if (task.attempt.value == 0 || request_.attempt > task.attempt) {
        ++summary_.not_started;
        continue;
      }
      const bool is_last = !request_.attempt || request_.attempt == task.attempt;
      if (is_last && !task.ended) ++summary_.running;
      if (request_.with_stdout) TRY(start(task, Stream::Stdout));
      if (request_.with_stderr) TRY(start(task, Stream::Stderr));
    }
    return {};
  }
  Outcome<void> start(const msg::TaskView& task, Stream stream) {
    const bool is_out = stream == Stream::Stdout;
    const bool is_last = !request_.attempt || request_.attempt == task.attempt;
    const bool is_ended = !is_last || task.ended;
    const bool is_empty =
        is_last && task.ended && (is_out ? task.stdout_bytes : task.stderr_bytes) == 0;
    if (is_empty && !is_out && request_.with_stdout) return {};
    std::string name = task_name(request_.target.job, task.task);
    if (request_.attempt) name += fmt::format(".{}", request_.attempt.value);
    NewFile file = TRY(NewFile::make(request_.dir, name + (is_out ? ".out" : ".err")));
    if (is_empty) {
      TRY(file.finish());
      ++summary_.files;
      return {};
    }
    Flow& flow = flows_.emplace_back(Flow{{}, is_ended, false, false, std::move(file)});
    flow.question.job = request_.target.job;
    flow.question.task = task.task;
    flow.question.attempt = request_.attempt ? request_.attempt : task.attempt;
    flow.question.stream = stream;
    ask(std::prev(flows_.end()));
    return {};
  }
  void ask(std::list<Flow>::iterator flow) {
    flow->is_stalled = flow->has_news = false;
    client_.query(flow->question,
                  [this, flow](const Result<msg::Body>& reply) { on_data(flow, reply); });
  }
  void on_data(std::list<Flow>::iterator flow, const Result<msg::Body>& reply) {
    const auto* data = reply ? std::get_if<msg::LogData>(&*reply) : nullptr;
    if (data == nullptr) {
      const bool is_gone = !reply && reply.error().code == Errc::NotFound;
      if (is_gone) ++summary_.gone;
      if (!is_gone) note(Failure{kExitRefused, reply ? "another answer" : reply.error().message});
      flows_.erase(flow);
      return;
    }
    std::uint64_t& offset = flow->question.offset;
    if (!data->data.empty()) {
      summary_.dropped_bytes += data->offset - offset;
      offset = data->offset + data->data.size();
      summary_.bytes += data->data.size();
      if (const auto written = flow->file.write(data->data); !written) note(written.error());
    }
    const bool is_all = data->end || (data->data.empty() && !flow->is_ended);
    if (is_all) return finish(flow);
    flow->is_stalled = data->data.empty() && !flow->has_news;
    if (!flow->is_stalled) ask(flow);
  }
  void finish(std::list<Flow>::iterator flow) {
    const bool is_needless = flow->question.stream == Stream::Stderr &&
                             flow->question.offset == 0 && request_.with_stdout;
    if (!is_needless) {
      if (const auto finished = flow->file.finish(); !finished) note(finished.error());
      ++summary_.files;
    }
    flows_.erase(flow);
  }
  void note(Failure failure) {
    if (!failure_) failure_ = std::move(failure);
  }
  [[nodiscard]] bool needs_watch() const {
    return !watch_ && std::any_of(flows_.begin(), flows_.end(),
                                  [](const Flow& flow) { return flow.is_stalled; });
  }
  /// What its worker has not delivered is told of by a watch. What came between the question and
  /// the watch was told to nobody: its "this is now" asks once more.
  void start_watch() {
    JobWatch::Options options;
    options.job = request_.target.job;
    options.output = true;
    watch_ = std::make_unique<JobWatch>(client_, options, [this](const msg::WatchEvents& events) {
      for (auto flow = flows_.begin(); flow != flows_.end();) {
        const auto at = flow++;
        const bool has_grown = std::any_of(
            events.grew.begin(), events.grew.end(),
            [&](const msg::OutputGrew& grew) { return grew.key.task == at->question.task; });
        if (!has_grown && !events.caught_up) continue;
        at->has_news = true;
        if (at->is_stalled) ask(at);
      }
    });
  }

  Client& client_;
  const LogFilesRequest& request_;
  LogFilesSummary summary_;
  TaskPages pages_;
  std::deque<msg::TaskView> tasks_;
  std::list<Flow> flows_;
  std::unique_ptr<JobWatch> watch_;  ///< Since something had to be waited for.
  std::optional<Failure> failure_;
};

}  // namespace

Outcome<LogFilesSummary> write_log_files(Client& client, const LogFilesRequest& request) {
  return Collector(client, request).run();
}

std::string summary_text(const LogFilesSummary& summary, const std::string& dir) {
  std::string text =
      fmt::format("job {}: {}, {} in {} ({})", summary.job.value, count_text(summary.tasks, "task"),
                  count_text(summary.files, "file"), printable(dir), size_text(summary.bytes));
  const auto add = [&](std::uint64_t count, std::string_view words) {
    if (count != 0) text += fmt::format("; {} {}", count, words);
  };
  add(summary.running, "running: what they printed so far");
  add(summary.not_started, "not started");
  add(summary.dropped_bytes, "bytes of long outputs were dropped");
  add(summary.gone, "outputs are not kept any more");
  return text;
}

std::string summary_json(const LogFilesSummary& summary) {
  return fmt::format(
      "{{\"job\":{},\"tasks\":{},\"files\":{},\"bytes\":{},\"running\":{},\"not_started\":{},"
      "\"dropped_bytes\":{},\"gone\":{}}}\n",
      summary.job.value, summary.tasks, summary.files, summary.bytes, summary.running,
      summary.not_started, summary.dropped_bytes, summary.gone);
}

}  // namespace capstan::cli
