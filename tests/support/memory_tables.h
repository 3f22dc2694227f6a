// SPDX-License-Identifier: MIT
//
// The tables as plain maps: what RowChanges mean, without a database. The pure tests hold a queue
// loaded from them equal to the queue that wrote them.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "master/core/queue.h"
#include "master/core/rows.h"

namespace capstan::test {

class MemoryTables {
 public:
  void apply(const RowChanges& changes);
  /// What a start would read, as of the last entry of `queue`.
  [[nodiscard]] LoadedState loaded(const Queue& queue) const;
  /// A finished job as the store reads it back.
  [[nodiscard]] cmd::JobReopened reopened(JobId job) const;
  /// What JobSubmitted says of the jobs that `spec` is to run after.
  [[nodiscard]] std::vector<cmd::JobSubmitted::Ended> ended(const JobSpec& spec) const;
  /// "" or what is wrong with the rows themselves: every attempt in exactly one place, numbers
  /// dense, counts equal to the rows.
  [[nodiscard]] std::string broken() const;

  std::map<JobId, JobRow> jobs;
  std::map<std::pair<JobId, TaskIndex>, TaskRow> tasks;
  std::map<AttemptKey, AttemptRow> attempts;
  std::map<WorkerId, WorkerRow> workers;
  std::map<std::string, KeyRow> keys;
  std::map<Asked, RequestRow> requests;
  std::map<std::pair<std::string, std::string>, TokenRow> tokens;
  std::map<SubmissionId, SubmissionRow> submissions;
  std::map<std::pair<SubmissionId, std::uint64_t>, InputChunkRow> inputs;
  std::map<JobId, SubmissionId> deletions;

 private:
  void sweep(const SweptRow& row);
  JobId next_job_{1};
  std::uint32_t min_copies_ = 1;
  SubmissionId next_submission_{1};
};

}  // namespace capstan::test
