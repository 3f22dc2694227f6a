// SPDX-License-Identifier: MIT
#include "worker/exec/process_runner.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "common/base/descriptors.h"
#include "common/model/limits.h"
#include "worker/core/environment.h"
#include "worker/exec/job_files.h"

namespace capstan {

namespace {

constexpr std::size_t kReadBytes = 64 * 1024;  // What a pipe holds.
constexpr int kReadsPerTurn = 4;               // So that one loud task does not starve the others.

Micros micros_of(const timeval& t) {
  return std::chrono::seconds(t.tv_sec) + Micros(t.tv_usec);
}

/// "…JOB.TASK.ATTEMPT" at the end of a cookie.
bool parse_key(std::string_view text, AttemptKey& key) {
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](auto& value, bool is_last) {
    const auto [next, error] = std::from_chars(at, end, value);
    at = next;
    if (error != std::errc() || (is_last ? at != end : at == end || *at != '.')) return false;
    ++at;
    return true;
  };
  return number(key.job.value, false) && number(key.task.value, false) &&
         number(key.attempt.value, true);
}

std::optional<ResourceLimit> raised_files_limit() {
  const std::optional<rlimit> before = raise_descriptor_limit();
  if (!before) return {};
  return ResourceLimit{RLIMIT_NOFILE, before->rlim_cur, before->rlim_max};
}

}  // namespace

ProcessRunner::ProcessRunner(Options options, const Clock& clock, Handler handler)
    : options_(std::move(options)),
      files_limit_(raised_files_limit()),
      mark_(options_.cookie),
      clock_(clock),
      handler_(std::move(handler)),
      free_cpus_(options_.cpu_ids),
      buffer_(kReadBytes, '\0') {}

Result<std::unique_ptr<ProcessRunner>> ProcessRunner::open(Options options, const Clock& clock,
                                                           Handler handler) {
  std::unique_ptr<ProcessRunner> runner(
      new ProcessRunner(std::move(options), clock, std::move(handler)));
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    return fail(Errc::Io, "becoming the reaper of tasks: " + errno_text(errno));
  }
  runner->null_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!runner->null_) return fail(Errc::Io, "opening /dev/null: " + errno_text(errno));
  for (const pid_t pid : runner->children_.read()) runner->ignore(pid);
  return runner;
}

ProcessRunner::Process* ProcessRunner::find(const AttemptKey& key) {
  const auto it = processes_.find(key);
  return it == processes_.end() ? nullptr : &it->second;
}

ProcessRunner::Process* ProcessRunner::find_serial(std::uint32_t serial) {
  const auto it = serials_.find(serial);
  return it == serials_.end() ? nullptr : find(it->second);
}

ProcessRunner::Process* ProcessRunner::find_launch(std::string_view launch) {
  AttemptKey key;
  return parse_key(launch, key) ? find(key) : nullptr;
}

/// None that a running attempt has: fewer of them run than there are numbers.
std::uint32_t ProcessRunner::next_serial() {
  do {
    last_serial_ = (last_serial_ + 1) % ProcessMark::kSerials;
  } while (serials_.contains(last_serial_));
  return last_serial_;
}

/// A child begins with the peak of whoever made it by vfork, which is ours (exec_mmap() of Linux):
/// so ours is brought down to what we have now, where it matters. Returns what it is.
std::uint64_t ProcessRunner::lower_own_peak() {
  constexpr std::uint64_t kLittle = 16 << 20;  // A worker that has nothing to do has half of it.
  const auto peak = [] {
    rusage own{};
    ::getrusage(RUSAGE_SELF, &own);
    return static_cast<std::uint64_t>(own.ru_maxrss) * 1024;
  };
  const std::uint64_t before = peak();
  if (before <= kLittle) return before;
  if (!clear_refs_) clear_refs_.reset(::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC));
  return clear_refs_ && ::write(clear_refs_.get(), "5", 1) == 1 ? peak() : before;
}

Result<std::array<TaskFile, 2>> ProcessRunner::open_files(const shepherd::Launch& launch) const {
  std::array<TaskFile, 2> files;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (launch.files[i].empty()) continue;
    files[i] = TRY(TaskFile::open(launch.files[i].str(),
                                  {.cwd = launch.job->settings.cwd, .umask = options_.umask}));
  }
  return files;
}

Result<UniqueFd> ProcessRunner::open_stdin(const shepherd::Launch& launch) const {
  const std::string path = stdin_path(options_.jobs_dir, launch.key.job);
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail(Errc::Io, "opening its stdin, " + path + ": " + errno_text(errno));
  return file;
}

