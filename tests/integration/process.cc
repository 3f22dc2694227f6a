// SPDX-License-Identifier: MIT
#include "tests/integration/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <doctest/doctest.h>

#include "tests/support/loopback.h"

extern char** environ;

namespace capstan::itest {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

int poll_timeout_ms(Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(0, left.count()));
}

Clock::time_point after(Seconds limit) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
}

std::vector<pid_t> all_pids() {
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid > 1) pids.push_back(pid);
  }
  return pids;
}

bool belongs_to(pid_t pid, const std::string& dir) {
  const std::string proc = "/proc/" + std::to_string(pid);
  std::error_code error;
  const std::string cwd = fs::read_symlink(proc + "/cwd", error).string();
  if (!error && cwd.starts_with(dir)) return true;
  return contains(read_file(proc + "/cmdline"), dir);
}

struct Pipe {
  UniqueFd read, write;
};

Pipe make_pipe() {
  int fds[2];
  REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::vector<char*> pointers(Args& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

Args environment_with(const Args& extra) {
  Args env;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool replaced = std::any_of(extra.begin(), extra.end(),
                                      [&](const std::string& e) { return e.starts_with(name); });
    if (!replaced && name != "CAPSTAN_ACCESS=") env.emplace_back(text);
  }
  env.insert(env.end(), extra.begin(), extra.end());
  return env;
}

}  // namespace

// --- TempDir -------------------------------------------------------------------------------------

TempDir::TempDir() : dir_(fs::temp_directory_path()) {}

TempDir::~TempDir() {
  // Twice: what was being forked in the first round is there in the second.
  for (int round = 0; round < 2; ++round) {
    for (const pid_t pid : all_pids()) {
      if (pid != ::getpid() && belongs_to(pid, path())) ::kill(pid, SIGKILL);
    }
  }
}

std::string TempDir::operator/(std::string_view name) const {
  return dir_.file(std::string(name));
}

// --- Child ---------------------------------------------------------------------------------------

Child::Child(Options options) {
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.write.get(), 2);
  if (!options.cwd.empty()) { posix_spawn_file_actions_addchdir_np(&actions, options.cwd.c_str()); }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigfillset(&defaults);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);

  Args env = environment_with(options.env);
  const std::string program = options.argv.at(0);
  const int error = ::posix_spawnp(&pid_, program.c_str(), &actions, &attributes,
                                   pointers(options.argv).data(), pointers(env).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  REQUIRE_MESSAGE(error == 0, "cannot start " << program);

  in_ = std::move(in.write);
  out_fd_ = std::move(out.read);
  err_fd_ = std::move(err.read);
  ::fcntl(in_.get(), F_SETFL, O_NONBLOCK);
  ::signal(SIGPIPE, SIG_IGN);
  pump_ = std::thread([this, input = std::move(options.input),
                       keep = options.keep_stdin]() mutable { pump(std::move(input), keep); });
}

Child::~Child() {
  if (is_running()) {
    signal_group(SIGKILL);
    signal(SIGKILL);
  }
  pump_.join();
}

void Child::pump(std::string input, bool keep_stdin) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  std::size_t written = 0;
  bool ended = false;
  // It has ended when the process has, and its output is read: what inherited its pipes may keep
  // them open, so after its end only what is there already counts.
  while (!ended) {
    if (in_ && written == input.size() && !keep_stdin) in_.reset();
    pollfd fds[4] = {{process.get(), POLLIN, 0},
                     {out_fd_.get(), POLLIN, 0},
                     {err_fd_.get(), POLLIN, 0},
                     {written < input.size() ? in_.get() : -1, POLLOUT, 0}};
    ::poll(fds, 4, -1);
    ended = (fds[0].revents & POLLIN) != 0;
    for (int i = 1; i <= 2; ++i) {
      UniqueFd& fd = i == 1 ? out_fd_ : err_fd_;
      std::string& text = i == 1 ? out_ : err_;
      char buffer[65536];
      pollfd one{fd.get(), POLLIN, 0};
      while (fd && ::poll(&one, 1, 0) > 0) {
        const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
        if (count <= 0) {
          fd.reset();
          break;
        }
        const std::lock_guard lock(mutex_);
        text.append(buffer, static_cast<std::size_t>(count));
        changed_.notify_all();
        if (!ended) break;
      }
    }
    if ((fds[3].revents & POLLOUT) != 0) {
      const ssize_t count = ::write(in_.get(), input.data() + written, input.size() - written);
      if (count > 0) written += static_cast<std::size_t>(count);
      if (count < 0 && errno != EAGAIN) written = input.size();
    } else if ((fds[3].revents & (POLLERR | POLLHUP)) != 0) {
      written = input.size();
    }
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  const std::lock_guard lock(mutex_);
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ended_ = true;
  changed_.notify_all();
}

