// SPDX-License-Identifier: MIT
#include "tests/sim/enrolment.h"

#include <utility>

#include "common/model/limits.h"
#include "common/wire/version.h"
#include "master/core/queue.h"

namespace capstan::sim {

store::Batch enrolment(const std::vector<net::Identity>& workers, EnrolledAt at, RowChanges& rows) {
  Queue queue;
  store::Batch batch;
  std::vector<Effect> effects;
  const auto stamp = [&](Command command) {
    Entry entry{.seq = queue.last_seq().next(),
                .epoch = at.epoch,
                .at = {at.wall.us},
                .wall = at.wall,
                .level = kEntryLevel,
                .command = std::move(command)};
    queue.apply(entry, effects, rows);
    batch.push_back(std::move(entry));
  };
  stamp(cmd::ReignBegan{.node = "a"});
  for (const net::Identity& worker : workers) {
    stamp(cmd::WorkerEnrolled{
        .worker = queue.next_worker(), .name = worker.name, .public_key = worker.public_key});
  }
  return batch;
}

}  // namespace capstan::sim
