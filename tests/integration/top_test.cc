// SPDX-License-Identifier: MIT
//
// `top` on real terminals of two sizes, and without one.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"
#include "tests/integration/pty.h"

namespace capstan::itest {
namespace {

Pty::Options top_on(const Cluster& cluster, std::size_t columns, std::size_t rows) {
  Pty::Options options;
  options.argv = {program("capstan"), "--access", cluster.admin_access(), "top",
                  "--interval",       "200ms"};
  options.env = {"TERM=xterm", "NO_COLOR="};
  options.columns = columns;
  options.rows = rows;
  return options;
}

}  // namespace

TEST_SUITE("integration/top") {
  TEST_CASE("a job, its task and what that prints; keys, another size, and the way out") {
    Cluster cluster({.cpus = 2});
    const Fifo gate(cluster.dir() / "gate");
    const std::string job = cluster.cli().submit(
        {"--name", "watched", "--array", "1-3"},
        {"sh", "-c", "echo hello from $CAPSTAN_TASK_INDEX; read x < " + gate.path()});
    REQUIRE(eventually([&] { return cluster.cli().job(job).at("counts").at("running") == 2; }));
    Pty top(top_on(cluster, 80, 24));
    CHECK(top.shows("watched"));
    CHECK(top.shows("workers 1 up, 0 away"));
    CHECK(top.shows("q quit"));
    CHECK(top.canvas().is_alternate());
    top.type("\r");
    CHECK(top.shows("job " + job + " watched: running"));
    CHECK(top.shows("1  running"));  // Before that there is nothing to go into.
    top.type("\r");
    CHECK(top.shows("task " + job + ".1"));
    CHECK(top.shows("hello from 1"));
    top.type("\x1b");
    CHECK(top.shows("Enter attempts and output"));
    top.type("w");
    CHECK(top.shows("WORKER"));
    CHECK(top.shows("w1"));
    top.type("?");
    CHECK(top.shows("sort by cpus, priority, age, name"));
    top.type("\x1b");
    CHECK(top.shows("JOB"));
    top.resize(40, 10);
    top.type("w");  // What is drawn from here on is of the new size; the last of the old may come
                    // before.
    CHECK(top.shows("WORKER"));
    top.type("\x1b");
    CHECK(top.shows("JOB"));
    CHECK(top.shows("watched"));
    top.type("n");
    CHECK_FALSE(top.canvas().has_overrun());
    top.type("q");
    CHECK(top.wait() == 0);
    CHECK(top.is_given_back());
    CHECK_FALSE(top.canvas().has_overrun());
    for (int i = 0; i < 3; ++i) gate.write_line();
    CHECK(cluster.cli().wait(job) == 0);
  }

  TEST_CASE("the terminal is given back however it ends") {
    Cluster cluster;
    for (const int number : {SIGTERM, SIGHUP}) {
      Pty top(top_on(cluster, 40, 10));
      CHECK(top.shows("q quit"));
      top.signal(number);
      CHECK(top.wait() == 128 + number);
      CHECK(top.is_given_back());
      CHECK_FALSE(top.canvas().has_overrun());
    }
    Pty top(top_on(cluster, 40, 10));
    CHECK(top.shows("q quit"));
    top.type("\x03");  // Ctrl-C.
    CHECK(top.wait() == 130);
    CHECK(top.is_given_back());
  }

  TEST_CASE("while the master is away the picture stays and says so") {
    Cluster cluster;
    Pty top(top_on(cluster, 80, 24));
    CHECK(top.shows("workers 1 up"));
    cluster.kill_master();
    CHECK(top.shows("! no answer for"));
    CHECK(top.shows("workers 1 up"));
    cluster.start_master();
    CHECK(top.until([](const Canvas& canvas) { return !contains(canvas.text(), "! no answer"); }));
    top.type("q");
    CHECK(top.wait() == 0);
  }

  TEST_CASE("without a terminal it prints one picture; JSON goes on") {
    Cluster cluster;
    const std::string job = cluster.cli().submit({"--name", "done"}, {"true"});
    CHECK(cluster.cli().wait(job) == 0);
    const std::string picture = cluster.cli().ok({"top"});
    CHECK(contains(picture, "workers 1 up"));
    CHECK(contains(picture, "done"));
    CHECK_FALSE(contains(picture, "\x1b"));
    CHECK(contains(cluster.cli().ok({"top", "--once"}), "done"));
    const std::vector<Json> once = json_lines(cluster.cli().ok({"top", "--once", "--json"}));
    REQUIRE(once.size() == 1);
    CHECK(once[0].at("jobs").at(0).at("name") == "done");
    CHECK(once[0].at("workers").at(0).at("name") == "w1");
    CHECK(once[0].at("status").at("workers_up") == 1);
    const auto stream = cluster.cli().start({"top", "--json", "--interval", "100ms"});
    REQUIRE(eventually([&] { return lines_of(stream->out()).size() >= 3; }));
    stream->signal(SIGINT);
    const Finished ended = stream->wait();
    CHECK(ended.code == 130);
    for (const Json& line : json_lines(ended.out)) CHECK(line.at("status").at("cpus") == 1);
  }
}

}  // namespace capstan::itest
