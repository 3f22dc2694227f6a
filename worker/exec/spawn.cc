// SPDX-License-Identifier: MIT
#include "worker/exec/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "common/base/signals.h"
#include "common/base/unique_fd.h"
#include "worker/core/env_text.h"

namespace capstan {

namespace {

/// What failed in the child; it writes into our memory, which it borrows until the exec.
enum class Step : int { None, Enter, Execute, Orphaned };
struct Failure {
  Step step = Step::None;
  int error = 0;
};

/// Everything that the child needs, made before the vfork: it may not allocate.
struct Plan {
  const SpawnOptions* options;
  std::vector<std::string> programs;  // To be tried in turn.
  std::vector<char*> argv;
  std::vector<char*> shell_argv;     // sh, the program, the arguments: for a script without #!.
  std::vector<std::string> own_env;  // The shared ones stay where they are.
  std::vector<char*> env;
  std::vector<unsigned long> cpu_mask;  // Large enough for its pinning.
  pid_t parent;
};

constexpr std::string_view kPathIs = "PATH=";
constexpr std::uint32_t kWordBits = 8 * sizeof(unsigned long);

char* mutable_text(const std::string& text) {
  return const_cast<char*>(text.c_str());
}

Plan make_plan(const SpawnOptions& options) {
  Plan plan;
  plan.options = &options;
  plan.parent = ::getpid();
  std::string_view path = "/usr/local/bin:/usr/bin:/bin";
  const auto add_env = [&](const std::string& text) {
    if (text.starts_with(kPathIs)) path = std::string_view(text).substr(kPathIs.size());
    plan.env.push_back(mutable_text(text));
  };
  for (const EnvVar& each : options.env) plan.own_env.push_back(env_text(each));
  if (options.shared_env != nullptr) {
    for (const std::string& text : *options.shared_env) add_env(text);
  }
  for (const std::string& text : plan.own_env) add_env(text);
  plan.env.push_back(nullptr);

  const Bytes& name = options.argv.front();
  while (name.find('/') == Bytes::npos && !name.empty()) {
    const std::size_t colon = path.find(':');
    const std::string_view dir = path.substr(0, colon);
    plan.programs.push_back(dir.empty() ? name : std::string(dir) + "/" + name);
    if (colon == std::string_view::npos) break;
    path.remove_prefix(colon + 1);
  }
  if (plan.programs.empty()) plan.programs.push_back(name);

  static constexpr const char* kShell = "/bin/sh";
  plan.shell_argv = {const_cast<char*>(kShell), nullptr};
  for (const Bytes& argument : options.argv) plan.argv.push_back(mutable_text(argument));
  plan.shell_argv.insert(plan.shell_argv.end(), plan.argv.begin() + 1, plan.argv.end());
  plan.argv.push_back(nullptr);
  plan.shell_argv.push_back(nullptr);

  if (options.pinning != nullptr) {
    const std::vector<std::uint32_t>& cpus = options.pinning->free;
    plan.cpu_mask.resize(*std::max_element(cpus.begin(), cpus.end()) / kWordBits + 1);
  }
  return plan;
}

void take_default_signals(const SpawnOptions& options) {
  struct sigaction as_default {};
  as_default.sa_handler = SIG_DFL;
  for (const int number : options.default_signals) ::sigaction(number, &as_default, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Before the exec, so that nothing of the program is ever outside.
void join(Joining* joining) {
  if (joining != nullptr) joining->joined = ::write(joining->procs_fd, "0", 1) == 1;
}

void take_limit(const std::optional<ResourceLimit>& wanted) {
  if (!wanted) return;
  const rlimit limit{.rlim_cur = wanted->soft, .rlim_max = wanted->hard};
  ::setrlimit(static_cast<__rlimit_resource_t>(wanted->resource), &limit);
}

void take_cpus(Plan& plan) {
  if (plan.options->pinning == nullptr) return;
  const std::vector<std::uint32_t>& available = plan.options->pinning->free;
  std::vector<std::uint32_t>& chosen = plan.options->pinning->chosen;
  const auto here = static_cast<std::uint32_t>(std::max(0, ::sched_getcpu()));
  std::size_t count = 0;
  const auto choose = [&](std::uint32_t cpu) {
    chosen[count++] = cpu;
    plan.cpu_mask[cpu / kWordBits] |= 1UL << cpu % kWordBits;
  };
  if (std::find(available.begin(), available.end(), here) != available.end()) choose(here);
  for (std::size_t i = 0; i < available.size() && count < chosen.size(); ++i) {
    if (available[i] != here) choose(available[i]);
  }
  ::sched_setaffinity(0, plan.cpu_mask.size() * sizeof(unsigned long),
                      reinterpret_cast<const cpu_set_t*>(plan.cpu_mask.data()));
}

void take_descriptors(const SpawnOptions& options) {
  if (options.stdin_fd >= 0) ::dup2(options.stdin_fd, STDIN_FILENO);
  if (options.stdout_fd >= 0) ::dup2(options.stdout_fd, STDOUT_FILENO);
  if (options.stderr_fd >= 0) ::dup2(options.stderr_fd, STDERR_FILENO);
  constexpr int kKept = STDERR_FILENO + 1;
  if (options.keep_fd == kKept) {
    ::fcntl(kKept, F_SETFD, 0);
  } else if (options.keep_fd >= 0) {
    ::dup2(options.keep_fd, kKept);
  }
  const int first_closed = options.keep_fd >= 0 ? kKept + 1 : kKept;
  ::close_range(static_cast<unsigned>(first_closed), ~0U, 0);
}

void execute(Plan& plan, Failure& failure) {
  int error = ENOENT;
  for (const std::string& program : plan.programs) {
    ::execve(program.c_str(), plan.argv.data(), plan.env.data());
    if (errno == ENOEXEC) {
      plan.shell_argv[1] = mutable_text(program);
      ::execve(plan.shell_argv[0], plan.shell_argv.data(), plan.env.data());
    }
    if (errno == EACCES)
      error = EACCES;  // It is there, but not for us: say so if nothing better comes.
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) continue;
    error = errno;
    break;
  }
  failure = {Step::Execute, error};
}

/// The child's life until the exec. Only system calls: memory is the parent's.
[[noreturn]] void become(Plan& plan, Failure& failure) {
  const SpawnOptions& options = *plan.options;
  if (options.apart != Apart::None) {
    if (options.apart == Apart::Session) {
      ::setsid();
    } else {
      ::setpgid(0, 0);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != plan.parent) {  // It died before the line above.
      failure.step = Step::Orphaned;
      ::_exit(127);
    }
  }
  join(options.joining);
  take_limit(options.mark);
  take_limit(options.files);
  take_cpus(plan);
  if (options.nice != 0) ::setpriority(PRIO_PROCESS, 0, options.nice);
  take_default_signals(options);
  ::umask(options.umask);
  if (!options.cwd.empty() && ::chdir(options.cwd.c_str()) != 0) {
    failure = {Step::Enter, errno};
    ::_exit(127);
  }
  take_descriptors(options);
  execute(plan, failure);
  ::_exit(127);
}

__attribute__((noinline)) pid_t vfork_and_become(Plan& plan, Failure& failure) {
  const pid_t pid = ::vfork();
  if (pid == 0) become(plan, failure);
  return pid;
}

/// Of a script that is there and whose interpreter is not: "/usr/bin/python2". "": that is not it.
std::string missing_interpreter(const Plan& plan) {
  for (const std::string& program : plan.programs) {
    const bool is_absolute = program.starts_with('/');
    const std::string path = is_absolute ? program : plan.options->cwd + "/" + program;
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    char head[256];
    const ssize_t length = file ? ::read(file.get(), head, sizeof head) : 0;
    if (length <= 2) continue;
    std::string_view line(head, static_cast<std::size_t>(length));
    if (!line.starts_with("#!")) continue;
    line = line.substr(2, line.find('\n') - 2);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return std::string(line.substr(0, line.find_first_of(" \t")));
  }
  return "";
}

}  // namespace

bool has_terminal() {
  return bool(UniqueFd(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)));
}

std::vector<int> ignored_signals() {
  std::vector<int> ignored;
  for (int number = 1; number < NSIG; ++number) {
    if (is_ignored(number)) ignored.push_back(number);
  }
  return ignored;
}

Result<pid_t> spawn(const SpawnOptions& options) {
  if (options.argv.empty()) return fail(Errc::Invalid, "an empty command");
  Plan plan = make_plan(options);
  Failure failure;
  const pid_t pid = vfork_and_become(plan, failure);
  if (pid < 0) return fail(Errc::Unavailable, "cannot start a process: " + errno_text(errno));
  if (failure.step == Step::None) return pid;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
  const std::string words = errno_text(failure.error);
  if (failure.step == Step::Enter) {
    return fail(Errc::Io, "cannot enter " + printable(options.cwd) + ": " + words);
  }
  const std::string what = printable(options.argv.front()) + ": ";
  const std::string interpreter = failure.error == ENOENT ? missing_interpreter(plan) : "";
  const bool is_line = options.argv.size() == 1 && options.argv.front().find(' ') != Bytes::npos;
  const char* hint =
      failure.error == ENOENT && is_line ? " (a line for a shell needs --shell)" : "";
  if (interpreter.empty()) return fail(Errc::Io, what + words + hint);
  return fail(Errc::Io, what + "its interpreter " + printable(interpreter) + ": " + words);
}

}  // namespace capstan
