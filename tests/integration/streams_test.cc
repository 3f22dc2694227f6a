// SPDX-License-Identifier: MIT
//
// Standard streams that cannot be written, that nobody reads, or that are not there at all.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {

namespace {

/// By a shell, which puts the streams as `redirections` say. In their own process, by its exec.
Child::Options redirected(const Args& command, const std::string& redirections) {
  Args argv = {"sh", "-c", "exec \"$@\" " + redirections, "sh"};
  argv.insert(argv.end(), command.begin(), command.end());
  return {.argv = std::move(argv)};
}

Child::Options redirected(const Cli& cli, const Args& args, const std::string& redirections) {
  Child::Options plain = cli.options(args);
  Child::Options options = redirected(plain.argv, redirections);
  options.env = plain.env;
  options.cwd = plain.cwd;
  return options;
}

}  // namespace

TEST_SUITE("integration/streams") {
  TEST_CASE("what cannot be said on standard error changes nothing") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    for (const char* where : {"2>/dev/full", "2>&-"}) {
      CHECK(run(redirected(cli, {"run", "--", "true"}, where)).code == 0);
      CHECK(run(redirected(cli, {"run", "--", "false"}, where)).code == 1);
      const Finished submitted = run(redirected(cli, {"submit", "--wait", "--", "true"}, where));
      CHECK(submitted.code == 0);
      CHECK_FALSE(submitted.out.empty());
    }
    cluster.kill_master();
    Child master(redirected(cluster.master_command(), "2>/dev/full"));
    CHECK(eventually([&] { return cli.run({"--timeout", "1s", "jobs"}).code == 0; }));
    master.signal(SIGTERM);
    CHECK(master.wait().code == 0);
  }

  TEST_CASE("without standard descriptors nothing is said into a file of ours") {
    Cluster cluster({.workers = 0});
    cluster.kill_master();
    const Child master(redirected(cluster.master_command(), "<&- >&- 2>&-"));
    const Child worker(redirected(cluster.worker_command("w1"), "<&- >&- 2>&-"));
    cluster.wait_workers_up(1);
    CHECK(cluster.cli().wait(cluster.cli().submit({}, {"true"})) == 0);
    CHECK(read_file(cluster.worker_dir("w1") + "/spool").starts_with("CAPSPL"));
    CHECK_FALSE(contains(read_file(cluster.master_dir() + "/master.lock"), "info"));
  }

  TEST_CASE("a worker outlives whoever read its log, or the output of one of its tasks") {
    Cluster cluster({.workers = 0});
    Args command = {"sh", "-c", "exec \"$@\" 2>&1 | head -n 1", "sh"};
    for (const std::string& word : cluster.worker_command("w1")) command.push_back(word);
    const Child worker({.argv = command});
    cluster.wait_workers_up(1);
    const Cli& cli = cluster.cli();
    const std::string pipe = cluster.dir() / "output";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    Fifo go_on(cluster.dir() / "go_on");
    Fifo began(cluster.dir() / "began");
    UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    REQUIRE(reader);
    const std::string job = cli.submit(
        {"--output", pipe, "--retries", "0"},
        {"sh", "-c", "echo > " + began.path() + "; read x < " + go_on.path() + "; echo more"});
    (void)began.line();
    reader.reset();
    go_on.write_line();
    CHECK(cli.wait(job) == 0);
    CHECK(cli.ok({"logs", job}) == "more\n");
    CHECK(cli.tasks(job).at(0).at("attempt") == 1);
  }

  TEST_CASE("run cancels its job when nobody reads on") {
    const Cluster cluster;
    const Args forever = {"run", "--", "sh", "-c", "while :; do echo line; sleep 0.05; done"};
    for (const char* where : {"| head -n 1", ">/dev/full"}) {
      (void)run(redirected(cluster.cli(), forever, where));
      CHECK(eventually([&] { return cluster.cli().job("last").at("state") == "cancelled"; }));
    }
  }
}

}  // namespace capstan::itest
