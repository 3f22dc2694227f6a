// SPDX-License-Identifier: MIT
#include "worker/shepherd_shell.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <set>

#include "common/base/log.h"
#include "common/model/parse.h"
#include "common/wire/version.h"
#include "worker/core/pair_codec.h"
#include "worker/exec/cgroup.h"
#include "worker/exec/job_files.h"
#include "worker/exec/null_runner.h"
#include "worker/exec/process_runner.h"
#include "worker/exec/spawn.h"

extern char** environ;

namespace capstan {

namespace {

using namespace std::chrono_literals;

constexpr Micros kAgentPauseFirst = 50ms;
constexpr Micros kAgentProven = 10s;  // Ran so long: the next one starts without a pause.

/// Outputs that belong to no result of the spool: their attempts died with an earlier shepherd.
void drop_orphaned_outputs(const std::string& dir, const std::vector<pair::SpoolItem>& spool) {
  namespace fs = std::filesystem;
  std::set<std::string> wanted;
  for (const pair::SpoolItem& item : spool) {
    for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
      if (!item.delivered[static_cast<std::size_t>(stream)]) {
        wanted.insert(output_path(dir, item.result.key, stream));
      }
    }
  }
  std::error_code ignored;
  std::vector<fs::path> orphans;
  for (fs::recursive_directory_iterator it(dir, ignored), end; it != end; it.increment(ignored)) {
    if (it->is_regular_file(ignored) && !wanted.contains(it->path().string())) {
      orphans.push_back(it->path());
    }
  }
  for (const fs::path& path : orphans) {
    fs::remove(path, ignored);
    fs::remove(path.parent_path(), ignored);  // Refused unless it is empty.
  }
}

Result<Spool> open_or_set_aside(const std::string& path, const Clock& clock,
                                Spool::Contents& contents) {
  auto spool = Spool::open(path, clock, contents);
  if (spool || spool.error().code != Errc::Corrupt) return spool;
  const std::string aside = path + ".bad-" + rfc3339(clock.wall());
  log::error("spool.set_aside", {{"reason", spool.error().message}, {"as", aside}});
  if (::rename(path.c_str(), aside.c_str()) != 0) return spool;
  return Spool::open(path, clock, contents);
}

const char* level_text(log::Level level) {
  switch (level) {
    case log::Level::Debug:
      return "debug";
    case log::Level::Info:
      return "info";
    case log::Level::Warn:
      return "warn";
    case log::Level::Error:
      return "error";
  }
  return "info";
}

std::string seconds_text(Micros d) {
  return std::to_string(d.count() / 1'000'000) + "s";
}

}  // namespace

// --- Opening -------------------------------------------------------------------------------------

Result<std::unique_ptr<ShepherdShell>> ShepherdShell::open(const WorkerOptions& options,
                                                           std::string cookie) {
  std::unique_ptr<ShepherdShell> shell(new ShepherdShell(options, std::move(cookie)));
  TRY(shell->open_signals());
  shell->claim_cpus();
  TRY(shell->open_spool());
  TRY(shell->open_runner());
  return shell;
}

Result<void> ShepherdShell::open_signals() {
  // An --output file may be a pipe whose reader goes, or grow too large: errors of that write.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  ignored_signals_ = ignored_signals();
  const auto is_ignored = [this](int number) {
    return std::find(ignored_signals_.begin(), ignored_signals_.end(), number) !=
           ignored_signals_.end();
  };
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGCHLD);
  if (!is_ignored(SIGHUP)) ::sigaddset(&set, SIGHUP);  // nohup means what it says.
  ::signal(SIGCHLD, SIG_DFL);                          // Ignored, it would eat exit codes.
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail(Errc::Io, "making a descriptor for signals: " + errno_text(errno));
  return {};
}

void ShepherdShell::claim_cpus() {
  if (options_.no_pin || options_.null_exec) return;
  cpus_ = CpuClaims::take(options_.cpus, allowed_cpus());
  if (cpus_.cpus().empty()) {
    log::info("worker.does_not_pin",
              {{"cpus", options_.cpus},
               {"reason", "this machine has not so many, or other workers here claim them"}});
  }
}

