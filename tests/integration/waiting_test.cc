// SPDX-License-Identifier: MIT
//
// Jobs that wait for others or for a time, and what ends a job early.
#include <doctest/doctest.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {

TEST_SUITE("integration/waiting") {
  TEST_CASE("a job runs after another, over a restart of the master; skipped when that failed") {
    Cluster cluster({.cpus = 2});
    const Cli& cli = cluster.cli();
    Rendezvous good(cluster.dir());
    const std::string first = cli.submit({}, good.command());
    const std::string next = cli.submit({"--after", first}, {"true"});
    const std::string last = cli.submit({"--after", next, "--array", "1-100000"}, {"false"});
    good.arrival();
    CHECK(cli.job(next).at("counts").at("waiting") == 1);
    CHECK(cli.job(next).at("reason") == "waits for job " + first);
    CHECK(cli.job(last).at("counts").at("waiting") == 100'000);
    cluster.kill_master();
    cluster.start_master();
    CHECK(cli.job(next).at("counts").at("waiting") == 1);
    cli.ok({"cancel", last});
    const std::string any = cli.submit({"--after-any", next, "--after-any", last}, {"true"});
    const std::string never = cli.submit({"--after", last, "--array", "1-100000"}, {"true"});
    CHECK(cli.job(never).at("state") == "skipped");
    CHECK(cli.job(never).at("reason") == "job " + last + " was cancelled");
    CHECK(cli.job(never).at("counts").at("skipped") == 100'000);
    good.let_go(1);
    CHECK(cli.wait(first) == 0);
    CHECK(cli.wait(next) == 0);
    CHECK(cli.wait(any) == 0);
    CHECK(cli.wait(never) == 1);
    // Run without asking again; a million tasks that were skipped have no rows, one retried has.
    cli.ok({"retry", never + ".7"});
    CHECK(cli.wait(never) == 1);
    CHECK(cli.job(never).at("counts").at("succeeded") == 1);
    CHECK(cli.job(never).at("counts").at("skipped") == 99'999);
    CHECK(cluster.database().number("select count(*) from tasks where job = " + never) == 1);
  }

  TEST_CASE("a job to run after must exist") {
    const Cluster cluster;
    const Finished refused = cluster.cli().run({"submit", "--after", "77", "--", "true"});
    CHECK(refused.code == 3);
    CHECK(contains(refused.err, "job 77 does not exist (any more)"));
    CHECK(cluster.cli().jobs().empty());
    // Nor itself: a circle cannot be named.
    CHECK(cluster.cli().run({"submit", "--after", "1", "--", "true"}).code == 3);
    CHECK(cluster.cli().jobs().empty());
  }

  TEST_CASE("a job that was purged, or is somebody else's, cannot be waited for") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string gone = cli.submit({}, {"true"});
    CHECK(cli.wait(gone) == 0);
    CHECK(contains(cli.ok({"purge", "--older-than", "0s", "--yes"}), "1 job"));
    const std::string mine = cli.submit({"--hold"}, {"true"});
    const std::string file = cluster.dir() / "eve.access";
    cli.ok({"key", "add", "eve", "--out", file});
    const Cli eve(file, cluster.dir().path());
    for (const char* option : {"--after", "--after-any"}) {
      for (const auto& [who, job] : {std::pair(&cli, &gone), std::pair(&eve, &mine)}) {
        const Finished refused = who->run({"submit", option, *job, "--", "true"});
        CHECK(refused.code == 3);
        CHECK(contains(refused.err, "job " + *job + " does not exist (any more)"));
      }
    }
    CHECK(eve.jobs().empty());
    CHECK(cli.jobs().size() == 1);
  }

  TEST_CASE("a begin is waited for") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--begin", "now+2s"}, {"date", "+%s%N"});
    const std::string late = cli.submit({"--begin", "now+1h"}, {"true"});
    CHECK(cli.job(job).at("reason") == "waits for its begin");
    CHECK(cli.wait(job) == 0);
    const Database tables = cluster.database();
    CHECK(tables.number("select started_at_us - submitted_at_us from jobs where id = " + job) >=
          1'500'000);
    CHECK(cli.job(late).at("state") == "queued");
    cli.ok({"cancel", late});
  }

  TEST_CASE("--timeout of wait is for the jobs' end, not for the master's answers") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--hold"}, {"true"});
    for (const std::string& which : {job, std::string("last"), std::string("all")}) {
      CHECK(cli.run({"wait", "--timeout", "0s", which}).code == 124);
    }
    cli.ok({"cancel", job, "--reason", "wrong data"});
    CHECK(contains(cli.ok({"why", job}), "is cancelled: wrong data"));
    const std::string live = cli.submit({"--hold"}, {"true"});
    CHECK(cli.ok({"retry", live, "--failed"}) ==
          "nothing of job " + live + " was to be done again\n");
  }

  TEST_CASE("so many failures end the job, and a retry goes on") {
    Cluster cluster({.cpus = 2});
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit(
        {"--array", "1-1000", "--retries", "0", "--max-failures", "3"}, {"sh", "-c", "test -e ok"});
    CHECK(cli.wait(job) == 1);
    const Json stopped = cli.job(job);
    CHECK(stopped.at("state") == "failed");
    CHECK(contains(stopped.at("reason").get<std::string>(), "stopped by --max-failures 3"));
    CHECK(stopped.at("counts").at("failed").get<int>() >= 3);
    CHECK(stopped.at("counts").at("cancelled").get<int>() > 800);
    Finished made = cli.run({"run", "--quiet", "--", "touch", "ok"});
    CHECK(made.code == 0);
    cli.ok({"retry", job});
    CHECK(cli.wait(job) == 0);
    CHECK(cli.job(job).at("counts").at("succeeded") == 1000);
  }
}

}  // namespace capstan::itest
