// SPDX-License-Identifier: MIT
#include "cli/begin_time.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <ctime>
#include <string>

#include "common/model/parse.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

/// A clock of central Europe, whatever the machine's is.
class InEurope {
 public:
  InEurope() {
    if (const char* before = std::getenv("TZ")) before_ = before;
    ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    ::tzset();
  }
  ~InEurope() {
    before_.empty() ? ::unsetenv("TZ") : ::setenv("TZ", before_.c_str(), 1);
    ::tzset();
  }

 private:
  std::string before_;
};

constexpr std::int64_t kSecond = 1'000'000;
constexpr WallTime kNow{1'795'257'000 * kSecond + 250'000};  // 2026-11-21T11:30:00.250+01:00

std::string at(const std::string& text) {
  const auto time = parse_begin(text, kNow);
  return time ? rfc3339(*time) : "refused";
}

}  // namespace

TEST_SUITE("cli/begin_time") {
  TEST_CASE("from now on") {
    const InEurope here;
    REQUIRE(rfc3339(kNow) == "2026-11-21T10:30:00.250Z");
    CHECK(at("now") == "2026-11-21T10:30:00.250Z");
    CHECK(at("10m") == "2026-11-21T10:40:00.250Z");
    CHECK(at("now+1.5s") == "2026-11-21T10:30:01.750Z");
    CHECK(at("2h") == at("now+2h"));
  }
  TEST_CASE("the next time that the clock here shows it") {
    const InEurope here;
    CHECK(at("11:31") == "2026-11-21T10:31:00.000Z");
    CHECK(at("11:30") == "2026-11-22T10:30:00.000Z");
    CHECK(at("00:00") == "2026-11-21T23:00:00.000Z");
    CHECK(at("23:59:59") == "2026-11-21T22:59:59.000Z");
  }
  TEST_CASE("a day and a time, by the clock here or another") {
    const InEurope here;
    CHECK(at("2026-12-01") == "2026-11-30T23:00:00.000Z");
    CHECK(at("2026-07-01T08:15") == "2026-07-01T06:15:00.000Z");
    CHECK(at("2026-07-01 08:15:30") == "2026-07-01T06:15:30.000Z");
    CHECK(at("2026-07-01T08:15:30Z") == "2026-07-01T08:15:30.000Z");
    CHECK(at("2026-07-01T08:15:30.123Z") == "2026-07-01T08:15:30.000Z");
    CHECK(at("2026-07-01T08:15-05:30") == "2026-07-01T13:45:00.000Z");
    CHECK(at("2028-02-29") == "2028-02-28T23:00:00.000Z");
  }
  TEST_CASE("what is no time is refused") {
    const InEurope here;
    for (const char* bad :
         {"", "soon", "now-1m", "now+", "24:00", "1:30", "11:60", "11:30:", "2026-02-29",
          "2026-13-01", "2026-1-1", "2026-11-21T", "2026-11-21T10", "2026-11-21T10:00x",
          "2026-11-21T10:00+1", "1969-12-31", "2026-11-21T10:00:00.Z", "tomorrow", "-5m"}) {
      CAPTURE(bad);
      CHECK(at(bad) == "refused");
    }
  }
}
