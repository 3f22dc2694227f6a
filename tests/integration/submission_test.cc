// SPDX-License-Identifier: MIT
//
// A submission is there whole or not at all, and once, whatever happens to the client.
#include <doctest/doctest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

constexpr int kMillion = 1'000'000;

}  // namespace

TEST_SUITE("integration/submission") {
  TEST_CASE("a client killed in the middle of a million inputs leaves nothing; its token works") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const Database database = cluster.database();
    const std::string input = numbers(kMillion);
    const Args args = {"submit", "--hold", "--token", "big", "--each-line",
                       "-",      "--",     "true",    "{}"};
    {
      const auto client = cli.start(args, input);
      REQUIRE(eventually([&] { return database.number("SELECT count(*) FROM inputs") > 3; }));
      client->signal(SIGKILL);
      (void)client->wait();
    }
    if (cli.jobs().empty()) {
      CHECK(database.number("SELECT count(*) FROM jobs") == 0);
    } else {
      WARN_MESSAGE(false, "the client was faster than its killer");
    }

    const std::string printed = cli.ok(args, input);
    CHECK(contains(printed, "1000000 tasks"));
    CHECK(database.number("SELECT count(*) FROM jobs") == 1);
    const std::string job = std::to_string(database.number("SELECT id FROM jobs"));
    CHECK(database.number("SELECT sum(count) FROM inputs WHERE submission = "
                          "(SELECT inputs FROM jobs WHERE id = " +
                          job + ")") == kMillion);
    // Once more: the same job.
    CHECK(cli.ok(args, input) == printed);
    CHECK(database.number("SELECT count(*) FROM jobs") == 1);
    cli.ok({"cancel", job});
    CHECK(cli.job(job).at("state") == "cancelled");
    CHECK(cli.job(job).at("counts").at("cancelled") == kMillion);
  }

  TEST_CASE("a client that is cut off by the master's death finishes with the next master") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const Database database = cluster.database();
    const auto client = cli.start({"submit", "--quiet", "--hold", "--each-line", "-", "--", "true"},
                                  numbers(kMillion));
    REQUIRE(eventually([&] { return database.number("SELECT count(*) FROM inputs") > 3; }));
    cluster.kill_master();
    cluster.start_master();
    const Finished done = client->wait();
    CHECK(done.code == 0);
    CHECK(database.number("SELECT count(*) FROM jobs") == 1);
    CHECK(database.number("SELECT tasks FROM jobs") == kMillion);
    CHECK(database.number("SELECT sum(count) FROM inputs WHERE submission = "
                          "(SELECT inputs FROM jobs)") == kMillion);
  }

  TEST_CASE("the same token: the same contents give the same job, others are refused with 3") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string first = cli.ok({"submit", "--quiet", "--token", "t", "--", "echo", "a"});
    CHECK(cli.ok({"submit", "--quiet", "--token", "t", "--", "echo", "a"}) == first);
    const Finished other = cli.run({"submit", "--quiet", "--token", "t", "--", "echo", "b"});
    CHECK(other.code == 3);
    CHECK(lines_of(other.err).size() == 1);
    CHECK(cli.jobs().size() == 1);
    // Of run as well: it waits for the same job and shows its output.
    const Finished ran = cli.run({"run", "--token", "r", "--", "echo", "once"});
    CHECK(ran.code == 0);
    const Finished again = cli.run({"run", "--token", "r", "--", "echo", "once"});
    CHECK(again.code == 0);
    CHECK(again.out == "once\n");
    CHECK(cli.jobs().size() == 2);
  }

  TEST_CASE("what submit prints") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    CHECK(cli.ok({"submit", "--array", "1-1000", "--hold", "--", "true"}) == "job 1: 1000 tasks\n");
    CHECK(cli.ok({"submit", "--quiet", "--hold", "--", "true"}) == "2\n");
  }

  TEST_CASE("stdin is never read unasked") {
    const Cluster cluster;
    Child::Options options = cluster.cli().options({"submit", "--quiet", "--", "cat"});
    options.keep_stdin = true;
    Child client(std::move(options));
    CHECK(client.wait().code == 0);
    CHECK(cluster.cli().wait("last") == 0);  // The task's own stdin is empty.
  }
}

}  // namespace capstan::itest
