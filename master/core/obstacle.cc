// SPDX-License-Identifier: MIT
#include "master/core/obstacle.h"

namespace capstan::planner {

Obstacle obstacle_at(const Worker& worker, const Presence* presence, const Limits& limits,
                     TimePoint now) {
  const WorkerRow& row = worker.row;
  if (!row.present) return Obstacle::Gone;
  if (row.drained) return Obstacle::Drained;
  if (row.leaving) return Obstacle::Leaving;
  if (row.disk_full) return Obstacle::DiskFull;
  if (presence == nullptr) return Obstacle::Away;
  if (is_suspect(*presence, limits, now)) return Obstacle::Suspect;
  return presence->has_session ? Obstacle::None : Obstacle::Away;
}

Obstacle obstacle_between(const Worker& worker, const Job& job) {
  const WorkerRow& row = worker.row;
  const Share share = share_of(*job.spec);
  if (job.is_excluded(worker.id)) return Obstacle::Excluded;
  if (row.cpus < share.cpus) return Obstacle::TooFewCpus;
  if (row.mem_bytes >= share.mem_bytes) return Obstacle::None;
  return row.mem_bytes == 0 ? Obstacle::MemoryUnknown : Obstacle::TooLittleMemory;
}

}  // namespace capstan::planner
