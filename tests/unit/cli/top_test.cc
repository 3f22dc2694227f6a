// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/table.h"
#include "cli/top_frame.h"

using namespace capstan;
using namespace capstan::cli;
using top::Key;
using top::Page;
using top::Reaction;

namespace {

msg::JobView a_job(std::uint64_t id, const std::string& name, std::uint64_t running) {
  msg::JobView job;
  job.id = JobId(id);
  job.name = name;
  job.owner = "ann";
  job.state = JobState::Running;
  job.tasks = 1000;
  job.counts.running = running;
  job.counts.ready = 1000 - running;
  job.submitted_at = WallTime{1'000'000};
  return job;
}

/// A cluster with three jobs and a task of everything.
top::Model a_model() {
  top::Model model;
  model.at = WallTime{100'000'000};
  model.status.master = "a";
  model.status.workers_up = 2;
  model.status.workers_away = 1;
  model.status.cpus = 4;
  model.status.cpus_running = 3;
  model.status.alarms = {"the disk is nearly full: make room", "another one", "a third"};
  model.per_second = 41;
  model.jobs = {a_job(1, "zebra", 1), a_job(2, "render-everything-that-there-is", 7),
                a_job(3, "apes", 3)};
  model.jobs[0].priority = 10;
  for (std::uint32_t i = 1; i <= 40; ++i) {
    msg::TaskView task;
    task.task = TaskIndex(i);
    task.reason = "a reason that is longer than any terminal is wide, really quite long indeed";
    model.tasks.push_back(task);
  }
  msg::AttemptView attempt;
  attempt.view.attempt = AttemptNo(1);
  attempt.view.worker = "w1";
  model.attempts = {attempt};
  for (int i = 0; i < 60; ++i) model.tail += "line " + std::to_string(i) + "\n";
  msg::WorkerView worker;
  worker.name = "w1";
  model.workers = {worker};
  return model;
}

/// Without colours and marks.
std::string plain(const std::string& line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else {
      text += line[i];
    }
  }
  return text;
}

std::vector<std::string> plain_frame(const top::Model& model, const top::View& view,
                                     top::Size size) {
  std::vector<std::string> lines;
  for (const std::string& line : top::frame(model, view, size, true)) lines.push_back(plain(line));
  return lines;
}

bool has(const std::vector<std::string>& lines, const std::string& part) {
  for (const std::string& line : lines) {
    if (line.find(part) != std::string::npos) return true;
  }
  return false;
}

std::vector<std::string> names(const top::Model& model, const top::View& view) {
  std::vector<std::string> list;
  for (const msg::JobView* job : top::sorted(model, view)) list.push_back(job->name.substr(0, 4));
  return list;
}

}  // namespace

