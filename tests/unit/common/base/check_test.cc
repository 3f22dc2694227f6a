// SPDX-License-Identifier: MIT
#include "common/base/check.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

// The macro is used up before doctest brings one of the same name.
static void checked(int n) {
  CHECK(n == 1);
}
#undef CHECK

#include <doctest/doctest.h>

TEST_SUITE_BEGIN("common/base/check");

TEST_CASE("a broken invariant ends the process, in release builds too") {
  checked(1);
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    ::close(2);
    checked(2);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
}

TEST_SUITE_END();
