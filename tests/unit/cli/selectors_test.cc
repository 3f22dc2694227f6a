// SPDX-License-Identifier: MIT
#include "cli/selectors.h"

#include <doctest/doctest.h>

#include <string>

#include "cli/when.h"

using namespace capstan;
using namespace capstan::cli;

TEST_SUITE("cli/selectors") {
  TEST_CASE("an attempt has a third number") {
    const auto one = parse_attempt_selector("17.42.2");
    REQUIRE(one);
    CHECK(one->selector.job == JobId(17));
    CHECK(one->selector.tasks == std::vector<IndexRange>{{42, 42, 1}});
    CHECK(one->attempt == AttemptNo(2));
    CHECK_FALSE(parse_attempt_selector("17.42")->attempt);
    CHECK_FALSE(parse_attempt_selector("last")->attempt);
    const auto last = parse_attempt_selector("last.3.1");
    REQUIRE(last);
    CHECK(last->selector.kind == Selector::Kind::Last);
    CHECK(last->attempt == AttemptNo(1));
  }
  TEST_CASE("what cannot be one attempt is exit 2") {
    for (const char* text :
         {"17.42.0", "17.1-3.2", "17.42.2.1", "17.42.", "17..2", "all.1.2", ""}) {
      CAPTURE(text);
      const auto parsed = parse_attempt_selector(text);
      REQUIRE_FALSE(parsed);
      CHECK(parsed.error().exit_code == kExitUsage);
    }
  }
  TEST_CASE("where a task is meant an attempt is refused with the way out") {
    const auto refused = parse_selector("17.42.2");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("name the task, as in 17.42") != std::string::npos);
    CHECK(parse_selector("last.4")->tasks.size() == 1);
  }
}

TEST_SUITE("cli/when") {
  TEST_CASE("since: so long ago, or a date") {
    const WallTime now{1'000'000'000'000'000};
    CHECK(parse_since("2h", now)->us == now.us - 7'200'000'000);
    CHECK(parse_since("2026-11-21T00:00:00Z", now)->us == 1'795'219'200'000'000);
    CHECK_FALSE(parse_since("2026-02-30", now));
    CHECK(parse_since("soon", now).error().message.find("2h, 1d") != std::string::npos);
  }
}