std::vector<EnvVar> ProcessRunner::own_environment(const shepherd::Launch& launch) const {
  std::vector<EnvVar> environment = task_environment(launch.key, launch.input);
  environment.push_back({std::string(kCookieName), options_.cookie + "." + to_string(launch.key)});
  return environment;
}

/// A group for it, if it is to be held to its memory and can be.
void ProcessRunner::make_group(const shepherd::Launch& launch, Process& process) {
  const std::uint64_t mem_bytes = launch.job->settings.mem_bytes;
  if (!options_.cgroups || mem_bytes == 0) return;
  Result<TaskCgroup> group = options_.cgroups->make(to_string(launch.key), mem_bytes);
  if (group) {
    process.group = std::move(*group);
  } else if (handler_.on_not_held) {
    handler_.on_not_held(group.error());
  }
}

void ProcessRunner::drop_group(Process& process) {
  if (process.group) options_.cgroups->give_back(*process.group);
  process.group.reset();
}

/// Gives it its pid and its cpus; its group stays only if it is in it.
Result<void> ProcessRunner::spawn_main(const shepherd::Launch& launch,
                                       const std::array<UniqueFd, 2>& writing, Process& process) {
  UniqueFd own_stdin;
  if (launch.job->has_stdin) own_stdin = TRY(open_stdin(launch));
  SpawnOptions spawn_options{.argv = launch.command(),
                             .shared_env = &launch.job->env,
                             .env = own_environment(launch),
                             .cwd = launch.job->settings.cwd,
                             .stdin_fd = own_stdin ? own_stdin.get() : null_.get(),
                             .stdout_fd = writing[0].get(),
                             .stderr_fd = writing[1].get(),
                             .apart = options_.apart,
                             .umask = options_.umask,
                             .default_signals = options_.default_signals,
                             .mark = mark_.limit(process.serial),
                             .files = files_limit_,
                             .nice = launch.job->settings.nice};
  Pinning pinning{.free = free_cpus_, .chosen = {}};
  if (launch.cpus <= free_cpus_.size()) {
    pinning.chosen.resize(launch.cpus);
    spawn_options.pinning = &pinning;
  }
  if (launch.job->has_script && !spawn_options.argv.empty()) {
    spawn_options.argv.front() = script_path(options_.jobs_dir, launch.key.job);
  }
  Joining joining;
  if (process.group) {
    joining.procs_fd = process.group->procs_fd();
    spawn_options.joining = &joining;
  }
  process.rss_floor_bytes = lower_own_peak();
  process.pid = TRY(spawn(spawn_options));
  process.cpu_ids = std::move(pinning.chosen);
  for (const std::uint32_t cpu : process.cpu_ids) std::erase(free_cpus_, cpu);
  if (process.group && !joining.joined) {
    if (handler_.on_not_held) {
      handler_.on_not_held({Errc::Io, "it may not join " + process.group->dir()});
    }
    drop_group(process);
  }
  return {};
}

Result<Runner::Started> ProcessRunner::start(const shepherd::Launch& launch) {
  if (processes_.contains(launch.key)) return fail(Errc::Conflict, "it runs already");
  std::array<TaskFile, 2> files = TRY(open_files(launch));
  std::array<UniqueFd, 2> reading;
  std::array<UniqueFd, 2> writing;
  for (std::size_t i = 0; i < reading.size(); ++i) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      return fail(Errc::Unavailable, "making a pipe for its output: " + errno_text(errno));
    }
    reading[i].reset(ends[0]);
    writing[i].reset(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  Process starting;
  starting.key = launch.key;
  starting.serial = next_serial();
  make_group(launch, starting);
  if (const auto spawned = spawn_main(launch, writing, starting); !spawned) {
    drop_group(starting);
    return fail(spawned.error().code, spawned.error().message);
  }

  Process& process = processes_.emplace(launch.key, std::move(starting)).first->second;
  process.files = std::move(files);
  process.writing = std::move(writing);
  process.output_at = clock_.now();
  process.mem_bytes = launch.job->settings.mem_bytes;
  mains_[process.pid] = launch.key;
  serials_[process.serial] = launch.key;
  for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
    const auto i = static_cast<std::size_t>(stream);
    process.pipes[i] = std::move(reading[i]);
    process.output[i] = OutputWriter(output_path(options_.output_dir, launch.key, stream));
    pipes_[process.pipes[i].get()] = {launch.key, stream};
    if (launch.followed || followed_.contains(launch.key.job)) {
      after_write(process, stream, process.output[i].follow());
    }
  }
  return Started{.holds_memory = process.group.has_value()};
}

