// SPDX-License-Identifier: MIT
//
// Nodes of a pair that come back with less than they had, or with what is not theirs: each catches
// up, or is refused with a line that says why.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/integration/pair.h"

namespace capstan::itest {
namespace {

namespace fs = std::filesystem;

void remove_database(const std::string& dir) {
  for (const char* end : {"", "-wal", "-shm"}) fs::remove(dir + "/capstan.db" + end);
}

/// A start that is to fail.
Finished refused_start(const Pair& pair, const std::string& node) {
  return run(
      {.argv = {program("capstan-master"), "--dir", pair.dir_of(node), "--http", "127.0.0.1:0"}});
}

/// A submission that is given up when it is not acknowledged in time.
int submit_briefly(const Pair& pair) {
  return pair.cli().run({"--timeout", "3s", "submit", "--", "true"}).code;
}

bool needs_two_copies(const Pair& pair) {
  return contains(pair.cli().run({"cluster"}).out, "min_copies is 2");
}

void run_some(const Pair& pair) {
  const std::string job = pair.cli().submit({"--array", "1-20"}, {"echo", "{}"});
  CHECK(pair.cli().wait(job) == 0);
}

/// Started alone `behind` does not lead: it may lack something. It follows `first`, which has all.
void check_waits_for(Pair& pair, const std::string& first, const std::string& behind) {
  pair.start(behind);
  REQUIRE(eventually(
      [&] { return contains(pair.cli().run({"cluster"}).out, "may lack what was acknowledged"); }));
  CHECK(pair.primary().empty());
  pair.start(first);
  pair.wait_in_sync();
  CHECK(pair.primary() == first);
  pair.check_same_rows();
}

}  // namespace

TEST_SUITE("integration/nodes") {
  TEST_CASE("a node whose disk was lost comes back from its copied directory") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string lost = Pair::other(first);
    run_some(pair);
    pair.kill(lost);
    run_some(pair);
    remove_database(pair.dir_of(lost));
    SUBCASE("without its vote file") {
      fs::remove(pair.dir_of(lost) + "/capstan.vote");
    }
    SUBCASE("with the one that init made") {
      // A second cluster's is as fresh, and its contents are the same.
      Args again = {program("capstan-master"), "init"};
      again.insert(again.end(), pair.masters().begin(), pair.masters().end());
      again.push_back(pair.dir() / "again");
      REQUIRE(run({.argv = again}).code == 0);
      fs::copy_file(pair.dir() / "again/" + lost + "/capstan.vote",
                    pair.dir_of(lost) + "/capstan.vote", fs::copy_options::overwrite_existing);
    }
    pair.start(lost);
    REQUIRE(eventually([&] {
      return contains(pair.cli().run({"cluster"}).out, "capstan cluster reseed " + lost);
    }));
    CHECK_FALSE(pair.is_in_sync());
    // Until both have dialled each other it is refused for now.
    REQUIRE(eventually([&] { return pair.cli().run({"cluster", "reseed", lost}).code == 0; }));
    pair.wait_in_sync();
    pair.check_same_rows();
    // It counts again: it may even lead.
    pair.kill(first);
    CHECK(eventually([&] { return pair.primary() == lost; }));
    run_some(pair);
  }

