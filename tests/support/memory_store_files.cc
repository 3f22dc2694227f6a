// SPDX-License-Identifier: MIT
//
// What happens to a database as a file: copied, installed, lost, compared; and what it tells of
// other files beside it.
#include "common/base/check.h"
#include "master/store/row_hash.h"
#include "tests/support/memory_store.h"

namespace capstan::test {

MemoryStore::Copy MemoryStore::copy_committed() const {
  Image copy = disk_;
  copy.take_back(copy.applied);
  copy.clean = true;
  return copy;
}

bool MemoryStore::has_same_tables(const MemoryStore& other) const {
  const auto digest = [](const Image& image) {
    RowChanges all;
    all.jobs = image.jobs;
    for (const auto& [key, row] : image.tasks) all.tasks.put(key, TaskRow(row));
    all.attempts.insert(image.attempts.begin(), image.attempts.end());
    all.workers = image.workers;
    all.keys = image.keys;
    all.requests = image.requests;
    all.tokens = image.tokens;
    all.submissions.insert(image.submissions.begin(), image.submissions.end());
    all.inputs = image.inputs;
    return store::hash_rows({}, {}, all);
  };
  return digest(now()) == digest(other.now()) && now().deletions == other.now().deletions;
}

void MemoryStore::Image::drop_rows_ahead() {
  std::erase_if(tasks, [&](const auto& each) {
    const auto job = jobs.find(each.first.first);
    const bool is_live = job != jobs.end() && !is_finished(job->second.state);
    return is_live && each.second.finished_seq > applied;
  });
}

void MemoryStore::lose() {
  CHECK(!is_open_);
  disk_ = Image{};
}

Result<std::vector<JobId>> MemoryStore::list_gone(const std::vector<JobId>& jobs) {
  std::vector<JobId> gone;
  for (const JobId job : jobs) {
    const bool is_known = now().jobs.contains(job) || now().deletions.contains(job);
    if (job < now().next.job && !is_known) gone.push_back(job);
  }
  return gone;
}

bool MemoryStore::has_durably(const JournalEnd& end) const {
  if (end.seq < disk_.before.seq) return true;  // It began with a snapshot of more.
  if (end.seq == disk_.before.seq) return end == disk_.before;
  const auto batch = disk_.from(end.seq);
  return batch != disk_.batches.end() && batch->end == end;
}

}  // namespace capstan::test
