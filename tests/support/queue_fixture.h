// SPDX-License-Identifier: MIT
//
// A queue under test. Every command is stamped, applied, folded into tables of plain maps, and then
// everything that must hold is checked: the queue's invariants, those of the rows, and that a queue
// loaded from the tables equals this one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "master/core/planner.h"
#include "master/core/queue.h"
#include "tests/support/builders.h"
#include "tests/support/memory_tables.h"

namespace capstan::test {

class QueueFixture {
 public:
  explicit QueueFixture(QueueMutant mutant = QueueMutant::None) : queue(mutant) {}

  /// Applies one command and returns its effects. What is wrong afterwards is in `broken`.
  std::vector<Effect> apply(Command command);

  /// Worker n (from 1) enrolled as "wN", and its HELLO said with instance n * 100.
  WorkerId add_worker(std::uint32_t cpus = 1, std::uint64_t mem_bytes = 0);
  cmd::WorkerJoined hello(WorkerId worker, std::uint32_t cpus = 1) const;
  /// A job submitted by `owner`, without inputs.
  JobId submit(const JobBuilder& job, const std::string& owner = "ann");
  std::vector<Effect> assign(WorkerId worker, JobId job, std::vector<std::uint32_t> tasks,
                             std::uint32_t attempt = 1);
  std::vector<Effect> report(WorkerId worker, const AttemptResult& result);
  std::vector<Effect> start(WorkerId worker, AttemptKey key);
  std::vector<Effect> lose(WorkerId worker);
  std::vector<Effect> cancel(JobId job, std::vector<IndexSpan> spans = {});
  std::vector<Effect> retry(JobId job, std::uint32_t states, std::vector<IndexSpan> spans = {});
  /// Ends all backoffs.
  void end_backoffs();
  Asked ask(const std::string& owner = "ann") { return {owner, an_id(++requests_)}; }

  [[nodiscard]] const Job& job(JobId id) const { return queue.jobs().at(id); }
  [[nodiscard]] TaskState state(JobId id, std::uint32_t task) const;
  [[nodiscard]] const TaskRow& row(JobId id, std::uint32_t task) const {
    return tables.tasks.at({id, TaskIndex(task)});
  }
  /// Compares with a queue loaded from the tables. "" when they are equal.
  [[nodiscard]] std::string differs_from_tables() const;
  void wait(Micros time) { now = now + time, wall.us += time.count(); }

  Queue queue;
  MemoryTables tables;
  std::vector<Entry> entries;  ///< All that were applied.
  TimePoint now{1'000'000};
  WallTime wall{1'700'000'000'000'000};
  std::string broken;  ///< The first thing that was wrong.

 private:
  std::uint64_t requests_ = 0;
};

/// The first effect of a kind, or none.
template <class E>
const E* find_effect(const std::vector<Effect>& effects) {
  for (const Effect& effect : effects) {
    if (const E* found = std::get_if<E>(&effect)) return found;
  }
  return nullptr;
}

constexpr std::uint32_t bit(TaskState state) {
  return 1U << static_cast<unsigned>(state);
}

}  // namespace capstan::test
