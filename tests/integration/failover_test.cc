// SPDX-License-Identifier: MIT
//
// Two masters and a witness on real sockets: each is killed under load, comes back, and hands over.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <map>

#include "tests/integration/pair.h"

namespace capstan::itest {
namespace {

constexpr const char* kEnds = "SELECT count(*) FROM all_attempts WHERE end_class = 'success'";
constexpr const char* kOthers =
    "SELECT job || '.' || task || '.' || attempt || ' ' || coalesce(end_class, 'none') || ' ' ||"
    " reason FROM all_attempts WHERE end_class IS NULL OR end_class != 'success'";

/// A task that says that it ran before it does anything else.
Args recorded(const std::string& file, const std::string& rest) {
  return {"sh", "-c",
          "echo $CAPSTAN_JOB_ID.$CAPSTAN_TASK_INDEX $CAPSTAN_ATTEMPT $CAPSTAN_WORKER >> " + file +
              "; " + rest};
}

std::string in_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// How often each task ran, of those that did not run exactly once; "": all did.
std::string not_once(const std::string& file, int tasks) {
  std::map<std::string, int> runs;
  for (const std::string& line : lines_of(read_file(file))) ++runs[line.substr(0, line.find(' '))];
  std::vector<std::string> wrong;
  for (const auto& [task, count] : runs) {
    if (count != 1) wrong.push_back(task + " ran " + std::to_string(count) + " times");
  }
  if (runs.size() != static_cast<std::size_t>(tasks))
    wrong.push_back(std::to_string(runs.size()) + " tasks ran");
  return in_lines(wrong);
}

}  // namespace

TEST_SUITE("integration/failover") {
  TEST_CASE("the primary is killed under load: the other one leads, and nothing runs twice") {
    Pair pair({.workers = 2});
    const std::string ran = pair.dir() / "ran";
    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    REQUIRE(pair.cli().run({"run", "--", "echo", "{}", ":::", "hello"}).out == "hello\n");
    const std::string job = pair.cli().submit({"--array", "1-60"}, recorded(ran, "sleep 0.05"));
    REQUIRE(eventually([&] { return pair.cli().job(job)["counts"]["succeeded"] > 5; }));
    pair.kill(first);
    // What is asked meanwhile is answered by the other one.
    const std::string later = pair.cli().submit({}, {"true"});
    CHECK(pair.cli().wait(job) == 0);
    CHECK(pair.cli().wait(later) == 0);
    const Finished inputs = pair.cli().run({"run", "-k", "--", "echo", "{}", ":::", "one", "two"});
    CHECK(contains(inputs.out, ": one\n"));
    CHECK(contains(inputs.out, ": two\n"));
    CHECK(pair.primary() == second);
    CHECK(pair.view()["solo"] == true);
    CHECK(eventually([&] { return pair.database(second).number(kEnds) == 64; }));
    CHECK(not_once(ran, 60) == "");
    CHECK(in_lines(pair.database(second).column(kOthers)) == "");

    // It comes back, catches up and has the same rows.
    pair.start(first);
    pair.wait_in_sync();
    CHECK(pair.primary() == second);
    pair.check_same_rows();
  }

  TEST_CASE("the standby is killed: the primary goes on alone, and together again") {
    Pair pair;
    const std::string first = pair.primary();
    pair.kill(Pair::other(first));
    const std::string job = pair.cli().submit({"--array", "1-20"}, {"true"});
    CHECK(pair.cli().wait(job) == 0);
    CHECK(pair.primary() == first);
    CHECK(pair.view()["solo"] == true);
    pair.start(Pair::other(first));
    pair.wait_in_sync();
  }

  TEST_CASE("the witness is killed: service goes on, and a failover waits for it") {
    Pair pair;
    const std::string first = pair.primary();
    pair.kill("w");
    CHECK(pair.cli().wait(pair.cli().submit({}, {"true"})) == 0);
    pair.kill(first);
    pair.start("w");
    CHECK(eventually([&] { return pair.primary() == Pair::other(first); }));
    CHECK(pair.cli().wait(pair.cli().submit({}, {"true"})) == 0);
  }

  TEST_CASE("a planned failover hands over within moments, and both stay in sync") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string job = pair.cli().submit({"--array", "1-40"}, {"sleep", "0.05"});
    pair.cli().ok({"failover"});
    CHECK(eventually([&] { return pair.primary() == Pair::other(first); }));
    CHECK(pair.cli().wait(job) == 0);
    pair.wait_in_sync();
    CHECK(pair.database(Pair::other(first)).number("SELECT count(*) FROM all_attempts") == 40);
  }

  TEST_CASE("a primary that stands still is replaced, and steps down when it goes on") {
    Pair pair;
    const std::string first = pair.primary();
    pair.node(first).signal(SIGSTOP);
    CHECK(eventually([&] { return pair.primary() == Pair::other(first); }));
    CHECK(pair.cli().wait(pair.cli().submit({}, {"true"})) == 0);
    pair.node(first).signal(SIGCONT);
    pair.wait_in_sync();
    CHECK(pair.primary() == Pair::other(first));
  }

