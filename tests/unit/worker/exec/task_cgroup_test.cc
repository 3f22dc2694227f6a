// SPDX-License-Identifier: MIT
//
// First against a tree of plain files that looks like a delegated group, then, where this machine
// lets us make one, in a real group: all of it with a memory controller, else without limits.
#include "worker/exec/task_cgroup.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/files.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/worker/exec/runner_loop.h"
#include "worker/exec/cgroup.h"
#include "worker/exec/spawn.h"

namespace capstan {
namespace {

namespace fs = std::filesystem;
using test::RunnerLoop;

constexpr std::uint64_t kMiB = 1024 * 1024;

/// Files instead of a kernel: what was written last can be read, and nothing happens.
class FakeGroup {
 public:
  FakeGroup() {
    put("cgroup.controllers", "cpu memory pids\n");
    put("cgroup.procs", std::to_string(::getpid()) + "\n");
    put("cgroup.subtree_control", "");
    put("capstan-worker/cgroup.procs", "");
  }
  void put(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
  }
  /// A task's group as the kernel would make it.
  void add_task(const std::string& name) const {
    for (const char* file :
         {"memory.max", "memory.oom.group", "memory.swap.max", "cgroup.procs", "cgroup.kill"}) {
      put(name + "/" + file, "");
    }
    put(name + "/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n");
  }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  [[nodiscard]] std::string text(const std::string& name) const {
    return test::text_of(path(name));
  }
  [[nodiscard]] Result<TaskCgroups> take() const { return TaskCgroups::take(dir_.path()); }

 private:
  test::TempDir dir_;
};

/// A group below ours that this process moves into while a test runs.
class RealGroup {
 public:
  RealGroup() : home_(own_cgroup()), dir_(home_ + "/capstan-test-" + std::to_string(::getpid())) {
    std::error_code failed;
    exists_ = !home_.empty() && fs::create_directory(dir_, failed);
    if (!exists_) MESSAGE("skipped: no group of version 2 can be made here: " << failed.message());
  }
  ~RealGroup() {
    if (!exists_) return;
    std::ofstream(home_ + "/cgroup.procs") << 0;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(dir_, ignored)) {
      if (entry.is_directory()) fs::remove(entry.path(), ignored);
    }
    CHECK(fs::remove(dir_, ignored));
  }
  RealGroup(const RealGroup&) = delete;
  RealGroup& operator=(const RealGroup&) = delete;

  [[nodiscard]] bool exists() const { return exists_; }
  [[nodiscard]] const std::string& dir() const { return dir_; }
  /// Nothing, after saying so: it cannot limit memory.
  [[nodiscard]] std::optional<TaskCgroups> take() const {
    if (!exists_) return std::nullopt;
    std::ofstream(dir_ + "/cgroup.procs") << 0;
    Result<TaskCgroups> taken = TaskCgroups::take(dir_);
    if (taken) return std::move(*taken);
    MESSAGE("skipped: " << taken.error().message);
    return std::nullopt;
  }

