// SPDX-License-Identifier: MIT
//
// The shepherd's machine with everything around it written down: what tests of it share.
#pragma once

#include <utility>
#include <vector>

#include "tests/support/taken.h"
#include "worker/core/shepherd.h"

namespace capstan::test {

inline AttemptKey key_of(std::uint32_t task, std::uint32_t attempt = 1) {
  return {JobId(1), TaskIndex(task), AttemptNo(attempt)};
}

/// The machine with everything around it written down.
struct Bench {
  explicit Bench(shepherd::Config config = {.instance = {}, .cpus = 2},
                 std::vector<pair::SpoolItem> spool = {}, Generation generation = {})
      : machine(config, std::move(spool), generation) {
    say(shepherd::AgentUp{});
    actions.clear();
  }

  void say(const shepherd::Event& event) {
    for (const shepherd::Action& action : machine.step(shepherd::Event(event), now)) {
      actions.push_back(action);
      const auto* append = std::get_if<shepherd::SpoolAppend>(&action);
      if (append == nullptr || !append->tells) continue;
      pair::Ended ended;
      for (const pair::SpoolItem* item : append->items) ended.items.push_back(*item);
      actions.push_back(shepherd::ToAgent{std::move(ended)});
    }
  }
  /// A Run comes behind its job's template, as agents say it.
  void from_agent(const pair::ToShepherd& message) {
    if (const auto* runs = std::get_if<pair::Runs>(&message)) {
      for (const pair::Run& run : runs->runs) say_template(run.key.job, {});
    }
    say(shepherd::FromAgent{message});
  }
  /// Only the first one of a job counts.
  void say_template(JobId job, pair::RunSettings settings) {
    say(shepherd::FromAgent{pair::JobTemplate{.job = job, .settings = std::move(settings)}});
  }
  void tick(Micros later = Micros{0}) {
    now = now + later;
    say(shepherd::Tick{});
  }
  void run(pair::Run one) { from_agent(pair::Runs{{std::move(one)}}); }
  void run(std::uint32_t task) { run(pair::Run{.key = key_of(task), .argv = {"true"}}); }
  void run(AttemptKey key, pair::RunSettings settings) {
    say_template(key.job, std::move(settings));
    run(pair::Run{.key = key, .argv = {"true"}});
  }
  /// Starts what fits, and says that it runs.
  void launch() {
    tick();
    for (const auto& launched : taken<shepherd::Launch>()) say(shepherd::Launched{launched.key});
  }
  void gone(std::uint32_t task, RunEnd end = {}) { say(shepherd::Gone{key_of(task), end}); }

  /// What was done of one kind, which is forgotten.
  template <class Action>
  std::vector<Action> taken() {
    return take_of<Action>(actions);
  }
  template <class Message>
  std::vector<Message> told() {
    std::vector<Message> found;
    for (const auto& each : taken<shepherd::ToAgent>()) {
      if (const auto* it = std::get_if<Message>(&each.message)) found.push_back(*it);
    }
    return found;
  }
  std::vector<std::uint32_t> launched() {
    std::vector<std::uint32_t> tasks;
    for (const auto& each : taken<shepherd::Launch>()) tasks.push_back(each.key.task.value);
    return tasks;
  }
  /// The results told at this tick.
  std::vector<AttemptResult> results() {
    std::vector<AttemptResult> all;
    for (const auto& each : told<pair::Ended>()) {
      for (const auto& item : each.items) all.push_back(item.result);
    }
    return all;
  }

  TimePoint now{1'000'000'000};
  Shepherd machine;
  std::vector<shepherd::Action> actions;
};

}  // namespace capstan::test
