// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "cli/dev_control.h"
#include "cli/dev_node.h"
#include "common/base/unique_fd.h"
#include "tests/support/temp_dir.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

int status_of(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

}  // namespace

TEST_SUITE("cli/dev_node") {
  TEST_CASE("a child gets its environment, and its end is said in words") {
    Spawn how;
    how.argv = {"/bin/sh", "-c", "test \"$A\" = 1 && test -n \"$PATH\" && exit 7"};
    how.environment = environment_with({"A=1"});
    const auto pid = spawn(how);
    REQUIRE(pid);
    CHECK(wait_status_text(status_of(*pid)) == "exit 7");
    CHECK(wait_status_text(SIGKILL) == "signal 9 (Killed)");
  }
  TEST_CASE("a program that is not there ends with 127") {
    Spawn how;
    how.argv = {"/nonexistent/program"};
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    how.stderr_fd = write_end.get();
    const auto pid = spawn(how);
    REQUIRE(pid);
    write_end.reset();
    CHECK(WEXITSTATUS(status_of(*pid)) == 127);
    char block[256];
    const ssize_t got = ::read(read_end.get(), block, sizeof block);
    REQUIRE(got > 0);
    CHECK(std::string(block, static_cast<std::size_t>(got)) ==
          "cannot run /nonexistent/program: No such file or directory\n");
  }
  TEST_CASE("the states of a process") {
    Spawn how;
    how.argv = {"/bin/cat"};
    how.environment = environment_with({});
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    const int before = ::dup(STDIN_FILENO);
    ::dup2(read_end.get(), STDIN_FILENO);
    const auto pid = spawn(how);
    ::dup2(before, STDIN_FILENO);
    ::close(before);
    REQUIRE(pid);
    CHECK(process_state(*pid) == "running");
    ::kill(*pid, SIGSTOP);
    int status = 0;
    REQUIRE(::waitpid(*pid, &status, WUNTRACED) == *pid);
    CHECK(process_state(*pid) == "stopped");
    ::kill(*pid, SIGKILL);
    status_of(*pid);
    CHECK(process_state(*pid) == "dead");
    CHECK(process_state(0) == "dead");
    CHECK(agent_of(0) == 0);
  }
}

TEST_SUITE("cli/dev_control") {
  TEST_CASE("a question is answered, and a directory has one cluster") {
    const test::TempDir dir;
    CHECK(ask_dev_cluster(dir.path(), "ps").error().exit_code == kExitUnavailable);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      net::EventLoop loop;
      std::unique_ptr<DevControl> control;
      bool is_over = false;
      auto opened = DevControl::open(loop, dir.path(), [&](const DevControl::Request& request) {
        is_over = request.action == "kill";
        control->answer(request, request.node == "w9" ? "error no such node\n"
                                                      : "ok\n" + request.action + "\n");
      });
      if (!opened) ::_exit(1);
      control = std::move(*opened);
      ::kill(::getpid(), SIGSTOP);  // The parent waits for this: now it listens.
      while (!is_over) loop.poll(TimePoint::never());
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
    REQUIRE(WIFSTOPPED(status));
    ::kill(child, SIGCONT);
    CHECK(ask_dev_cluster(dir.path(), "ps").value() == "ps\n");
    const auto refused = ask_dev_cluster(dir.path(), "stop w9");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().exit_code == kExitRefused);
    CHECK(refused.error().message == "no such node");
    net::EventLoop loop;
    const auto second = DevControl::open(loop, dir.path(), [](const DevControl::Request&) {});
    REQUIRE_FALSE(second);
    CHECK(second.error().exit_code == kExitRefused);
    CHECK(ask_dev_cluster(dir.path(), "kill master"));
    CHECK(WEXITSTATUS(status_of(child)) == 0);
  }
}
