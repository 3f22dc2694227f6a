// SPDX-License-Identifier: MIT
//
// Output between two masters: both halves, with packs in memory and a wire that loses pieces.
#include "master/output_relay.h"

#include <doctest/doctest.h>

#include <deque>
#include <string>

#include "tests/support/builders.h"
#include "tests/support/quiet.h"
#include "tests/unit/master/fakes.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

struct Wire {
  FakeLogs ours, theirs;
  FakeClock clock;
  std::deque<msg::LogRelay> sent;
  bool is_deleted = false;  ///< There: every job.
  OutputRelay relay{{ours, clock, [this](msg::LogRelay piece) { sent.push_back(piece); }}};

  Wire() { relay.allow_walk(); }

  /// Worker's output; returns whether its sender may forget it.
  const bool& append(std::uint64_t offset, const Bytes& data, bool last = false, int task = 1) {
    bool& done = done_.emplace_back(false);
    relay.append({a_key(17, task, 1), Stream::Stdout, offset, data, last},
                 [&done](const Result<void>& stored) { done = stored.has_value(); });
    return done;
  }
  void deliver_one() {
    msg::LogRelay piece = std::move(sent.front());
    sent.pop_front();
    take_relayed(
        theirs, std::move(piece), [this] { return is_deleted; },
        [this](msg::LogRelayed answer) { relay.on_relayed(answer); });
  }
  void deliver() {
    while (!sent.empty()) deliver_one();
  }
  void pass(Micros span) {
    clock.advance(span);
    relay.tick();
  }
  [[nodiscard]] bool is_equal() const {
    if (ours.streams.size() != theirs.streams.size()) return false;
    for (const auto& [key, kept] : ours.streams) {
      const auto other = theirs.streams.find(key);
      if (other == theirs.streams.end() || other->second.data != kept.data ||
          other->second.last != kept.last)
        return false;
    }
    return true;
  }

 private:
  std::deque<bool> done_;
};

}  // namespace

TEST_SUITE("master/output_relay") {
  TEST_CASE("without a standby in sync our own pack is enough") {
    Wire wire;
    CHECK(wire.append(0, "one", true));
    CHECK(wire.sent.empty());
  }

  TEST_CASE("with one it is durable when both have it, and not before") {
    Wire wire;
    wire.relay.set_peer(7);
    const bool& first = wire.append(0, "one");
    const bool& second = wire.append(3, "two", true);
    CHECK_FALSE(first);
    CHECK(wire.sent.front().life == 7);
    wire.theirs.hold = true;
    wire.deliver();
    CHECK_FALSE(first);  // There, but not durable yet.
    while (!wire.theirs.held.empty()) {
      wire.theirs.held.front()();
      wire.theirs.held.pop_front();
      wire.deliver();
    }
    CHECK(first);
    CHECK(second);
    CHECK(wire.is_equal());
    CHECK(wire.relay.next_deadline() == TimePoint::never());
  }

  TEST_CASE("a piece that is lost on the way is sent again, one that is not taken later") {
    Wire wire;
    wire.relay.set_peer(7);
    const bool& done = wire.append(0, "one");
    wire.sent.clear();
    wire.pass(1900ms);
    CHECK(wire.sent.empty());
    wire.pass(200ms);
    REQUIRE(wire.sent.size() == 1);
    wire.theirs.fault = Errc::Unavailable;
    wire.deliver();
    CHECK_FALSE(done);
    CHECK(wire.sent.empty());
    wire.theirs.fault.reset();
    wire.pass(200ms);
    wire.deliver();
    CHECK(done);
  }

  TEST_CASE("what it missed while it was away comes first, in the order of the stream") {
    Wire wire;
    wire.relay.set_peer(7);
    (void)wire.append(0, "one");
    wire.deliver();
    const bool& waiting = wire.append(3, "two");
    wire.relay.set_peer(0);  // It is taken out: who waits for it, waits no more.
    CHECK(waiting);
    wire.sent.clear();
    CHECK(wire.append(6, "three"));
    CHECK(wire.append(0, "another task's", true, 2));
    wire.relay.set_peer(8);
    const bool& live = wire.append(11, "four", true);
    CHECK_FALSE(live);
    wire.deliver();
    CHECK(live);
    CHECK(wire.is_equal());
    CHECK(wire.theirs.streams.at({a_key(17, 1, 1), Stream::Stdout}).data == "onetwothreefour");
  }

  TEST_CASE("what it missed is not looked for before it may be") {
    Wire wire;
    wire.append(0, "missed", true);
    OutputRelay held(
        {wire.ours, wire.clock, [&](msg::LogRelay piece) { wire.sent.push_back(piece); }});
    held.set_peer(1);
    held.tick();
    CHECK(wire.sent.empty());
    CHECK(held.next_deadline() == TimePoint::never());
    held.allow_walk();
    held.tick();
    CHECK(wire.sent.size() == 1);
  }

  TEST_CASE("a standby that has everything is asked, and gets nothing twice") {
    Wire wire;
    for (int task = 1; task <= 5; ++task) CHECK(wire.append(0, Bytes(1000, 'x'), true, task));
    wire.relay.set_peer(7);
    wire.deliver();
    REQUIRE(wire.is_equal());
    wire.relay.set_peer(8);
    std::size_t bytes = 0;
    while (!wire.sent.empty()) {
      bytes += wire.sent.front().data.size();
      wire.deliver_one();
    }
    CHECK(bytes == 0);
    CHECK(wire.is_equal());
  }

  TEST_CASE("only so many pieces are on their way") {
    Wire wire;
    wire.relay.set_peer(7);
    for (int task = 1; task <= 20; ++task) (void)wire.append(0, "x", true, task);
    CHECK(wire.sent.size() == limits::kRelayWindow);
    wire.deliver();
    CHECK(wire.is_equal());
  }

  TEST_CASE("output of a job that is gone holds up nobody") {
    Wire wire;
    wire.relay.set_peer(7);
    SUBCASE("there") {
      wire.is_deleted = true;
      const bool& done = wire.append(0, "one", true);
      wire.deliver();
      CHECK(done);
      CHECK(wire.theirs.streams.empty());
    }
    SUBCASE("here, before it was sent again") {
      const bool& done = wire.append(0, "one");
      wire.sent.clear();
      wire.relay.remove(JobId(17), [](const Result<void>&) {});
      wire.pass(3s);
      CHECK(done);
    }
  }

  TEST_CASE("an answer to an earlier standby counts for nothing") {
    Wire wire;
    wire.relay.set_peer(7);
    const bool& done = wire.append(0, "one");
    const std::uint64_t number = wire.sent.front().number;
    wire.relay.set_peer(8);
    wire.relay.on_relayed({number, true, 3, false});
    CHECK_FALSE(done);
  }
}

}  // namespace capstan::test
