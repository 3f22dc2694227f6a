// SPDX-License-Identifier: MIT
//
// Output on its way: chunks from workers to the packs, from the packs to readers. A chunk is
// acknowledged when it is durable, which gives the worker its credit back; whoever watches is told
// then. What fits is in the committed result and needs no pack at all. Loop thread only.
//
// A read ends (`LogData::end`) when nothing can come any more: the attempt ended and all its bytes
// are here, or its worker is gone for good: then with what there is, the tail from the result
// included.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/wire/message.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/api/reads.h"
#include "master/api/session.h"
#include "master/api/watch.h"

namespace capstan::api {

class LogsApi {
 public:
  struct Parts {
    Ledger& ledger;
    Sessions& sessions;
    Logs& logs;
    ReadsApi& reads;
    Watches& watches;
  };
  explicit LogsApi(Parts parts)
      : ledger_(parts.ledger),
        sessions_(parts.sessions),
        logs_(parts.logs),
        reads_(parts.reads),
        watches_(parts.watches) {}

  void on_chunk(Session& session, msg::LogChunk chunk);
  void on_read(const Session& session, const msg::ReadLog& question);
  /// Its output goes: what still comes is dropped.
  void forget(JobId job);
  /// Readers that wait for the rest of its output must look again: it is not coming.
  void on_worker_gone(WorkerId worker);

  /// Tries again what a full disk refused.
  void retry(TimePoint at);
  [[nodiscard]] TimePoint next_retry() const;

 private:
  /// What is known of an attempt, from its row.
  struct Attempt {
    AttemptKey key;
    WorkerId worker;
    Instance instance;
    bool ended = false;
    WallTime ended_at;
    EndClass end = EndClass::Success;
    std::uint64_t total = 0;  ///< Bytes of the stream that was asked for, when it ended.
    Bytes tail;
  };
  struct Asked {
    SessionId session;
    std::uint64_t query = 0;
    Stream stream = Stream::Stdout;
    std::uint64_t offset = 0;
  };
  struct Refused {
    Logs::Chunk chunk;
    SessionId session;
  };
  using StreamKey = std::pair<AttemptKey, Stream>;

  /// Ends its session: a worker of ours does not do this.
  void turn_away(const Session& session, const AttemptKey& key, const std::string& reason);
  /// Is this attempt running there, as granted? Those that are over are looked up in the tables.
  [[nodiscard]] bool runs_at(const AttemptKey& key, const Session& session) const;
  void on_holder(Logs::Chunk chunk, SessionId session, const Result<Attempt>& attempt);
  /// Acknowledged without a trace: nobody will ever read it.
  void discard(const Logs::Chunk& chunk, Session& session);
  void append(Logs::Chunk chunk, SessionId session);
  [[nodiscard]] static Attempt over(const AttemptKey& key, const AttemptRow& row, Stream stream);
  /// The one that the task's row describes.
  [[nodiscard]] static Attempt last(const AttemptKey& key, const TaskRow& row, Stream stream);
  [[nodiscard]] static Result<Attempt> find_attempt(store::Tables& tables,
                                                    const msg::ReadLog& question);
  void answer(Session& asker, const Asked& asked, const Attempt& attempt);
  void answer_from_pack(const Asked& asked, const Attempt& attempt, const Logs::Part& part);
  /// No more of it will be delivered.
  [[nodiscard]] bool is_gone(const Attempt& attempt) const;

  static constexpr std::size_t kHoldersKept = 1024;
  /// No stream is longer: sums with it stay far from the end of 64 bits.
  static constexpr std::uint64_t kOffsetMax = std::uint64_t{1} << 62;
  static constexpr Micros kRetryFailed = std::chrono::seconds(5);
  static constexpr Micros kRetryBusy = std::chrono::milliseconds(100);

  Ledger& ledger_;
  Sessions& sessions_;
  Logs& logs_;
  ReadsApi& reads_;
  Watches& watches_;
  std::deque<Refused> refused_;
  TimePoint retry_at_ = TimePoint::never();
  /// Attempts that are over, and who had them; some of those whose output came lately.
  std::map<AttemptKey, WorkerId> holders_;
  /// Readers were told "not yet": who would deliver it. Bounded by kWatchBacklog.
  std::map<StreamKey, WorkerId> awaited_;
};

}  // namespace capstan::api