void Child::signal(int number) const {
  if (is_running()) ::kill(pid_, number);
}

void Child::signal_group(int number) const {
  ::kill(-pid_, number);
}

bool Child::is_running() const {
  const std::lock_guard lock(mutex_);
  return !ended_;
}

std::string Child::out() const {
  const std::lock_guard lock(mutex_);
  return out_;
}

std::string Child::err() const {
  const std::lock_guard lock(mutex_);
  return err_;
}

Finished Child::wait(Seconds limit) {
  std::unique_lock lock(mutex_);
  const bool ended = changed_.wait_until(lock, after(limit), [this] { return ended_; });
  REQUIRE_MESSAGE(ended, "pid " << pid_ << " does not end; it printed:\n" << out_ << err_);
  return {code_, out_, err_};
}

std::string Child::wait_for(std::string_view text, Seconds limit) {
  std::unique_lock lock(mutex_);
  const auto is_there = [&] { return contains(out_, text) || contains(err_, text); };
  changed_.wait_until(lock, after(limit), [&] { return is_there() || ended_; });
  REQUIRE_MESSAGE(is_there(), "'" << text << "' was not printed, but:\n" << out_ << err_);
  return contains(out_, text) ? out_ : err_;
}

Finished run(Child::Options options, Seconds limit) {
  return Child(std::move(options)).wait(limit);
}

// --- Fifo ----------------------------------------------------------------------------------------

Fifo::Fifo(std::string path) : path_(std::move(path)) {
  REQUIRE(::mkfifo(path_.c_str(), 0666) == 0);
  fd_.reset(::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  REQUIRE(fd_);
}

Fifo::~Fifo() {
  ::unlink(path_.c_str());
}

void Fifo::read_what_is_there() {
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(fd_.get(), buffer, sizeof buffer)) > 0) {
    buffer_.append(buffer, static_cast<std::size_t>(count));
  }
}

std::string Fifo::line(Seconds limit) {
  const auto until = after(limit);
  for (;;) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string result = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return result;
    }
    pollfd fd{fd_.get(), POLLIN, 0};
    REQUIRE_MESSAGE(::poll(&fd, 1, poll_timeout_ms(until)) > 0, "nothing comes from " << path_);
    read_what_is_there();
  }
}

bool Fifo::is_empty() {
  read_what_is_there();
  return buffer_.empty();
}

void Fifo::write_line(std::string_view text) const {
  const std::string line = std::string(text) + "\n";
  REQUIRE(::write(fd_.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

// --- Looks ---------------------------------------------------------------------------------------

bool eventually(const std::function<bool()>& condition, Seconds limit) {
  const auto until = after(limit);
  while (!condition()) {
    if (Clock::now() >= until) return false;
    ::poll(nullptr, 0, 10);
  }
  return true;
}

bool wait_gone(pid_t pid, Seconds limit) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return true;
  pollfd fd{process.get(), POLLIN, 0};
  return ::poll(&fd, 1, poll_timeout_ms(after(limit))) > 0;
}

bool is_alive(pid_t pid) {
  return !wait_gone(pid, 0s);
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::error_code error;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& thread : fs::directory_iterator(tasks, error)) {
    std::istringstream list(read_file(thread.path() / "children"));
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

std::string command_line_of(pid_t pid) {
  return read_file("/proc/" + std::to_string(pid) + "/cmdline");
}

std::uint64_t rss_bytes(pid_t pid) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  (void)pid;
  return 0;
#else
  std::istringstream statm(read_file("/proc/" + std::to_string(pid) + "/statm"));
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
#endif
}

/// None of those that the kernel gives to whoever connects: our programs do so all the time.
int free_port() {
  constexpr int kFirst = 10'000;
  constexpr int kCount = 22'000;
  static std::minstd_rand random(std::random_device{}());
  for (;;) {
    const auto port = static_cast<std::uint16_t>(kFirst + random() % kCount);
    if (test::BoundSocket(port).port != 0) return port;
  }
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

void write_file(const std::string& path, std::string_view content, unsigned mode) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  REQUIRE(file);
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace capstan::itest
