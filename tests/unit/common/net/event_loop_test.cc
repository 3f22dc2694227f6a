// SPDX-License-Identifier: MIT
#include "common/net/event_loop.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "common/base/unique_fd.h"
#include "common/net/poll_source.h"

namespace capstan::net {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  void put() const { REQUIRE(::write(in.get(), "x", 1) == 1); }
  void take() const {
    char byte = 0;
    REQUIRE(::read(out.get(), &byte, 1) == 1);
  }
  UniqueFd in;
  UniqueFd out;
};

TimePoint soon() {
  return SystemClock().now() + 20s;
}

/// Counts its runs, and whether it still lives.
struct CountingSource final : PollSource {
  explicit CountingSource(int& the_runs, bool& the_alive) : runs(the_runs), alive(the_alive) {
    alive = true;
  }
  ~CountingSource() override { alive = false; }
  void add_descriptors(std::vector<int>&) const override {}
  bool is_ready() override { return left > 0; }
  TimePoint next_deadline() const override { return TimePoint::never(); }
  void run(TimePoint) override {
    ++runs;
    --left;
    if (then) then();
    CHECK(alive);
  }
  int& runs;
  bool& alive;
  int left = 3;
  std::function<void()> then;
};

}  // namespace

TEST_SUITE("common/net/event_loop") {
  TEST_CASE("a readable descriptor is told again until it is read") {
    EventLoop loop;
    const Pipe pipe;
    int told = 0;
    loop.watch(pipe.out.get(), [&] { ++told; });
    pipe.put();
    loop.poll(soon());
    loop.poll(soon());
    CHECK(told == 2);
    pipe.take();
    loop.poll(TimePoint{});
    CHECK(told == 2);
    loop.unwatch(pipe.out.get());
    pipe.put();
    loop.poll(TimePoint{});
    CHECK(told == 2);
  }

  TEST_CASE("a closed pipe is told too") {
    EventLoop loop;
    Pipe pipe;
    int told = 0;
    loop.watch(pipe.out.get(), [&] { ++told; });
    pipe.in.reset();
    loop.poll(soon());
    CHECK(told == 1);
  }

  TEST_CASE("a callback may take away itself and the other that is due") {
    EventLoop loop;
    const Pipe one;
    const Pipe two;
    int told = 0;
    const auto both_away = [&] {
      loop.unwatch(one.out.get());
      loop.unwatch(two.out.get());
      ++told;
    };
    loop.watch(one.out.get(), both_away);
    loop.watch(two.out.get(), both_away);
    one.put();
    two.put();
    loop.poll(soon());
    loop.poll(TimePoint{});
    CHECK(told == 1);
  }

  TEST_CASE("poll waits for its deadline, and not when it is over") {
    EventLoop loop;
    const SystemClock clock;
    const TimePoint begin = clock.now();
    loop.poll(begin + 30ms);
    CHECK(clock.now() - begin >= Micros(30ms));
    loop.poll(begin);
  }

  TEST_CASE("what another thread posts wakes the loop") {
    EventLoop loop;
    int ran = 0;
    std::thread other([&] {
      for (int i = 0; i < 100; ++i) loop.post([&] { ++ran; });
    });
    const TimePoint end = soon();
    while (ran < 100 && SystemClock().now() < end) loop.poll(end);
    other.join();
    CHECK(ran == 100);
  }

  TEST_CASE("what a posted task posts runs in the next poll") {
    EventLoop loop;
    int ran = 0;
    loop.post([&] {
      ++ran;
      loop.post([&] { ++ran; });
    });
    loop.poll(soon());
    CHECK(ran == 1);
    loop.poll(soon());
    CHECK(ran == 2);
  }

  TEST_CASE("signals arrive as callbacks, and the mask is given back") {
    std::vector<int> seen;
    {
      EventLoop loop;
      REQUIRE(loop.on_signals({SIGUSR1, SIGUSR2}, [&](int number) { seen.push_back(number); }));
      CHECK_FALSE(loop.on_signals({SIGHUP}, [](int) {}));
      REQUIRE(::kill(::getpid(), SIGUSR1) == 0);
      const TimePoint end = soon();
      while (seen.empty() && SystemClock().now() < end) loop.poll(end);
      CHECK(seen == std::vector<int>{SIGUSR1});
      REQUIRE(::kill(::getpid(), SIGUSR2) == 0);  // Left unread: it must not kill us afterwards.
    }
    sigset_t mask;
    REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &mask) == 0);
    CHECK(sigismember(&mask, SIGUSR1) == 0);
  }

  TEST_CASE("a signal that comes between two loops is the next one's, if it was blocked before") {
    sigset_t blocked;
    sigset_t before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    REQUIRE(::pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
    {
      EventLoop first;
      REQUIRE(first.on_signals({SIGUSR1}, [](int) {}));
      REQUIRE(::kill(::getpid(), SIGUSR1) == 0);
    }
    int seen = 0;
    {
      EventLoop second;
      REQUIRE(second.on_signals({SIGUSR1}, [&](int number) { seen = number; }));
      const TimePoint end = soon();
      while (seen == 0 && SystemClock().now() < end) second.poll(end);
    }
    CHECK(seen == SIGUSR1);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  TEST_CASE("a source that has more is run again at once") {
    EventLoop loop;
    int runs = 0;
    bool alive = false;
    auto source = std::make_unique<CountingSource>(runs, alive);
    loop.attach(*source);
    loop.poll(soon());
    loop.poll(soon());
    CHECK(runs == 2);
    loop.retire(std::move(source));
    CHECK_FALSE(alive);
    loop.poll(TimePoint{});
    CHECK(runs == 2);
  }

  TEST_CASE("a source that is retired while it runs lives to its end") {
    EventLoop loop;
    int runs = 0;
    bool alive = false;
    auto source = std::make_unique<CountingSource>(runs, alive);
    CountingSource& running = *source;
    loop.attach(running);
    running.then = [&] { loop.retire(std::move(source)); };
    loop.poll(soon());
    CHECK(runs == 1);
    CHECK_FALSE(alive);
  }
}

}  // namespace capstan::net
