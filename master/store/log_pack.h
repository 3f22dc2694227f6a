// SPDX-License-Identifier: MIT
//
// Task output that did not fit its result: one append-only file for each job (DIR/logs/17.pack)
// instead of two for each task. A record describes itself (docs/storage.md); the index is built by
// hopping from header to header when a pack is first used, and kept for a bounded number of packs.
// Positions are byte offsets of the original stream. Blocking; lives on the thread of LogWriter.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/unique_fd.h"
#include "common/model/task.h"
#include "common/wire/message.h"

namespace capstan::store {

struct LogAsk {
  AttemptKey key;
  Stream stream = Stream::Stdout;
  std::uint64_t offset = 0;
  std::size_t max = 0;
};

/// Bytes from `offset` on, which is behind what was asked for where bytes were dropped.
struct LogSlice {
  std::uint64_t offset = 0;
  Bytes data;
  bool end = false;         ///< Nothing comes after `data`, ever.
  std::uint64_t total = 0;  ///< Of the stream, as far as it was delivered.
};

struct LogStreamId {
  AttemptKey key;
  Stream stream = Stream::Stdout;
};
struct LogStream {
  LogStreamId id;
  std::uint64_t upto = 0;
  bool last = false;
};

class LogPacks {
 public:
  /// Makes `dir` when it is first written to.
  explicit LogPacks(std::string dir) : dir_(std::move(dir)) {}

  /// Durable when it returns. What is there already (a redelivery) is ignored, by offset.
  /// An error: nothing, or the first part of it, was stored; the same chunks may be given again.
  Result<void> append(const std::vector<msg::LogChunk>& chunks);
  /// Nothing and not the end: not delivered yet.
  Result<LogSlice> read(const LogAsk& ask);
  /// The job's output is gone. No error when there was none.
  Result<void> remove(JobId job);
  /// Those that have output here, ascending.
  [[nodiscard]] std::vector<JobId> jobs() const;
  /// Streams behind `after`, ascending by job, task, attempt, stream; at least one while there are
  /// any of a job that had output when the walk began (at none).
  Result<std::vector<LogStream>> list(const std::optional<LogStreamId>& after, std::size_t max);

 private:
  struct Extent {
    std::uint64_t offset = 0;  ///< In the stream.
    std::uint64_t at = 0;      ///< Of the data, in the file.
    std::uint32_t length = 0;
    std::uint32_t crc = 0;
  };
  struct StreamIndex {
    std::vector<Extent> extents;  ///< Ascending.
    std::uint64_t upto = 0;
    bool last = false;
  };
  using StreamKey = std::tuple<TaskIndex, AttemptNo, Stream>;
  struct Pack {
    UniqueFd fd;
    std::uint64_t end = 0;  ///< Records end here.
    std::map<StreamKey, StreamIndex> streams;
    std::size_t extents = 0;
    std::uint64_t used = 0;  ///< For eviction.
    std::string pending;     ///< Records that are indexed and not yet written.
  };

  [[nodiscard]] std::string path_of(JobId job) const;
  /// The pack with its index; nullptr when there is no file and none is to be made.
  Result<Pack*> use(JobId job, bool create);
  Result<void> load(JobId job, Pack& pack);
  void evict(JobId except);
  Result<void> add(JobId job, Pack& pack, const msg::LogChunk& chunk);
  Result<void> write_pending(Pack& pack);

  std::string dir_;
  std::map<JobId, Pack> packs_;
  std::vector<JobId> listed_;  ///< Of the walk that goes on.
  std::uint64_t uses_ = 0;
};

}  // namespace capstan::store
