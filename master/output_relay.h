// SPDX-License-Identifier: MIT
//
// Output on its way to the other master. As the leader's door to the packs it says "durable" only
// when the standby that is in sync has a piece as well, so that a worker may forget what both of
// them have. It stores first and relays what it stored, read from the pack: live output and what
// a standby missed while it was away go the same way, each stream in its order. At most
// kRelayWindow pieces are on their way, so that no commit waits behind output. Loop thread only.
//
//   append -> our pack -> [stream: cursor ... want] -> LogRelay -> its pack -> LogRelayed -> done
//   a standby is in sync anew: every stream of our packs is asked for once
//
// Where the peer is in a stream is a guess at first (all that came before); its answer says where
// it really is, and the cursor goes there. Without a standby in sync our own pack is enough.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/model/limits.h"
#include "common/wire/message.h"
#include "master/api/doors.h"

namespace capstan {

class OutputRelay final : public api::Logs {
 public:
  /// All outlive it. `send`: to the peer; lost pieces are sent again.
  struct Doors {
    api::Logs& logs;
    const Clock& clock;
    std::function<void(msg::LogRelay)> send;
  };
  explicit OutputRelay(Doors doors) : doors_(std::move(doors)) {}

  // api::Logs
  void append(Chunk chunk, std::function<void(Result<void>)> done) override;
  void read(const AttemptKey& key, Stream stream, std::uint64_t offset,
            std::function<void(Result<Part>)> done) override;
  void remove(JobId job, std::function<void(Result<void>)> done) override;
  void list_jobs(std::function<void(Result<std::vector<JobId>>)> done) override;
  void list(std::optional<StreamId> after,
            std::function<void(Result<std::vector<Extent>>)> done) override;

  /// What the peer missed is not looked for before: there is no output of jobs that are gone here
  /// (any more), which it would take for something new.
  void allow_walk() { may_walk_ = true; }
  /// The standby that is in sync, by its life; 0: none. Another one than before begins anew.
  void set_peer(std::uint64_t life);
  void on_relayed(const msg::LogRelayed& answer);
  /// Sends again what is overdue.
  void tick();
  [[nodiscard]] TimePoint next_deadline() const;

 private:
  using Key = std::pair<AttemptKey, Stream>;
  struct Waiting {
    std::uint64_t upto = 0;
    bool last = false;
    std::function<void(Result<void>)> done;
  };
  struct Track {
    std::uint64_t cursor = 0;  ///< The peer has it up to here, as far as we know.
    std::uint64_t want = 0;    ///< We have it up to here.
    bool want_last = false;
    bool is_busy = false;         ///< In exactly one of ready_, later_ and sent_, or being read.
    std::deque<Waiting> waiting;  ///< Bounded by the credit of workers.
  };
  struct Sent {
    Key key;
    TimePoint at;
  };

  void want(const Extent& extent, std::uint64_t from, std::function<void(Result<void>)> done);
  void queue(const Key& key, Track& track);
  void pump();
  void walk();
  void send_next(const Key& key);
  void on_read(const Key& key, const Result<Part>& part);
  void settle(const Key& key, Track& track);
  void finish(const Key& key);

  static constexpr Micros kAgain = std::chrono::milliseconds(200);

  Doors doors_;
  std::uint64_t life_ = 0;
  std::uint64_t peers_ = 0;  ///< Answers of doors for an earlier one do not count.
  std::uint64_t number_ = 0;
  std::map<Key, Track> tracks_;
  std::deque<Key> ready_;
  std::deque<std::pair<TimePoint, Key>> later_;  ///< Not taken, to be said again then.
  std::map<std::uint64_t, Sent> sent_;
  std::size_t reading_ = 0;
  bool may_walk_ = false;
  bool walks_ = false;    ///< Not every stream was asked for yet.
  bool listing_ = false;  ///< The next ones are being looked up.
  TimePoint walk_at_{};
  std::optional<StreamId> walked_;
};

/// The standby's half: stores what is relayed to it, and says what it has.
/// `is_gone`: the job was deleted, and its output with it.
void take_relayed(api::Logs& logs, msg::LogRelay relay, std::function<bool()> is_gone,
                  std::function<void(msg::LogRelayed)> answer);

}  // namespace capstan