shepherd::Seen ProcessRunner::look(const AttemptKey& key) {
  const Process* process = find(key);
  if (process == nullptr) return {.key = key, .output_at = clock_.now()};
  shepherd::Seen seen{.key = key, .output_at = process->output_at};
  if (process->mem_bytes == 0 || process->group) return seen;
  find_strangers();
  std::vector<pid_t> roots(process->strangers.begin(), process->strangers.end());
  if (!process->main_ended) roots.push_back(process->pid);
  seen.mem_bytes = memory_of(roots, process->mem_bytes);
  return seen;
}

// --- Output --------------------------------------------------------------------------------------

void ProcessRunner::poll_fds(std::vector<pollfd>& fds) const {
  for (const auto& [key, process] : processes_) {
    for (const UniqueFd& pipe : process.pipes) {
      if (pipe) fds.push_back({.fd = pipe.get(), .events = POLLIN, .revents = 0});
    }
  }
}

void ProcessRunner::on_readable(int fd) {
  const auto it = pipes_.find(fd);
  if (it == pipes_.end()) return;
  const auto [key, stream] = it->second;
  Process* process = find(key);
  for (int i = 0; i < kReadsPerTurn && read_pipe(*process, stream); ++i) {}
}

/// One read. False: there is nothing more now.
bool ProcessRunner::read_pipe(Process& process, Stream stream) {
  const auto i = static_cast<std::size_t>(stream);
  if (!process.pipes[i]) return false;
  const ssize_t got = ::read(process.pipes[i].get(), buffer_.data(), buffer_.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
  if (got <= 0) {  // Nobody has the other end any more.
    pipes_.erase(process.pipes[i].get());
    process.pipes[i].reset();
    return false;
  }
  const auto size = static_cast<std::size_t>(got);
  const std::string_view bytes = std::string_view(buffer_).substr(0, size);
  process.output_at = clock_.now();
  process.files[i].write(bytes);
  after_write(process, stream, process.output[i].write(bytes));
  return size == buffer_.size();
}

void ProcessRunner::after_write(Process& process, Stream stream, const Result<void>& written) {
  const OutputWriter& output = process.output[static_cast<std::size_t>(stream)];
  if (!written && handler_.on_disk_error) handler_.on_disk_error(written.error());
  if (output.is_followed() && output.total() > 0 && handler_.on_grew) {
    handler_.on_grew(process.key, stream, output.total());
  }
}

void ProcessRunner::follow(JobId job, bool on) {
  if (!on) {
    followed_.erase(job);
    return;
  }
  followed_.insert(job);
  for (auto it = processes_.lower_bound({job, {}, {}}); it != processes_.end(); ++it) {
    if (it->first.job != job) break;
    for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
      OutputWriter& output = it->second.output[static_cast<std::size_t>(stream)];
      after_write(it->second, stream, output.follow());
    }
  }
}

// --- Ends ----------------------------------------------------------------------------------------

void ProcessRunner::on_child() {
  for (;;) {
    int status = 0;
    rusage usage{};
    const pid_t pid = ::wait4(-1, &status, WNOHANG, &usage);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) break;
    reaped(pid, status, usage);
  }
  if (ending_.empty()) return;
  find_strangers();
  check_ends();
}

void ProcessRunner::reaped(pid_t pid, int status, const rusage& usage) {
  Process* owner = nullptr;
  if (const auto main = mains_.find(pid); main != mains_.end()) {
    owner = find(main->second);
    owner->main_ended = true;
    owner->status = status;
    ending_.insert(owner->key);
    mains_.erase(main);
  } else if (unknown_.erase(pid) > 0) {
    return;
  } else if (ignored_.erase(pid) > 0) {
    if (handler_.on_other_child) handler_.on_other_child(pid, status);
    return;
  } else {
    for (auto& [key, process] : processes_) {
      if (process.strangers.erase(pid) > 0) owner = &process;
    }
  }
  if (owner == nullptr) return;
  owner->cpu += micros_of(usage.ru_utime) + micros_of(usage.ru_stime);
  const auto rss = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  owner->max_rss_bytes = std::max(owner->max_rss_bytes, rss);
}

/// Children of ours that are neither main processes nor known: who do they belong to?
void ProcessRunner::find_strangers() {
  for (const pid_t pid : children_.read()) {
    if (!mains_.contains(pid) && !ignored_.contains(pid)) adopt_stranger(pid);
  }
}

