// SPDX-License-Identifier: MIT
#include "master/alarms.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <fstream>
#include <sstream>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/support/temp_dir.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

TimePoint at(Micros since) {
  return TimePoint{} + since;
}

std::vector<std::string> names(const std::vector<AlarmBoard::Change>& changes) {
  std::vector<std::string> all;
  for (const auto& change : changes)
    all.push_back((change.is_raised ? "+" : "-") + change.alarm.name);
  return all;
}
using Names = std::vector<std::string>;

const std::vector<Alarm> kSolo = {{"solo", "serving alone"}};

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Until `file` has `text`, for as long as a test may take.
bool runs_until(AlarmCommand& command, const std::string& file, const std::string& text) {
  const SystemClock clock;
  const TimePoint deadline = clock.now() + Micros(20s);
  while (contents(file) != text && clock.now() < deadline) {
    command.tick(clock.now());
    ::poll(nullptr, 0, 5);
  }
  return contents(file) == text;
}

}  // namespace

TEST_SUITE("master/alarms") {
  TEST_CASE("an alarm is raised once when it stands, and cleared once when it is gone") {
    AlarmBoard board;
    CHECK(board.update(kSolo, at(0s)).empty());
    CHECK(board.next_deadline() == at(2s));
    CHECK(board.update(kSolo, at(1900ms)).empty());
    CHECK(names(board.update(kSolo, at(2s))) == Names{"+solo"});
    CHECK(board.update(kSolo, at(60s)).empty());
    CHECK(board.next_deadline() == TimePoint::never());
    CHECK(board.update({}, at(61s)).empty());
    CHECK(names(board.update({}, at(63s))) == Names{"-solo"});
    CHECK(board.update({}, at(70s)).empty());
  }

  TEST_CASE("what comes and goes calls nobody; of one name there is one alarm") {
    AlarmBoard board;
    CHECK(board.update(kSolo, at(0s)).empty());
    CHECK(board.update({}, at(1s)).empty());
    CHECK(board.update(kSolo, at(3s)).empty());
    CHECK(board.update(kSolo, at(4s)).empty());
    const std::vector<Alarm> two = {{"lag", "b is behind"}, {"lag", "c is behind"}};
    CHECK(names(board.update(two, at(4s))).empty());
    const auto changes = board.update(two, at(6s));
    CHECK(names(changes) == Names{"+lag"});
    CHECK(changes.front().alarm.text == "b is behind");
  }

  TEST_CASE("the command runs once for each change, in order, with what it is about") {
    log::configure(log::Level::Error, log::Format::Text);
    const TempDir dir;
    const std::string file = dir.file("said");
    AlarmCommand command(
        "echo \"$CAPSTAN_NODE $CAPSTAN_ALARM $CAPSTAN_ALARM_STATE: "
        "$CAPSTAN_ALARM_TEXT\" >> " +
            file,
        "a");
    command.post({kSolo.front(), true});
    command.post({kSolo.front(), false});
    CHECK(
        runs_until(command, file, "a solo raised: serving alone\na solo cleared: serving alone\n"));
  }

  TEST_CASE("a command that hangs is killed, and the next one runs") {
    log::configure(log::Level::Error, log::Format::Text);
    const TempDir dir;
    const std::string file = dir.file("said");
    AlarmCommand command(
        "test $CAPSTAN_ALARM = solo || exec sleep 1000; echo $CAPSTAN_ALARM >> " + file, "a");
    command.post({{"lag", ""}, true});
    command.post({{"solo", ""}, true});
    const TimePoint now = SystemClock().now();
    command.tick(now);
    command.tick(now + AlarmCommand::kTimeLimit);  // As if a minute had passed.
    CHECK(runs_until(command, file, "solo\n"));
  }

  TEST_CASE("without a command nothing is kept for one") {
    AlarmCommand command("", "a");
    command.post({kSolo.front(), true});
    command.tick(at(0s));
    CHECK(command.next_deadline() == TimePoint::never());
  }
}

}  // namespace capstan::test