 private:
  std::string home_;
  std::string dir_;
  bool exists_ = false;
};

TEST_SUITE("worker/exec/task_cgroup") {
  TEST_CASE_FIXTURE(FakeGroup, "a delegated group: we move one down, and it gives memory") {
    REQUIRE(take());
    CHECK(text("capstan-worker/cgroup.procs") == "0");
    CHECK(text("cgroup.subtree_control") == "+memory");
  }

  TEST_CASE_FIXTURE(FakeGroup, "what is not delegated is left as it is") {
    SUBCASE("no memory controller") {
      put("cgroup.controllers", "cpu pids\n");
    }
    SUBCASE("others in it") {
      put("cgroup.procs", std::to_string(::getpid()) + "\n1\n");
    }
    SUBCASE("no such files") {
      fs::remove(path("cgroup.subtree_control"));
    }
    const auto taken = take();
    REQUIRE_FALSE(taken);
    CHECK(taken.error().code == Errc::Unavailable);
    CHECK(text("capstan-worker/cgroup.procs").empty());
    const auto nowhere = TaskCgroups::take("");
    REQUIRE_FALSE(nowhere);
    CHECK(nowhere.error().code == Errc::Unavailable);
  }

  TEST_CASE_FIXTURE(FakeGroup, "when memory cannot be given on, we go back") {
    fs::remove(path("cgroup.subtree_control"));
    fs::create_directory(path("cgroup.subtree_control"));  // No write succeeds.
    const auto taken = take();
    REQUIRE_FALSE(taken);
    CHECK(taken.error().code == Errc::Io);
    CHECK(text("cgroup.procs").front() == '0');
  }

  TEST_CASE_FIXTURE(FakeGroup, "groups of an earlier life are removed, nothing else is") {
    fs::create_directory(path("17.42.1"));
    fs::create_directories(path("17.42.2/made-by-it/deeper"));
    fs::create_directory(path("somebody"));
    REQUIRE(take());
    CHECK_FALSE(fs::exists(path("17.42.1")));
    CHECK_FALSE(fs::exists(path("17.42.2")));
    CHECK(fs::exists(path("somebody")));
  }

  TEST_CASE_FIXTURE(FakeGroup, "a task's group has its limit, and dies as a whole") {
    add_task("1.2.1");
    SUBCASE("with swap") {}
    SUBCASE("without") {
      fs::remove(path("1.2.1/memory.swap.max"));
    }
    auto groups = take();
    REQUIRE(groups);
    const auto group = groups->make("1.2.1", 64 * kMiB);
    REQUIRE(group);
    CHECK(text("1.2.1/memory.max") == "67108864");
    CHECK(text("1.2.1/memory.oom.group") == "1");
    if (fs::exists(path("1.2.1/memory.swap.max"))) CHECK(text("1.2.1/memory.swap.max") == "0");
    group->kill();
    CHECK(text("1.2.1/cgroup.kill") == "1");
  }

  TEST_CASE_FIXTURE(FakeGroup, "a group that cannot be limited is none") {
    const auto groups = take();
    REQUIRE(groups);
    const auto group = groups->make("1.2.1", 64 * kMiB);
    REQUIRE_FALSE(group);
    CHECK(group.error().message.find("memory.max") != std::string::npos);
    CHECK_FALSE(fs::exists(path("1.2.1")));
  }

  TEST_CASE_FIXTURE(FakeGroup, "who ran out of memory: the task, or what is around it") {
    add_task("1.2.1");
    put("1.2.1/memory.events", "max 7\noom 2\noom_kill 2\n");  // Of an earlier one.
    const auto groups = take();
    REQUIRE(groups);
    const auto group = groups->make("1.2.1", 64 * kMiB);
    REQUIRE(group);
    CHECK(group->oom() == Oom::None);
    put("1.2.1/memory.events", "max 9\noom 3\noom_kill 2\n");  // An allocation that may fail did.
    CHECK(group->oom() == Oom::None);
    put("1.2.1/memory.events", "max 9\noom 3\noom_kill 5\n");
    CHECK(group->oom() == Oom::OwnLimit);
    put("1.2.1/memory.events", "max 7\noom 2\noom_kill 3\n");
    CHECK(group->oom() == Oom::Around);
  }

  TEST_CASE_FIXTURE(FakeGroup, "what cannot be removed yet is removed later") {
    add_task("1.2.1");
    auto groups = take();
    REQUIRE(groups);
    {
      const auto group = groups->make("1.2.1", kMiB);
      REQUIRE(group);
      groups->give_back(*group);
    }
    CHECK(text("1.2.1/cgroup.kill") == "1");
    CHECK_FALSE(groups->sweep());
    for (const auto& file : fs::directory_iterator(path("1.2.1"))) fs::remove(file.path());
    CHECK(groups->sweep());
    CHECK_FALSE(fs::exists(path("1.2.1")));
  }

  TEST_CASE_FIXTURE(FakeGroup, "the runner puts into a group what says its memory, and only that") {
    add_task("1.2.1");
    RunnerLoop loop({.cgroups = std::move(*take())});
    const AttemptKey plain = loop.shell("true");
    CHECK_FALSE(loop.started->holds_memory);
    loop.end_of(plain);
    CHECK(text("1.2.1/cgroup.procs").empty());

    const AttemptKey key = loop.launch_with_memory({"/bin/sh", "-c", "exit 3"}, 64 * kMiB);
    CHECK(loop.started->holds_memory);
    CHECK(text("1.2.1/cgroup.procs") == "0");
    put("1.2.1/memory.events", "oom 1\noom_kill 1\n");
    const RunEnd end = loop.end_of(key);
    CHECK(end.exit_code == 3);
    CHECK(end.oom == Oom::OwnLimit);
    CHECK(text("1.2.1/cgroup.kill") == "1");
    for (const auto& file : fs::directory_iterator(path("1.2.1"))) fs::remove(file.path());
    loop.until([&] { return !fs::exists(path("1.2.1")); });
    CHECK(loop.not_held.empty());
  }

  TEST_CASE_FIXTURE(FakeGroup, "a task without a group runs, is measured, and it is said") {
    RunnerLoop loop({.cgroups = std::move(*take())});
    SUBCASE("it cannot be made") {}
    SUBCASE("it cannot be joined") {
      add_task("1.1.1");
      fs::remove(path("1.1.1/cgroup.procs"));
      fs::create_symlink("/dev/full", path("1.1.1/cgroup.procs"));
    }
    const AttemptKey key = loop.launch_with_memory({"/bin/sh", "-c", "exit 3"}, 64 * kMiB);
    CHECK_FALSE(loop.started->holds_memory);
    CHECK(loop.not_held.size() == 1);
    CHECK(loop.end_of(key).exit_code == 3);
  }

  TEST_CASE("a real group: joined before the exec, and killed whole") {
    const RealGroup real;
    if (!real.exists()) return;
    const std::string dir = real.dir() + "/1.1.1";
    fs::create_directory(dir);
    const TaskCgroup group(dir, UniqueFd(::open((dir + "/cgroup.procs").c_str(), O_WRONLY)));
    REQUIRE(group.procs_fd() >= 0);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const UniqueFd reading(ends[0]);
    UniqueFd writing(ends[1]);
    Joining joining{.procs_fd = group.procs_fd()};
    const auto pid = spawn({.argv = {"/bin/sh", "-c",
                                     "(setsid env -i /bin/sleep 1000 &) ; cat /proc/self/cgroup; "
                                     "echo .; exec sleep 1000"},
                            .env = {{"PATH", "/usr/bin:/bin"}},
                            .cwd = "/",
                            .stdout_fd = writing.get(),
                            .default_signals = {},
                            .joining = &joining});
    REQUIRE(pid);
    writing.reset();
    CHECK(joining.joined);
    std::string said;
    char byte = 0;
    while (said.find("\n.\n") == std::string::npos && ::read(reading.get(), &byte, 1) == 1) {
      said += byte;
    }
    CHECK(said.find(fs::path(real.dir()).filename().string() + "/1.1.1\n") != std::string::npos);

    group.kill();
    while (::read(reading.get(), &byte, 1) == 1) {}  // Until the one that left has ended, too.
    CHECK(::waitpid(*pid, nullptr, 0) == *pid);
    const TimePoint until = SystemClock().now() + std::chrono::seconds(10);
    while (::rmdir(dir.c_str()) != 0 && SystemClock().now() < until) {}
    CHECK_FALSE(fs::exists(dir));
  }

  TEST_CASE("a real group: who takes more than its memory is killed with all of its own") {
    const RealGroup real;
    std::optional<TaskCgroups> groups = real.take();
    if (!groups) return;
    RunnerLoop loop({.cgroups = std::move(groups)});
    const std::string hog = "dd if=/dev/zero of=/dev/null bs=256M count=1 2>/dev/null; ";
    const AttemptKey large = loop.launch_with_memory(
        {"/bin/sh", "-c", "setsid env -i sleep 1000 & " + hog + "echo survived"}, 16 * kMiB);
    CHECK(loop.started->holds_memory);
    const RunEnd killed = loop.end_of(large);
    CHECK(killed.oom == Oom::OwnLimit);
    CHECK(killed.signal == SIGKILL);
    CHECK(killed.tail[0].empty());

    const AttemptKey small = loop.launch_with_memory({"/bin/sh", "-c", "echo fits"}, 64 * kMiB);
    const RunEnd fine = loop.end_of(small);
    CHECK(fine.oom == Oom::None);
    CHECK(fine.tail[0] == "fits\n");

    const AttemptKey stopped = loop.launch_with_memory(
        {"/bin/sh", "-c", "setsid env -i sleep 1000 & trap '' TERM; echo up; sleep 1000"},
        64 * kMiB);
    loop.runner->kill(stopped, true);
    CHECK(loop.end_of(stopped).signal == SIGKILL);
    const auto has_groups = [&] {
      for (const char* name : {"/1.1.1", "/1.2.1", "/1.3.1"}) {
        if (fs::exists(real.dir() + name)) return true;
      }
      return false;
    };
    loop.until([&] { return !has_groups(); });
    CHECK(loop.not_held.empty());
  }
}

}  // namespace
}  // namespace capstan
