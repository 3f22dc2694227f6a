// SPDX-License-Identifier: MIT
#include "worker/pair_channel.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

namespace capstan {
namespace {

struct Ends {
  Ends() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    shepherd = PairChannel(UniqueFd(fds[0]));
    agent = PairChannel(UniqueFd(fds[1]));
  }
  PairChannel shepherd;
  PairChannel agent;
};

TEST_SUITE("worker/pair_channel") {
  TEST_CASE("a side that does not read makes nobody wait, and gets everything later") {
    Ends ends;
    const std::string bytes(1'000'000, 'x');
    for (std::uint32_t task = 1; task <= 20; ++task) {
      pair::encode(pair::ToShepherd(pair::Unrunnable{{JobId(1), TaskIndex(task), {}}, bytes}),
                   ends.agent.out());
      REQUIRE(ends.agent.flush());
    }
    CHECK(ends.agent.waiting_bytes() > 10'000'000);
    std::uint32_t seen = 0;
    while (seen < 20) {
      REQUIRE(ends.shepherd.receive([&](std::string_view payload) {
        const auto message = pair::decode_to_shepherd(payload);
        REQUIRE(message);
        CHECK(std::get<pair::Unrunnable>(*message).key.task.value == ++seen);
        return true;
      }));
      REQUIRE(ends.agent.flush());
    }
    CHECK(ends.agent.waiting_bytes() == 0);
  }

  TEST_CASE("what was said before the end is heard, then the end") {
    Ends ends;
    pair::encode(pair::ToShepherd(pair::Recall{}), ends.agent.out());
    REQUIRE(ends.agent.flush());
    ends.agent.close();
    int heard = 0;
    const auto count = [&heard](std::string_view) { return ++heard > 0; };
    CHECK(ends.shepherd.receive(count));
    CHECK_FALSE(ends.shepherd.receive(count));
    CHECK(heard == 1);
    pair::encode(pair::ToAgent(pair::AllDone{}), ends.shepherd.out());
    CHECK_FALSE(ends.shepherd.flush());
  }
}

}  // namespace
}  // namespace capstan
