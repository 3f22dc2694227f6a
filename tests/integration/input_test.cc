// SPDX-License-Identifier: MIT
//
// What was typed cannot be meant: exit 2, one line that names the problem, nothing submitted.
#include <doctest/doctest.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

struct Case {
  Args args;
  std::string says;  ///< A part of the line.
  std::string input = {};
};

void check_refused(const Cli& cli, const Case& one) {
  std::string typed;
  for (const std::string& arg : one.args) typed += " " + arg.substr(0, 60);
  CAPTURE(typed);
  const Finished done = cli.run(one.args, one.input);
  CAPTURE(done.err);
  CHECK(done.code == 2);
  CHECK(done.out.empty());
  CHECK(lines_of(done.err).size() == 1);
  CHECK(contains(done.err, one.says));
}

}  // namespace

TEST_SUITE("integration/input") {
  TEST_CASE("what cannot be meant is refused with one line, and nothing is submitted") {
    const Cluster cluster;
    const std::string long_line(131'072, 'x');
    const std::vector<Case> cases = {
        {{"submit", "--arry", "1-10", "--", "true"}, "--arry"},
        {{"submit", "--arr", "1-10", "--", "true"}, "--arr"},
        {{"frobnicate"}, "frobnicate"},
        {{"submit"}, "command"},
        {{"submit", "--"}, "command"},
        {{"run"}, "command"},
        {{"submit", "--", ""}, "command"},
        {{"submit", "--array", "10-1", "--", "true"}, "10-1"},
        {{"submit", "--array", "abc", "--", "true"}, "abc"},
        {{"submit", "--array", "1-", "--", "true"}, "1-"},
        {{"submit", "--array", "1-10:0", "--", "true"}, "1-10:0"},
        {{"submit", "--array", "1-10%0", "--", "true"}, "1-10%0"},
        {{"submit", "--array", "", "--", "true"}, "--array"},
        {{"submit", "--array", "1-5,3-9", "--", "true"}, "overlap"},
        {{"submit", "--array", "1-1000000000000", "--", "true"}, "1000000000000"},
        {{"submit", "--array", "1-200000000", "--", "true"}, "100000000"},
        {{"submit", "--cpus", "0", "--", "true"}, "--cpus"},
        {{"submit", "--cpus", "many", "--", "true"}, "--cpus"},
        {{"submit", "--retries", "-1", "--", "true"}, "--retries"},
        {{"submit", "--time-limit", "5parsecs", "--", "true"}, "5parsecs"},
        {{"submit", "--priority", "high", "--", "true"}, "--priority"},
        {{"submit", "--env", "CAPSTAN_TEST_NOT_SET", "--", "true"}, "CAPSTAN_TEST_NOT_SET"},
        {{"submit", "--each-line", "/no/such/file", "--", "true"}, "/no/such/file"},
        {{"submit", "--", "true", "::::", "/no/such/file"}, "/no/such/file"},
        {{"submit", "--each-line", "-", "--", "true"}, "131", long_line + "\n"},
        {{"submit", "--each-line", "-", "--", "echo", "xxxx{}"},
         "131",
         std::string(131'070, 'y') + "\n"},
        {{"submit", "--array", "1-3", "--", "true", ":::", "a"}, "--array"},
        {{"submit", "--batch", "2", "--", "true"}, "--batch"},
        {{"submit", "--batch", "0", "--", "true", ":::", "a"}, "--batch"},
        {{"submit", "--batch", "2", "--", "true", ":::", "a", ":::", "b"}, "--batch"},
        {{"submit", "--", "echo", "{3}", ":::", "a", ":::", "b"}, "{3}"},
        {{"submit", "--", "echo", ":::+", "a"}, ":::+"},
        {{"submit", "--", "echo", "::::"}, "::::"},
        {{"submit", "--", "echo", ":::", "a", ":::"}, "2 is empty"},
        {{"submit", "-0", "--", "echo", ":::", "a"}, "-0"},
        {{"submit", "--", "echo", "::::", "-", "-"}, "once"},
        {{"submit", "--batch", "2", "--each-line", "-", "--", "true"},
         "--batch",
         std::string(70'000, 'x') + "\n" + std::string(70'000, 'x') + "\n"},
        {{"cancel", "17.x"}, "17.x"},
        {{"wait", "abc"}, "abc"},
        {{"job"}, "ID"},
        {{"tasks", "1", "--state", "dreaming"}, "dreaming"},
        {{"jobs", "--timeout", "soon"}, "soon"},
    };
    for (const Case& one : cases) check_refused(cluster.cli(), one);
    CHECK(cluster.cli().jobs().empty());
    CHECK(cluster.database().number("SELECT count(*) FROM jobs") == 0);
    CHECK(cluster.database().number("SELECT count(*) FROM submissions") == 0);
  }

  TEST_CASE("a template that is too large is refused before anything is sent") {
    const Cluster cluster;
    Args args = {"submit", "--", "echo"};
    for (int i = 0; i < 6; ++i) args.emplace_back(100'000, 'a');
    check_refused(cluster.cli(), {args, "524288"});
    CHECK(cluster.cli().jobs().empty());
  }

  TEST_CASE("the programs refuse what cannot be meant as well") {
    const TempDir dir;
    for (const std::string name : {"capstan-master", "capstan-worker"}) {
      Child::Options options;
      options.argv = {program(name), "--dir", dir / "x", "--lissten", "1"};
      const Finished done = run(std::move(options));
      CHECK(done.code == 2);
      CHECK(contains(done.err, "--lissten"));
    }
    Child::Options options;
    options.argv = {program("capstan-worker"), "--dir", dir / "x", "--cpus", "0"};
    const Finished done = run(std::move(options));
    CHECK(done.code == 2);
    CHECK(contains(done.err, "--cpus"));
  }

  TEST_CASE("every verb has a manual page with examples") {
    const TempDir dir;
    const Cli cli("", dir.path());
    for (const std::string verb :
         {"submit", "run", "jobs", "job", "tasks", "logs", "wait", "cancel", "pause", "resume",
          "retry", "workers", "status", "dev"}) {
      CAPTURE(verb);
      const std::string page = cli.ok({verb, "--help"});
      CHECK(contains(page, "SYNOPSIS"));
      CHECK(contains(page, "OPTIONS"));
      CHECK(contains(page, "EXAMPLES"));
    }
  }
}

}  // namespace capstan::itest
