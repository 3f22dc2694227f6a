// SPDX-License-Identifier: MIT
//
// Lists of inputs: combined, linked, cut into batches; and the output of tasks in their order.
#include <doctest/doctest.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

/// What `run -k -q printf '<%s>' …` prints.
std::string printed(const Cli& cli, const Args& options, const Args& rest,
                    const std::string& input = {}) {
  Args args = {"run", "-k", "-q"};
  args.insert(args.end(), options.begin(), options.end());
  for (const char* word : {"--", "sh", "-c", "printf '<%s>' \"$@\"; echo", "sh"}) {
    args.emplace_back(word);
  }
  args.insert(args.end(), rest.begin(), rest.end());
  return cli.ok(args, input);
}

}  // namespace

TEST_SUITE("integration/lists") {
  TEST_CASE("lists are combined and linked as GNU parallel does it") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    CHECK(printed(cli, {}, {"{2}-{1}", "{}", ":::", "a", "b", ":::", "1", "2"}) ==
          "<1-a><a><1>\n<2-a><a><2>\n<1-b><b><1>\n<2-b><b><2>\n");
    CHECK(printed(cli, {}, {":::", "a b", "c", "d", ":::+", "1", "2", ":::", "x"}) ==
          "<a b><1><x>\n<c><2><x>\n");
    write_file(cluster.dir() / "f", "p/q.r\nlast");
    write_file(cluster.dir() / "g", "1\n2\n3\n");
    CHECK(printed(cli, {}, {"{1/.}{2}", "::::", "f", "g"}) ==
          "<q1>\n<q2>\n<q3>\n<last1>\n<last2>\n<last3>\n");
    CHECK(printed(cli, {}, {"{1}{2}", "::::", "f", "::::+", "g"}) == "<p/q.r1>\n<last2>\n");
    CHECK(printed(cli, {}, {":::", "a", "::::", "-"}, "x\ny\n") == "<a><x>\n<a><y>\n");
  }

  TEST_CASE("a batch is several inputs for one task, the last one has the rest") {
    const Cluster cluster;
    const Cli& cli = cluster.cli();
    CHECK(printed(cli, {"--batch", "2"}, {"{}", "x{/}", ":::", "d/a b", "", "c"}) ==
          "<d/a b><><xa b >\n<c><xc>\n");
    CHECK(printed(cli, {"--batch", "2"}, {"{2}{1}", ":::", "a", "b", "c"}) == "<ba>\n<c>\n");
    CHECK(printed(cli, {"--batch", "9", "-0", "--each-line", "-"}, {},
                  std::string("a\nb\0 \0c", 7)) == "<a\nb>< ><c>\n");
    CHECK(cli.ok({"run", "-q", "--batch", "3", "--shell", "--", "printf '%s|' {} x{1}",
                  ":::", "it's", "$x", "a;b"}) == "it's|$x|a;b|xit's|");
    CHECK(cli.ok({"run", "-q", "--batch", "2", "--", "sh", "-c", "echo \"$CAPSTAN_INPUT\"", "sh",
                  ":::", "a", "b"}) == "a\nb\n");
  }

  TEST_CASE("large batches arrive whole, and again in a retry after a restart") {
    Cluster cluster;
    std::string lines;
    std::vector<std::string> sums;
    for (int i = 1; i <= 25'000; ++i)
      lines += std::to_string(i) + "-" + std::string(60, 'x') + "\n";
    const std::string job = cluster.cli().submit(
        {"--each-line", "-", "--batch", "1000"},
        {"sh", "-c", "echo \"$# $1\" >> got.$CAPSTAN_TASK_INDEX", "sh"}, lines);
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.cli().job(job).at("tasks") == 25);
    CHECK(cluster.database().number("SELECT sum(count) FROM inputs") == 25'000);
    const std::string suffix = "-" + std::string(60, 'x') + "\n";
    CHECK(read_file(cluster.dir() / "got.1") == "1000 1" + suffix);
    CHECK(read_file(cluster.dir() / "got.25") == "1000 24001" + suffix);
    cluster.kill_master();
    cluster.start_master();
    cluster.wait_workers_up(1);
    cluster.cli().ok({"retry", job + ".25"});
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(read_file(cluster.dir() / "got.25") == "1000 24001" + suffix + "1000 24001" + suffix);
  }

  TEST_CASE("a token stands for the lists and how they are combined") {
    const Cluster cluster;
    const auto submit = [&](const Args& lists) {
      Args args = {"submit", "-q", "--token", "t", "--", "true"};
      args.insert(args.end(), lists.begin(), lists.end());
      return cluster.cli().run(args);
    };
    const Finished first = submit({":::", "a", "b", ":::", "1", "2"});
    CHECK(first.code == 0);
    CHECK(submit({":::", "a", "b", ":::", "1", "2"}).out == first.out);
    CHECK(submit({":::", "a", "b", ":::+", "1", "2"}).code == 3);
    CHECK(submit({":::", "a", ":::", "b", "1", "2"}).code == 3);
  }

  TEST_CASE("run -k prints in the order of the tasks, the first unfinished one as it goes") {
    const Cluster cluster(Cluster::Options{.workers = 1, .cpus = 4});
    const Fifo gate(cluster.dir() / "gate");
    // The first task ends when the last one has: all others are held back until then.
    const std::string line =
        "if [ {} = 1 ]; then echo begun; read x < gate; fi; seq {}000 {}100; "
        "if [ {} = 4 ]; then echo > gate; fi";
    const std::string out =
        cluster.cli().ok({"run", "-k", "-q", "--shell", "--", line, ":::", "1", "2", "3", "4"});
    std::string expected = "begun\n";
    for (int task = 1; task <= 4; ++task) {
      for (int i = 0; i <= 100; ++i) expected += std::to_string(1000 * task + i) + "\n";
    }
    CHECK(out == expected);
  }

  TEST_CASE("run -k reads what is longer than a result carries when its turn comes") {
    const Cluster cluster(Cluster::Options{.workers = 1, .cpus = 2});
    std::string expected;
    for (int task = 1; task <= 3; ++task) {
      for (int i = 1; i <= 20'000; ++i) expected += std::to_string(i) + "\n";
    }
    CHECK(cluster.cli().ok({"run", "-k", "-q", "--array", "1-9:4", "--", "seq", "20000"}) ==
          expected);
  }
}

}  // namespace capstan::itest
