// SPDX-License-Identifier: MIT
//
// What an operator of two masters relies on besides the queue: output of tasks, alarms, backups.
#include <doctest/doctest.h>
#include <signal.h>

#include <filesystem>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

std::string at() {
  return "127.0.0.1:" + std::to_string(free_port());
}

}  // namespace

TEST_SUITE("integration/pair") {
  TEST_CASE("output is whole after the primary was killed, also what the standby missed") {
    DevCluster cluster(1, 1, DevCluster::Pair{});
    cluster.wait_in_sync();
    const std::string first = cluster.primary();
    const std::string second = DevCluster::other(first);
    const Args prints = {"sh", "-c", "seq 1 200000 | head -c 1048576; echo end >&2"};
    const std::string early = cluster.cli().submit({}, prints);
    REQUIRE(cluster.cli().wait(early) == 0);
    const std::string whole = cluster.cli().ok({"logs", early});
    REQUIRE(whole.size() == 1048576);

    cluster.dev({"kill", second});
    REQUIRE(eventually([&] { return cluster.view().value("solo", false); }));
    const std::string missed = cluster.cli().submit({}, prints);
    REQUIRE(cluster.cli().wait(missed) == 0);
    REQUIRE(cluster.cli().ok({"logs", missed}) == whole);
    cluster.dev({"start", second});
    cluster.wait_in_sync();
    // It has the pack of the second job when all of it was asked for and got.
    const auto pack = [&](const std::string& node, const std::string& job) {
      std::error_code error;
      const auto size =
          std::filesystem::file_size(cluster.node_dir(node) + "/logs/" + job + ".pack", error);
      return error ? 0 : size;
    };
    REQUIRE(eventually([&] { return pack(second, missed) >= 1048576; }));
    CHECK(pack(second, early) >= 1048576);

    const std::string late = cluster.cli().submit({}, prints);
    REQUIRE(cluster.cli().wait(late) == 0);
    cluster.dev({"kill", first});
    for (const std::string& job : {early, missed, late}) {
      CHECK(cluster.cli().ok({"logs", job}) == whole);
      CHECK(cluster.cli().ok({"logs", "--stderr", job}) == "end\n");
    }
    CHECK(cluster.primary() == second);
  }

  TEST_CASE("output of a deleted job goes on both") {
    DevCluster cluster(1, 1, DevCluster::Pair{});
    cluster.wait_in_sync();
    const std::string job = cluster.cli().submit({}, {"seq", "100000"});
    REQUIRE(cluster.cli().wait(job) == 0);
    const auto has = [&](const std::string& node) {
      return exists(cluster.node_dir(node) + "/logs/" + job + ".pack");
    };
    REQUIRE(eventually([&] { return has("a") && has("b"); }));
    cluster.cli().ok({"job", "delete", job});
    CHECK(eventually([&] { return !has("a") && !has("b"); }));
  }

  TEST_CASE("alarms: in the status, in the log, and told to a command once each way") {
    const TempDir dir;
    const std::string said = dir / "said";
    DevCluster cluster(
        0, 1,
        {{"CAPSTAN_MASTER_ON_ALARM=echo $CAPSTAN_NODE $CAPSTAN_ALARM $CAPSTAN_ALARM_STATE >> " +
          said}});
    cluster.wait_in_sync();
    REQUIRE(cluster.cli().status().at("alarms").empty());
    const std::string first = cluster.primary();
    const std::string second = DevCluster::other(first);
    cluster.dev({"kill", "w"});
    CHECK(eventually([&] { return !cluster.cli().status().at("alarms").empty(); }));
    CHECK(contains(cluster.cli().ok({"status"}), "the witness w is not heard"));
    const auto lines = [&] { return exists(said) ? read_file(said) : std::string(); };
    for (const std::string& node : {first, second})
      CHECK(eventually([&] { return contains(lines(), node + " witness-gone raised\n"); }));
    cluster.dev({"start", "w"});
    for (const std::string& node : {first, second})
      CHECK(eventually([&] { return contains(lines(), node + " witness-gone cleared\n"); }));
    cluster.dev({"kill", second});
    CHECK(eventually([&] { return contains(lines(), first + " solo raised\n"); }));
    cluster.dev({"start", second});
    CHECK(eventually([&] { return contains(lines(), first + " solo cleared\n"); }));
    const std::string all = lines();
    CHECK(all.find(first + " solo raised") == all.rfind(first + " solo raised"));
    CHECK(all.find(first + " witness-gone raised") == all.rfind(first + " witness-gone raised"));
    const std::string log = read_file(cluster.dir() / "dev/" + first + ".log");
    CHECK(contains(log, "alarm.raised name=solo"));
    CHECK(contains(log, "alarm.cleared name=solo"));
  }

  TEST_CASE("a backup is the standby's, and a new pair is made of it that knows no old node") {
    DevCluster cluster(0, 1, DevCluster::Pair{});
    cluster.wait_in_sync();
    const std::string first = cluster.primary();
    const std::string second = DevCluster::other(first);
    const std::string job = cluster.cli().submit({"--name", "kept"}, {"true"});
    const std::string file = cluster.dir() / "pair.backup";
    const Finished taken = cluster.cli().run({"backup", "--json", file});
    REQUIRE_MESSAGE(taken.code == 0, taken.err);
    CHECK(Json::parse(taken.out)["node"] == second);
    cluster.dev({"kill", second});
    CHECK(eventually([&] { return cluster.view().value("solo", false); }));
    const std::string alone = cluster.cli().ok({"backup", cluster.dir() / "alone.backup"});
    CHECK(contains(alone, "of " + first));

    const std::string restored = cluster.dir() / "restored";
    cluster.cli().ok({"restore", file, restored});
    const auto start = [&](const std::string& dir) {
      return std::make_unique<Child>(Child::Options{
          .argv = {program("capstan-master"), "--dir", dir, "--http", "127.0.0.1:0"}});
    };
    // The old cluster's file would make it a node of that one again: refused.
    std::filesystem::copy(cluster.node_dir(second) + "/cluster", restored + "/cluster");
    const auto joining = start(restored);
    CHECK(joining->wait().code == 2);
    CHECK(contains(joining->err(), "of another generation"));
    std::filesystem::remove(restored + "/cluster");

    const std::string made = cluster.dir() / "new";
    const Finished adopted = run(
        {.argv = {program("capstan-master"), "init", "--adopt", restored, "--masters",
                  second + "=" + at() + "," + first + "=" + at(), "--witness", "w=" + at(), made}});
    REQUIRE_MESSAGE(adopted.code == 0, adopted.err);
    std::vector<std::unique_ptr<Child>> nodes;
    for (const char* node : {"a", "b", "w"}) nodes.push_back(start(made + "/" + node));
    const Cli cli(made + "/admin.access", cluster.dir().path());
    REQUIRE(eventually([&] {
      const Finished seen = cli.run({"cluster", "--json"});
      return seen.code == 0 && Json::parse(seen.out).value("in_sync", false);
    }));
    CHECK(cli.job(job)["name"] == "kept");
    CHECK(cluster.cli().job(job)["name"] == "kept");  // The old one goes on beside it.
  }
}

}  // namespace capstan::itest
