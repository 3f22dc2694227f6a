// SPDX-License-Identifier: MIT
//
// Several users of one cluster: keys are given and taken, everybody has own jobs only.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

/// Somebody with a key of their own.
Cli add_user(const Cluster& cluster, const std::string& name, const std::string& role = "user") {
  const std::string file = cluster.dir() / (name + ".access");
  cluster.cli().ok({"key", "add", name, "--role", role, "--out", file});
  return Cli(file, cluster.dir().path());
}

}  // namespace

TEST_SUITE("integration/users") {
  TEST_CASE("a user has own jobs and no others; an admin has all") {
    Cluster cluster;
    const Cli& admin = cluster.cli();
    const Cli bob = add_user(cluster, "bob");
    const Cli eve = add_user(cluster, "eve");
    Rendezvous meeting(cluster.dir());
    const std::string job = bob.submit({}, meeting.command());
    (void)meeting.arrival();
    CHECK(bob.job(job).at("owner") == "bob");
    CHECK(eve.jobs().empty());
    const Args commands[] = {
        {"job", job},        {"tasks", job},          {"logs", job + ".1"}, {"wait", job},
        {"cancel", job},     {"pause", job},          {"resume", job},      {"retry", job},
        {"why", job + ".1"}, {"attempts", job + ".1"}};
    for (const Args& command : commands) {
      const Finished refused = eve.run(command);
      CAPTURE(command[0]);
      CHECK(refused.code == 3);
      CHECK_FALSE(contains(refused.err + refused.out, "bob"));
    }
    CHECK(admin.job(job).at("owner") == "bob");
    CHECK(admin.jobs().size() == 1);
    admin.ok({"cancel", job});
    CHECK(bob.wait(job) == 1);
    for (const Args& command : {Args{"key", "list"}, Args{"key", "add", "x"},
                                Args{"key", "revoke", "bob"}, Args{"worker", "drain", "w1"}}) {
      const Finished refused = eve.run(command);
      CHECK(refused.code == 3);
      CHECK(contains(refused.err, "only an admin's key may do this"));
    }
    const Cli second = add_user(cluster, "root2", "admin");
    CHECK(second.jobs().size() == 1);
  }

  TEST_CASE("key add prints the file; names are unique; the list is of keys that are valid") {
    const Cluster cluster({.workers = 0});
    const Cli& admin = cluster.cli();
    const std::string file = cluster.dir() / "carl.access";
    write_file(file, admin.ok({"key", "add", "carl"}), 0600);
    const Cli carl(file, cluster.dir().path());
    CHECK(carl.jobs().empty());
    CHECK(admin.run({"key", "add", "carl"}).code == 3);
    CHECK(admin.run({"key", "add", "invitation"}).code == 3);
    CHECK(admin.run({"key", "add", "a b"}).code == 3);
    CHECK(admin.run({"key", "add", "dora", "--role", "worker"}).code == 2);
    CHECK(admin.run({"key", "add", "dora", "--out", file}).code == 2);
    CHECK(json_lines(admin.ok({"key", "list", "--json"})).size() == 3);
    admin.ok({"key", "revoke", "carl"});
    CHECK(admin.run({"key", "revoke", "carl"}).code == 3);
    CHECK(json_lines(admin.ok({"key", "list", "--json"})).size() == 2);
    CHECK(cluster.database().number("SELECT count(*) FROM keys WHERE revoked_at_us IS NULL") == 0);
  }

  TEST_CASE("a revoked key is shut out at once, also in the middle of a wait, and for good") {
    Cluster cluster;
    const Cli& admin = cluster.cli();
    const Cli bob = add_user(cluster, "bob");
    Rendezvous meeting(cluster.dir());
    const std::string job = bob.submit({}, meeting.command());
    (void)meeting.arrival();
    const auto waiting = bob.start({"wait", job});
    const auto following = bob.start({"logs", "-f", job + ".1"});
    admin.ok({"key", "revoke", "bob"});
    for (Child* child : {waiting.get(), following.get()}) {
      const Finished ended = child->wait();
      CHECK(ended.code == 3);
      CHECK_FALSE(ended.err.empty());
    }
    CHECK(bob.run({"jobs"}).code == 3);
    cluster.kill_master();
    cluster.start_master();
    CHECK(bob.run({"jobs"}).code == 3);
    // The jobs are there, and belong to whoever is bob next.
    const Cli next = [&] {
      const std::string file = cluster.dir() / "bob2.access";
      admin.ok({"key", "add", "bob", "--out", file});
      return Cli(file, cluster.dir().path());
    }();
    CHECK(next.job(job).at("owner") == "bob");
    meeting.let_go(1);
    CHECK(next.wait(job) == 0);
  }

  TEST_CASE("a worker whose key is revoked is out, and its tasks run elsewhere") {
    Cluster cluster({.workers = 2});
    const Cli& admin = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string job = admin.submit({}, meeting.command());
    const Rendezvous::Arrival first = meeting.arrival();
    admin.ok({"key", "revoke", first.worker});
    const Rendezvous::Arrival second = meeting.arrival();
    CHECK(second.worker != first.worker);
    CHECK(second.attempt == 2);
    CHECK(admin.workers().count(first.worker) == 0);
    CHECK(cluster.worker(first.worker).wait().code != 0);
    meeting.let_go(2);
    CHECK(admin.wait(job) == 0);
    const std::vector<Json> attempts = json_lines(admin.ok({"attempts", job, "--json"}));
    REQUIRE(attempts.size() == 2);
    CHECK(attempts[0].at("class") == "worker_lost");
    CHECK(attempts[0].at("worker") == first.worker);
  }

  TEST_CASE("a revoked invitation lets nobody in any more; a new one does") {
    Cluster cluster({.workers = 0});
    cluster.cli().ok({"key", "revoke", "invitation"});
    cluster.kill_master();
    cluster.start_master();
    Child::Options options;
    options.argv = {program("capstan-worker"),
                    "--access",
                    cluster.worker_access(),
                    "--dir",
                    cluster.worker_dir("x"),
                    "--name",
                    "x",
                    "--cpus",
                    "1"};
    CHECK(run(std::move(options)).code != 0);
    CHECK(cluster.cli().workers().empty());
    cluster.kill_master();
    REQUIRE(::unlink(cluster.worker_access().c_str()) == 0);
    cluster.start_master();
    cluster.start_worker("w1");
    cluster.wait_workers_up(1);
  }
}

}  // namespace capstan::itest