std::optional<TaskCgroups> ShepherdShell::take_cgroups() {
  const std::string own = own_cgroup();
  Result<TaskCgroups> taken = TaskCgroups::take(own);
  in_cgroups_ = taken.has_value();
  if (taken) {
    log::info("worker.holds_memory", {{"cgroup", own}});
    return std::move(*taken);
  }
  const auto say = taken.error().code == Errc::Unavailable ? log::info : log::warn;
  say("worker.measures_memory", {{"reason", taken.error().message}});
  return std::nullopt;
}

Result<void> ShepherdShell::open_spool() {
  Spool::Contents contents;
  spool_ = TRY(open_or_set_aside(options_.spool_file(), clock_, contents));
  if (contents.torn_bytes > 0) {
    log::warn("spool.torn", {{"bytes_dropped", contents.torn_bytes}});
  }
  if (!contents.items.empty()) {
    log::info("spool.loaded", {{"results", std::uint64_t{contents.items.size()}}});
  }
  drop_orphaned_outputs(options_.output_dir(), contents.items);
  drop_all_job_files(options_.jobs_dir());
  machine_.emplace(shepherd::Config{.instance = Instance::random(),
                                    .cpus = options_.cpus,
                                    .mem_bytes = options_.mem_bytes,
                                    .grace = options_.grace,
                                    .kill_grace = options_.kill_grace},
                   std::move(contents.items), contents.generation);
  return {};
}

Result<void> ShepherdShell::open_runner() {
  const auto on_other_child = [this](pid_t pid, int status) {
    if (pid == agent_) agent_status_ = status;
  };
  if (options_.null_exec) {
    log::warn("worker.starts_nothing",
              {{"reason", "--null-exec: every task is reported as succeeded, none is run"}});
    runner_ = std::make_unique<NullRunner>(on_other_child);
    return {};
  }
  ProcessRunner::Handler handler;
  handler.on_grew = [this](const AttemptKey& key, Stream stream, std::uint64_t total) {
    feed(shepherd::OutputGrew{key, stream, total});
  };
  handler.on_disk_error = [this](const Error& error) { on_disk(fail(error.code, error.message)); };
  handler.on_not_held = [this](const Error& error) {
    if (!std::exchange(said_not_held_, true)) {
      log::warn("task.not_held", {{"reason", error.message},
                                  {"meaning", "its memory is measured; this is said once"}});
    }
  };
  handler.on_other_child = on_other_child;
  runner_ = TRY(ProcessRunner::open({.output_dir = options_.output_dir(),
                                     .jobs_dir = options_.jobs_dir(),
                                     .cookie = cookie_,
                                     .umask = static_cast<mode_t>(options_.user_umask),
                                     .default_signals = ignored_signals_,
                                     .apart = has_terminal() ? Apart::Session : Apart::Group,
                                     .cpu_ids = cpus_.cpus(),
                                     .cgroups = take_cgroups()},
                                    clock_, std::move(handler)));
  return {};
}

// --- The loop ------------------------------------------------------------------------------------

int ShepherdShell::run() {
  agent_due_ = clock_.now();
  while (!exit_) turn();
  commit();
  pair_.close();
  if (exit_->message.empty()) {
    log::info("worker.stopped");
  } else {
    std::fprintf(stderr, "capstan-worker: %s\n", exit_->message.c_str());
  }
  return exit_->code;
}

TimePoint ShepherdShell::deadline() const {
  TimePoint next = std::min(machine_->next_deadline(), runner_->next_deadline());
  next = std::min(next, agent_ == 0 ? agent_due_ : agent_doomed_at_);
  return next;
}

void ShepherdShell::wait(std::vector<pollfd>& fds) const {
  fds.push_back({.fd = signals_.get(), .events = POLLIN, .revents = 0});
  const short for_writing = pair_.waiting_bytes() > 0 ? POLLOUT : 0;
  fds.push_back({.fd = pair_.is_open() ? pair_.fd() : -1,
                 .events = static_cast<short>(POLLIN | for_writing),
                 .revents = 0});
  runner_->poll_fds(fds);
  timespec timeout{};
  const timespec* limit = &timeout;
  const TimePoint until = deadline();
  if (until == TimePoint::never()) {
    limit = nullptr;
  } else if (const TimePoint now = clock_.now(); until > now) {
    const std::int64_t us = (until - now).count();
    timeout.tv_sec = us / 1'000'000;
    timeout.tv_nsec = us % 1'000'000 * 1'000;
  }
  if (::ppoll(fds.data(), fds.size(), limit, nullptr) < 0) {
    for (pollfd& each : fds) each.revents = 0;
  }
}

