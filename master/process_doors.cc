// SPDX-License-Identifier: MIT
//
// See process_doors.h.
#include "master/process_doors.h"

#include <unistd.h>

#include <fstream>
#include <utility>

#include "common/model/limits.h"
#include "master/store/files.h"

namespace capstan {

std::uint64_t HostDoor::refused_connections() const {
  const net::ListenerCounters counters = listener_.counters();
  return counters.refused_connections + counters.failed_handshakes;
}

std::uint64_t HostDoor::memory_bytes() const {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

api::Host::Disk HostDoor::disk() const {
  const store::Space space = store::space_at(dir_);
  return {space.free_bytes, space.total_bytes};
}

LogDoor::LogDoor(const std::string& dir, std::function<void()> wake)
    : wake_(std::move(wake)), writer_(std::make_unique<store::LogWriter>(dir)) {}
LogDoor::~LogDoor() = default;

void LogDoor::append(Chunk chunk, std::function<void(Result<void>)> done) {
  msg::LogChunk piece{chunk.key, chunk.stream, chunk.offset, std::move(chunk.data), chunk.last};
  const bool taken = writer_->post(std::move(piece), [this, done](const Result<void>& stored) {
    complete([done, stored] { done(stored); });
  });
  if (!taken) done(fail(Errc::Unavailable, "too much output is waiting to be written"));
}

void LogDoor::read(const AttemptKey& key, Stream stream, std::uint64_t offset,
                   std::function<void(Result<Part>)> done) {
  const store::LogAsk ask{key, stream, offset, limits::kLogChunkBytes};
  const bool taken = writer_->post_read(ask, [this, done](const Result<store::LogSlice>& slice) {
    Result<Part> part{};
    if (slice)
      part = Part{slice->offset, slice->data, slice->end, slice->total};
    else
      part = tl::unexpected(slice.error());
    complete([done, part = std::move(part)] { done(part); });
  });
  if (!taken) done(fail(Errc::Unavailable, "too much is waiting to be read; ask again"));
}

void LogDoor::remove(JobId job, std::function<void(Result<void>)> done) {
  const bool taken = writer_->post_remove(job, [this, done](const Result<void>& removed) {
    complete([done, removed] { done(removed); });
  });
  if (!taken) done(fail(Errc::Unavailable, "too much output is waiting to be written"));
}

void LogDoor::list_jobs(std::function<void(Result<std::vector<JobId>>)> done) {
  const bool taken = writer_->post_list_jobs(
      [this, done](std::vector<JobId> jobs) { complete([done, jobs] { done(jobs); }); });
  if (!taken) done(fail(Errc::Unavailable, "too much is waiting to be read; ask again"));
}

void LogDoor::list(std::optional<StreamId> after,
                   std::function<void(Result<std::vector<Extent>>)> done) {
  std::optional<store::LogStreamId> behind;
  if (after) behind = store::LogStreamId{after->key, after->stream};
  const bool taken =
      writer_->post_list(behind, [this, done](const Result<std::vector<store::LogStream>>& listed) {
        Result<std::vector<Extent>> all{};
        if (listed) {
          for (const store::LogStream& one : *listed)
            all->push_back({{one.id.key, one.id.stream}, one.upto, one.last});
        } else {
          all = tl::unexpected(listed.error());
        }
        complete([done, all = std::move(all)] { done(all); });
      });
  if (!taken) done(fail(Errc::Unavailable, "too much output is waiting to be written"));
}

void LogDoor::complete(std::function<void()> completion) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = completions_.empty();
    completions_.push_back(std::move(completion));
  }
  if (first) wake_();
}

void LogDoor::run_completions() {
  std::vector<std::function<void()>> ready;
  {
    const std::lock_guard lock(mutex_);
    ready.swap(completions_);
  }
  for (const std::function<void()>& completion : ready) completion();
}

}  // namespace capstan
