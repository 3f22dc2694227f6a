// SPDX-License-Identifier: MIT
//
// A random walk that says anything at all to a queue, sense or nonsense: workers, jobs, requests
// and attempts that exist, existed or never did. From a seed.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/rng.h"
#include "tests/support/queue_fixture.h"

namespace capstan::test {

class Nonsense {
 public:
  explicit Nonsense(std::uint64_t seed);
  /// Says the next thing.
  void step();
  QueueFixture f;

 private:
  Rng rng_;
  std::uint32_t small(std::uint64_t bound) { return static_cast<std::uint32_t>(rng_.below(bound)); }
  WorkerId worker() { return WorkerId(1 + small(9)); }
  void keys_change();
  JobId job();
  /// As the tables have it, when they do.
  cmd::JobsDeleted::One a_deletion();
  Asked asked() { return rng_.chance(95) ? f.ask() : Asked{"ann", an_id(1 + rng_.below(50))}; }
  Uuid instance();
  std::vector<IndexSpan> spans();
  std::vector<AttemptKey> keys();
  /// Of this worker alone, mostly.
  std::vector<AttemptKey> keys_of(WorkerId id);
  void submit();
  void retry();
  void join();
  void leave();
  void assign();
  cmd::TasksStarted started();
  cmd::ResultsReported results();
};

/// In pieces of any size, but a reopened job is with its retry: behind each other entry a piece
/// ends with a chance of so many per cent.
std::vector<std::vector<Entry>> cut(const std::vector<Entry>& entries, Rng& rng, unsigned percent);

}  // namespace capstan::test
