// SPDX-License-Identifier: MIT
//
// A pair and its workers, one program after the other replaced by one of a version to come
// (tests/next: another version, protocol and entry level), as docs/operating.md has it.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "tests/integration/pair.h"

namespace capstan::itest {
namespace {

namespace fs = std::filesystem;

std::string next(const std::string& name) {
  return program("../next/" + name);
}

/// As a package does: the file of the running program stays what it is.
void install(const std::string& program, const std::string& as) {
  fs::copy_file(program, as + ".new", fs::copy_options::overwrite_existing);
  fs::rename(as + ".new", as);
}

void upgrade(Pair& pair, const std::string& node) {
  pair.stop(node);
  pair.start(node, next("capstan-master"));
  pair.wait_in_sync();
}

pid_t agent_of(Pair& pair, const std::string& worker) {
  const std::vector<pid_t> children = children_of(pair.worker(worker).pid());
  const auto agent = std::find_if(children.begin(), children.end(), [](pid_t pid) {
    return contains(command_line_of(pid), "--agent");
  });
  return agent == children.end() ? 0 : *agent;
}

std::string version_of(const Pair& pair, const std::string& worker) {
  return pair.cli().workers().at(worker).at("version");
}

/// Tasks that run as long as `flag` is missing, and then leave a line each.
std::string submit_waiting(const Pair& pair, int tasks, const std::string& flag) {
  return pair.cli().submit({"--array", "1-" + std::to_string(tasks)},
                           {"sh", "-c",
                            "while [ ! -e " + flag + " ]; do sleep 0.05; done; echo >> " + flag +
                                ".$CAPSTAN_TASK_INDEX"});
}

void check_ran_once(const Pair& pair, const std::string& job, const std::string& flag) {
  for (const Json& task : pair.cli().tasks(job)) {
    CHECK(task.at("attempt") == 1);
    CHECK(read_file(flag + "." + std::to_string(task.at("task").get<int>())) == "\n");
  }
}

}  // namespace

TEST_SUITE("integration/upgrade") {
  TEST_CASE("masters, witness and workers in turn: no task is lost, or run again") {
    const TempDir bin;
    install(program("capstan-worker"), bin / "capstan-worker");
    Pair pair({.workers = 1, .cpus = 5, .worker_program = bin / "capstan-worker"});
    const std::string flag = pair.dir() / "flag";
    const std::string job = submit_waiting(pair, 4, flag);
    REQUIRE(eventually([&] { return pair.cli().job(job).at("counts").at("running") == 4; }));

    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    upgrade(pair, second);
    // The old one leads, then the new one: both write what both understand.
    CHECK(pair.cli().run({"run", "--", "true"}).code == 0);
    pair.cli().ok({"failover"});
    CHECK(pair.primary() == second);
    CHECK(pair.cli().run({"run", "--", "true"}).code == 0);
    pair.wait_in_sync();
    upgrade(pair, first);
    pair.cli().ok({"failover"});
    CHECK(pair.primary() == first);
    upgrade(pair, "w");

    CHECK(version_of(pair, "w1") == "0.1.0");
    install(next("capstan-worker"), bin / "capstan-worker");
    const pid_t agent = agent_of(pair, "w1");
    REQUIRE(agent != 0);
    ::kill(agent, SIGKILL);
    CHECK(eventually([&] { return version_of(pair, "w1") == "0.2.0-next"; }));
    CHECK(pair.cli().job(job).at("counts").at("running") == 4);
    write_file(flag, "");
    CHECK(pair.cli().wait(job) == 0);
    check_ran_once(pair, job, flag);
    pair.check_same_rows();
  }

  TEST_CASE("what a newer version wrote is not read by an older one, which says so") {
    Pair pair;
    for (const char* node : {"a", "b", "w"}) upgrade(pair, node);
    CHECK(pair.cli().run({"run", "--", "true"}).code == 0);
    const std::string standby = Pair::other(pair.primary());
    pair.stop(standby);
    const Finished refused =
        run({.argv = {program("capstan-master"), "--dir", pair.dir_of(standby)}});
    CHECK(refused.code == 3);
    CHECK(contains(refused.err, "newer"));
    pair.start(standby, next("capstan-master"));
    pair.wait_in_sync();
  }
}

}  // namespace capstan::itest
