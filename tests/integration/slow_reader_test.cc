// SPDX-License-Identifier: MIT
//
// Clients that follow something and stop reading: they are cut off, go on from where they were when
// they come back, and nobody else waits for them.
#include <doctest/doctest.h>
#include <signal.h>

#include <set>

#include "common/model/limits.h"
#include "tests/integration/peers.h"

namespace capstan::itest {
namespace {

/// Silence of a minute, in seconds: everything that goes by it is shorter by as much.
const Args kShortSilence = {"--suspect-after", "1s", "--lost-after", "3s"};

}  // namespace

TEST_SUITE("integration/slow_reader") {
  TEST_CASE("a stopped `logs -f` is forgotten, and goes on where it was when it comes back") {
    Cluster cluster({.master_flags = kShortSilence});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string job =
        cli.submit({}, {"sh", "-c", "seq 1000; " + meeting.command("seq 1001 200000")[2]});
    (void)meeting.arrival();
    const auto follower = cli.start({"logs", "-f", job});
    follower->wait_for("\n1000\n");
    follower->signal(SIGSTOP);
    // Longer than the master waits for a silent client; others notice nothing of it.
    const auto began = std::chrono::steady_clock::now();
    meeting.let_go(1);
    CHECK(cli.wait(job) == 0);
    while (std::chrono::steady_clock::now() - began < 5s) check_serves(cluster);
    follower->signal(SIGCONT);
    const Finished done = follower->wait();
    CHECK(done.code == 0);
    CHECK(done.out == numbers(200'000));
  }

  TEST_CASE("a stopped `wait` hears the end when it comes back") {
    Cluster cluster({.master_flags = kShortSilence});
    const Cli& cli = cluster.cli();
    Rendezvous meeting(cluster.dir());
    const std::string job = cli.submit({"--retries", "0"}, meeting.command("exit 7"));
    (void)meeting.arrival();
    const auto waiter = cli.start({"wait", job});
    CHECK(eventually([&] {
      return contains(read_file("/proc/" + std::to_string(waiter->pid()) + "/wchan"), "poll");
    }));
    waiter->signal(SIGSTOP);
    const auto began = std::chrono::steady_clock::now();
    meeting.let_go(1);
    while (std::chrono::steady_clock::now() - began < 5s) check_serves(cluster);
    waiter->signal(SIGCONT);
    CHECK(waiter->wait().code == 1);
  }

  TEST_CASE("a watch that is not confirmed waits, costs little, and names where to go on") {
    Cluster cluster({.cpus = 4});
    const Cli& cli = cluster.cli();
    check_serves(cluster);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    KeyedPeer slow(cluster.admin_access());
    const msg::Welcome welcome = slow.hello();
    constexpr std::uint32_t kTasks = 6000;
    const std::string job = cli.submit({"--array", "1-" + std::to_string(kTasks)},
                                       {"sh", "-c", "head -c 4000 /dev/zero"});
    const JobId id(std::stoull(job));
    slow.say(msg::Watch{1, id, {}, {}, true, true});
    // It beats, and neither reads nor confirms anything.
    CHECK(eventually(
        [&] {
          slow.say(msg::Heartbeat{1});
          return cli.job(job).at("state") == "succeeded";
        },
        3 * kPatience));
    check_serves(cluster);
    const std::uint64_t after = rss_bytes(cluster.master().pid());
    MESSAGE("the master grew by " << (after - std::min(after, before)) / kMiB << " MiB");
    CHECK(after < before + 96 * kMiB);

    // What it was told ends with the position to go on from.
    std::set<TaskIndex> seen;
    Seq position;
    int messages = 0;
    while (slow.has_frame(1s)) {
      const msg::Body body = slow.receive();
      const auto* events = std::get_if<msg::WatchEvents>(&body);
      if (events == nullptr) continue;
      ++messages;
      for (const msg::TaskEnded& ended : events->ended) seen.insert(ended.view.task);
      position = events->seq;
      if (messages == limits::kWatchCredit) break;
    }
    CHECK(messages <= limits::kWatchCredit);
    CHECK(seen.size() < kTasks);
    KeyedPeer again(cluster.admin_access());
    again.hello();
    again.say(msg::Watch{1, id, welcome.generation, position, true, false});
    bool caught_up = false;
    while (!caught_up) {
      const auto events = again.expect<msg::WatchEvents>();
      for (const msg::TaskEnded& ended : events.ended) seen.insert(ended.view.task);
      caught_up = events.caught_up;
      again.say(msg::WatchCredit{1, 1});
    }
    CHECK(seen.size() == kTasks);
  }

  TEST_CASE("a client that asks and never reads is cut off when its queue is full") {
    Cluster cluster;
    const std::string job = cluster.cli().submit({"--array", "1-2000"}, {"true"});
    CHECK(cluster.cli().wait(job) == 0);
    const std::uint64_t before = rss_bytes(cluster.master().pid());
    KeyedPeer deaf(cluster.admin_access());
    deaf.hello();
    msg::ListTasks question;
    question.job = JobId(std::stoull(job));
    question.limit = 1000;
    const std::uint64_t refused = refused_messages(cluster);
    for (std::uint64_t i = 1; i <= 20'000; ++i) {
      question.query = i;
      deaf.say(question);
      if (i % 1000 == 0) {
        check_serves(cluster);
        CHECK(rss_bytes(cluster.master().pid()) < before + 160 * kMiB);
      }
    }
    CHECK(refused_messages(cluster) >= refused);
    check_serves(cluster);
  }
}

}  // namespace capstan::itest
