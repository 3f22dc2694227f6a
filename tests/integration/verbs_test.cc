// SPDX-License-Identifier: MIT
//
// The everyday verbs on a healthy cluster.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <set>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

std::multiset<std::string> sorted_lines(const std::string& text) {
  const std::vector<std::string> lines = lines_of(text);
  return {lines.begin(), lines.end()};
}

}  // namespace

TEST_SUITE("integration/verbs") {
  TEST_CASE("run prints the task's output and ends with how it went") {
    const Cluster cluster;
    const Finished good = cluster.cli().run({"run", "--", "sh", "-c", "echo out; echo err >&2"});
    CHECK(good.code == 0);
    CHECK(good.out == "out\n");
    CHECK(contains(good.err, "err\n"));
    CHECK(cluster.cli().run({"run", "--", "sh", "-c", "exit 3"}).code != 0);
    const Finished quiet =
        cluster.cli().run({"run", "--quiet", "--", "sh", "-c", "echo out; echo err >&2"});
    CHECK(quiet.out == "out\n");
    CHECK(quiet.err == "err\n");
  }

  TEST_CASE("run puts the task in front of each line when several print") {
    const Cluster cluster;
    const Finished done = cluster.cli().run(
        {"run", "--", "sh", "-c", "echo a$1; echo b", "sh", "{}", ":::", "1", "2"});
    CHECK(done.code == 0);
    CHECK(sorted_lines(done.out) ==
          std::multiset<std::string>{"1.1: a1", "1.1: b", "1.2: a2", "1.2: b"});
    const Finished quiet = cluster.cli().run({"run", "--quiet", "--", "echo", ":::", "x", "y"});
    CHECK(sorted_lines(quiet.out) == std::multiset<std::string>{"x", "y"});
  }

  TEST_CASE("run shows the output of a short task every time") {
    const Cluster cluster;
    // The end of the job and the output of its task race to the watch: none may be left out.
    for (int i = 0; i < 150; ++i) {
      const Finished done = cluster.cli().run({"run", "--quiet", "--", "echo", "here"});
      CAPTURE(i);
      CHECK(done.code == 0);
      CHECK(done.out == "here\n");
    }
  }

  TEST_CASE("run shows all of a long output") {
    const Cluster cluster;
    const Finished done = cluster.cli().run({"run", "--quiet", "--", "seq", "100000"});
    CHECK(done.code == 0);
    CHECK(lines_of(done.out).size() == 100'000);
    CHECK(done.out.ends_with("99999\n100000\n"));
  }

  TEST_CASE("Ctrl-C of run cancels and waits") {
    const Cluster cluster;
    Rendezvous meeting(cluster.dir());
    Args args = {"run", "--"};
    for (const std::string& arg : meeting.command()) args.push_back(arg);
    const auto client = cluster.cli().start(args);
    const pid_t task = meeting.arrival().pid;
    client->signal(SIGINT);
    CHECK(client->wait().code != 0);
    CHECK(wait_gone(task));
    CHECK(cluster.cli().job("last").at("state") == "cancelled");
  }

  TEST_CASE("an array's index is its value; step, lists and limit") {
    Cluster cluster({.cpus = 4});
    const std::string job = cluster.cli().submit({"--array", "5-20:5,100"},
                                                 {"sh", "-c", "echo $CAPSTAN_TASK_INDEX $#", "sh"});
    REQUIRE(cluster.cli().wait(job) == 0);
    std::vector<int> indices;
    for (const Json& task : cluster.cli().tasks(job)) indices.push_back(task.at("task"));
    CHECK(indices == std::vector<int>{5, 10, 15, 20, 100});
    CHECK(cluster.cli().ok({"logs", job + ".15"}) == "15 0\n");

    Rendezvous meeting(cluster.dir());
    const std::string limited = cluster.cli().submit({"--array", "1-6%2"}, meeting.command());
    (void)meeting.arrival();
    (void)meeting.arrival();
    CHECK(cluster.cli().job(limited).at("counts").at("running") == 2);
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);  // There is room for others.
    for (int i = 0; i < 4; ++i) {
      meeting.let_go(1);
      (void)meeting.arrival();
      CHECK(cluster.cli().job(limited).at("counts").at("running") <= 2);
    }
    meeting.let_go(1);
    meeting.let_go(1);
    CHECK(cluster.cli().wait(limited) == 0);
  }

  TEST_CASE("a failed task is tried again, and retry opens a new round") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string twice = cli.submit({}, {"sh", "-c", "[ $CAPSTAN_ATTEMPT = 2 ]"});
    CHECK(cli.wait(twice) == 0);
    CHECK(cli.tasks(twice).at(0).at("attempt") == 2);

    const std::string job =
        cli.submit({"--array", "1-4", "--retries", "0"},
                   {"sh", "-c", "[ $CAPSTAN_TASK_INDEX != 3 ] || [ -e mended ]"});
    CHECK(cli.wait(job) != 0);
    CHECK(cli.job(job).at("counts").at("failed") == 1);
    write_file(cluster.dir() / "mended", "");
    cli.ok({"retry", job, "--failed"});
    CHECK(cli.wait(job) == 0);
    CHECK(cli.job(job).at("state") == "succeeded");
    CHECK(cli.tasks(job).at(2).at("attempt") == 2);
    CHECK(cli.tasks(job).at(0).at("attempt") == 1);
    CHECK(cluster.database().number("SELECT count(*) FROM all_attempts WHERE job = " + job) == 5);
  }

  TEST_CASE("pause lets running tasks go on; resume lets the rest go") {
    const Cluster cluster;
    Rendezvous meeting(cluster.dir());
    const std::string job = cluster.cli().submit({"--array", "1-3"}, meeting.command());
    (void)meeting.arrival();
    cluster.cli().ok({"pause", job});
    CHECK(cluster.cli().job(job).at("state") == "paused");
    meeting.let_go(1);
    CHECK(eventually([&] { return cluster.cli().job(job).at("counts").at("succeeded") == 1; }));
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
    CHECK(cluster.cli().job(job).at("counts").at("succeeded") == 1);
    cluster.cli().ok({"resume", job});
    for (int i = 0; i < 2; ++i) {
      (void)meeting.arrival();
      meeting.let_go(1);
    }
    CHECK(cluster.cli().wait(job) == 0);
  }

  TEST_CASE("cancel of some tasks, of a job, of all") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string job = cli.submit({"--array", "1-10"}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    cli.ok({"cancel", job + ".6-10"});
    CHECK(cli.job(job).at("counts").at("cancelled") == 5);
    cli.ok({"cancel", job});
    CHECK(cli.wait(job) != 0);
    CHECK(wait_gone(first.pid));
    CHECK(cli.job(job).at("state") == "cancelled");
    CHECK(cli.job(job).at("counts").at("cancelled") == 10);

    const std::string one = cli.submit({"--hold"}, {"true"});
    const std::string two = cli.submit({"--hold"}, {"true"});
    cli.ok({"cancel", "all"});
    CHECK(cli.job(one).at("state") == "cancelled");
    CHECK(cli.job(two).at("state") == "cancelled");
    CHECK(cli.run({"cancel", "999"}).code == 3);
  }

  TEST_CASE("the environment of a task is the worker's few names and what was asked for") {
    const Cluster cluster;
    Child::Options options = cluster.cli().options(
        {"run", "--quiet", "--env", "GIVEN=1", "--env", "COPIED", "--", "env"});
    options.env.emplace_back("COPIED=two words");
    options.env.emplace_back("SECRET=not for tasks");
    const Finished done = run(std::move(options));
    REQUIRE(done.code == 0);
    std::set<std::string> names;
    for (const std::string& line : lines_of(done.out)) names.insert(line.substr(0, line.find('=')));
    CHECK(names.count("SECRET") == 0);
    CHECK(contains(done.out, "GIVEN=1\n"));
    CHECK(contains(done.out, "COPIED=two words\n"));
    for (const std::string name : {"PATH", "CAPSTAN_JOB_ID", "CAPSTAN_TASK_INDEX",
                                   "CAPSTAN_ATTEMPT", "CAPSTAN_CPUS", "CAPSTAN_WORKER"}) {
      CAPTURE(name);
      CHECK(names.count(name) == 1);
    }
  }

  TEST_CASE("priority goes first") {
    const Cluster cluster;
    Rendezvous meeting(cluster.dir());
    const std::string blocker = cluster.cli().submit({}, meeting.command());
    (void)meeting.arrival();
    Fifo order(cluster.dir() / "order");
    const Args say = {"sh", "-c", "echo $CAPSTAN_JOB_ID > order"};
    const std::string low = cluster.cli().submit({"--priority", "-5"}, say);
    const std::string middle = cluster.cli().submit({}, say);
    const std::string high = cluster.cli().submit({"--priority", "5"}, say);
    meeting.let_go(1);
    std::vector<std::string> seen;
    for (int i = 0; i < 3; ++i) seen.push_back(order.line());
    // What was sent ahead before it came may be in front of it; among what was not, it is first.
    const auto place = [&](const std::string& job) {
      return std::find(seen.begin(), seen.end(), job) - seen.begin();
    };
    CHECK(place(high) < place(low));
    CHECK(cluster.cli().run({"wait", blocker, low, middle, high}).code == 0);
  }

  TEST_CASE("a job that asks for more cpus than are free waits; then it has them") {
    Cluster cluster({.cpus = 2});
    Rendezvous meeting(cluster.dir());
    const std::string one = cluster.cli().submit({}, meeting.command());
    (void)meeting.arrival();
    const std::string both =
        cluster.cli().submit({"--cpus", "2"}, {"sh", "-c", "echo $CAPSTAN_CPUS"});
    CHECK(cluster.cli().job(both).at("started_at").is_null());
    meeting.let_go(1);
    CHECK(cluster.cli().run({"wait", one, both}).code == 0);
    CHECK(cluster.cli().ok({"logs", both}) == "2\n");
  }

  TEST_CASE("one grep follows a task through all processes") {
    Cluster cluster({.workers = 1,
                     .cpus = 1,
                     .master_flags = {"--log-level", "debug", "--log-format", "json"},
                     .worker_flags = {"--log-level", "debug", "--log-format", "json"}});
    CHECK(cluster.cli().run({"run", "--", "true"}).code == 0);
    for (Child* process : {&cluster.master(), &cluster.worker("w1")}) {
      process->signal(SIGTERM);
      const Finished done = process->wait();
      CHECK(done.code == 0);
      for (const std::string& line : lines_of(done.err)) {
        CAPTURE(line);
        if (line.starts_with("{")) CHECK(Json::accept(line));
      }
      CHECK(contains(done.err, "\"task\":\"1.1\""));
    }
  }
}

}  // namespace capstan::itest
