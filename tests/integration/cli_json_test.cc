// SPDX-License-Identifier: MIT
//
// What --json prints is public API: docs/cli.md documents every field, and this holds both to it.
#include <doctest/doctest.h>

#include <algorithm>
#include <regex>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

const std::vector<std::string> kJobFields = {
    "id", "name", "owner", "state", "tasks", "counts", "submitted_at", "started_at", "finished_at"};
const std::vector<std::string> kCounts = {"waiting",   "ready",  "running",   "backoff",
                                          "succeeded", "failed", "cancelled", "skipped"};
const std::vector<std::string> kTaskFields = {
    "task",       "state",       "attempt", "worker", "exit_code",     "signal",      "reason",
    "started_at", "finished_at", "wall_s",  "cpu_s",  "max_rss_bytes", "output_bytes"};
const std::vector<std::string> kWorkerFields = {"name",    "state",   "cpus",        "running",
                                                "version", "address", "last_heard_s"};

/// The section of docs/cli.md that says what is printed.
std::string json_section() {
  const std::string page = read_file(source_root() + "/docs/cli.md");
  const std::size_t begin = page.find("\n## JSON\n");
  REQUIRE(begin != std::string::npos);
  return page.substr(begin, page.find("\n## ", begin + 1) - begin);
}

void check_fields(const Json& object, const std::vector<std::string>& promised) {
  const std::string page = json_section();
  for (const std::string& field : promised) {
    CAPTURE(field);
    CHECK(object.contains(field));
  }
  // Whatever is printed is documented, the promised and the rest.
  for (const auto& [field, value] : object.items()) {
    CAPTURE(field);
    CHECK(std::regex_search(page, std::regex("\\b" + field + "\\b")));
  }
}

bool is_time(const Json& value) {
  static const std::regex shape(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z)");
  return value.is_string() && std::regex_match(value.get<std::string>(), shape);
}

}  // namespace

TEST_SUITE("integration/cli_json") {
  TEST_CASE("a job's fields, before, while and after it runs") {
    const Cluster cluster;
    Rendezvous meeting(cluster.dir());
    const std::string job =
        cluster.cli().submit({"--hold", "--name", "a name", "--array", "1-2"}, meeting.command());
    const Json held = cluster.cli().job(job);
    check_fields(held, kJobFields);
    check_fields(held.at("counts"), kCounts);
    CHECK(held.at("id") == std::stoi(job));
    CHECK(held.at("name") == "a name");
    CHECK(held.at("state") == "paused");
    CHECK(held.at("tasks") == 2);
    CHECK(held.at("counts").at("ready") == 2);
    CHECK(is_time(held.at("submitted_at")));
    CHECK(held.at("started_at").is_null());
    CHECK(held.at("finished_at").is_null());

    cluster.cli().ok({"resume", job});
    (void)meeting.arrival();
    CHECK(eventually([&] { return is_time(cluster.cli().job(job).at("started_at")); }));
    CHECK(cluster.cli().job(job).at("state") == "running");
    // One runs on the one cpu; the other may have been sent ahead.
    CHECK(cluster.cli().job(job).at("counts").at("running") >= 1);
    meeting.let_go(1);
    meeting.let_go(1);
    CHECK(cluster.cli().wait(job) == 0);
    const Json done = cluster.cli().job(job);
    check_fields(done, kJobFields);
    CHECK(done.at("state") == "succeeded");
    CHECK(done.at("counts").at("succeeded") == 2);
    CHECK(is_time(done.at("finished_at")));
  }

  TEST_CASE("jobs --json is a job a line, newest first or last, as job --json") {
    const Cluster cluster;
    const std::string first = cluster.cli().submit({}, {"true"});
    const std::string second = cluster.cli().submit({}, {"true"});
    CHECK(cluster.cli().run({"wait", first, second}).code == 0);
    const std::vector<Json> jobs = cluster.cli().jobs();
    REQUIRE(jobs.size() == 2);
    for (const Json& job : jobs) {
      check_fields(job, kJobFields);
      CHECK(job == cluster.cli().job(std::to_string(job.at("id").get<int>())));
    }
  }

  TEST_CASE("a task's fields") {
    const Cluster cluster;
    const std::string job = cluster.cli().submit(
        {"--array", "1-3", "--retries", "0"}, {"sh", "-c",
                                               "echo four; [ $CAPSTAN_TASK_INDEX != 2 ] || exit 7; "
                                               "[ $CAPSTAN_TASK_INDEX != 3 ] || kill -SEGV $$"});
    CHECK(cluster.cli().wait(job) != 0);
    const std::vector<Json> tasks = cluster.cli().tasks(job);
    REQUIRE(tasks.size() == 3);
    for (const Json& task : tasks) {
      check_fields(task, kTaskFields);
      CHECK(task.at("attempt") == 1);
      CHECK(task.at("worker") == "w1");
      CHECK(is_time(task.at("started_at")));
      CHECK(is_time(task.at("finished_at")));
      CHECK(task.at("wall_s").get<double>() > 0);
      CHECK(task.at("cpu_s").is_number());
      CHECK(task.at("max_rss_bytes").get<std::uint64_t>() > 100'000);
      CHECK(task.at("output_bytes") == 5);
    }
    CHECK(tasks[0].at("task") == 1);
    CHECK(tasks[0].at("state") == "succeeded");
    CHECK(tasks[0].at("exit_code") == 0);
    CHECK(tasks[1].at("state") == "failed");
    CHECK(tasks[1].at("exit_code") == 7);
    CHECK(tasks[2].at("signal") == 11);
    CHECK(cluster.cli().tasks(job, {"--state", "failed"}).size() == 2);
  }

  TEST_CASE("a worker's fields, and the status's") {
    const Cluster cluster({.workers = 1, .cpus = 3});
    const auto workers = cluster.cli().workers();
    REQUIRE(workers.count("w1") == 1);
    check_fields(workers.at("w1"), kWorkerFields);
    CHECK(workers.at("w1").at("cpus") == 3);
    CHECK(workers.at("w1").at("state") == "up");
    CHECK(workers.at("w1").at("running") == 0);
    CHECK(workers.at("w1").at("last_heard_s").get<double>() < 30);
    check_fields(cluster.cli().status(), {"version", "epoch", "seq", "workers_up"});
  }

  TEST_CASE("names that are no text are shown, and the JSON stays JSON") {
    const Cluster cluster;
    const std::string job = cluster.cli().submit({}, {"echo", "\xff\xfe", "a\"b"});
    CHECK(cluster.cli().wait(job) == 0);
    CHECK(cluster.cli().job(job).at("state") == "succeeded");
    CHECK(contains(cluster.cli().ok({"job", job}), "\\xFF") +
              contains(cluster.cli().ok({"job", job}), "\\xff") >
          0);
  }
}

}  // namespace capstan::itest
