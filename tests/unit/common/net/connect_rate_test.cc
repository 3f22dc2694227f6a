// SPDX-License-Identifier: MIT
#include "common/net/connect_rate.h"

#include <doctest/doctest.h>

#include "common/model/limits.h"

namespace capstan::net {

using namespace std::chrono_literals;

TEST_SUITE("common/net/connect_rate") {
  TEST_CASE("a burst passes, what goes on for longer is held back, and time forgives") {
    ConnectRate rate;
    TimePoint now{1'000'000};
    for (int i = 0; i < limits::kConnectBurst; ++i) REQUIRE(rate.take("anna", now));
    CHECK_FALSE(rate.take("anna", now));
    CHECK(rate.take("berta", now));  // Somebody else's spree is not hers.
    now = now + 1s;
    int passed = 0;
    while (rate.take("anna", now)) ++passed;
    CHECK(passed == limits::kConnectsPerSecond);
    now = now + 1h;
    for (int i = 0; i < limits::kConnectBurst; ++i) REQUIRE(rate.take("anna", now));
    CHECK_FALSE(rate.take("anna", now));
  }

  TEST_CASE("keys that were not seen for a while are forgotten") {
    ConnectRate rate;
    TimePoint now{1'000'000};
    for (std::size_t i = 0; i < 3 * limits::kWorkers; ++i) {
      now = now + 50ms;
      REQUIRE(rate.take(std::to_string(i), now));
    }
    CHECK(rate.size() <= limits::kWorkers);
  }
}

}  // namespace capstan::net
