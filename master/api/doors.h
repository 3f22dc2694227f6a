// SPDX-License-Identifier: MIT
//
// The doors of the master's loop to what is slow or belongs to the system, besides store::Store and
// net::Listener. The real ones stand on threads (read_thread.h, master/daemon.cc), those of tests
// and of tests/sim answer at once. Everything here is called on the loop thread, and every
// completion runs on the loop thread, possibly before the call returns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/alarm.h"
#include "common/model/journal.h"
#include "common/model/task.h"
#include "common/net/transport.h"
#include "master/store/store.h"

namespace capstan::api {

/// Wide reads of committed tables.
class Reads {
 public:
  virtual ~Reads() = default;
  /// What the loop does with what was read.
  using Completion = std::function<void()>;
  /// Runs where the tables are; touches nothing of the loop.
  using Question = std::function<Completion(store::Tables&)>;
  /// Questions are asked in order; their completions run on the loop in that order.
  virtual void post(Question question) = 0;
};

/// The delivered output of attempts: one append-only pack for each job.
class Logs {
 public:
  virtual ~Logs() = default;

  struct Chunk {
    AttemptKey key;
    Stream stream = Stream::Stdout;
    std::uint64_t offset = 0;  ///< In the original stream.
    Bytes data;
    bool last = false;  ///< Nothing follows on this stream.
  };
  /// Appends; a chunk that is there already is no error. `done` with no error: durable. With
  /// Unavailable: too much is waiting to be written, not taken.
  virtual void append(Chunk chunk, std::function<void(Result<void>)> done) = 0;

  struct Part {
    std::uint64_t offset = 0;  ///< Of `data`: behind a hole it is larger than asked for.
    Bytes data;                ///< Empty: nothing there from the asked offset on (yet).
    bool end = false;          ///< Nothing comes after `data`, ever.
    std::uint64_t total = 0;   ///< Of the stream, as far as it was delivered.
  };
  /// Bytes of one stream from `offset` on, at most kLogChunkBytes. A stream of which nothing was
  /// delivered is an empty Part, no error.
  virtual void read(const AttemptKey& key, Stream stream, std::uint64_t offset,
                    std::function<void(Result<Part>)> done) = 0;

  /// Everything of a job is gone, behind what was appended before. No error when there was nothing.
  virtual void remove(JobId job, std::function<void(Result<void>)> done) = 0;

  /// Those that have output, ascending.
  virtual void list_jobs(std::function<void(Result<std::vector<JobId>>)> done) {
    done(std::vector<JobId>{});
  }

  struct StreamId {
    AttemptKey key;
    Stream stream = Stream::Stdout;
  };
  struct Extent {
    StreamId id;
    std::uint64_t upto = 0;  ///< Of the stream, as far as it was delivered.
    bool last = false;
  };
  /// Streams of which something is there, ascending, behind `after` (none: from the first on): some
  /// of them; none: there are no more.
  virtual void list(std::optional<StreamId> /*after*/,
                    std::function<void(Result<std::vector<Extent>>)> done) {
    done(std::vector<Extent>{});
  }
};

/// The keys that the authenticator knows.
class Keys {
 public:
  virtual ~Keys() = default;
  virtual void add(const net::Identity& identity) = 0;
  virtual void remove(const std::string& public_key) = 0;
  /// Somebody has this key already.
  [[nodiscard]] virtual bool is_taken(const std::string& public_key) const = 0;
};

/// Copies of the database, made beside the loop.
class Backups {
 public:
  virtual ~Backups() = default;
  struct Made {
    std::uint64_t bytes = 0;
    Bytes digest;  ///< BLAKE2b, 32 bytes.
  };
  using Done = std::function<void(const Uuid& id, const Result<Made>& made)>;
  /// Begins a copy and names it. On an error there is none.
  virtual Uuid make(Done done) = 0;
  /// At most kMessageBytes of it from `offset` on.
  virtual void read(const Uuid& id, std::uint64_t offset,
                    std::function<void(Result<Bytes>)> done) = 0;
  virtual void drop(const Uuid& id) = 0;
};

/// The other masters, as the one that leads sees them.
class Replication {
 public:
  virtual ~Replication() = default;
  /// False: there are none, and what is durable here is committed.
  [[nodiscard]] virtual bool is_replicated() const = 0;
  /// This batch is about to be written here: it leaves before our own fsync begins.
  virtual void ship(const SealedBatch& batch) = 0;
  /// It is durable here.
  virtual void written(const JournalEnd& end) = 0;
  /// Durable on every master that is required to have it.
  [[nodiscard]] virtual Seq committed() const = 0;
  /// Of the entries that all of them understand.
  [[nodiscard]] virtual std::uint32_t level() const = 0;
  /// It is committed: from now on an entry needs so many copies.
  virtual void min_copies_set(std::uint32_t copies) = 0;
  /// What a person must know of them.
  [[nodiscard]] virtual std::vector<Alarm> alarms() const { return {}; }
};

/// What the process knows of itself and its peers, for people. Each has a plain default.
class Host {
 public:
  virtual ~Host() = default;
  [[nodiscard]] virtual std::string address_of(net::PeerId /*peer*/) const { return ""; }
  [[nodiscard]] virtual std::uint64_t refused_connections() const { return 0; }
  [[nodiscard]] virtual std::uint64_t memory_bytes() const { return 0; }
  struct Disk {
    std::uint64_t free_bytes = UINT64_MAX;  ///< What we may still write.
    std::uint64_t total_bytes = UINT64_MAX;
  };
  /// The one that the queue is on.
  [[nodiscard]] virtual Disk disk() const { return {}; }
};

}  // namespace capstan::api
