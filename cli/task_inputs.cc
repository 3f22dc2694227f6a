// SPDX-License-Identifier: MIT
#include "cli/task_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/model/limits.h"
#include "common/model/render.h"

namespace capstan::cli {
namespace {

/// A byte string of msgpack costs at most so much beside its bytes.
constexpr std::size_t kInputOverhead = 5;
/// {#} is filled with at most ten digits; two quotes around what a shell gets, a space behind it.
constexpr std::size_t kPlaceholderMin = 13;
/// An apostrophe quoted for sh takes four bytes.
constexpr std::size_t kQuotingFactor = 4;

std::size_t bytes_of(const std::vector<std::string_view>& values) {
  std::size_t bytes = 0;
  for (const std::string_view value : values) bytes += value.size();
  return bytes;
}

/// What no task can be given, whatever its command is.
Result<void> check_value(std::string_view input) {
  if (std::memchr(input.data(), 0, input.size()) != nullptr) {
    return fail(Errc::Invalid, "it has a NUL byte, which no argument can have");
  }
  if (input.size() > limits::kInputBytes) {
    return fail(Errc::Invalid, fmt::format("an input of {} bytes is too long: at most {}",
                                           input.size(), limits::kInputBytes));
  }
  return {};
}

/// Fills one list, with the words for where an input that is refused came from.
class InputCollector {
 public:
  /// `checker`: when every input is a task by itself, so that its line can be named; else null.
  InputCollector(InputList& list, const InputChecker* checker) : list_(list), checker_(checker) {}

  /// `where` makes words; it is called only when they are needed.
  template <class Where>
  Outcome<void> add(std::string_view input, const Where& where) {
    if (list_.size() == limits::kTasksPerJob) {
      return usage_error(
          fmt::format("more than {} inputs: split them over several jobs", limits::kTasksPerJob));
    }
    Result<void> checked = check_value(input);
    if (checked && checker_ != nullptr) {
      checked = checker_->check(TaskIndex(static_cast<std::uint32_t>(list_.size() + 1)), {input});
    }
    if (!checked) return usage_error(where() + ": " + checked.error().message);
    list_.add(input);
    return {};
  }