  TEST_CASE(
      "all three lose their power: one leads again, with everything, as often as it happens") {
    Pair pair;
    std::vector<std::string> jobs;
    for (int times = 0; times < 3; ++times) {
      jobs.push_back(pair.cli().submit({"--array", "1-10"}, {"true"}));
      for (const char* node : {"a", "b", "w"}) pair.kill(node);
      for (const char* node : {"a", "b", "w"}) pair.start(node);
      for (const std::string& job : jobs) CHECK(pair.cli().wait(job) == 0);
    }
    pair.wait_in_sync();
    pair.check_same_rows();
  }

  TEST_CASE("a primary that served alone leads again when it was started anew") {
    Pair pair;
    const std::string first = pair.primary();
    pair.kill(Pair::other(first));
    const std::string job = pair.cli().submit({"--array", "1-10"}, {"true"});
    CHECK(pair.cli().wait(job) == 0);
    pair.kill(first);
    pair.start(first);
    CHECK(eventually([&] { return pair.primary() == first; }));
    CHECK(pair.cli().wait(job) == 0);
    pair.start(Pair::other(first));
    pair.wait_in_sync();
    pair.check_same_rows();
  }

  TEST_CASE("keys that changed a moment before the primary died are so on the other one") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string file = pair.dir() / "bob.access";
    const Cli bob(file, pair.dir().path());
    write_file(file, pair.cli().ok({"key", "add", "bob"}), 0600);
    bool is_known = true;
    SUBCASE("added") {}
    SUBCASE("revoked") {
      bob.ok({"jobs"});
      pair.cli().ok({"key", "revoke", "bob"});
      is_known = false;
    }
    pair.kill(first);
    REQUIRE(eventually([&] { return pair.primary() == Pair::other(first); }));
    CHECK((bob.run({"--timeout", "10s", "jobs"}).code == 0) == is_known);
  }

  TEST_CASE("nothing is lost by an operator's word while the primary is up") {
    Pair pair({.workers = 1, .cpus = 1});
    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    pair.kill(second);
    REQUIRE(eventually([&] { return pair.is_solo(); }));
    const std::string job = pair.cli().submit({}, {"true"});
    CHECK(pair.cli().wait(job) == 0);
    pair.start(second);
    const Args lossy = {"failover", "--allow-data-loss", "--yes", "--to", second};
    Finished refused;
    REQUIRE(eventually([&] {
      refused = pair.cli().run(lossy);
      return refused.code != 75;  // It does not answer yet.
    }));
    CHECK(refused.code == 3);
    CHECK(contains(refused.err, first + " is up and leads"));
    CHECK(pair.cli().job(job).at("state") == "succeeded");
  }

  TEST_CASE("a node that served alone and is gone is not replaced before an operator says so") {
    Pair pair({.workers = 1, .cpus = 2});
    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    const std::string ran = pair.dir() / "ran";
    Fifo began(pair.dir() / "began");
    Fifo go_on(pair.dir() / "go_on");
    const std::string kept = pair.cli().submit(
        {}, recorded(ran, "echo kept > " + began.path() + "; read line < " + go_on.path()));
    CHECK(began.line() == "kept");
    // It is on both, and so is its start.
    REQUIRE(eventually([&] {
      return pair.database(second).number("SELECT count(*) FROM tasks WHERE started_at_us > 0") ==
             1;
    }));
    pair.kill(second);
    REQUIRE(eventually([&] { return pair.is_solo(); }));
    // One that ended, and one that runs, which only this one knows.
    const std::string lost = pair.cli().submit({}, {"true"});
    CHECK(pair.cli().wait(lost) == 0);
    Fifo lost_pid(pair.dir() / "lost_pid");
    (void)pair.cli().submit({}, {"sh", "-c", "echo $$ > " + lost_pid.path() + "; exec sleep 1000"});
    const pid_t running = std::stoi(lost_pid.line());
    pair.kill(first);
    pair.start(second);
    // It has heard the witness, and knows that it may lack something.
    REQUIRE(eventually([&] {
      const Json seen = pair.view();
      if (!seen.is_object()) return false;
      return std::any_of(seen["nodes"].begin(), seen["nodes"].end(), [](const Json& node) {
        return node["role"] == "witness" && node["reachable"] == true;
      });
    }));
    CHECK(pair.primary().empty());
    pair.cli().ok({"failover", "--allow-data-loss", "--yes", "--to", second});
    CHECK(eventually([&] { return pair.primary() == second; }));

    // What was lost is gone: nobody else gets its number, and what runs of it is ended.
    CHECK(pair.cli().run({"job", lost}).code != 0);
    CHECK(wait_gone(running));
    const std::string next = pair.cli().submit({}, {"true"});
    CHECK(pair.cli().wait(next) == 0);
    CHECK(std::stoull(next) > std::stoull(lost) + 1'000'000);
    // What was not goes on where it was.
    go_on.write_line();
    CHECK(pair.cli().wait(kept) == 0);
    CHECK(not_once(ran, 1) == "");
    CHECK(pair.cli().job(kept)["counts"]["succeeded"] == 1);

    // The old primary has what nobody knows: it gets a copy of the database.
    pair.start(first);
    pair.node(first).wait_for("snapshot.installed");
    pair.wait_in_sync();
    CHECK(pair.primary() == second);
    pair.check_same_rows();
  }
}

}  // namespace capstan::itest
