// SPDX-License-Identifier: MIT
//
// What users of other schedulers look for on their first day: narrowed lists, output as files,
// attempts by number, completion.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

std::set<std::string> names_in(const std::string& dir) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

std::vector<std::string> ids(const Cli& cli, const Args& options) {
  Args args = {"jobs", "--json"};
  args.insert(args.end(), options.begin(), options.end());
  std::vector<std::string> list;
  for (const Json& job : json_lines(cli.ok(args))) list.push_back(job.at("id").dump());
  return list;
}

/// What bash would offer for a line whose last word is being typed.
std::vector<std::string> completions(const Cluster& cluster, const std::string& words) {
  Child::Options options;
  const std::string capstan = program("capstan");
  options.argv = {"/bin/bash", "-c",
                  "PATH=" + capstan.substr(0, capstan.rfind('/')) + ":$PATH; " +
                      "source <(capstan completion bash); COMP_WORDS=(" + words +
                      "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _capstan; "
                      "printf '%s\\n' \"${COMPREPLY[@]}\""};
  options.env = {"CAPSTAN_ACCESS=" + cluster.admin_access()};
  const Finished done = run(options);
  CHECK(done.code == 0);
  CHECK(done.err.empty());
  return lines_of(done.out);
}

bool has(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

TEST_SUITE("integration/first_day") {
  TEST_CASE("jobs are narrowed by state, name, time and owner, over pages") {
    Cluster cluster({.cpus = 4});
    const Cli& cli = cluster.cli();
    const std::string good = cli.submit({"--name", "render-good"}, {"true"});
    const std::string bad = cli.submit({"--name", "render-bad", "--retries", "0"}, {"false"});
    const std::string held = cli.submit({"--name", "other", "--hold"}, {"true"});
    CHECK(cli.wait(good) == 0);
    CHECK(cli.wait(bad) == 1);
    using Ids = std::vector<std::string>;
    CHECK(ids(cli, {"--state", "failed"}) == Ids{bad});
    CHECK(ids(cli, {"--state", "failed,succeeded"}) == Ids{bad, good});
    CHECK(ids(cli, {"-s", "paused", "-s", "failed"}) == Ids{held, bad});
    CHECK(ids(cli, {"--name", "render-*"}) == Ids{bad, good});
    CHECK(ids(cli, {"--name", "render-?ad"}) == Ids{bad});
    CHECK(ids(cli, {"--since", "1h"}).size() == 3);
    CHECK(ids(cli, {"--since", "2099-01-01"}).empty());
    CHECK(ids(cli, {"--tag", "none"}).empty());
    CHECK(ids(cli, {"--owner", "nobody-here"}).empty());
    CHECK(ids(cli, {"--all", "--live"}) == Ids{held});
    CHECK(cli.run({"jobs", "--state", "fine"}).code == 2);
    CHECK(cli.run({"jobs", "--since", "soon"}).code == 2);
    // Newest of a thousand that nobody asks for.
    for (int i = 0; i < 5; ++i) (void)cli.submit({"--name", "noise", "--hold"}, {"true"});
    CHECK(ids(cli, {"--name", "*good", "--limit", "1"}) == Ids{good});
  }

  TEST_CASE("logs --to writes a file for each task, whole ones only, and says what it did") {
    Cluster cluster({.cpus = 4});
    const Cli& cli = cluster.cli();
    const std::string job =
        cli.submit({"--array", "1-30", "--retries", "0"},
                   {"sh", "-c",
                    "echo out $CAPSTAN_TASK_INDEX; [ $CAPSTAN_TASK_INDEX != 7 ] || "
                    "{ echo broken >&2; exit 1; }"});
    CHECK(cli.wait(job) == 1);
    const std::string dir = cluster.dir() / "logs/here";
    const Finished done = cli.run({"logs", "--to", dir, job});
    CHECK(done.code == 0);
    CHECK(done.out.empty());
    CHECK(contains(done.err, "job " + job + ": 30 tasks, 31 files in "));
    CHECK(names_in(dir).size() == 31);
    for (int i = 1; i <= 30; ++i) {
      CHECK(read_file(dir + "/" + job + "." + std::to_string(i) + ".out") ==
            "out " + std::to_string(i) + "\n");
    }
    CHECK(read_file(dir + "/" + job + ".7.err") == "broken\n");
    // Only what failed, as JSON; what is there is replaced.
    const std::string failed = cluster.dir() / "failed";
    const Json summary = Json::parse(cli.ok({"logs", "--to", failed, "--failed", "--json", job}));
    CHECK(summary.at("tasks") == 1);
    CHECK(summary.at("files") == 2);
    CHECK(summary.at("bytes") == 13);
    CHECK(names_in(failed) == std::set<std::string>{job + ".7.out", job + ".7.err"});
    cli.ok({"logs", "--to", failed, "--failed", job});
    CHECK(names_in(failed).size() == 2);
    CHECK(cli.ok({"logs", "--failed", "--stderr", job}) == job + ".7: broken\n");
    CHECK(cli.run({"logs", "--to", "/proc/nowhere", job}).code == 1);
    CHECK(cli.run({"logs", "--json", job}).code == 2);
    const std::string held = cli.submit({"--hold"}, {"true"});
    CHECK(contains(cli.run({"logs", "--to", failed, held}).err, "1 not started"));
  }

  TEST_CASE("a long output comes whole into its file") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({}, {"seq", "300000"});
    const std::string dir = cluster.dir() / "long";
    CHECK(cli.wait(job) == 0);
    cli.ok({"logs", "--to", dir, job});
    CHECK(read_file(dir + "/" + job + ".1.out") == cli.ok({"logs", job}));
    CHECK(lines_of(read_file(dir + "/" + job + ".1.out")).size() == 300'000);
  }

  TEST_CASE("an attempt is named by a third number") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job =
        cli.submit({"--retries", "1"},
                   {"sh", "-c", "echo attempt $CAPSTAN_ATTEMPT; [ $CAPSTAN_ATTEMPT = 2 ]"});
    CHECK(cli.wait(job) == 0);
    CHECK(cli.ok({"logs", job + ".1"}) == "attempt 2\n");
    CHECK(cli.ok({"logs", job + ".1.1"}) == "attempt 1\n");
    CHECK(cli.ok({"logs", job + ".1.2"}) == "attempt 2\n");
    CHECK(cli.ok({"logs", "last.1.1"}) == "attempt 1\n");
    const Finished third = cli.run({"logs", job + ".1.3"});
    CHECK(third.code == 3);
    CHECK(contains(third.err, job + ".1 has had 2 attempts"));
    const std::string dir = cluster.dir() / "first";
    cli.ok({"logs", "--to", dir, job + ".1.1"});
    CHECK(names_in(dir) == std::set<std::string>{job + ".1.1.out"});
    CHECK(read_file(dir + "/" + job + ".1.1.out") == "attempt 1\n");
    for (const char* verb : {"cancel", "retry", "wait", "tasks"}) {
      const Finished refused = cli.run({verb, job + ".1.1"});
      CHECK(refused.code == 2);
      CHECK(contains(refused.err, "is one attempt: name the task"));
    }
  }

  TEST_CASE("cancel says how many tasks on the job's own line") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit({"--array", "1-5", "--hold"}, {"true"});
    CHECK(cli.ok({"cancel", job}) == "job " + job + ": cancelled, 5 tasks\n");
    CHECK(cli.job(job).at("tags").empty());
    const std::string other = cli.submit({"--array", "1-5", "--hold"}, {"true"});
    cli.ok({"cancel", other, "--reason", "maintenance"});
    CHECK(contains(cli.job(other).at("reason").get<std::string>(), "maintenance"));
    const std::string held = cli.submit({"--hold"}, {"true"});
    cli.ok({"job", "priority", held, "7"});
    CHECK(cli.job(held).at("priority") == 7);
    cli.ok({"job", "priority", held, "--", "-7"});
    CHECK(cli.job(held).at("priority") == -7);
    CHECK(cli.run({"job", "priority", held, "many"}).code == 2);
    CHECK(cli.job(job).at("mem_bytes").is_null());
  }

  TEST_CASE("bash completes verbs, options, values and jobs") {
    const Cluster cluster;
    const std::string job = cluster.cli().submit({"--hold"}, {"true"});
    CHECK(completions(cluster, "capstan su") == std::vector<std::string>{"submit"});
    CHECK(has(completions(cluster, "capstan ''"), "completion"));
    CHECK(has(completions(cluster, "capstan submit --re"), "--retries"));
    CHECK(has(completions(cluster, "capstan --timeout 3 jobs --li"), "--limit"));
    CHECK(completions(cluster, "capstan jobs --state pau") == std::vector<std::string>{"paused"});
    CHECK(has(completions(cluster, "capstan cancel ''"), job));
    CHECK(has(completions(cluster, "capstan cancel l"), "last"));
    CHECK(completions(cluster, "capstan completion z") == std::vector<std::string>{"zsh"});
    CHECK(has(completions(cluster, "capstan wait --access " + cluster.master_dir() + "/adm"),
              cluster.admin_access()));
    CHECK(cluster.cli().run({"completion", "csh"}).code == 2);
  }

  TEST_CASE("the other shells' scripts are well-formed") {
    const TempDir dir;
    const std::pair<const char*, const char*> shells[] = {
        {"bash", "/bin/bash"}, {"zsh", "/usr/bin/zsh"}, {"fish", "/usr/bin/fish"}};
    for (const auto& [shell, path] : shells) {
      if (!exists(path)) continue;  // Not on this machine.
      Child::Options make;
      make.argv = {program("capstan"), "completion", shell};
      write_file(dir / shell, run(make).out);
      Child::Options check;
      check.argv = {path, "-n", dir / shell};
      const Finished done = run(check);
      CAPTURE(shell);
      CHECK(done.code == 0);
      CHECK(done.err.empty());
    }
  }
}

}  // namespace capstan::itest