  TEST_CASE("a database that is lost alone is had again, and its node does not lead before") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string lost = Pair::other(first);
    run_some(pair);
    pair.kill(lost);
    remove_database(pair.dir_of(lost));
    SUBCASE("while the other one serves") {
      pair.start(lost);
      pair.wait_in_sync();
      pair.check_same_rows();
    }
    SUBCASE("the other one is away") {
      pair.kill(first);
      check_waits_for(pair, first, lost);
    }
  }

  TEST_CASE("min_copies 2 is kept through failovers and starts, and forbids to serve alone") {
    Pair pair;
    std::string first = pair.primary();
    pair.cli().ok({"cluster", "set", "min_copies", "2"});
    CHECK(needs_two_copies(pair));
    run_some(pair);
    pair.kill(first);
    const std::string second = Pair::other(first);
    REQUIRE(eventually([&] { return pair.primary() == second; }));
    CHECK(needs_two_copies(pair));
    CHECK(submit_briefly(pair) == 75);
    // The same one, started anew.
    pair.kill(second);
    pair.start(second);
    REQUIRE(eventually([&] { return pair.primary() == second; }));
    CHECK(needs_two_copies(pair));
    CHECK(submit_briefly(pair) == 75);
    SUBCASE("until a person allows it") {
      pair.cli().ok({"cluster", "set", "min_copies", "1"});
      run_some(pair);
      pair.start(first);
    }
    SUBCASE("until the other one is back") {
      pair.start(first);
      run_some(pair);
      pair.cli().ok({"cluster", "set", "min_copies", "1"});
    }
    pair.wait_in_sync();
    CHECK_FALSE(needs_two_copies(pair));
    pair.check_same_rows();
  }

  TEST_CASE("a database that was copied from the other node by hand") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    run_some(pair);
    pair.stop(second);
    run_some(pair);
    pair.stop(first);
    remove_database(pair.dir_of(second));
    fs::copy_file(pair.dir_of(first) + "/capstan.db", pair.dir_of(second) + "/capstan.db");
    // Nobody knows what it was copied from, and when: it does not lead with that.
    check_waits_for(pair, first, second);
  }

  TEST_CASE("a backup that is put in the place of a node's database is refused") {
    Pair pair;
    const std::string second = Pair::other(pair.primary());
    run_some(pair);
    pair.cli().ok({"backup", pair.dir() / "backup"});
    pair.kill(second);
    remove_database(pair.dir_of(second));
    fs::copy_file(pair.dir() / "backup", pair.dir_of(second) + "/capstan.db");
    const Finished refused = refused_start(pair, second);
    CHECK(refused.code == 2);
    CHECK(contains(refused.err, "capstan restore FILE DIR"));
    remove_database(pair.dir_of(second));
    pair.start(second);
    pair.wait_in_sync();
    pair.check_same_rows();
  }

  TEST_CASE("a node of another cluster at the standby's place is not let in") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    Args other = {program("capstan-master"), "init"};
    other.insert(other.end(), pair.masters().begin(), pair.masters().end());
    other.push_back(pair.dir() / "other");
    REQUIRE(run({.argv = other}).code == 0);
    pair.kill(second);
    {
      Child stranger(
          Child::Options{.argv = {program("capstan-master"), "--dir",
                                  pair.dir() / "other/" + second, "--http", "127.0.0.1:0"}});
      stranger.wait_for("capstan-master ready");
      stranger.wait_for("peer.refuses");
      pair.node(first).wait_for("peer.refused");
      CHECK(eventually([&] { return pair.is_solo(); }));
      run_some(pair);
      CHECK_FALSE(contains(stranger.err(), "role.changed"));
    }
    pair.start(second);
    pair.wait_in_sync();
    pair.check_same_rows();
  }

  TEST_CASE("a second process of one node, elsewhere, is told of and harms nobody") {
    Pair pair;
    const std::string first = pair.primary();
    const std::string second = Pair::other(first);
    run_some(pair);
    pair.stop(second);
    fs::copy(pair.dir_of(second), pair.dir() / "twin", fs::copy_options::recursive);
    pair.start(second);
    pair.wait_in_sync();
    Child twin(Child::Options{.argv = {program("capstan-master"), "--dir", pair.dir() / "twin",
                                       "--http", "127.0.0.1:0", "--listen",
                                       "127.0.0.1:" + std::to_string(free_port())}});
    twin.wait_for("capstan-master ready");
    pair.node(first).wait_for("peer.doubled");
    run_some(pair);
    pair.wait_in_sync();
    CHECK(pair.primary() == first);
    pair.kill(first);
    CHECK(eventually([&] { return pair.primary() == second; }));
    run_some(pair);
  }
}

}  // namespace capstan::itest
