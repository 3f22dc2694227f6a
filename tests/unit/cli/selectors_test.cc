// SPDX-License-Identifier: MIT
#include "cli/selectors.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <ctime>
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
  TEST_CASE("dates are local, or in UTC with a Z") {
    CHECK(parse_date("1970-01-02T00:00:01Z")->us == 86'401'000'000);
    CHECK(parse_date("2026-11-21Z")->us == 1'795'219'200'000'000);
    std::tm parts{};
    parts.tm_year = 126;
    parts.tm_mon = 10;
    parts.tm_mday = 21;
    parts.tm_hour = 10;
    parts.tm_min = 30;
    parts.tm_isdst = -1;
    CHECK(parse_date("2026-11-21 10:30")->us == std::int64_t{std::mktime(&parts)} * 1'000'000);
    for (const char* text : {"2026-02-30", "yesterday", "", "2026-13-01", "2026-11-21T25:00"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_date(text));
    }
  }
  TEST_CASE("since: so long ago, or a date") {
    const WallTime now{1'000'000'000'000'000};
    CHECK(parse_since("2h", now)->us == now.us - 7'200'000'000);
    CHECK(parse_since("2026-11-21Z", now)->us == 1'795'219'200'000'000);
    CHECK(parse_since("soon", now).error().message.find("2h, 1d") != std::string::npos);
  }
}
