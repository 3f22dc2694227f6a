// SPDX-License-Identifier: MIT
//
// The client and two masters, of which one leads.
#include <doctest/doctest.h>

#include <fstream>

#include "cli/client.h"
#include "cli/job_submission.h"
#include "cli/known_members.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/cli/fake_master.h"

using namespace capstan;
using namespace capstan::cli;
using namespace std::chrono_literals;
using test::FakeMaster;

namespace {

/// A leads, b is its standby.
struct Pair {
  net::EventLoop loop;
  std::unique_ptr<FakeMaster> a = std::make_unique<FakeMaster>(loop);
  FakeMaster b{loop};
  std::unique_ptr<Client> client;
  TimePoint led_at;

  explicit Pair(const std::string& members_file = "") {
    b.admit(a->client_keys.public_key);
    b.is_standby = true;
    b.on_body = [](const msg::Body&) { FAIL("a standby was spoken to"); };
    Client::Options options;
    options.access.keys = a->client_keys;
    options.access.masters = {a->member("a"), b.member("b")};
    options.members_file = members_file;
    options.timeout = 20s;
    options.verb = "test";
    options.is_silent = true;
    auto opened = Client::open(loop, std::move(options));
    REQUIRE(opened);
    client = std::move(*opened);
  }
  /// B takes over from a, which is gone. Not from within a callback of a.
  void fail_over(std::function<void(const msg::Body&)> on_body) {
    b.on_body = std::move(on_body);
    loop.post([this] {
      a.reset();
      b.is_standby = false;
      b.epoch = Epoch(514);
      led_at = client->now();
    });
  }
  /// Everybody is connected and a has welcomed the client.
  void settle() {
    REQUIRE(
        client->run_until([&] { return client->is_open() && b.hellos > 0; }, client->now() + 20s)
            .value_or(false));
  }
};

JobSpec a_job() {
  JobSpec spec;
  spec.argv = {"true"};
  spec.cwd = "/";
  return spec;
}

}  // namespace

