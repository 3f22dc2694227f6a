// SPDX-License-Identifier: MIT
//
// When a job begins and after which others, how it fails, and what its processes are given.
#include <doctest/doctest.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

std::string id_of(const Finished& submitted) {
  REQUIRE(submitted.code == 0);
  return lines_of(submitted.out).front();
}

}  // namespace

TEST_SUITE("integration/options") {
  TEST_CASE("a job after others begins when all of them succeeded") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string first = cli.submit({"--hold"}, {"sh", "-c", "echo one >> order"});
    const std::string second = cli.submit({"--hold"}, {"sh", "-c", "echo two >> order"});
    const std::string job =
        cli.submit({"--after", first + "," + second}, {"sh", "-c", "echo three >> order"});
    CHECK(cli.job(job).at("counts").at("waiting") == 1);
    cli.ok({"resume", second});
    CHECK(cli.wait(second) == 0);
    CHECK(cli.job(job).at("counts").at("waiting") == 1);
    cli.ok({"resume", first});
    CHECK(cli.wait(job) == 0);
    CHECK(read_file(cluster.dir() / "order") == "two\none\nthree\n");
  }

  TEST_CASE("what runs after a job that fails is skipped with the reason, --after-any runs") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string failing = cli.submit({"--hold", "--retries", "0"}, {"false"});
    const std::string skipped = cli.submit({"--after", "last"}, {"true"});
    const std::string chained = cli.submit({"--after", skipped}, {"true"});
    const std::string any = cli.submit({"--after-any", failing, "--after-any", chained}, {"true"});
    cli.ok({"resume", failing});
    CHECK(cli.wait(any) == 0);
    CHECK(cli.wait(skipped) == 1);
    CHECK(cli.job(skipped).at("state") == "skipped");
    CHECK(contains(cli.job(skipped).at("reason").get<std::string>(), "job " + failing));
    CHECK(cli.job(chained).at("state") == "skipped");
    const Finished late = cli.run({"submit", "-q", "--after", failing, "--", "true"});
    CHECK(cli.job(id_of(late)).at("state") == "skipped");
    CHECK(cli.run({"submit", "--after", "999", "--", "true"}).code == 3);
  }

  TEST_CASE("a token with 'last' and a begin from now on names the same job again") {
    const Cluster cluster;
    const Args args = {"submit", "-q",      "--token", "t",  "--after-any",
                       "last",   "--begin", "now+1ms", "--", "true"};
    (void)cluster.cli().submit({}, {"true"});
    const std::string first = id_of(cluster.cli().run(args));
    CHECK(cluster.cli().wait(first) == 0);
    CHECK(id_of(cluster.cli().run(args)) == first);
  }

  TEST_CASE("a job begins at its time, not before") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string far = cli.submit({"--begin", "2999-01-01"}, {"true"});
    CHECK(cli.job(far).at("counts").at("waiting") == 1);
    const std::string job = cli.submit({"--begin", "now+1.5s"}, {"true"});
    CHECK(cli.job(job).at("counts").at("waiting") == 1);
    CHECK(cli.wait(job) == 0);
    CHECK(cluster.database().number("SELECT started_at_us - submitted_at_us FROM jobs WHERE id = " +
                                    job) >= 1'400'000);
    CHECK(cli.job(far).at("counts").at("waiting") == 1);
  }

  TEST_CASE("so many failures end a job") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job =
        cli.submit({"--array", "1-1000", "--retries", "0", "--max-failures", "2"}, {"false"});
    CHECK(cli.wait(job) == 1);
    const Json ended = cli.job(job);
    CHECK(ended.at("state") == "failed");
    CHECK(ended.at("counts").at("failed").get<int>() >= 2);
    CHECK(ended.at("counts").at("cancelled").get<int>() > 0);
    CHECK(contains(ended.at("reason").get<std::string>(), "2"));
  }

  TEST_CASE("a task that prints nothing for its stall limit is killed as stalled") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--retries", "0", "--stall-limit", "300ms"},
                                       {"sh", "-c", "echo first; sleep 600"});
    CHECK(cli.wait(job) == 1);
    CHECK(contains(cli.tasks(job).front().at("reason").get<std::string>(), "stall"));
    CHECK(contains(cli.ok({"logs", job}), "first"));
  }

  TEST_CASE("retries wait as long as was said") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job =
        cli.submit({"--retries", "1", "--backoff", "1h"}, {"sh", "-c", "exit 1"});
    REQUIRE(eventually([&] { return cli.job(job).at("counts").at("backoff") == 1; }));
    cli.ok({"cancel", job});
    const std::string quick =
        cli.submit({"--retries", "2", "--backoff", "1ms"}, {"sh", "-c", "exit 1"});
    CHECK(cli.wait(quick) == 1);
    CHECK(cli.tasks(quick).front().at("attempt") == 3);
  }

  TEST_CASE("processes are as nice as was said") {
    const Cluster cluster;
    CHECK(cluster.cli().ok({"run", "-q", "--nice", "19", "--", "nice"}) == "19\n");
  }

  TEST_CASE("more memory than any worker has is accepted") {
    const Cluster cluster;
    const Finished submitted = cluster.cli().run({"submit", "--mem", "1000T", "--", "true"});
    CHECK(submitted.code == 0);
    CHECK(cluster.cli().ok({"run", "-q", "--mem", "64M", "--", "echo", "fits"}) == "fits\n");
  }

  TEST_CASE("what cannot be meant is refused") {
    const Cluster cluster;
    const std::vector<std::pair<Args, std::string>> cases = {
        {{"--backoff", "0"}, "--backoff"},
        {{"--stall-limit", "x"}, "--stall-limit"},
        {{"--max-failures", "0"}, "--max-failures"},
        {{"--nice", "20"}, "--nice"},
        {{"--mem", "0"}, "--mem"},
        {{"--mem", "2X"}, "2X"},
        {{"--begin", "soon"}, "soon"},
        {{"--after", "all"}, "--after"},
        {{"--after", "3.1"}, "--after"},
        {{"--after-any", "x"}, "--after-any"},
        {{"--tag", ""}, "tag"},
        {{"--time-limit", "4000d"}, "time limit"},
    };
    for (const auto& [options, says] : cases) {
      Args args = {"submit"};
      args.insert(args.end(), options.begin(), options.end());
      args.insert(args.end(), {"--", "true"});
      const Finished done = cluster.cli().run(args);
      CAPTURE(done.err);
      CHECK(done.code == 2);
      CHECK(lines_of(done.err).size() == 1);
      CHECK(contains(done.err, says));
    }
    CHECK(cluster.cli().jobs().empty());
  }
}

}  // namespace capstan::itest
