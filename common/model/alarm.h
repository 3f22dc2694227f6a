// SPDX-License-Identifier: MIT
//
// Something that a person must know for as long as it is so.
#pragma once

#include <string>
#include <vector>

namespace capstan {

struct Alarm {
  /// What --on-alarm is told, and docs/failover.md lists. Public API: never changed.
  std::string name;
  std::string text;  ///< A sentence, with names and figures of now.
};

[[nodiscard]] inline std::vector<std::string> texts_of(const std::vector<Alarm>& alarms) {
  std::vector<std::string> texts;
  for (const Alarm& alarm : alarms) texts.push_back(alarm.text);
  return texts;
}

}  // namespace capstan
