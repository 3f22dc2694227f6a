// SPDX-License-Identifier: MIT
#include "tests/integration/pair.h"

#include <doctest/doctest.h>
#include <signal.h>

namespace capstan::itest {

Pair::Pair(Options options) : cli_(dir_ / "c/admin.access", dir_.path()) {
  const auto at = [] { return "127.0.0.1:" + std::to_string(free_port()); };
  init_ = {"--masters", "a=" + at() + ",b=" + at(), "--witness", "w=" + at()};
  Args command = {program("capstan-master"), "init"};
  command.insert(command.end(), init_.begin(), init_.end());
  command.push_back(dir_ / "c");
  const Finished made = run({.argv = command});
  REQUIRE_MESSAGE(made.code == 0, made.err);
  for (const char* node : {"a", "b", "w"}) start(node);
  wait_in_sync();
  for (int i = 1; i <= options.workers; ++i) {
    const std::string name = "w" + std::to_string(i);
    workers_[name] = std::make_unique<Child>(Child::Options{
        .argv = {options.worker_program, "--access", dir_ / "c/worker.access", "--dir", dir_ / name,
                 "--name", name, "--cpus", std::to_string(options.cpus)}});
    workers_[name]->wait_for("worker.ready");
  }
}

void Pair::start(const std::string& node, const std::string& master) {
  nodes_[node] = std::make_unique<Child>(
      Child::Options{.argv = {master, "--dir", dir_of(node), "--http", "127.0.0.1:0"}});
  nodes_[node]->wait_for("capstan-master ready");
}

void Pair::kill(const std::string& node) {
  nodes_.at(node)->signal(SIGKILL);
  nodes_.at(node)->wait();
}

void Pair::stop(const std::string& node) {
  nodes_.at(node)->signal(SIGTERM);
  CHECK(nodes_.at(node)->wait().code == 0);
}

Json Pair::view() const {
  const Finished seen = cli_.run({"cluster", "--json"});
  return seen.code == 0 ? Json::parse(seen.out, nullptr, false) : Json();
}

std::string Pair::primary() const {
  const Json seen = view();
  return seen.is_object() && seen["primary"].is_string() ? std::string(seen["primary"]) : "";
}

bool Pair::is_in_sync() const {
  const Json seen = view();
  return seen.is_object() && seen.value("in_sync", false);
}

bool Pair::is_solo() const {
  const Json seen = view();
  return seen.is_object() && seen.value("solo", false);
}

void Pair::wait_in_sync() const {
  REQUIRE(eventually([this] { return is_in_sync(); }));
}

void Pair::check_same_rows() const {
  for (const char* rows :
       {"SELECT id || ' ' || state || ' ' || owner FROM jobs ORDER BY id",
        "SELECT job || '.' || task || ' ' || state || ' ' || attempts FROM tasks ORDER BY job, "
        "task",
        "SELECT job || '.' || task || '.' || attempt || ' ' || end_class FROM attempts"
        " ORDER BY job, task, attempt",
        "SELECT next_job || ' ' || min_copies FROM meta"}) {
    CHECK(eventually([&] { return database("a").column(rows) == database("b").column(rows); }));
    CHECK(database("a").column(rows) == database("b").column(rows));
  }
}

}  // namespace capstan::itest
