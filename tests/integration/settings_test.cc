// SPDX-License-Identifier: MIT
//
// The configuration files of users and programs, through the real programs.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

/// `capstan ARGS…` of somebody whose configuration file is DIR/capstan/config.
Finished run_with(const TempDir& dir, const Args& args, const Args& env = {}) {
  Child::Options options;
  options.argv = {program("capstan")};
  options.argv.insert(options.argv.end(), args.begin(), args.end());
  options.env = {"XDG_CONFIG_HOME=" + dir.path(), "CAPSTAN_ACCESS="};
  options.env.insert(options.env.end(), env.begin(), env.end());
  return run(options);
}

std::string configure(const TempDir& dir, const std::string& text) {
  std::filesystem::create_directories(dir / "capstan");
  write_file(dir / "capstan/config", text);
  return dir / "capstan/config";
}

}  // namespace

TEST_SUITE("integration/settings") {
  TEST_CASE("the user's file says where the master is and what a job gets") {
    const Cluster cluster;
    const TempDir home;
    configure(home,
              "access = " + cluster.admin_access() + "\n[submit]\nretries = 0\nquiet = yes\n");
    const Finished submitted = run_with(home, {"submit", "--", "false"});
    CHECK(submitted.code == 0);
    CHECK(submitted.out == "1\n");
    CHECK(run_with(home, {"wait", "1"}).code == 1);
    CHECK(cluster.cli().tasks("1").at(0).at("attempt") == 1);
    // What is typed goes before it.
    CHECK(run_with(home, {"submit", "--retries", "1", "--", "false"}).out == "2\n");
    CHECK(run_with(home, {"wait", "2"}).code == 1);
    CHECK(cluster.cli().tasks("2").at(0).at("attempt") == 2);
    // And so does the environment.
    CHECK(run_with(home, {"jobs"}, {"CAPSTAN_ACCESS=/nowhere"}).code == 75);
    CHECK(run_with(home, {"--access", cluster.admin_access(), "jobs"}, {"CAPSTAN_ACCESS=/nowhere"})
              .code == 0);
  }

  TEST_CASE("config show names each value's origin") {
    const TempDir home;
    const std::string file = configure(home, "timeout = 9s\n[submit]\nretries = 5\n");
    const Finished shown =
        run_with(home, {"config", "show", "submit", "--json"}, {"CAPSTAN_SUBMIT_PRIORITY=4"});
    REQUIRE(shown.code == 0);
    std::map<std::string, Json> values;
    for (const Json& value : json_lines(shown.out)) values[value.at("name")] = value;
    CHECK(values.at("retries").at("value") == "5");
    CHECK(values.at("retries").at("origin") == "file");
    CHECK(values.at("retries").at("where") == file + ":3");
    CHECK(values.at("priority").at("where") == "$CAPSTAN_SUBMIT_PRIORITY");
    CHECK(values.at("cpus").at("origin") == "default");
    CHECK(values.at("cpus").at("value") == "1");
    CHECK(values.at("timeout").at("value") == "9s");
    const Finished all = run_with(home, {"config", "show"});
    CHECK(contains(all.out, "submit.retries"));
    CHECK(contains(all.out, file + ":1"));
  }

  TEST_CASE("a mistake in the file is exit 2 with its line; the manual still opens") {
    const TempDir home;
    const std::string file = configure(home, "\nacess = x\n");
    const Finished refused = run_with(home, {"status"});
    CHECK(refused.code == 2);
    CHECK(refused.err ==
          "capstan status: " + file + ":2: there is no option 'acess': did you mean 'access'?\n");
    CHECK(run_with(home, {"status", "--help"}).code == 0);
  }

  TEST_CASE("a program reads the file in its directory") {
    const TempDir dir;
    std::filesystem::create_directories(dir / "master");
    write_file(dir / "master/config", "listen = 127.0.0.1:0\nhttp = 127.0.0.1:0\n");
    Child::Options options;
    options.argv = {program("capstan-master"), "--dir", dir / "master"};
    Child master(options);
    master.wait_for("ready");
    CHECK(exists(dir / "master/admin.access"));
    CHECK(Cli(dir / "master/admin.access", dir.path()).run({"status"}).code == 0);
    master.signal(15);
    CHECK(master.wait().code == 0);
    write_file(dir / "master/config", "lost-aftr = 2m\n");
    const Finished refused = run(options);
    CHECK(refused.code == 2);
    CHECK(contains(refused.err, "config:1: there is no option 'lost-aftr': did you mean"));
  }
}

}  // namespace capstan::itest
