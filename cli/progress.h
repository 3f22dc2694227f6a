// SPDX-License-Identifier: MIT
//
// The line that shows how far a job is: counts, rate, time left. The text is pure; the line redraws
// itself on standard error, and only on a terminal.
//
//   job 17 [########------------]  412/1000  3 failed  8 running  41/s  14s left
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "cli/text.h"
#include "common/base/clock.h"
#include "common/wire/message.h"

namespace capstan::cli {

/// Tasks a second over the last while: what finished lately says more than the mean of all.
class Rate {
 public:
  void add(TimePoint at, std::uint64_t finished);
  /// 0 when it is not known yet.
  [[nodiscard]] double per_second() const;

 private:
  struct Sample {
    TimePoint at;
    std::uint64_t finished;
  };
  std::deque<Sample> samples_;
};

/// "41/s", "2.5/s", "12.0/min".
std::string rate_text(double per_second);

/// One line of at most `columns`, without colour. `per_second` 0: not known yet.
std::string progress_text(const msg::JobView& job, double per_second, std::size_t columns);

/// The line on the terminal. clear() before anything else is printed there.
class ProgressLine {
 public:
  ProgressLine(const Terminal& terminal, bool enabled)
      : columns_(terminal.columns), enabled_(enabled && terminal.stderr_is_terminal) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(const msg::JobView& job, TimePoint now);
  void clear();
  /// Draws again what clear() took away.
  void redraw();

 private:
  std::size_t columns_;
  bool enabled_;
  bool visible_ = false;
  JobId job_;
  Rate rate_;
  std::string text_;
};

}  // namespace capstan::cli
