// SPDX-License-Identifier: MIT
#include "cli/dev_node.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "common/base/bytes.h"

namespace capstan::cli {
namespace {

/// The line that a program prints when it is ready has this word (docs/operating.md).
/// as a word of its own: "already" is none.
constexpr std::string_view kReadyWords[] = {" ready", ".ready"};

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> all;
  for (const std::string& word : words) all.push_back(const_cast<char*>(word.c_str()));
  all.push_back(nullptr);
  return all;
}

/// In the child: async-signal-safe calls only.
[[noreturn]] void become(const Spawn& how, pid_t parent, char* const* argv, char* const* env) {
  sigset_t none;
  ::sigemptyset(&none);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGPIPE}) ::signal(signal, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (how.own_group) ::setpgid(0, 0);
  if (how.dies_with_us) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // It died before we were bound to it.
  }
  if (how.stderr_fd >= 0) {
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, STDIN_FILENO);
    ::dup2(how.stderr_fd, STDOUT_FILENO);
    ::dup2(how.stderr_fd, STDERR_FILENO);
  }
  ::close_range(STDERR_FILENO + 1, ~0U, 0);
  ::execvpe(argv[0], argv, env);
  const int error = errno;
  const char* const words = ::strerrordesc_np(error);
  for (const char* part : {"cannot run ", static_cast<const char*>(argv[0]), ": ",
                           words == nullptr ? "error" : words, "\n"}) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
  ::_exit(error == ENOENT ? 127 : 126);
}

bool has_input(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 0) > 0;
}

std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

Outcome<pid_t> spawn(const Spawn& how) {
  const std::vector<char*> argv = pointers(how.argv);
  const std::vector<char*> env = pointers(how.environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(how, parent, argv.data(), env.data());
  if (pid < 0) return fail_with(kExitFailed, "cannot start a process: " + errno_text(errno));
  return pid;
}

std::vector<std::string> environment_with(const std::vector<std::string>& changes) {
  const auto name_of = [](std::string_view text) { return text.substr(0, text.find('=') + 1); };
  std::vector<std::string> all = changes;
  for (char** at = environ; *at != nullptr; ++at) {
    const bool is_changed = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
      return name_of(change) == name_of(*at);
    });
    if (!is_changed) all.emplace_back(*at);
  }
  return all;
}

std::string process_state(pid_t pid) {
  if (pid == 0) return "dead";
  // "PID (NAME) STATE …"; the name may hold anything.
  const std::string stat = read_whole(fmt::format("/proc/{}/stat", pid));
  const std::size_t close = stat.rfind(')');
  if (close == std::string::npos || close + 2 >= stat.size()) return "dead";
  switch (stat[close + 2]) {
    case 'T':
    case 't':
      return "stopped";
    case 'Z':
    case 'X':
      return "dead";
    default:
      return "running";
  }
}

std::vector<pid_t> children_of(pid_t pid) {
  std::istringstream list(read_whole(fmt::format("/proc/{}/task/{}/children", pid, pid)));
  return {std::istream_iterator<pid_t>(list), std::istream_iterator<pid_t>()};
}

pid_t agent_of(pid_t shepherd) {
  if (shepherd == 0) return 0;
  // By its command line: a task that is just being started looks like its shepherd otherwise.
  using namespace std::string_view_literals;
  for (const pid_t child : children_of(shepherd)) {
    const std::string words = read_whole(fmt::format("/proc/{}/cmdline", child));
    const std::size_t second = words.find('\0');
    if (second == std::string::npos) continue;
    if (std::string_view(words).substr(second).starts_with("\0--agent\0"sv)) return child;
  }
  return 0;
}

std::string wait_status_text(int status) {
  if (WIFEXITED(status)) return fmt::format("exit {}", WEXITSTATUS(status));
  const char* words = ::sigdescr_np(WTERMSIG(status));
  return fmt::format("signal {} ({})", WTERMSIG(status), words == nullptr ? "unknown" : words);
}

DevNode::DevNode(net::EventLoop& loop, Options options,
                 std::function<void(const std::string&)> on_line)
    : loop_(loop), options_(std::move(options)), on_line_(std::move(on_line)) {}

DevNode::~DevNode() {
  if (pipe_) loop_.unwatch(pipe_.get());
}

Outcome<void> DevNode::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return fail_with(kExitFailed, "cannot make a pipe: " + errno_text(errno));
  }
  const UniqueFd write_end(ends[1]);
  if (pipe_) loop_.unwatch(pipe_.get());
  pipe_.reset(ends[0]);
  ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
  log_.reset(::open(options_.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log_) {
    return fail_with(kExitFailed, "cannot write " + options_.log_file + ": " + errno_text(errno));
  }
  Spawn how;
  how.argv = options_.argv;
  how.environment = environment_with({});
  how.stderr_fd = write_end.get();
  how.own_group = how.dies_with_us = true;
  unfinished_.clear();
  is_ready_ = false;
  pid_ = TRY(spawn(how));
  loop_.watch(pipe_.get(), [this] { on_output(); });
  return {};
}

void DevNode::on_output() {
  char block[16 * 1024];
  const ssize_t got = ::read(pipe_.get(), block, sizeof block);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    loop_.unwatch(pipe_.get());
    pipe_.reset();
    return;
  }
  const std::string_view text(block, static_cast<std::size_t>(got));
  // The log is for people; when its disk is full the cluster still runs.
  static_cast<void>(!::write(log_.get(), text.data(), text.size()));
  unfinished_.append(text);
  std::size_t newline = 0;
  while ((newline = unfinished_.find('\n')) != std::string::npos) {
    const std::string line = unfinished_.substr(0, newline);
    unfinished_.erase(0, newline + 1);
    for (const std::string_view word : kReadyWords) {
      is_ready_ = is_ready_ || line.find(word) != std::string::npos;
    }
    last_line_ = line;
    on_line_(line);
  }
}

void DevNode::on_exit() {
  pid_ = 0;
  is_ready_ = false;
  // What it said last may still be in the pipe.
  while (pipe_ && has_input(pipe_.get())) on_output();
}

void DevNode::signal(int number) const {
  if (pid_ == 0) return;
  ::kill(pid_, number);
  if (number == SIGTERM) ::kill(pid_, SIGCONT);
}

}  // namespace capstan::cli
