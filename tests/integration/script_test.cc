// SPDX-License-Identifier: MIT
//
// What the submitter reads and sends along: a script, and the standard input of its tasks.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "tests/integration/cluster.h"

namespace capstan::itest {

TEST_SUITE("integration/script") {
  TEST_CASE("a script runs with its arguments and inputs, also when its file is gone") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string file = cluster.dir() / "say {}.sh";
    write_file(file, "#!/bin/sh\nprintf '<%s>' \"$@\" > got.$CAPSTAN_TASK_INDEX\n");
    const Finished held = cli.run(
        {"submit", "-q", "--hold", "--script", file, "--", "-x", "{/}", ":::", "d/a b", "c"});
    REQUIRE(held.code == 0);
    const std::string job = lines_of(held.out).front();
    REQUIRE(run({.argv = {"rm", file}}).code == 0);
    CHECK(cli.job(job).at("name") == "say {}.sh");
    cli.ok({"resume", job});
    CHECK(cli.wait(job) == 0);
    CHECK(read_file(cluster.dir() / "got.1") == "<-x><a b>");
    CHECK(read_file(cluster.dir() / "got.2") == "<-x><c>");
  }

  TEST_CASE("a script without inputs takes words as arguments, and names its interpreter") {
    const Cluster cluster;
    const std::string text = "#!/bin/sh -e\necho \"$# $1\"\nfalse\necho never\n";
    const Finished done = cluster.cli().run({"run", "-q", "--script", "-", "--", "{}", "b"}, text);
    CHECK(done.code == 1);
    CHECK(done.out == "2 {}\n");
  }

  TEST_CASE("a script runs wherever the job does, also where the worker's directory is relative") {
    Cluster cluster({.workers = 0});
    const std::string below = cluster.dir() / "below";
    std::filesystem::create_directory(below);
    Child::Options options{.argv = cluster.worker_command("w1"), .cwd = below};
    const auto dir = std::find(options.argv.begin(), options.argv.end(), "--dir");
    *std::next(dir) = "w1";
    const Child worker(std::move(options));
    CHECK(cluster.cli().ok({"run", "-q", "--script", "-", "b"}, "echo a$1\n") == "ab\n");
  }

  TEST_CASE("a script that names nothing is run by sh") {
    const Cluster cluster;
    CHECK(cluster.cli().ok({"run", "-q", "--script", "-", "b"}, "echo a$1\n") == "ab\n");
  }

  TEST_CASE("files of output are named by job, task, attempt and input, and hold all of it") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string line = "echo out of {}; echo err of {} >&2; [ $CAPSTAN_ATTEMPT = 2 ]";
    const Finished submitted =
        cli.run({"submit", "-q", "--shell", "--retries", "1", "--backoff", "1ms", "--output",
                 "files/{/.}.%t.%a.out", "--error", "e-%j-%t%%", "--", line, ":::", "d/x.txt"});
    REQUIRE(submitted.code == 0);
    const std::string job = lines_of(submitted.out).front();
    CHECK(cli.wait(job) == 0);
    CHECK(read_file(cluster.dir() / "files/x.1.1.out") == "out of d/x.txt\n");
    CHECK(read_file(cluster.dir() / "files/x.1.2.out") == "out of d/x.txt\n");
    CHECK(read_file(cluster.dir() / ("e-" + job + "-1%")) == "err of d/x.txt\n");
    CHECK(cli.ok({"logs", job}) == "out of d/x.txt\n");
    CHECK(cli.run({"submit", "--output", "all", "--array", "1-2", "--", "true"}).code == 2);
    CHECK(cli.run({"submit", "--output", "%q", "--", "true"}).code == 2);
  }

  TEST_CASE("standard input reaches every task whole, and again in a retry after a restart") {
    Cluster cluster;
    std::string data;
    while (data.size() < 1'000'000) data += std::to_string(data.size()) + " of it\n";
    write_file(cluster.dir() / "data", data);
    const std::string job = cluster.cli().submit({"--stdin", "data", "--array", "1-3"},
                                                 {"sh", "-c", "cat >> got.$CAPSTAN_TASK_INDEX"});
    CHECK(cluster.cli().wait(job) == 0);
    for (const std::string task : {"1", "2", "3"}) {
      CHECK(read_file(cluster.dir() / ("got." + task)) == data);
    }
    cluster.kill_master();
    cluster.start_master();
    cluster.wait_workers_up(1);
    cluster.cli().ok({"retry", job + ".2"});
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(read_file(cluster.dir() / "got.2") == data + data);
  }

  TEST_CASE("an empty standard input ends at once; a token stands for its bytes") {
    const Cluster cluster;
    CHECK(cluster.cli().ok({"run", "-q", "--stdin", "-", "--", "wc", "-c"}, "") == "0\n");
    const auto submit = [&](const std::string& input) {
      return cluster.cli().run({"submit", "-q", "--token", "t", "--stdin", "-", "--", "cat"},
                               input);
    };
    const Finished first = submit("one");
    CHECK(first.code == 0);
    CHECK(submit("one").out == first.out);
    CHECK(submit("two").code == 3);
  }

  TEST_CASE("what cannot be sent is refused before anything is") {
    const Cluster cluster;
    const auto refused = [&](const Args& args, const std::string& says,
                             const std::string& input = {}) {
      const Finished done = cluster.cli().run(args, input);
      CAPTURE(says);
      CAPTURE(done.err);
      CHECK(done.code == 2);
      CHECK(lines_of(done.err).size() == 1);
      CHECK(contains(done.err, says));
    };
    refused({"submit", "--stdin", "-", "--", "cat"}, "1048576", std::string(1'048'577, 'x'));
    refused({"submit", "--stdin", "/no/such", "--", "cat"}, "/no/such");
    refused({"submit", "--stdin", "/", "--", "cat"}, "directory");
    refused({"submit", "--stdin", "-", "--each-line", "-", "--", "cat"}, "once");
    refused({"submit", "--script", "-"}, "131072", "#!/bin/sh\n" + std::string(131'072, '#'));
    refused({"submit", "--script", "-"}, "empty", "");
    refused({"submit", "--script", "-", "--shell"}, "--shell", "#!/bin/sh\n");
    CHECK(cluster.cli().jobs().empty());
  }
}

}  // namespace capstan::itest