void ProcessRunner::adopt_stranger(pid_t pid) {
  const pid_t session = ::getsid(pid);
  for (auto& [key, process] : processes_) {
    // Of an attempt with a session of its own: without setsid it is still in it.
    if (process.pid != session && !process.strangers.contains(pid)) continue;
    process.strangers.insert(pid);
    return;
  }
  const auto serial = mark_.serial_of(pid);
  const std::string launch = serial ? std::string() : mark_.launch_in_environment(pid);
  if (Process* owner = serial ? find_serial(*serial) : find_launch(launch)) {
    unknown_.erase(pid);
    owner->strangers.insert(pid);
    return;
  }
  const TimePoint now = clock_.now();
  TimePoint& due = unknown_.try_emplace(pid, now + limits::kStragglerWait).first->second;
  if (!serial && launch.empty() && now < due) return;
  ::kill(pid, SIGKILL);  // It washed off its mark, or its attempt is gone: nobody's process.
  due = TimePoint::never();
}

bool ProcessRunner::has_group(const Process& process) {
  return ::kill(-process.pid, 0) == 0 || errno != ESRCH;
}

void ProcessRunner::check_ends() {
  std::vector<AttemptKey> gone;
  for (const AttemptKey& key : ending_) {
    Process& process = *find(key);
    if (!process.strangers.empty() || has_group(process)) {
      press(process);
    } else if (unknown_.empty()) {
      gone.push_back(key);
    } else {
      process.check_at = TimePoint::never();  // Until it is known whose they are.
    }
  }
  for (const AttemptKey& key : gone) finish(*find(key));
}

/// The main process ended and something of its tree is left.
void ProcessRunner::press(Process& process) {
  const TimePoint now = clock_.now();
  if (!process.terminating && process.check_at != TimePoint::never() && now >= process.check_at) {
    process.forced = true;
  }
  if (process.forced) {
    signal_tree(process, SIGKILL);
  } else if (process.terminating) {
    for (const pid_t pid : process.strangers) ::kill(pid, SIGTERM);
  }
  if (process.check_at == TimePoint::never() || now >= process.check_at) {
    process.check_at = now + limits::kStragglerWait;
  }
}

void ProcessRunner::signal_tree(const Process& process, int number) const {
  // The group's id is not free for others as long as it has a member, or the main process is not
  // reaped. A stopped process takes its TERM only when it goes on.
  ::kill(-process.pid, number);
  for (const pid_t pid : process.strangers) ::kill(pid, number);
  if (number == SIGKILL && process.group) process.group->kill();
  if (number != SIGKILL) ::kill(-process.pid, SIGCONT);
}

void ProcessRunner::kill(const AttemptKey& key, bool force) {
  Process* process = find(key);
  if (process == nullptr) return;
  process->terminating = true;
  process->forced = process->forced || force;
  signal_tree(*process, force ? SIGKILL : SIGTERM);
}

void ProcessRunner::finish(Process& process) {
  RunEnd end;
  std::string note;
  for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
    const auto i = static_cast<std::size_t>(stream);
    while (read_pipe(process, stream)) {  // All writers are gone: this ends.
    }
    if (process.pipes[i]) pipes_.erase(process.pipes[i].get());
    end.output_bytes[i] = process.output[i].total();
    end.tail[i] = process.output[i].tail();
    const std::string words = process.files[i].close();
    if (!words.empty()) note += (note.empty() ? "" : "; ") + words;
  }
  end.note = std::move(note);
  end.exit_code = WIFEXITED(process.status) ? WEXITSTATUS(process.status) : 0;
  end.signal = WIFSIGNALED(process.status) ? WTERMSIG(process.status) : 0;
  end.cpu = process.cpu;
  end.max_rss_bytes = process.max_rss_bytes;
  end.rss_floor_bytes = process.rss_floor_bytes;
  if (process.group) end.oom = process.group->oom();
  drop_group(process);
  const AttemptKey key = process.key;
  free_cpus_.insert(free_cpus_.end(), process.cpu_ids.begin(), process.cpu_ids.end());
  std::sort(free_cpus_.begin(), free_cpus_.end());
  ending_.erase(key);
  serials_.erase(process.serial);
  processes_.erase(key);
  if (sweep_at_ == TimePoint::never()) sweep_at_ = clock_.now() + limits::kStragglerWait;
  ended_.push_back({key, std::move(end)});
}

void ProcessRunner::on_deadline() {
  if (clock_.now() < next_deadline()) return;
  sweep_at_ = TimePoint::never();
  find_strangers();
  check_ends();
  if (options_.cgroups && !options_.cgroups->sweep()) {
    sweep_at_ = std::min(sweep_at_, clock_.now() + limits::kStragglerWait);
  }
}

TimePoint ProcessRunner::next_deadline() const {
  TimePoint next = sweep_at_;
  for (const AttemptKey& key : ending_) next = std::min(next, processes_.at(key).check_at);
  for (const auto& [pid, due] : unknown_) next = std::min(next, due);
  return next;
}

}  // namespace capstan
