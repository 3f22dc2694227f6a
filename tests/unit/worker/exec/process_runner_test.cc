// SPDX-License-Identifier: MIT
//
// Real processes. Every wait is for an event: an end, or a line that a task printed.
#include "worker/exec/process_runner.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>

#include "common/model/limits.h"
#include "tests/unit/worker/exec/runner_loop.h"
#include "worker/exec/cpu_claims.h"
#include "worker/exec/job_files.h"
#include "worker/exec/spawn.h"

namespace capstan {
namespace {

using namespace std::chrono_literals;
using Loop = test::RunnerLoop;

/// With two cpus to pin tasks to, if the machine has them.
class Pinned : public Loop {
 public:
  Pinned() : Loop({.cpu_ids = first_two()}) {}
  static std::vector<std::uint32_t> first_two() {
    std::vector<std::uint32_t> cpus = allowed_cpus();
    if (cpus.size() > 2) cpus.resize(2);
    return cpus;
  }
};

/// As where there is a terminal.
class InSessions : public Loop {
 public:
  InSessions() : Loop({.apart = Apart::Session}) {}
};

pid_t pid_in(const std::string& path) {
  std::ifstream file(path);
  pid_t pid = 0;
  file >> pid;
  return pid;
}

/// Neither running nor a zombie of ours.
bool is_gone(pid_t pid) {
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

TEST_SUITE("worker/exec/process_runner") {
  TEST_CASE_FIXTURE(Loop, "exit codes, output and environment arrive") {
    const RunEnd end = end_of(shell("printf \"$GREETING\"; printf oops >&2; exit 7"));
    CHECK(end.exit_code == 7);
    CHECK(end.signal == 0);
    CHECK(end.tail[0] == "hello");
    CHECK(end.tail[1] == "oops");
    CHECK(end.output_bytes[0] == 5);
    CHECK(end.max_rss_bytes > 0);
  }

  TEST_CASE_FIXTURE(Loop, "the worker's own peak of memory is not the task's") {
    constexpr std::size_t kLarge = 600U << 20;
    void* const taken = ::mmap(nullptr, kLarge, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    REQUIRE(taken != MAP_FAILED);
    const RunEnd beside = end_of(shell("exit 0"));
    CHECK(beside.max_rss_bytes <= beside.rss_floor_bytes);  // Not known: no reason to blame it.
    ::munmap(taken, kLarge);
    const RunEnd behind = end_of(shell("exit 0"));
    CHECK(behind.max_rss_bytes < kLarge / 2);
  }

  TEST_CASE_FIXTURE(Loop, "a signal that ends it is told") {
    const RunEnd end = end_of(shell("kill -SEGV $$"));
    CHECK(end.signal == SIGSEGV);
  }

  TEST_CASE_FIXTURE(Loop, "cpu time counts what children used") {
    const RunEnd end = end_of(shell("(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done)"));
    CHECK(end.cpu > 1ms);
  }

  TEST_CASE_FIXTURE(Loop, "what cannot be started says so in the system's words") {
    launch({"/no/such/program"});
    REQUIRE_FALSE(started);
    CHECK(started.error().message == "/no/such/program: No such file or directory");
    launch({"no-such-program-in-path"});
    REQUIRE_FALSE(started);
    CHECK(started.error().message == "no-such-program-in-path: No such file or directory");
    launch({"echo a"});
    REQUIRE_FALSE(started);
    CHECK(started.error().message ==
          "echo a: No such file or directory (a line for a shell needs --shell)");
    launch({"/etc/passwd"});
    REQUIRE_FALSE(started);
    CHECK(started.error().message == "/etc/passwd: Permission denied");
    std::ofstream(dir.file("script")) << "#! /no/such/shell -e\necho\n";
    ::chmod(dir.file("script").c_str(), 0755);
    launch({"./script"}, dir.path());
    REQUIRE_FALSE(started);
    CHECK(started.error().message ==
          "./script: its interpreter /no/such/shell: No such file or directory");
    launch({"/bin/true"}, "/no/such/dir");
    REQUIRE_FALSE(started);
    CHECK(started.error().message == "cannot enter /no/such/dir: No such file or directory");
    CHECK(runner->running_count() == 0);
  }

  TEST_CASE_FIXTURE(Loop, "programs are found in the task's PATH, scripts without #! run by sh") {
    const std::string script = file("script");
    std::ofstream(script) << "echo from a script: $1\n";
    ::chmod(script.c_str(), 0755);
    CHECK(end_of(launch({script, "x"})).tail[0] == "from a script: x\n");
    CHECK(end_of(launch({"true"})).exit_code == 0);
  }

  TEST_CASE_FIXTURE(Loop, "a task starts clean: group, descriptors, signals, stdin, cwd, umask") {
    const RunEnd end =
        end_of(launch({"/bin/sh", "-c",
                       "pwd; umask; ls /proc/self/fd | wc -l; readlink /proc/self/fd/0;"
                       "grep SigBlk /proc/self/status; cut -d' ' -f5,6 /proc/$$/stat; echo $$"},
                      "/usr"));
    std::istringstream lines(end.tail[0].str());
    std::string pwd, umask, fds, in, blocked, group, session, pid;
    std::getline(lines, pwd);
    std::getline(lines, umask);
    lines >> fds >> in;
    std::getline(lines, blocked);
    std::getline(lines, blocked);
    lines >> group >> session >> pid;
    CHECK(pwd == "/usr");
    CHECK(umask == "0022");
    CHECK(fds == "4");  // 0, 1, 2 and the one that reads the directory.
    CHECK(in == "/dev/null");
    CHECK(blocked == "SigBlk:\t0000000000000000");
    CHECK(group == pid);
    CHECK(session == std::to_string(::getsid(0)));
  }

  TEST_CASE_FIXTURE(InSessions, "where there is a terminal a task is kept from it") {
    const RunEnd end = end_of(shell("cut -d' ' -f5,6 /proc/$$/stat; echo $$; : < /dev/tty"));
    std::istringstream lines(end.tail[0].str());
    std::string group, session, pid;
    lines >> group >> session >> pid;
    CHECK(group == pid);
    CHECK(session == pid);
    CHECK(end.exit_code != 0);  // A shell that cannot open it gives up.
  }

  TEST_CASE_FIXTURE(InSessions, "what left the group and not the session is killed") {
    const std::string pid_file = file("pid");
    end_of(shell("set -m; env -i /bin/sleep 1000 & echo $! > " + pid_file));
    CHECK(is_gone(pid_in(pid_file)));
  }

  TEST_CASE_FIXTURE(Loop, "what left the group is killed") {
    const std::string pid_file = file("pid");
    end_of(shell("set -m; env -i /bin/sleep 1000 & echo $! > " + pid_file));
    CHECK(is_gone(pid_in(pid_file)));
  }

  TEST_CASE_FIXTURE(Loop, "any bytes are arguments") {
    const Bytes odd = "a b\n'\"\\\xff\xfe -x";
    CHECK(end_of(launch({"printf", "%s", odd})).tail[0] == odd);
  }

  TEST_CASE_FIXTURE(Loop, "a child that is left running is killed before the end is told") {
    const std::string pid_file = file("pid");
    const RunEnd end = end_of(shell("sleep 1000 & echo $! > " + pid_file));
    CHECK(end.exit_code == 0);
    CHECK(is_gone(pid_in(pid_file)));
  }

  TEST_CASE_FIXTURE(Loop, "what is left may end by itself in a moment, with its output") {
    const RunEnd end = end_of(shell("(read x < /dev/null; echo late) & exit 3"));
    CHECK(end.exit_code == 3);
    CHECK(end.tail[0] == "late\n");
  }

  TEST_CASE_FIXTURE(Loop, "a daemon that forked twice and left the session is killed") {
    const std::string pid_file = file("pid");
    const RunEnd end = end_of(shell("setsid sh -c 'setsid sh -c \"echo \\$\\$ > " + pid_file +
                                    ".new; mv " + pid_file + ".new " + pid_file +
                                    "; exec sleep 1000\" & exit 0' ; while [ ! -e " + pid_file +
                                    " ]; do :; done; echo ok"));
    CHECK(end.tail[0] == "ok\n");
    CHECK(is_gone(pid_in(pid_file)));
  }

  TEST_CASE_FIXTURE(Loop, "a daemon that washed off its cookie is killed too") {
    const std::string pid_file = file("pid");
    end_of(shell("env -i /usr/bin/setsid /bin/sh -c 'echo $$ > " + pid_file +
                 "; exec sleep 1000' & while [ ! -s " + pid_file + " ]; do :; done"));
    const pid_t pid = pid_in(pid_file);
    until([pid] { return is_gone(pid); });
    CHECK(is_gone(pid));
  }

  TEST_CASE_FIXTURE(Loop, "a daemon of a task that still runs is left alone") {
    const std::string pid_file = file("pid");
    ::mkfifo(file("gate").c_str(), 0600);
    const AttemptKey key = shell("(setsid sleep 1000 & echo $! > " + pid_file + "); read word < " +
                                 file("gate"));  // Waits at the gate.
    const AttemptKey other = shell("while [ ! -s " + pid_file + " ]; do :; done");
    end_of(other);
    const pid_t daemon = pid_in(pid_file);
    REQUIRE(daemon > 0);
    CHECK_FALSE(ends.contains(key));
    CHECK_FALSE(is_gone(daemon));
    runner->kill(key, true);
    end_of(key);
    CHECK(is_gone(daemon));
  }

  TEST_CASE_FIXTURE(Loop, "a daemon of a task that still runs is left alone without a cookie too") {
    const std::string pid_file = file("pid");
    ::mkfifo(file("gate").c_str(), 0600);
    const AttemptKey key = shell("(env -i /usr/bin/setsid /bin/sh -c 'echo $$ > " + pid_file +
                                 "; exec sleep 1000' &); read word < " + file("gate"));
    const AttemptKey other = shell("while [ ! -s " + pid_file + " ]; do :; done");
    end_of(other);
    const pid_t daemon = pid_in(pid_file);
    REQUIRE(daemon > 0);
    CHECK_FALSE(is_gone(daemon));
    runner->kill(key, true);
    end_of(key);
    CHECK(is_gone(daemon));
  }

  TEST_CASE_FIXTURE(Loop, "TERM goes to the group, KILL to whoever ignores it") {
    const AttemptKey polite =
        shell("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.01; done");
    const std::string pid_file = file("pid");
    const AttemptKey stubborn = shell("trap '' TERM; sh -c 'echo $$ > " + pid_file +
                                      "; echo up; while :; do sleep 0.01; done'");
    runner->follow(JobId(1), true);
    until([this] { return grown.size() == 2; });
    runner->kill(polite, false);
    const RunEnd end = end_of(polite);
    CHECK(end.exit_code == 9);
    CHECK(end.tail[0] == "up\nbye\n");
    runner->kill(stubborn, false);
    runner->kill(stubborn, true);
    CHECK(end_of(stubborn).signal == SIGKILL);
    CHECK(is_gone(pid_in(pid_file)));
  }

  TEST_CASE_FIXTURE(Loop, "a stopped task can be ended") {
    const AttemptKey key = shell("kill -STOP $$; exit 0");
    runner->kill(key, false);
    end_of(key);
    CHECK(runner->running_count() == 0);
  }

  TEST_CASE_FIXTURE(Loop, "a loud task is capped and counted") {
    constexpr std::uint64_t kBytes = 64ULL * 1024 * 1024;
    const AttemptKey key = shell("head -c " + std::to_string(kBytes) + " /dev/zero; echo end");
    const RunEnd end = end_of(key);
    CHECK(end.output_bytes[0] == kBytes + 4);
    CHECK(end.tail[0].view().ends_with("end\n"));
    struct stat info {};
    REQUIRE(::stat(output_path(dir.path() + "/output", key, Stream::Stdout).c_str(), &info) == 0);
    CHECK(static_cast<std::uint64_t>(info.st_size) <=
          limits::kCaptureHeadBytes + limits::kCaptureRingBytes + 16);
  }

  TEST_CASE_FIXTURE(Loop, "a script of its job runs with the arguments; without #! by sh") {
    REQUIRE(write_script(file("jobs"), JobId(1), "echo sh $#: \"$1\"\n"));
    shepherd::Launch what{.key = {}, .argv = {"name", "a b"}};
    const shepherd::JobPart job{.has_script = true};
    CHECK(end_of(launch(what, job)).tail[0] == "sh 1: a b\n");
    REQUIRE(write_script(file("jobs"), JobId(1), "#!/usr/bin/env -S cat\nlast line\n"));
    what.argv = {"name"};
    CHECK(end_of(launch(what, job)).tail[0] == "#!/usr/bin/env -S cat\nlast line\n");
  }

  TEST_CASE_FIXTURE(Loop, "each task reads all of its job's stdin") {
    const Bytes data(300'000, 'x');
    REQUIRE(write_stdin(file("jobs"), JobId(1), data));
    const shepherd::Launch what{.key = {}, .argv = {"wc", "-c"}};
    const shepherd::JobPart job{.has_stdin = true};
    for (int i = 0; i < 2; ++i) CHECK(end_of(launch(what, job)).tail[0] == "300000\n");
    drop_job_files(file("jobs"), JobId(1));
    launch(what, job);
    REQUIRE_FALSE(started);
    CHECK(started.error().message.ends_with("stdin: No such file or directory"));
  }

  TEST_CASE_FIXTURE(Loop, "files get all of the output, the log keeps its bounds") {
    const shepherd::Launch what{.key = {},
                                .argv = {"sh", "-c", "head -c 33554432 /dev/zero; echo oops >&2"},
                                .files = {"deep/out", "err"}};
    const AttemptKey key = launch(what, {.settings = {.cwd = Bytes(dir.path())}});
    const RunEnd end = end_of(key);
    CHECK(end.note.empty());
    CHECK(std::filesystem::file_size(file("deep/out")) == 33554432);
    CHECK(std::filesystem::file_size(file("err")) == 5);
    CHECK(std::filesystem::file_size(output_path(dir.path() + "/output", key, Stream::Stdout)) <=
          limits::kCaptureHeadBytes + limits::kCaptureRingBytes + 16);
  }

  TEST_CASE_FIXTURE(Loop, "a file that takes no more does not stop the task") {
    const RunEnd end = end_of(launch(
        {.key = {}, .argv = {"sh", "-c", "echo 1; echo 2; exit 3"}, .files = {"/dev/full", ""}}));
    CHECK(end.exit_code == 3);
    CHECK(end.tail[0] == "1\n2\n");
    CHECK(end.note == "only 0 bytes were written to /dev/full: No space left on device");
    launch({.key = {}, .argv = {"true"}, .files = {"/proc/none", ""}});
    REQUIRE_FALSE(started);
    CHECK(started.error().message == "cannot write to /proc/none: No such file or directory");
  }

  TEST_CASE_FIXTURE(Loop, "nice is that which was asked for") {
    const AttemptKey key = launch({.key = {}, .argv = {"nice"}}, {.settings = {.nice = 7}});
    CHECK(end_of(key).tail[0] == "7\n");
    CHECK(end_of(shell("nice")).tail[0] == std::to_string(getpriority(PRIO_PROCESS, 0)) + "\n");
  }

  TEST_CASE_FIXTURE(Pinned, "each has cpus of its own until it ends, and sees no others") {
    if (first_two().size() < 2) return;
    const std::string wait = "; read word < " + file("gate");
    ::mkfifo(file("gate").c_str(), 0600);
    const char* const tell = "nproc; taskset -cp $$ | sed 's/.*: //'";
    const auto first = launch({.key = {}, .argv = {"sh", "-c", tell + wait}});
    runner->follow(JobId(1), true);
    until([this] { return !grown.empty(); });
    const RunEnd second = end_of(shell(tell));
    const RunEnd third = end_of(shell(tell));
    runner->kill(first, true);
    const RunEnd end = end_of(first);
    CHECK(end.tail[0].view().starts_with("1\n"));
    CHECK(second.tail[0].view().starts_with("1\n"));
    CHECK(end.tail[0] != second.tail[0]);
    CHECK(second.tail[0] == third.tail[0]);  // With two, there is only one left.
    const auto both = end_of(launch({.key = {}, .argv = {"nproc"}, .cpus = 2}));
    CHECK(both.tail[0] == "2\n");
  }

  TEST_CASE_FIXTURE(Loop, "the memory of the whole tree is seen, what is shared once") {
    // 64 MiB in the parent, which two children share and do not touch.
    const std::string line = "x=$(head -c 67108864 /dev/zero | tr '\\0' x); (read a < " +
                             file("gate") + ") & (read a < " + file("gate") + ") & echo; wait";
    ::mkfifo(file("gate").c_str(), 0600);
    constexpr std::uint64_t kMiB = 1024 * 1024;
    const AttemptKey key = launch({.key = {}, .argv = {"bash", "-c", line}, .followed = true},
                                  {.settings = {.mem_bytes = kMiB}});
    until([this] { return !grown.empty(); });
    const shepherd::Seen seen = runner->look(key);
    CHECK(seen.mem_bytes > 64 * kMiB);
    CHECK(seen.mem_bytes < 180 * kMiB);
    CHECK(seen.output_at > TimePoint{});
    runner->kill(key, true);
    end_of(key);
    CHECK(runner->look(key).mem_bytes == 0);
  }

  TEST_CASE("more tasks than a limit of open files allows, and they have that limit") {
    constexpr rlim_t kFew = 64;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit few{kFew, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    {
      Loop loop;
      const std::string gate = loop.file("gate");
      REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
      const UniqueFd opener(::open(gate.c_str(), O_RDWR | O_CLOEXEC));
      std::vector<AttemptKey> keys;
      for (rlim_t i = 0; i < kFew; ++i) {
        keys.push_back(loop.shell("read line < " + gate + "; ulimit -n"));
        REQUIRE(loop.started);
      }
      const std::string lines(kFew, '\n');
      REQUIRE(::write(opener.get(), lines.data(), kFew) == static_cast<ssize_t>(kFew));
      for (const AttemptKey& key : keys) CHECK(loop.end_of(key).tail[0] == "64\n");
    }
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  }

  TEST_CASE_FIXTURE(Loop, "many at once, each told once") {
    std::vector<AttemptKey> keys;
    for (int i = 0; i < 50; ++i) keys.push_back(shell("exit " + std::to_string(i)));
    for (int i = 0; i < 50; ++i) {
      CHECK(end_of(keys[static_cast<std::size_t>(i)]).exit_code == i);
    }
    CHECK(ends.size() == 50);
  }
}

/// A shell that stopped itself after an empty line, with that environment and that limit.
class Marked {
 public:
  Marked(std::vector<EnvVar> env, std::optional<ResourceLimit> mark) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const UniqueFd reading(ends[0]);
    {
      const UniqueFd writing(ends[1]);
      const Result<pid_t> started = spawn({.argv = {"/bin/sh", "-c", "echo; kill -STOP $$"},
                                           .env = std::move(env),
                                           .cwd = "/",
                                           .stdout_fd = writing.get(),
                                           .default_signals = {},
                                           .mark = mark});
      REQUIRE(started);
      pid = *started;
    }
    char line = 0;
    REQUIRE(::read(reading.get(), &line, 1) == 1);
  }
  ~Marked() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  [[nodiscard]] bool was_killed() const {
    siginfo_t info{};
    const int options = WEXITED | WNOHANG | WNOWAIT;
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, options) == 0 && info.si_pid == pid &&
           info.si_status == SIGKILL;
  }
  pid_t pid = 0;
};

TEST_SUITE("worker/exec/process_tree") {
  const std::string kDirectory = "c0ffee" + std::to_string(::getpid());

  TEST_CASE("a mark in the environment is found, by directory and by life") {
    const Marked marked({{std::string(kCookieName), kDirectory + ".a1.1.2.3"}}, std::nullopt);
    const ProcessMark mark(kDirectory + ".a1");
    CHECK(mark.is_on(marked.pid));
    CHECK(mark.launch_in_environment(marked.pid) == "1.2.3");
    CHECK_FALSE(mark.serial_of(marked.pid));
    CHECK(ProcessMark(kDirectory).is_on(marked.pid));
    CHECK_FALSE(ProcessMark(kDirectory + ".a").is_on(marked.pid));
    CHECK_FALSE(ProcessMark(kDirectory + "0").is_on(marked.pid));
    CHECK(kill_marked(ProcessMark(kDirectory + ".b2")) == 0);
    CHECK_FALSE(marked.was_killed());
    CHECK(kill_marked(mark) == 1);
    CHECK(marked.was_killed());
    CHECK(kill_marked(mark) == 0);  // A zombie is nobody to kill.
  }

  TEST_CASE("a mark in a limit is found where the environment says nothing") {
    const ProcessMark mark(kDirectory + ".a1");
    constexpr std::uint32_t kLast = ProcessMark::kSerials - 1;
    REQUIRE(mark.limit(kLast));
    const Marked marked({}, mark.limit(kLast));
    CHECK(mark.serial_of(marked.pid) == kLast);
    CHECK(mark.launch_in_environment(marked.pid).empty());
    CHECK(mark.is_on(marked.pid));
    CHECK(ProcessMark(kDirectory).is_on(marked.pid));
    CHECK_FALSE(ProcessMark(kDirectory + ".b2").is_on(marked.pid));
    CHECK_FALSE(ProcessMark(kDirectory + "0").is_on(marked.pid));
    CHECK(kill_marked(ProcessMark(kDirectory + ".b2")) == 0);
    CHECK(kill_marked(ProcessMark(kDirectory)) == 1);
    CHECK(marked.was_killed());
  }

  TEST_CASE("a worker inside a task marks by another limit, and both marks hold") {
    const ProcessMark outer(kDirectory + ".a1");
    const pid_t child = ::fork();  // It cannot lift the limit again.
    if (child == 0) {
      const ResourceLimit taken = *outer.limit(7);
      const rlimit limit{.rlim_cur = taken.soft, .rlim_max = taken.hard};
      if (::setrlimit(RLIMIT_LOCKS, &limit) != 0) ::_exit(1);
      const ProcessMark inner(kDirectory + "0.a1");
      if (inner.limit(8)->resource != RLIMIT_RTTIME) ::_exit(2);
      const Marked marked({}, inner.limit(8));
      if (outer.serial_of(marked.pid) != 7) ::_exit(3);
      ::_exit(inner.serial_of(marked.pid) == 8 ? 0 : 4);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

}  // namespace
}  // namespace capstan