TEST_SUITE("cli/top") {
  TEST_CASE("every page fits every terminal") {
    const top::Model model = a_model();
    for (const Page page : {Page::Jobs, Page::Tasks, Page::Task, Page::Workers, Page::Help}) {
      for (const top::Size size :
           {top::Size{80, 24}, top::Size{40, 10}, top::Size{200, 60}, top::Size{10, 3},
            top::Size{1, 1}, top::Size{20, 2}, top::Size{40, 4}}) {
        for (const std::size_t marked : {0UL, 2UL, 39UL}) {
          CAPTURE(static_cast<int>(page));
          CAPTURE(size.columns);
          CAPTURE(size.rows);
          top::View view;
          view.page = page;
          view.job = JobId(2);
          view.row.fill(marked);
          const auto lines = plain_frame(model, view, size);
          CHECK(lines.size() == size.rows);
          for (const std::string& line : lines) CHECK(display_width(line) <= size.columns);
        }
      }
    }
  }
  TEST_CASE("80 by 24 shows everything, 40 by 10 what matters most") {
    const top::Model model = a_model();
    const auto wide = plain_frame(model, {}, {80, 24});
    for (const char* part : {"workers 2 up, 1 away", "cpus 3/4", "41/s", "! the disk", "(+1)",
                             "JOB", "OWNER", "PRI", "AGE", "apes", "q quit"}) {
      CAPTURE(part);
      CHECK(has(wide, part));
    }
    const auto narrow = plain_frame(model, {}, {40, 10});
    for (const char* part :
         {"workers 2 up", "! the disk", "JOB", "STATE", "apes", "zebra", "q quit"}) {
      CAPTURE(part);
      CHECK(has(narrow, part));
    }
    CHECK_FALSE(has(narrow, "OWNER"));
  }
  TEST_CASE("jobs are sorted, and a key once more turns them round") {
    const top::Model model = a_model();
    top::View view;
    using Names = std::vector<std::string>;
    CHECK(names(model, view) == Names{"rend", "apes", "zebr"});
    const auto type = [&](char key) {
      CHECK(top::press({Key::Other, key}, model, {}, view) == Reaction::Stay);
    };
    type('n');
    CHECK(names(model, view) == Names{"apes", "rend", "zebr"});
    type('n');
    CHECK(names(model, view) == Names{"zebr", "rend", "apes"});
    type('p');
    CHECK(names(model, view).front() == "zebr");
    type('a');
    CHECK(names(model, view) == Names{"apes", "rend", "zebr"});
    // The marked job stays marked.
    view.row[0] = 2;
    type('n');
    CHECK(view.row[0] == 2);
    type('n');
    CHECK(view.row[0] == 0);
  }
  TEST_CASE("keys lead into a job and a task and back") {
    const top::Model model = a_model();
    top::View view;
    const auto type = [&](Key key, char c = 0) { return top::press({key, c}, model, {}, view); };
    CHECK(type(Key::Down) == Reaction::Stay);
    CHECK(view.marked() == 1);
    CHECK(type(Key::Enter) == Reaction::Moved);
    CHECK(view.page == Page::Tasks);
    CHECK(view.job == JobId(3));
    type(Key::Last);
    CHECK(view.marked() == 39);
    CHECK(has(plain_frame(model, view, {80, 24}), "40"));
    CHECK(type(Key::Enter) == Reaction::Moved);
    CHECK(view.page == Page::Task);
    CHECK(view.task == TaskIndex(40));
    CHECK(has(plain_frame(model, view, {80, 24}), "line 59"));
    CHECK(type(Key::Tab) == Reaction::Moved);
    CHECK(view.stream == Stream::Stderr);
    type(Key::Back);
    type(Key::Back);
    CHECK(view.page == Page::Jobs);
    type(Key::Up);
    type(Key::Up);
    CHECK(view.marked() == 0);
    CHECK(type(Key::Other, 'w') == Reaction::Moved);
    CHECK(view.page == Page::Workers);
    CHECK(type(Key::Other, '?') == Reaction::Moved);
    CHECK(type(Key::Other, 'q') == Reaction::Quit);
  }
  TEST_CASE("nothing to show is no trouble") {
    top::View view;
    for (const Page page : {Page::Jobs, Page::Tasks, Page::Task, Page::Workers}) {
      view.page = page;
      CHECK(top::frame({}, view, {40, 10}, false).size() == 10);
      CHECK(top::press({Key::Enter, 0}, {}, {40, 10}, view) == Reaction::Stay);
      top::press({Key::Down, 0}, {}, {40, 10}, view);
      CHECK(view.marked() == 0);
    }
  }
  TEST_CASE("what terminals send for keys") {
    using Presses = std::vector<top::Press>;
    CHECK(top::presses_of("\x1b[A\x1bOBq") ==
          Presses{{Key::Up, 0}, {Key::Down, 0}, {Key::Other, 'q'}});
    CHECK(top::presses_of("\x1b") == Presses{{Key::Back, 0}});
    CHECK(top::presses_of("\r\t") == Presses{{Key::Enter, 0}, {Key::Tab, 0}});
    CHECK(top::presses_of("\x1b[200~x") == Presses{{Key::Other, 'x'}});
    CHECK(top::presses_of("\x1b[").empty());
    CHECK(top::presses_of("").empty());
  }
  TEST_CASE("without a terminal all jobs are there and nothing is marked") {
    top::Model model = a_model();
    for (std::uint64_t id = 4; id <= 100; ++id) model.jobs.push_back(a_job(id, "more", 0));
    const auto lines = top::frame(model, {}, {80, 0}, false);
    CHECK(lines.size() > 100);
    for (const std::string& line : lines) CHECK(line.find('\x1b') == std::string::npos);
  }
  TEST_CASE("a picture is one JSON object") {
    const auto json = nlohmann::json::parse(top::json_line(a_model()));
    CHECK(json.at("jobs").size() == 3);
    CHECK(json.at("workers").size() == 1);
    CHECK(json.at("status").at("cpus") == 4);
    CHECK(json.at("tasks_per_s") == 41.0);
    CHECK(json.at("at") == "1970-01-01T00:01:40.000Z");
  }
}