void ShepherdShell::turn() {
  std::vector<pollfd> fds;
  wait(fds);
  if (fds[1].revents != 0) read_pair();
  for (std::size_t i = 2; i < fds.size(); ++i) {
    if (fds[i].revents != 0) runner_->on_readable(fds[i].fd);
  }
  if (fds[0].revents != 0) read_signals();
  runner_->on_deadline();
  if (agent_status_) on_agent_ended(*std::exchange(agent_status_, std::nullopt));
  if (clock_.now() >= agent_doomed_at_) kill_agent("it does not end");
  settle();  // First: an agent's end may be the end of all.
  if (agent_ == 0 && !exit_ && clock_.now() >= agent_due_) {
    start_agent();
    settle();
  }
  commit();
}

void ShepherdShell::read_signals() {
  bool child_ended = false;
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) {
      child_ended = true;
    } else {
      log::info("worker.leaving", {{"signal", info.ssi_signo},
                                   {"running", std::uint64_t{runner_->running_count()}},
                                   {"grace", seconds_text(options_.grace)}});
      feed(shepherd::Leave{});
    }
  }
  if (child_ended) runner_->on_child();
}

void ShepherdShell::read_pair() {
  const bool is_there = pair_.receive([this](std::string_view payload) {
    auto message = pair::decode_to_shepherd(payload);
    if (!message) {
      kill_agent("it says what makes no sense");
      return false;
    }
    feed(shepherd::FromAgent{std::move(*message)});
    return true;
  });
  if (is_there) return;
  // It is about to end: it may still be saying goodbye to the master.
  pair_.close();
  agent_doomed_at_ = clock_.now() + limits::kGoodbyeWait;
}

void ShepherdShell::settle() {
  do {
    const TimePoint now = clock_.now();
    handle_events(now);
    for (Runner::Ended& ended : runner_->take_ended()) {
      step(shepherd::Gone{ended.key, std::move(ended.end)}, now);
    }
    step(shepherd::Tick{}, now);
    if (pair_.waiting_bytes() >= limits::kPairPassOnBytes) commit();
  } while (!events_.empty() && !exit_);
}

/// What came together happened at the same time.
void ShepherdShell::handle_events(TimePoint now) {
  while (!events_.empty()) {
    handled_.swap(events_);
    for (shepherd::Event& event : handled_) step(std::move(event), now);
    handled_.clear();
  }
}

void ShepherdShell::step(shepherd::Event&& event, TimePoint now) {
  for (shepherd::Action& action : machine_->step(std::move(event), now)) {
    std::visit([this](auto& what) { execute(what); }, action);
  }
}

/// What is to be told is in the file before it is told; unless the disk is full: then it waits for
/// room in memory, and the master's commit is what keeps it.
void ShepherdShell::commit() {
  const Result<void> written = spool_->flush();
  if (!written)
    on_disk(written);
  else if (spool_->is_due())
    spool_->compact(machine_->appended());
  if (pair_.waiting_bytes() > limits::kPairBufferBytes + told_first_bytes_) {
    kill_agent("it does not read");
    pair_.close();
  }
  pair_.flush();
}

// --- Actions -------------------------------------------------------------------------------------

void ShepherdShell::execute(shepherd::Launch& launch) {
  const Result<Runner::Started> started = runner_->start(launch);
  if (started) {
    if (log::is_enabled(log::Level::Debug))
      log::debug("task.started", {{"task", task_name(launch.key.job, launch.key.task)},
                                  {"attempt", launch.key.attempt.value}});
    feed(shepherd::Launched{launch.key, started->holds_memory});
  } else {
    feed(shepherd::LaunchFailed{launch.key, started.error().message});
  }
}

