// SPDX-License-Identifier: MIT
#include "cli/ordered_output.h"

#include <doctest/doctest.h>

#include <string>

using namespace capstan;
using namespace capstan::cli;

namespace {

/// Writes down what it is told.
struct Notes final : TaskPrinter {
  void on_ended(const msg::TaskEnded& ended) override {
    text += "end" + std::to_string(ended.view.task.value) + ":" + ended.stdout_tail + " ";
    last = ended;
  }
  void on_grew(const msg::OutputGrew& grew) override {
    text += "grew" + std::to_string(grew.key.task.value) + " ";
  }
  void on_running(const msg::TaskView& task) override {
    text +=
        "run" + std::to_string(task.task.value) + "." + std::to_string(task.attempt.value) + " ";
  }
  [[nodiscard]] bool is_idle() const override { return idle; }
  std::string take() { return std::exchange(text, ""); }
  std::string text;
  msg::TaskEnded last;
  bool idle = true;
};

msg::TaskEnded ended(std::uint32_t task, const std::string& tail = "x") {
  msg::TaskEnded ended;
  ended.view.task = TaskIndex(task);
  ended.view.attempt = AttemptNo(1);
  ended.view.stdout_bytes = tail.size();
  ended.stdout_tail = tail;
  return ended;
}
msg::OutputGrew grew(std::uint32_t task, std::uint32_t attempt = 1) {
  return {{JobId(1), TaskIndex(task), AttemptNo(attempt)}, Stream::Stdout, 10};
}

}  // namespace

TEST_SUITE("cli/ordered_output") {
  TEST_CASE("tasks are printed in their order, whenever they end") {
    Notes notes;
    OrderedOutput ordered(notes, {{1, 3, 1}, {10, 14, 4}});
    for (const std::uint32_t task : {14U, 3U, 2U}) ordered.on_ended(ended(task));
    ordered.go_on(false);
    CHECK(notes.take().empty());
    CHECK_FALSE(ordered.is_done());
    ordered.on_ended(ended(1));
    ordered.go_on(false);
    CHECK(notes.take() == "end1:x end2:x end3:x ");
    ordered.on_ended(ended(10));
    ordered.go_on(false);
    CHECK(notes.take() == "end10:x end14:x ");
    CHECK(ordered.is_done());
    ordered.on_ended(ended(10));  // Told again after a reconnection.
    ordered.go_on(true);
    CHECK(notes.take().empty());
  }
  TEST_CASE("the first unfinished task prints as it goes, the others when their turn comes") {
    Notes notes;
    OrderedOutput ordered(notes, {{1, 3, 1}});
    ordered.on_grew(grew(1));
    ordered.on_grew(grew(2, 1));
    ordered.on_grew(grew(2, 2));
    ordered.on_grew(grew(3));
    ordered.go_on(false);
    CHECK(notes.take() == "grew1 ");
    ordered.on_ended(ended(1));
    ordered.go_on(false);
    CHECK(notes.take() == "end1:x run2.2 ");
    ordered.on_grew(grew(2, 2));
    ordered.go_on(false);
    CHECK(notes.take() == "grew2 ");
    ordered.on_ended(ended(3));
    ordered.on_ended(ended(2));
    ordered.go_on(false);
    CHECK(notes.take() == "end2:x end3:x ");
  }
  TEST_CASE("the next one waits until all of the last one is printed") {
    Notes notes;
    OrderedOutput ordered(notes, {{1, 2, 1}});
    notes.idle = false;
    ordered.on_ended(ended(2));
    ordered.on_ended(ended(1));
    ordered.go_on(true);
    CHECK(notes.take() == "end1:x ");
    CHECK_FALSE(ordered.is_done());
    notes.idle = true;
    ordered.go_on(true);
    CHECK(notes.take() == "end2:x ");
  }
  TEST_CASE("who never ran holds nobody up when the job is over") {
    Notes notes;
    OrderedOutput ordered(notes, {{1, 9, 1}});
    ordered.on_ended(ended(4));
    ordered.on_ended(ended(7));
    ordered.go_on(false);
    CHECK(notes.take().empty());
    ordered.go_on(true);
    CHECK(notes.take() == "end4:x end7:x ");
    CHECK(ordered.is_done());
  }
  TEST_CASE("what is held back is bounded: the rest is left to be read") {
    Notes notes;
    OrderedOutput ordered(notes, {{1, 9, 1}});
    const std::string large(9 * 1024 * 1024, 'x');
    ordered.on_ended(ended(2, large));
    ordered.on_ended(ended(3, large));
    ordered.on_ended(ended(1));
    ordered.go_on(true);
    CHECK(notes.last.view.task == TaskIndex(3));
    CHECK(notes.last.stdout_tail.empty());
    CHECK(notes.last.view.stdout_bytes == large.size());
  }
}
