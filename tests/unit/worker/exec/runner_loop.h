// SPDX-License-Identifier: MIT
//
// A process runner with the loop that drives it. Every wait is for an event.
#pragma once

#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"
#include "worker/exec/process_runner.h"

namespace capstan::test {

/// A shepherd's loop without the shepherd.
class RunnerLoop {
 public:
  struct Options {
    std::vector<std::uint32_t> cpu_ids{};
    std::optional<TaskCgroups> cgroups{};
    Apart apart = Apart::Group;
  };
  RunnerLoop() : RunnerLoop(Options{}) {}
  explicit RunnerLoop(Options options) {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    ProcessRunner::Handler handler;
    handler.on_grew = [this](const AttemptKey& key, Stream, std::uint64_t) { grown.insert(key); };
    handler.on_not_held = [this](const Error& error) { not_held.push_back(error.message); };
    auto opened = ProcessRunner::open({.output_dir = dir.path() + "/output",
                                       .jobs_dir = dir.path() + "/jobs",
                                       .cookie = "d0.11fe",
                                       .umask = 022,
                                       .default_signals = {},
                                       .apart = options.apart,
                                       .cpu_ids = std::move(options.cpu_ids),
                                       .cgroups = std::move(options.cgroups)},
                                      clock, std::move(handler));
    REQUIRE(opened);
    runner = std::move(*opened);
  }

  AttemptKey launch(std::vector<Bytes> argv, Bytes cwd = "/") {
    return launch({.key = {}, .argv = std::move(argv)}, {.settings = {.cwd = std::move(cwd)}});
  }
  AttemptKey launch(shepherd::Launch what, shepherd::JobPart job = {}) {
    what.key = {JobId(1), TaskIndex(++tasks_), AttemptNo(1)};
    if (job.settings.cwd.empty()) job.settings.cwd = "/";
    job.env = {"PATH=/usr/bin:/bin", "GREETING=hello"};
    what.job = &job;
    started = runner->start(what);
    return what.key;
  }
  AttemptKey launch_with_memory(std::vector<Bytes> argv, std::uint64_t mem_bytes) {
    return launch({.key = {}, .argv = std::move(argv)}, {.settings = {.mem_bytes = mem_bytes}});
  }
  AttemptKey shell(const std::string& line) { return launch({"/bin/sh", "-c", line}); }

  void turn() {
    std::vector<pollfd> fds{{.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    runner->poll_fds(fds);
    const TimePoint deadline = runner->next_deadline();
    const bool waits_for_ever = deadline == TimePoint::never();
    const std::int64_t us =
        waits_for_ever ? 0 : std::max<std::int64_t>(0, (deadline - clock.now()).count());
    ::poll(fds.data(), fds.size(), waits_for_ever ? -1 : static_cast<int>(us / 1000 + 1));
    for (std::size_t i = 1; i < fds.size(); ++i) {
      if (fds[i].revents != 0) runner->on_readable(fds[i].fd);
    }
    if (fds[0].revents != 0) {
      signalfd_siginfo info{};
      while (::read(signals_.get(), &info, sizeof info) > 0) {}
      runner->on_child();
    }
    runner->on_deadline();
    for (auto& ended : runner->take_ended()) ends[ended.key] = ended.end;
  }

  const RunEnd& end_of(const AttemptKey& key) {
    REQUIRE(started);
    while (!ends.contains(key)) turn();
    return ends[key];
  }
  void until(const std::function<bool()>& condition) {
    while (!condition()) turn();
  }
  [[nodiscard]] std::string file(const std::string& name) const { return dir.path() + "/" + name; }

  TempDir dir;
  SystemClock clock;
  std::unique_ptr<ProcessRunner> runner;
  Result<Runner::Started> started;
  std::map<AttemptKey, RunEnd> ends;
  std::vector<std::string> not_held;
  std::set<AttemptKey> grown;  ///< Followed ones that printed something.

 private:
  UniqueFd signals_;
  std::uint32_t tasks_ = 0;
};

}  // namespace capstan::test
