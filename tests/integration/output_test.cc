// SPDX-License-Identifier: MIT
//
// What tasks print is capped and counted; what they leave running is gone when they end.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>

#include "tests/integration/cluster.h"

namespace capstan::itest {

namespace {

std::vector<std::string> sorted(const std::string& text) {
  std::vector<std::string> lines = lines_of(text);
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace

TEST_SUITE("integration/output") {
  TEST_CASE("a task that prints 1 GiB is capped and counted") {
    Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::uint64_t before = rss_bytes(cluster.worker("w1").pid());
    const std::string job =
        cli.submit({}, {"sh", "-c", "head -c 1073741824 /dev/zero | tr '\\0' 'x'; echo; echo END"});
    REQUIRE(cli.wait(job) == 0);
    const std::vector<Json> tasks = cli.tasks(job);
    CHECK(tasks.at(0).at("output_bytes") == 1'073'741'824 + 5);
    CHECK(rss_bytes(cluster.worker("w1").pid()) < before + 64 * 1024 * 1024);

    // The first MiB and the last 15, with the hole named or not: never the whole.
    const std::string log = cli.ok({"logs", job});
    CHECK(log.size() >= 15U * 1024 * 1024);
    CHECK(log.size() < 17U * 1024 * 1024);
    CHECK(log.ends_with("x\nEND\n"));
  }

  TEST_CASE("stdout and stderr are kept apart, and their order within each") {
    const Cluster cluster;
    const std::string job = cluster.cli().submit(
        {}, {"sh", "-c", "for i in $(seq 1000); do echo out $i; echo err $i >&2; done"});
    REQUIRE(cluster.cli().wait(job) == 0);
    std::string out;
    std::string err;
    for (int i = 1; i <= 1000; ++i) {
      out += "out " + std::to_string(i) + "\n";
      err += "err " + std::to_string(i) + "\n";
    }
    CHECK(cluster.cli().ok({"logs", job}) == out);
    CHECK(cluster.cli().ok({"logs", job, "--stderr"}) == err);
  }

  TEST_CASE("every attempt prints, also one that ended at once and long before it is asked for") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const Args options = {"--retries", "2", "--backoff", "50ms"};
    const Args command = {"sh", "-c",
                          "n=$CAPSTAN_ATTEMPT; echo stdout of attempt $n; "
                          "echo stderr of attempt $n >&2; [ $n = 3 ]"};
    const auto all_of = [](const std::string& stream) {
      std::string text;
      for (const char* n : {"1", "2", "3"}) text += stream + " of attempt " + n + "\n";
      return text;
    };
    Args run = {"run", "--quiet"};
    run.insert(run.end(), options.begin(), options.end());
    run.emplace_back("--");
    run.insert(run.end(), command.begin(), command.end());
    const Finished ran = cli.run(run);
    CHECK(ran.code == 0);
    // Each once and whole. What an attempt printed that ended within moments is asked for when the
    // next one may be printing already: between attempts there is no order.
    CHECK(sorted(ran.out) == lines_of(all_of("stdout")));
    CHECK(sorted(ran.err) == lines_of(all_of("stderr")));
    const std::string job = cli.submit(options, command);
    REQUIRE(cli.wait(job) == 0);
    CHECK(sorted(cli.ok({"logs", "-f", job})) == lines_of(all_of("stdout")));
    CHECK(cli.ok({"logs", job}) == "stdout of attempt 3\n");
  }

  TEST_CASE("attempts that print much are printed one behind the other, whole") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    const std::string job = cli.submit(
        {"--retries", "1", "--backoff", "50ms"},
        {"sh", "-c", "seq -f \"$CAPSTAN_ATTEMPT %.0f\" 60000; [ $CAPSTAN_ATTEMPT = 2 ]"});
    REQUIRE(cli.wait(job) == 0);
    std::string of[2];
    for (int i = 1; i <= 60'000; ++i) {
      of[0] += "1 " + std::to_string(i) + "\n";
      of[1] += "2 " + std::to_string(i) + "\n";
    }
    CHECK((cli.ok({"logs", "-f", job}) == of[0] + of[1]));
    CHECK((cli.ok({"logs", job + ".1.1"}) == of[0]));
    CHECK((cli.ok({"logs", job}) == of[1]));
  }

  TEST_CASE("run -k prints the last attempt of a task that ran again before its turn") {
    const Cluster cluster({.cpus = 2});
    Rendezvous meeting(cluster.dir());
    const std::string again = "echo try$CAPSTAN_ATTEMPT; [ $CAPSTAN_ATTEMPT = 2 ]";
    const std::string line =
        "if [ {} = 2 ]; then " + again + "; else " + meeting.command("echo one")[2] + "; fi";
    const auto run = cluster.cli().start({"run", "-k", "-q", "--retries", "1", "--backoff", "50ms",
                                          "--", "sh", "-c", line, ":::", "1", "2"});
    (void)meeting.arrival();
    CHECK(eventually([&] { return cluster.cli().job("last").at("counts").at("succeeded") == 1; }));
    meeting.let_go(1);
    const Finished done = run->wait();
    CHECK(done.code == 0);
    CHECK(done.out == "one\ntry2\n");
  }

  TEST_CASE("logs -f of tasks that are not there ends at once") {
    const Cluster cluster;
    const std::string job = cluster.cli().submit({"--hold"}, {"true"});
    const Finished done = cluster.cli().run({"logs", "-f", job + ".77"});
    CHECK(done.code == 3);
    CHECK(contains(done.err, "no such task"));
  }

  TEST_CASE("run goes on behind a hangup that is ignored, as nohup has it") {
    const Cluster cluster;
    Rendezvous meeting(cluster.dir());
    Args args = {"run", "--quiet", "--"};
    const Args command = meeting.command("echo done");
    args.insert(args.end(), command.begin(), command.end());
    Child::Options options = cluster.cli().options(args);
    Args ignoring = {"sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""};
    options.argv.insert(options.argv.begin(), ignoring.begin(), ignoring.end());
    Child run(std::move(options));
    (void)meeting.arrival();
    run.signal(SIGHUP);
    run.signal(SIGHUP);
    meeting.let_go(1);
    const Finished done = run.wait();
    CHECK(done.code == 0);
    CHECK(done.out == "done\n");
  }

  TEST_CASE("bytes that are no text come back as they were") {
    const Cluster cluster;
    const std::string script =
        "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; "
        "i=$((i+1)); done";
    const std::string job = cluster.cli().submit({}, {"sh", "-c", script});
    REQUIRE(cluster.cli().wait(job) == 0);
    std::string expected;
    for (int i = 0; i < 256; ++i) expected += static_cast<char>(i);
    CHECK(cluster.cli().ok({"logs", job}) == expected);
  }

  TEST_CASE("logs -f prints while the task runs, from its beginning") {
    const Cluster cluster;
    Rendezvous meeting(cluster.dir());
    const std::string job =
        cluster.cli().submit({}, {"sh", "-c", "echo early; " + meeting.command("echo late")[2]});
    (void)meeting.arrival();
    const auto follower = cluster.cli().start({"logs", "-f", job});
    follower->wait_for("early\n");
    CHECK(!contains(follower->out(), "late"));
    meeting.let_go(1);
    const Finished done = follower->wait();
    CHECK(done.code == 0);
    CHECK(done.out == "early\nlate\n");
  }

  TEST_CASE("a daemon that a task forked is gone when the task is") {
    const Cluster cluster;
    Fifo pids(cluster.dir() / "pids");
    Fifo gate(cluster.dir() / "gate");
    const std::string job = cluster.cli().submit(
        {}, {"sh", "-c",
             "(setsid sh -c 'echo $$ > pids; exec sleep 1000' >/dev/null 2>&1 &) ; "
             "read go < gate; exit 0"});
    const pid_t daemon = std::stoi(pids.line());
    CHECK(is_alive(daemon));
    gate.write_line();
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(wait_gone(daemon));
  }

  TEST_CASE("a task that exits 0 with a child left running has succeeded; the child is killed") {
    const Cluster cluster;
    Fifo pids(cluster.dir() / "pids");
    const std::string job =
        cluster.cli().submit({}, {"sh", "-c", "sleep 1000 & echo $! > pids; exit 0"});
    const pid_t child = std::stoi(pids.line());
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(wait_gone(child));
    CHECK(cluster.cli().tasks(job).at(0).at("state") == "succeeded");
  }

  TEST_CASE("a task that ignores TERM is killed when it is cancelled") {
    Cluster cluster({.worker_flags = {"--kill-grace", "300ms"}});
    Fifo pids(cluster.dir() / "pids");
    const std::string job = cluster.cli().submit(
        {}, {"sh", "-c", "trap '' TERM INT HUP; echo $$ > pids; while :; do sleep 1000; done"});
    const pid_t task = std::stoi(pids.line());
    cluster.cli().ok({"cancel", job});
    CHECK(cluster.cli().wait(job) != 0);
    CHECK(wait_gone(task));
    CHECK(cluster.cli().tasks(job).at(0).at("state") == "cancelled");
  }

  TEST_CASE("a task that ignores TERM is killed when its time is over") {
    Cluster cluster({.worker_flags = {"--kill-grace", "300ms"}});
    Fifo pids(cluster.dir() / "pids");
    const std::string job = cluster.cli().submit(
        {"--time-limit", "300ms", "--retries", "0"},
        {"sh", "-c", "trap '' TERM INT HUP; echo $$ > pids; while :; do sleep 1000; done"});
    const pid_t task = std::stoi(pids.line());
    CHECK(cluster.cli().wait(job) != 0);
    CHECK(wait_gone(task));
    const Json ended = cluster.cli().tasks(job).at(0);
    CHECK(ended.at("state") == "failed");
    CHECK(contains(ended.at("reason").get<std::string>(), "timeout"));
  }
}

}  // namespace capstan::itest