TEST_SUITE("cli/client with two masters") {
  TEST_CASE("what was asked of the one that dies is asked of the one that leads then") {
    Pair pair;
    pair.settle();
    std::vector<RequestId> seen;
    pair.a->on_body = [&](const msg::Body& body) {
      seen.push_back(std::get<msg::Control>(body).request);
      pair.fail_over([&](const msg::Body& again) {
        const RequestId request = std::get<msg::Control>(again).request;
        seen.push_back(request);
        msg::Done done;
        done.request = request;
        done.tasks = 5;
        pair.b.send(done);
      });
    };
    Selector selector;
    selector.job = JobId(17);
    const auto done = pair.client->control(msg::Verb::Cancel, {selector});
    REQUIRE(done);
    CHECK(done->tasks == 5);
    REQUIRE(seen.size() == 2);
    CHECK(seen[0] == seen[1]);
    // Half a second between two questions, and a busy machine.
    CHECK(pair.client->now() - pair.led_at < Micros(2s));
  }

  TEST_CASE("a standby is left alone while the other one leads, and asked often when nobody does") {
    Pair pair;
    pair.settle();
    const int before = pair.b.hellos;
    REQUIRE(pair.client->run_until([] { return false; }, pair.client->now() + 1200ms));
    CHECK(pair.b.hellos == before);
    pair.a->is_standby = true;
    pair.loop.post([&] { pair.a->forget(); });
    const int then = pair.b.hellos;
    CHECK(
        pair.client->run_until([&] { return pair.b.hellos >= then + 3; }, pair.client->now() + 20s)
            .value_or(false));
  }

  TEST_CASE("a watch goes on at the other master from where it was") {
    Pair pair;
    std::vector<Seq> from;
    const auto answer_with = [&](FakeMaster& master, const msg::Body& body) {
      const auto* watch = std::get_if<msg::Watch>(&body);
      if (watch == nullptr) return;
      from.push_back(watch->from);
      msg::WatchEvents events;
      events.watch = watch->watch;
      events.seq = Seq(watch->from.value + 7);
      master.send(events);
    };
    pair.a->on_body = [&](const msg::Body& body) { answer_with(*pair.a, body); };
    int heard = 0;
    msg::Watch watch;
    watch.job = JobId(17);
    pair.client->watch(watch, [&](const Result<msg::WatchEvents>& events) {
      REQUIRE(events);
      if (++heard == 1) {
        pair.fail_over([&](const msg::Body& body) { answer_with(pair.b, body); });
      }
    });
    CHECK(pair.client->run_until([&] { return heard == 2; }, pair.client->now() + 20s)
              .value_or(false));
    CHECK(from == std::vector<Seq>{Seq(0), Seq(7)});
  }

  TEST_CASE("a submission goes on behind the last part that was accepted") {
    Pair pair;
    pair.settle();
    std::vector<CombinedList> lists(1);
    for (int i = 0; i < 40; ++i) lists.front().list.add(std::string(60'000, 'x'));
    JobSpec spec = a_job();
    spec.has_inputs = true;
    auto inputs = TaskInputs::make(std::move(lists), spec);
    REQUIRE(inputs);
    const JobSubmission submission(spec, {std::move(*inputs), "", ""});
    std::optional<std::uint64_t> first_of_b;
    bool is_over = false;
    const auto on_b = [&](const msg::Body& body) {
      if (const auto* part = std::get_if<msg::SubmitInputs>(&body)) {
        if (!first_of_b) first_of_b = part->part;
        pair.b.send(msg::Accepted{part->request, part->part});
      }
      if (const auto* close = std::get_if<msg::SubmitClose>(&body)) {
        pair.b.send(msg::Submitted{close->request, JobId(18), 40, ""});
      }
    };
    pair.a->on_body = [&](const msg::Body& body) {
      const auto* part = std::get_if<msg::SubmitInputs>(&body);
      if (part == nullptr || is_over) return;
      if (part->part == 20) {
        is_over = true;
        return pair.fail_over(on_b);
      }
      pair.a->send(msg::Accepted{part->request, part->part});
    };
    const auto submitted = pair.client->submit(submission);
    REQUIRE(submitted);
    CHECK(submitted->tasks == 40);
    // Behind the last answer that arrived: what a said last may be lost with its connection.
    REQUIRE(first_of_b);
    CHECK(*first_of_b > 0);
    CHECK(*first_of_b <= 20);
  }

  TEST_CASE("the word of the master that leads is that of its standby") {
    Pair pair;
    pair.settle();
    pair.a->on_body = [&](const msg::Body&) {
      pair.a->send(msg::Refused{Errc::NotAllowed, "this key was revoked"});
    };
    pair.loop.post([&] { pair.b.is_standby = true; });
    const auto status = pair.client->ask<msg::StatusReply>(msg::GetStatus{});
    REQUIRE_FALSE(status);
    CHECK(status.error().exit_code == kExitRefused);
  }

  TEST_CASE("a list of masters that is newer than the access file is kept, and used") {
    const test::TempDir dir;
    const std::string file = dir.path() + "/members/x";
    Pair pair(file);
    net::Access old;  // Of the time when a was alone.
    old.keys = pair.a->client_keys;
    old.masters = {pair.a->member("a")};
    old.members_version = 1;
    CHECK(with_known_members(old, file).masters == old.masters);
    pair.a->welcome.members = {pair.a->member("a"), pair.b.member("b")};
    pair.a->welcome.members_version = 2;
    pair.settle();
    const net::Access now = with_known_members(old, file);
    CHECK(now.masters == pair.a->welcome.members);
    CHECK(now.members_version == 2);

    // A file as new as that holds as it is.
    net::Access same = old;
    same.members_version = 2;
    CHECK(with_known_members(same, file).masters == old.masters);
    // What only the file names is dialled as well: a restore may live there.
    net::Access moved = old;
    moved.masters[0].addresses = {"10.1.1.1:7741"};
    moved.masters.push_back({"c", {"10.1.1.2:7741"}, net::make_key_pair().public_key});
    const net::Access both = with_known_members(moved, file);
    REQUIRE(both.masters.size() == 3);
    CHECK(both.masters[0].addresses.back() == "10.1.1.1:7741");
    CHECK(both.masters[2].name == "c");
  }

  TEST_CASE("masters are written down only when that says something new") {
    const test::TempDir dir;
    const std::string file = dir.path() + "/x";
    net::Access access;
    access.masters = {{"a", {"h:1"}, net::make_key_pair().public_key}};
    access.members_version = 2;
    msg::Welcome welcome;
    welcome.generation = {10, 1};
    welcome.members = access.masters;
    welcome.members_version = 2;
    remember_members(file, access, welcome);
    CHECK_FALSE(std::filesystem::exists(file));  // The access file says it all.
    welcome.members_version = 3;
    remember_members(file, access, welcome);
    CHECK(with_known_members(access, file).members_version == 3);
    welcome.members_version = 2;
    remember_members(file, access, welcome);
    CHECK(with_known_members(access, file).members_version == 3);  // Not an older one.
    welcome.generation = {11, 1};                                  // A restore begins anew.
    remember_members(file, access, welcome);
    CHECK(with_known_members(access, file).masters == access.masters);
    std::ofstream(file) << "members_version = none";
    CHECK(with_known_members(access, file).masters == access.masters);
  }
}