void ShepherdShell::execute(shepherd::KeepJobFiles& files) {
  Result<void> written;
  if (!files.script.empty()) {
    written = write_script(options_.jobs_dir(), files.job, files.script);
  }
  if (written && files.has_stdin) {
    written = write_stdin(options_.jobs_dir(), files.job, files.stdin_data);
  }
  if (written) return;
  feed(shepherd::FilesFailed{files.job});
  on_disk(written);
}

void ShepherdShell::execute(shepherd::DropJobFiles& files) {
  drop_job_files(options_.jobs_dir(), files.job);
}

void ShepherdShell::execute(shepherd::Look& look) {
  feed(runner_->look(look.key));
}

void ShepherdShell::execute(shepherd::Kill& kill) {
  runner_->kill(kill.key, kill.force);
}

void ShepherdShell::execute(shepherd::ToAgent& message) {
  if (!pair_.is_open()) return;
  const std::size_t before = pair_.out().size();
  pair::encode(message.message, pair_.out());
  if (std::holds_alternative<pair::Spooled>(message.message))
    told_first_bytes_ += pair_.out().size() - before;
}

void ShepherdShell::execute(shepherd::SpoolAppend& append) {
  constexpr std::size_t kUsualBytes = 96;
  std::string written;  // As the file and the agent get them.
  written.reserve(append.items.size() * kUsualBytes);
  for (const pair::SpoolItem* item : append.items) {
    const std::size_t begin = written.size();
    wire::Writer writer(written);
    pair::put(writer, *item);
    writer.finish();
    spool_->append(*item, std::string_view(written).substr(begin));
    const AttemptResult& result = item->result;
    if (result.end == EndClass::Success && !log::is_enabled(log::Level::Debug)) continue;
    const auto say = result.end == EndClass::Success ? log::debug : log::info;
    say("task.ended", {{"task", task_name(result.key.job, result.key.task)},
                       {"attempt", result.key.attempt.value},
                       {"end", to_string(result.end)},
                       {"exit_code", result.exit_code},
                       {"reason", result.reason}});
  }
  if (append.tells && pair_.is_open())
    pair::encode_ended(append.items.size(), written, pair_.out());
}

void ShepherdShell::execute(shepherd::SpoolAcked& acked) {
  spool_->acked(acked.keys);
}
void ShepherdShell::execute(shepherd::SpoolDelivered& delivered) {
  spool_->delivered(delivered.key, delivered.stream);
}
void ShepherdShell::execute(shepherd::SpoolGeneration& generation) {
  spool_->generation(generation.generation);
}

void ShepherdShell::execute(shepherd::SpoolSync&) {
  if (const Result<void> synced = spool_->sync(); !synced) on_disk(synced);
}

void ShepherdShell::execute(shepherd::SpoolRetry&) {
  const Result<void> flushed = spool_->flush();
  on_disk(flushed ? probe_disk() : flushed);
}

void ShepherdShell::execute(shepherd::SetAside&) {
  const std::string time = rfc3339(clock_.wall());
  log::warn("spool.set_aside", {{"reason", "the cluster began anew"}, {"as", "spool." + time}});
  if (const Result<void> aside = spool_->set_aside(); !aside) {
    exit_ = shepherd::Exit{kExitFailStop, aside.error().message};
    return;
  }
  ::rename(options_.output_dir().c_str(), (options_.output_dir() + "." + time).c_str());
  feed(shepherd::NewInstance{Instance::random()});
}

void ShepherdShell::execute(shepherd::DropOutput& output) {
  drop_output(options_.output_dir(), output.key, output.stream);
}
void ShepherdShell::execute(shepherd::FollowOutput& follow) {
  runner_->follow(follow.job, follow.on);
}

void ShepherdShell::execute(shepherd::SayReady& ready) {
  log::info("worker.ready", {{"worker", ready.name},
                             {"cpus", options_.cpus},
                             {"dir", options_.dir},
                             {"version", kVersion},
                             {"pid", ::getpid()}});
}

void ShepherdShell::execute(shepherd::Exit& exit) {
  if (!exit_) exit_ = exit;
}

// --- Disk ----------------------------------------------------------------------------------------

