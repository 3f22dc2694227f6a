// SPDX-License-Identifier: MIT
//
// What keeps a master from growing for ever: deleting by hand and by policy, and the disk's
// reserve.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

/// More than fits into its result, so that there is a pack.
const Args kTalk = {"sh", "-c", "seq 5000"};

std::int64_t rows_of(const Cluster& cluster, const std::string& job) {
  const Database database = cluster.database();
  std::int64_t rows = 0;
  for (const char* from : {"jobs WHERE id = ", "specs WHERE job = ", "tasks WHERE job = ",
                           "attempts WHERE job = ", "deletions WHERE job = "})
    rows += database.number(std::string("SELECT count(*) FROM ") + from + job);
  return rows;
}

}  // namespace

TEST_SUITE("integration/growth") {
  TEST_CASE("job delete takes a finished job with everything it had") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--token", "t"}, kTalk);
    REQUIRE(cli.wait(job) == 0);
    CHECK(contains(cli.ok({"logs", job}), "5000\n"));
    const std::string pack = cluster.master_dir() + "/logs/" + job + ".pack";
    REQUIRE(exists(pack));
    REQUIRE(rows_of(cluster, job) > 0);

    CHECK(cli.ok({"job", "delete", job}) == "job " + job + ": deleted\n");
    const Finished gone = cli.run({"job", job});
    CHECK(gone.code == 3);
    CHECK(contains(gone.err, "job " + job + " does not exist (any more)"));
    CHECK(eventually([&] { return rows_of(cluster, job) == 0 && !exists(pack); }));
    CHECK(cluster.database().number("SELECT count(*) FROM tokens") == 0);
    CHECK(cli.submit({"--token", "t"}, kTalk) != job);  // The token is free again.
  }

  TEST_CASE("what may not be deleted is refused with the way out") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--hold"}, {"true"});
    const Finished live = cli.run({"job", "delete", job});
    CHECK(live.code == 3);
    CHECK(contains(live.err, "capstan cancel " + job));
    CHECK(cli.run({"job", "delete", "99"}).code == 3);
    CHECK(cli.run({"job", "delete"}).code == 2);
    const Finished unasked = cli.run({"purge"});
    CHECK(unasked.code == 2);
    CHECK(contains(unasked.err, "--yes"));
  }

  TEST_CASE("purge deletes what is old enough, a restart goes on with it") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string first = cli.submit({"--array", "1-50"}, {"true"});
    const std::string second = cli.submit({}, {"false"});
    (void)cli.wait(first);
    (void)cli.wait(second);
    CHECK(contains(cli.ok({"purge", "--older-than", "1h", "--yes"}), "0 jobs"));
    CHECK(cli.jobs().size() == 2);
    CHECK(contains(cli.ok({"purge", "--older-than", "1ms", "--yes"}), "2 jobs"));
    cluster.kill_master();
    cluster.start_master();
    CHECK(cli.jobs().empty());
    CHECK(eventually([&] { return rows_of(cluster, first) + rows_of(cluster, second) == 0; }));
  }

  TEST_CASE("the master keeps the newest jobs by itself") {
    const Cluster cluster({.master_flags = {"--retain-jobs", "2"}});
    const Cli& cli = cluster.cli();
    for (int i = 0; i < 4; ++i) CHECK(cli.run({"run", "--", "true"}).code == 0);
    CHECK(eventually([&] { return cli.jobs().size() == 2; }));
    CHECK(cli.jobs().front().at("id") == 4);
  }

  TEST_CASE("with little room on the disk submissions are refused for now") {
    const Cluster cluster({.master_flags = {"--disk-reserve", "1000000G"}});
    const Cli& cli = cluster.cli();
    CHECK(eventually([&] { return !cli.status().at("alarms").empty(); }));
    const Finished refused = cli.run({"--timeout", "1s", "submit", "--", "true"});
    CHECK(refused.code == 75);
    CHECK(contains(refused.err, "disk is nearly full"));
    CHECK(contains(refused.err, " free of "));
  }
}

TEST_SUITE("integration/events") {
  TEST_CASE("events tell who decided what") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--array", "1-3", "--retries", "0"},
                                       {"sh", "-c", "[ $CAPSTAN_TASK_INDEX != 2 ]"});
    (void)cli.wait(job);
    std::vector<std::string> said;
    for (const Json& event : json_lines(cli.ok({"events", job, "--json"}))) {
      said.push_back(event.at("what"));
      CHECK(event.at("job") == std::stoi(job));
    }
    const auto count = [&](const std::string& what) {
      return std::count(said.begin(), said.end(), what);
    };
    CHECK(said.front() == "submitted");
    CHECK(count("assigned") == 3);
    CHECK(count("succeeded") == 2);
    CHECK(count("failed") == 1);

    const auto task = json_lines(cli.ok({"events", job + ".2", "--json"}));
    CHECK(task.back().at("what") == "failed");
    CHECK(task.back().at("who") == "w1");
    CHECK(contains(task.back().at("text").get<std::string>(), "exit 1"));
    const std::string all = cli.ok({"events"});
    CHECK(contains(all, "joined"));
    CHECK(contains(all, "reported"));
    CHECK(lines_of(cli.ok({"events", "--limit", "1", "--json"})).size() == 1);
  }

  TEST_CASE("events tell what was decided, not what was refused") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    CHECK(cli.run({"worker", "remove", "w1"}).code == 3);
    CHECK(cli.run({"key", "revoke", "nobody"}).code == 3);
    const std::string job = cli.submit({"--begin", "now+1h"}, {"true"});
    cli.ok({"job", "priority", job, "7"});
    cli.ok({"cancel", job, "--reason", "wrong scene"});
    std::vector<std::string> said;
    for (const Json& event : json_lines(cli.ok({"events", "--json"}))) {
      said.push_back(event.at("what").get<std::string>() + " " +
                     event.at("text").get<std::string>());
    }
    const auto has = [&](const std::string& what) {
      return std::find(said.begin(), said.end(), what) != said.end();
    };
    CHECK(has("prioritised priority 7"));
    CHECK(has("cancelled wrong scene"));
    CHECK_FALSE(has("removed w1"));
    CHECK_FALSE(has("shut out nobody"));
  }

  TEST_CASE("events -f goes on") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const auto following = cli.start({"events", "-f", "--json"});
    const std::string job = cli.submit({"--hold", "--name", "x"}, {"true"});
    cli.ok({"cancel", job});
    following->wait_for("cancelled");
    following->signal(SIGINT);
    CHECK(following->wait().code == 130);
  }
}

}  // namespace capstan::itest