 private:
  InputList& list_;
  const InputChecker* checker_;
};

Outcome<InputList> read_list(const InputSource& source, char end, const InputChecker* checker) {
  InputList list;
  InputCollector collector(list, checker);
  if (source.kind == InputSource::Kind::Words) {
    for (const Bytes& word : source.from) {
      TRY(collector.add(word, [&] { return fmt::format("input {}", list.size() + 1); }));
    }
  } else {
    const Bytes& path = source.from.front();
    TRY(read_values(path, end, [&](std::string_view value) {
      return collector.add(value, [&] {
        return fmt::format("{} {} of {}", end == '\n' ? "line" : "input", list.size() + 1,
                           file_name(path));
      });
    }));
  }
  return list;
}

}  // namespace

InputChecker::InputChecker(const JobSpec& spec) : spec_(spec) {
  for (const Bytes& argument : spec.argv) {
    longest_argument_ = std::max(longest_argument_, argument.size());
    const auto braces = std::count(argument.begin(), argument.end(), '{');
    most_placeholders_ = std::max(most_placeholders_, static_cast<std::size_t>(braces));
  }
}

Result<void> InputChecker::check(TaskIndex index,
                                 const std::vector<std::string_view>& values) const {
  const std::size_t bytes = bytes_of(values);
  const std::size_t filled =
      (spec_.shell ? kQuotingFactor : 1) * bytes + kPlaceholderMin * values.size();
  // One more than there are placeholders: where there is none, the inputs are appended.
  const std::size_t bound = longest_argument_ + (most_placeholders_ + 1) * filled;
  if (bound <= limits::kArgumentBytes) return {};
  if (bytes > limits::kTaskInputBytes) {
    return fail(Errc::Invalid, fmt::format("the inputs of task {} have {} bytes together, at most "
                                           "{} fit: use a smaller --batch or shorter inputs",
                                           index.value, bytes, limits::kTaskInputBytes));
  }
  TRY(render_command(spec_, index, {values.begin(), values.end()}));
  return {};
}

void TaskWalk::Dimension::seek(std::uint64_t index) {
  at = index;
  for (InputList::Cursor& cursor : cursors) cursor.seek(index);
}

TaskWalk::TaskWalk(const std::vector<CombinedList>& lists, std::uint64_t per_task)
    : per_task_(per_task) {
  for (const CombinedList& each : lists) {
    if (!each.is_linked || dimensions_.empty()) {
      dimensions_.emplace_back().size = each.list.size();
    }
    Dimension& dimension = dimensions_.back();
    dimension.size = std::min(dimension.size, each.list.size());
    dimension.cursors.emplace_back(each.list);
  }
  tasks_ = dimensions_.empty() ? 0 : 1;
  for (const Dimension& each : dimensions_) {
    // Lists are far below 2^32 long, and so is the product of those before once it is cut here.
    tasks_ = std::min(tasks_ * each.size, limits::kTasksPerJob + 1);
  }
  if (per_task_ > 1) tasks_ = (tasks_ + per_task_ - 1) / per_task_;
}

void TaskWalk::seek(std::uint64_t task) {
  std::uint64_t rest = task * per_task_;
  for (std::size_t i = dimensions_.size(); i-- > 1;) {
    dimensions_[i].seek(rest % dimensions_[i].size);
    rest /= dimensions_[i].size;
  }
  dimensions_.front().seek(rest);
}

void TaskWalk::next(std::vector<std::string_view>& values) {
  values.clear();
  for (std::uint64_t taken = 0; taken < per_task_; ++taken) {
    for (const Dimension& each : dimensions_) {
      for (const InputList::Cursor& cursor : each.cursors) values.push_back(cursor.value());
    }
    for (std::size_t i = dimensions_.size(); i-- > 0;) {
      Dimension& dimension = dimensions_[i];
      if (++dimension.at < dimension.size) {
        for (InputList::Cursor& cursor : dimension.cursors) cursor.advance();
        break;
      }
      if (i == 0) return;  // That was the last task.
      dimension.seek(0);
    }
  }
}

Outcome<TaskInputs> TaskInputs::make(std::vector<CombinedList> lists, const JobSpec& spec) {
  TaskInputs inputs;
  inputs.lists_ = std::move(lists);
  inputs.batch_ = spec.inputs_per_task;
  for (std::size_t i = 0; i < inputs.lists_.size(); ++i) {
    if (inputs.lists_[i].list.size() > 0) continue;
    return usage_error(inputs.lists_.size() == 1
                           ? "there are no inputs: a job needs one at least"
                           : fmt::format("the list of inputs {} is empty: give it one input at "
                                         "least, or leave it out",
                                         i + 1));
  }
  const InputChecker checker(spec);
  TRY(inputs.cut(checker));
  return inputs;
}

Outcome<void> TaskInputs::cut(const InputChecker& checker) {
  TaskWalk walk(lists_, per_task());
  tasks_ = walk.tasks();
  values_ = lists_.size() == 1 ? lists_.front().list.size() : tasks_ * lists_.size();
  if (values_ > limits::kTasksPerJob) {
    return usage_error(
        fmt::format("the lists make more than {} inputs when they are combined: "
                    "split them over several jobs",
                    limits::kTasksPerJob));
  }
  if (tasks_ == 0) return {};
  walk.seek(0);
  std::vector<std::string_view> values;
  std::size_t part_bytes = limits::kInputChunkBytes;
  for (std::uint64_t task = 0; task < tasks_; ++task) {
    walk.next(values);
    TRY(as_usage(checker.check(TaskIndex(static_cast<std::uint32_t>(task + 1)), values)));
    const std::size_t bytes = bytes_of(values) + kInputOverhead * values.size();
    if (part_bytes + bytes > limits::kInputChunkBytes) {
      first_tasks_.push_back(task);
      part_bytes = 0;
    }
    part_bytes += bytes;
  }
  return {};
}

std::vector<Bytes> TaskInputs::part(std::uint64_t number) const {
  const auto index = static_cast<std::size_t>(number);
  const std::uint64_t end = index + 1 < first_tasks_.size() ? first_tasks_[index + 1] : tasks_;
  TaskWalk walk(lists_, per_task());
  walk.seek(first_tasks_[index]);
  std::vector<Bytes> all;
  std::vector<std::string_view> values;
  for (std::uint64_t task = first_tasks_[index]; task < end; ++task) {
    walk.next(values);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

Digest TaskInputs::digest(const Digest& before) const {
  Digest digest = before;
  if (lists_.size() > 1) {
    std::string shape;
    for (const CombinedList& each : lists_) {
      shape += fmt::format("{}{} ", each.is_linked ? "+" : "", each.list.size());
    }
    digest = chained_digest(digest, shape);
  }
  for (const CombinedList& each : lists_) digest = each.list.digest(digest);
  return digest;
}

Outcome<TaskInputs> read_inputs(const InputRequest& request, const JobSpec& spec) {
  const InputChecker checker(spec);
  const bool is_one_each = request.sources.size() == 1 && spec.inputs_per_task == 1;
  std::vector<CombinedList> lists;
  for (const InputSource& source : request.sources) {
    lists.push_back(
        {TRY(read_list(source, request.end, is_one_each ? &checker : nullptr)), source.is_linked});
  }
  return TaskInputs::make(std::move(lists), spec);
}

}  // namespace capstan::cli