void ShepherdShell::on_disk(const Result<void>& written) {
  const bool failed = !written;
  if (failed != disk_full_) {
    disk_full_ = failed;
    if (failed) {
      log::error("disk.refused", {{"reason", written.error().message},
                                  {"meaning", "no new work is taken until writes succeed again"}});
    } else {
      log::info("disk.recovered", {{"dir", options_.dir}});
    }
  }
  feed(shepherd::Disk{failed});
}

/// As much room as the next results need.
Result<void> ShepherdShell::probe_disk() const {
  const std::string path = options_.dir + "/probe";
  const UniqueFd file(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
  const std::string bytes(limits::kCaptureHeadBytes, 'x');
  ssize_t put = file ? ::write(file.get(), bytes.data(), bytes.size()) : -1;
  const int error = errno;
  ::unlink(path.c_str());
  if (put == static_cast<ssize_t>(bytes.size())) return {};
  return fail(Errc::DiskFull,
              "writing to " + options_.dir + ": " + errno_text(put < 0 ? error : ENOSPC));
}

// --- The agent -----------------------------------------------------------------------------------

void ShepherdShell::start_agent() {
  agent_since_ = clock_.now();
  agent_due_ = agent_since_ + limits::kAgentBackoffMax;  // When it cannot be started.
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    log::error("agent.not_started", {{"reason", errno_text(errno)}});
    return;
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  SpawnOptions spawn_options{
      .argv = {options_.program, "--agent", cookie_, "--dir", options_.dir, "--name", options_.name,
               "--log-format", options_.log_format == log::Format::Json ? "json" : "text",
               "--log-level", level_text(options_.log_level)},
      .env = {},
      .cwd = "",
      .keep_fd = theirs.get(),
      .apart = Apart::None,
      .umask = 077,
      .default_signals = {}};
  if (in_cgroups_) spawn_options.argv.push_back("--in-cgroups");
  if (options_.null_exec) spawn_options.argv.push_back("--null-exec");
  if (!options_.access.empty()) {
    spawn_options.argv.push_back("--access");
    spawn_options.argv.push_back(options_.access);
  }
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view variable = *at;
    const std::size_t equals = std::min(variable.find('='), variable.size());
    spawn_options.env.push_back({Bytes(variable.substr(0, equals)),
                                 Bytes(variable.substr(std::min(equals + 1, variable.size())))});
  }
  const Result<pid_t> pid = spawn(spawn_options);
  if (!pid) {
    log::error("agent.not_started", {{"reason", pid.error().message}});
    return;
  }
  agent_ = *pid;
  runner_->ignore(agent_);
  pair_ = PairChannel(std::move(ours));
  told_first_bytes_ = 0;
  feed(shepherd::AgentUp{});
}

void ShepherdShell::on_agent_ended(int status) {
  agent_ = 0;
  while (pair_.is_open()) {  // Its last words.
    const std::size_t before = events_.size();
    read_pair();
    if (events_.size() == before) break;
  }
  pair_.close();
  agent_doomed_at_ = TimePoint::never();
  const bool refused = WIFEXITED(status) &&
                       (WEXITSTATUS(status) == kExitRefused || WEXITSTATUS(status) == kExitUsage);
  if (refused) {  // Usually it said why; then this one is not heard.
    feed(shepherd::FromAgent{pair::Fatal{WEXITSTATUS(status), "the agent cannot go on"}});
  }
  const bool was_proven = clock_.now() - agent_since_ >= kAgentProven;
  agent_due_ = clock_.now() + (was_proven ? Micros{0} : agent_pause_);
  agent_pause_ =
      was_proven ? Micros{0}
                 : std::clamp<Micros>(2 * agent_pause_, kAgentPauseFirst, limits::kAgentBackoffMax);
  if (refused || machine_->is_leaving()) {
    log::debug("agent.ended", {{"status", status}});
  } else {
    log::warn("agent.ended", {{"status", WIFEXITED(status) ? WEXITSTATUS(status) : -1},
                              {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0}});
  }
  feed(shepherd::AgentDown{});
}

void ShepherdShell::kill_agent(const char* why) {
  agent_doomed_at_ = TimePoint::never();
  if (agent_ == 0) return;
  log::error("agent.killed", {{"reason", why}});
  ::kill(agent_, SIGKILL);
}

}  // namespace capstan
