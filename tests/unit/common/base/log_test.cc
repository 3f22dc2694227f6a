// SPDX-License-Identifier: MIT
#include "common/base/log.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <string>

#include "common/base/unique_fd.h"

using namespace capstan;

namespace {

/// What `body` writes to descriptor 2.
template <class Body>
std::string logged(Body body) {
  const UniqueFd file(::memfd_create("log", 0)), kept(::dup(2));
  REQUIRE(file);
  REQUIRE(::dup2(file.get(), 2) == 2);
  body();
  REQUIRE(::dup2(kept.get(), 2) == 2);
  char text[4096];
  const ssize_t got = ::pread(file.get(), text, sizeof text, 0);
  return {text, static_cast<std::size_t>(got)};
}

/// A line without its time stamp, whose shape is checked.
std::string behind_stamp(const std::string& line, std::size_t from) {
  const std::string stamp = line.substr(from, 24);
  REQUIRE(stamp.size() == 24);
  for (std::size_t i = 0; i < stamp.size(); ++i) {
    const char wanted = "dddd-dd-ddTdd:dd:dd.dddZ"[i];
    CHECK((wanted == 'd' ? (stamp[i] >= '0' && stamp[i] <= '9') : stamp[i] == wanted));
  }
  return line.substr(from + 24);
}

struct AsBefore {
  ~AsBefore() { log::configure(log::Level::Info, log::Format::Text); }
};

}  // namespace

TEST_SUITE_BEGIN("common/base/log");

TEST_CASE("a text line has time, level, event and fields; what is not plain is quoted") {
  const AsBefore restore;
  log::configure(log::Level::Info, log::Format::Text);
  const std::string line = logged([] {
    log::warn("task.lost", {{"task", "17.42"},
                            {"seq", 7U},
                            {"left", -1},
                            {"late", true},
                            {"load", 0.5},
                            {"why", "it said \"no\"\n"},
                            {"none", ""},
                            {"bytes", "\xFF"},
                            {"pair", "a=b"},
                            {"word", "grüße"}});
  });
  CHECK(behind_stamp(line, 0) ==
        " warn task.lost task=17.42 seq=7 left=-1 late=true load=0.5 why=\"it said \\\"no\\\"\\n\" "
        "none=\"\" bytes=\"\\\\xff\" pair=\"a=b\" word=grüße\n");
}

TEST_CASE("a JSON line is one object with the same names") {
  const AsBefore restore;
  log::configure(log::Level::Debug, log::Format::Json);
  const std::string line = logged([] {
    log::debug("task.assigned", {{"task", "17.42"},
                                 {"attempt", 2},
                                 {"late", false},
                                 {"mean", std::numeric_limits<double>::quiet_NaN()},
                                 {"why", "a \"b\"\t\xFF"}});
  });
  REQUIRE(line.substr(0, 7) == "{\"at\":\"");
  CHECK(behind_stamp(line, 7) ==
        "\",\"level\":\"debug\",\"event\":\"task.assigned\",\"task\":\"17.42\",\"attempt\":2,"
        "\"late\":false,\"mean\":null,\"why\":\"a \\\"b\\\"\\\\x09\\\\xff\"}\n");
}

TEST_CASE("lower levels than the configured one are left out") {
  const AsBefore restore;
  log::configure(log::Level::Warn, log::Format::Text);
  CHECK_FALSE(log::is_enabled(log::Level::Info));
  CHECK(log::is_enabled(log::Level::Error));
  CHECK(logged([] { log::info("nothing.seen"); }).empty());
  CHECK_FALSE(logged([] { log::error("something.seen"); }).empty());
}

TEST_CASE("an observer is told of every event, also of those that are left out") {
  log::configure(log::Level::Error, log::Format::Text);
  std::string told;
  log::observe([&](log::Level, std::string_view event, log::Fields fields) {
    told += std::string(event) + " " + std::to_string(fields.size()) + ";";
    return event != "disk.failed";
  });
  const std::string text = logged([] {
    log::info("task.assigned", {{"task", 7}});
    log::debug("loop.turned");
    log::error("disk.failed");
  });
  log::observe(nullptr);
  log::info("task.ended");
  CHECK(told == "task.assigned 1;loop.turned 0;disk.failed 0;");
  CHECK(text.empty());
}

TEST_CASE("levels and formats by name") {
  CHECK(*log::parse_level("debug") == log::Level::Debug);
  CHECK(*log::parse_level("error") == log::Level::Error);
  CHECK(*log::parse_format("json") == log::Format::Json);
  CHECK(log::parse_level("loud").error().message ==
        "unknown log level 'loud': use debug, info, warn or error");
  CHECK_FALSE(log::parse_format("xml"));
}

TEST_SUITE_END();
