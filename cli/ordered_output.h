// SPDX-License-Identifier: MIT
//
// `run -k`: the output of a job's tasks in the order of their indices. The first task that is not
// finished prints as it goes; what those behind it printed is held back: the last bytes of a few,
// the rest is read again when its turn comes. Of a task whose turn had not come only the last
// attempt is printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "cli/output_pump.h"
#include "common/model/job.h"
#include "common/wire/message.h"

namespace capstan::cli {

class OrderedOutput {
 public:
  /// `tasks`: the job's indices. REQUIRES: the printer outlives it and hears of nothing else.
  OrderedOutput(TaskPrinter& printer, std::vector<IndexRange> tasks);

  void on_ended(const msg::TaskEnded& ended);
  void on_grew(const msg::OutputGrew& grew);
  /// Prints on while it is somebody's turn. `is_job_finished`: who was not told of never ran.
  void go_on(bool is_job_finished);
  /// Nothing is held back.
  [[nodiscard]] bool is_done() const { return held_.empty(); }

 private:
  /// A task that ended before its turn.
  struct Held {
    AttemptNo attempt;
    std::uint64_t stdout_bytes = 0, stderr_bytes = 0;
    Bytes stdout_tail, stderr_tail;  ///< May be left out: then they are read.
  };
  [[nodiscard]] bool is_at_end() const { return range_ == tasks_.size(); }
  /// To a task that is not before the current one.
  void move_to(TaskIndex task);
  void next();
  void print(TaskIndex task, Held held);

  TaskPrinter& printer_;
  std::vector<IndexRange> tasks_;
  std::size_t range_ = 0;
  TaskIndex current_;
  bool has_ended_ = false;  ///< The current one; some of its output may still be read.
  bool has_begun_ = false;  ///< What it printed before its turn is asked for.
  std::map<TaskIndex, Held> held_;
  std::map<TaskIndex, AttemptNo> grew_;  ///< Behind the current one, running.
  std::size_t held_bytes_ = 0;           ///< Of tails.
};

}  // namespace capstan::cli
