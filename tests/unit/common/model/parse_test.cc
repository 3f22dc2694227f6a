// SPDX-License-Identifier: MIT
#include "common/model/parse.h"

#include <doctest/doctest.h>

#include "common/base/rng.h"

using namespace capstan;

namespace {

std::string array_error(std::string_view text) {
  const auto array = parse_array(text);
  if (array) return "accepted";
  CHECK(array.error().code == Errc::Invalid);
  return array.error().message;
}

}  // namespace

TEST_SUITE_BEGIN("common/model/parse");

TEST_CASE("durations") {
  CHECK(parse_duration("90")->count() == 90'000'000);
  CHECK(parse_duration("1.5s")->count() == 1'500'000);
  CHECK(parse_duration("250ms")->count() == 250'000);
  CHECK(parse_duration("10m")->count() == 600'000'000);
  CHECK(parse_duration("2h")->count() == 7'200'000'000);
  CHECK(parse_duration("1d")->count() == 86'400'000'000);
  CHECK(parse_duration("0")->count() == 0);
  CHECK(parse_duration("0.5d")->count() == 43'200'000'000);
  CHECK(parse_duration("36500d"));
  for (const char* bad : {"", "s", "-1", "1.s", ".5s", "1x", "1 s", "1m30s", "1.2.3s", "1e3",
                          "99999999999999999999", "36501d", "1.123456789s", "5S"}) {
    CAPTURE(bad);
    const auto parsed = parse_duration(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().message.find("use ") != std::string::npos);
  }
}

TEST_CASE("a duration's text is short and says the same") {
  CHECK(duration_text(Micros(90'000'000)) == "90s");
  CHECK(duration_text(Micros(120'000'000)) == "2m");
  CHECK(duration_text(Micros(3'600'000'000)) == "1h");
  CHECK(duration_text(Micros(1'500'000)) == "1.5s");
  CHECK(duration_text(Micros(250'000)) == "250ms");
  CHECK(duration_text(Micros(0)) == "0s");
  CHECK(duration_text(Micros(-2'000'000)) == "-2s");
  CHECK(duration_text(Micros(1)) == "0.001ms");
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    const Micros d(static_cast<std::int64_t>(rng.below(1ULL << rng.below(50))));
    const auto again = parse_duration(duration_text(d));
    CAPTURE(duration_text(d));
    REQUIRE(again);
    CHECK(*again == d);
  }
}

TEST_CASE("sizes") {
  CHECK(*parse_size("512") == 512);
  CHECK(*parse_size("512K") == 512 << 10);
  CHECK(*parse_size("512M") == 512 << 20);
  CHECK(*parse_size("2G") == 2ULL << 30);
  CHECK(*parse_size("1T") == 1ULL << 40);
  for (const char* bad :
       {"", "K", "-1", "1.5G", "1KB", "1k", "9999999999T", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_size(bad));
  }
}

TEST_CASE("arrays") {
  CHECK(parse_array("1-100000")->indices == std::vector<IndexRange>{{1, 100000, 1}});
  CHECK(parse_array("1-99:2")->indices == std::vector<IndexRange>{{1, 99, 2}});
  CHECK(parse_array("5-50:5")->indices.front().count() == 10);
  CHECK(parse_array("7")->indices == std::vector<IndexRange>{{7, 7, 1}});
  CHECK(parse_array("0-3")->indices == std::vector<IndexRange>{{0, 3, 1}});
  CHECK(parse_array("10-20:5,7,1-3")->indices ==
        std::vector<IndexRange>{{1, 3, 1}, {7, 7, 1}, {10, 20, 5}});
  // The last is one that is hit, so that another range may begin right behind it.
  CHECK(parse_array("1-10:4,10")->indices == std::vector<IndexRange>{{1, 9, 4}, {10, 10, 1}});
  CHECK(parse_array("1-5:9")->indices == std::vector<IndexRange>{{1, 1, 1}});
  CHECK(parse_array("1-100%8")->max_running == 8);
  CHECK(parse_array("1-100")->max_running == 0);
}

TEST_CASE("a wrong array is refused in words") {
  CHECK(array_error("9-1") == "bad range '9-1': it runs backwards, use 1-9");
  CHECK(array_error("1-1000000000000") ==
        "range '1-1000000000000' is too large: an index is at most 2000000000");
  CHECK(array_error("1-99999999999999999999") != "accepted");
  CHECK(array_error("1-2000000000") ==
        "2000000000 tasks are too many for one job: use at most 100000000");
  CHECK(array_error("1-9:0") == "bad range '1-9:0': a step is 1 or more");
  CHECK(array_error("1-5,5-9") == "ranges overlap at 5: name each index once");
  for (const char* bad : {"", ",", "1,", "-1", "1-", "1--2", "a", "1-2:", "1:2", "1-9%", "1-9%0",
                          "1-9%x", "1-9%1%2", " 1", "1-9%99999999999999999999", "%3"}) {
    CAPTURE(bad);
    CHECK(array_error(bad) != "accepted");
  }
}

TEST_CASE("selectors") {
  CHECK(parse_selector("17")->job == JobId(17));
  CHECK(parse_selector("17")->tasks.empty());
  CHECK(parse_selector("17.42")->tasks == std::vector<IndexRange>{{42, 42, 1}});
  CHECK(parse_selector("17.1-100")->tasks == std::vector<IndexRange>{{1, 100, 1}});
  CHECK(parse_selector("last")->kind == Selector::Kind::Last);
  CHECK(parse_selector("last.3")->tasks == std::vector<IndexRange>{{3, 3, 1}});
  CHECK(parse_selector("all")->kind == Selector::Kind::All);
  for (const char* bad : {"", "0", "x", "17.", "17.x", ".3", "17-18", "last.", "all.1", "-1",
                          "99999999999999999999", "17.42.1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_selector(bad));
  }
}

TEST_CASE("times are RFC 3339 in UTC") {
  CHECK(rfc3339({0}) == "1970-01-01T00:00:00.000Z");
  CHECK(rfc3339({1'795'222'862'004'999}) == "2026-11-21T01:01:02.004Z");
  CHECK(rfc3339({951'782'400'000'000}) == "2000-02-29T00:00:00.000Z");
  CHECK(rfc3339({-1}) == "1969-12-31T23:59:59.999Z");
}

TEST_SUITE_END();
