// SPDX-License-Identifier: MIT
#include "cli/ordered_output.h"

#include <algorithm>
#include <utility>

namespace capstan::cli {
namespace {

/// Of tails held back; what is beyond is read again.
constexpr std::size_t kHeldBytes = 16 * 1024 * 1024;

}  // namespace

OrderedOutput::OrderedOutput(TaskPrinter& printer, std::vector<IndexRange> tasks)
    : printer_(printer), tasks_(std::move(tasks)) {
  if (!tasks_.empty()) current_ = TaskIndex(tasks_.front().first);
}

void OrderedOutput::on_ended(const msg::TaskEnded& ended) {
  const msg::TaskView& view = ended.view;
  if (is_at_end() || view.task < current_ || (view.task == current_ && has_ended_)) return;
  grew_.erase(view.task);
  Held held{view.attempt, view.stdout_bytes, view.stderr_bytes, {}, {}};
  const std::size_t bytes = ended.stdout_tail.size() + ended.stderr_tail.size();
  if (view.task == current_ || held_bytes_ + bytes <= kHeldBytes) {
    held.stdout_tail = ended.stdout_tail;
    held.stderr_tail = ended.stderr_tail;
  }
  if (view.task == current_) return print(view.task, std::move(held));
  const auto [it, is_new] = held_.try_emplace(view.task, std::move(held));
  if (is_new) held_bytes_ += it->second.stdout_tail.size() + it->second.stderr_tail.size();
}

void OrderedOutput::on_grew(const msg::OutputGrew& grew) {
  const TaskIndex task = grew.key.task;
  if (is_at_end() || task < current_) return;
  if (task == current_) {
    has_begun_ = true;
    return printer_.on_grew(grew);
  }
  if (held_.count(task) != 0) return;
  AttemptNo& attempt = grew_[task];
  attempt = std::max(attempt, grew.key.attempt);
}

void OrderedOutput::go_on(bool is_job_finished) {
  while (!is_at_end()) {
    if (has_ended_) {
      if (!printer_.is_idle()) return;
      next();
      continue;
    }
    if (const auto held = held_.find(current_); held != held_.end()) {
      Held taken = std::move(held->second);
      held_.erase(held);
      held_bytes_ -= taken.stdout_tail.size() + taken.stderr_tail.size();
      print(current_, std::move(taken));
      continue;
    }
    if (is_job_finished) {
      if (held_.empty()) return;
      move_to(held_.begin()->first);
      continue;
    }
    const auto grew = grew_.find(current_);
    if (has_begun_ || grew == grew_.end()) return;
    has_begun_ = true;
    msg::TaskView view;
    view.task = current_;
    view.attempt = grew->second;
    grew_.erase(grew);
    return printer_.on_running(view);
  }
}

void OrderedOutput::move_to(TaskIndex task) {
  current_ = task;
  has_ended_ = has_begun_ = false;
  while (!is_at_end() && tasks_[range_].last < task.value) ++range_;
}

void OrderedOutput::next() {
  const IndexRange& range = tasks_[range_];
  if (current_.value < range.last) return move_to(TaskIndex(current_.value + range.step));
  if (++range_ < tasks_.size()) move_to(TaskIndex(tasks_[range_].first));
}

void OrderedOutput::print(TaskIndex task, Held held) {
  has_ended_ = true;
  msg::TaskEnded ended;
  ended.view.task = task;
  ended.view.attempt = held.attempt;
  ended.view.stdout_bytes = held.stdout_bytes;
  ended.view.stderr_bytes = held.stderr_bytes;
  ended.stdout_tail = std::move(held.stdout_tail);
  ended.stderr_tail = std::move(held.stderr_tail);
  printer_.on_ended(ended);
}

}  // namespace capstan::cli
