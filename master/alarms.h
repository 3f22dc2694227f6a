// SPDX-License-Identifier: MIT
//
// Alarms as they come and go, for the log and for somebody's command (--on-alarm). What stands is
// looked at with every status; an alarm is raised when it has stood for a while, and cleared when
// it was gone for a while, so that a start or a failover that went well calls nobody. It outlives
// the lives of a node. Loop thread only; nothing here waits.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/model/alarm.h"

namespace capstan {

/// Those that were raised.
class AlarmBoard {
 public:
  struct Change {
    Alarm alarm;
    bool is_raised = true;  ///< False: cleared.
  };
  static constexpr Micros kSettle = std::chrono::seconds(2);

  /// What stands now. By name: of two with one name the first one's text.
  [[nodiscard]] std::vector<Change> update(const std::vector<Alarm>& standing, TimePoint now);
  /// When something settles that does not stand still.
  [[nodiscard]] TimePoint next_deadline() const;

 private:
  struct Known {
    std::string text;
    bool stands = false;
    bool is_raised = false;
    TimePoint since;  ///< That `stands` is so.
  };
  std::map<std::string, Known> known_;
};

/// Runs a command for each change, one at a time and in their order: /bin/sh -c, in a process group
/// of its own, killed when it takes too long. Empty: none.
class AlarmCommand {
 public:
  AlarmCommand(std::string command, std::string node)
      : command_(std::move(command)), node_(std::move(node)) {}
  static constexpr Micros kTimeLimit = std::chrono::seconds(60);

  void post(AlarmBoard::Change change);
  /// Ends what is over, begins what is next.
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const { return look_at_; }

 private:
  void start(const AlarmBoard::Change& change, TimePoint now);
  [[nodiscard]] bool is_running(TimePoint now);

  static constexpr std::size_t kWaiting = 64;
  static constexpr Micros kLookEvery = std::chrono::milliseconds(100);

  std::string command_;
  std::string node_;
  std::deque<AlarmBoard::Change> waiting_;
  pid_t pid_ = 0;  ///< 0: none runs.
  TimePoint kill_at_;
  TimePoint look_at_ = TimePoint::never();
};

/// Both, as a process has them.
class Alarms {
 public:
  Alarms(std::string command, std::string node) : runner_(std::move(command), std::move(node)) {}
  void update(const std::vector<Alarm>& standing, TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;

 private:
  AlarmBoard board_;
  AlarmCommand runner_;
};

}  // namespace capstan
