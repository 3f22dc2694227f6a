// SPDX-License-Identifier: MIT
//
// Watching a job: a stream from a position on, not polling. A watch catches up from the tables,
// says "this is now", and then follows the committed row changes. Loop thread only.
//
//               pages until the target       backlog too large (a slow reader)
//   Watch -> [CatchingUp] -----------> [Live] --------------> [CatchingUp] …
//
// Rules: the position that a message carries only moves on when everything up to it was told; a
// position of another generation, or ahead of us, is answered by a reset. Progress is told at most
// every kWatchPace, the end of a job at once. A client has kWatchCredit messages that it has not
// confirmed, and waits behind that; nobody waits for it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/limits.h"
#include "common/wire/message.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/api/session.h"
#include "master/core/rows.h"

namespace capstan::api {

class Watches {
 public:
  Watches(Ledger& ledger, Sessions& sessions, Reads& reads)
      : ledger_(ledger), sessions_(sessions), reads_(reads) {}

  void on_watch(const Session& session, const msg::Watch& watch);
  void on_unwatch(const Session& session, const msg::Unwatch& unwatch);
  void on_credit(const Session& session, const msg::WatchCredit& credit);
  void on_ended(SessionId session);

  /// What a write made durable.
  void on_committed(const RowChanges& rows, Seq upto);
  /// More of a stream can be read, or must be looked at again.
  void on_output(const AttemptKey& key, Stream stream, std::uint64_t upto);

  /// Sends what is due at `at` and asks the tables for what is missing. Behind the write.
  void pump(TimePoint at);
  /// When pump() has something to do that only waits for time.
  [[nodiscard]] TimePoint next_due() const;

  /// Jobs whose output somebody wants live.
  [[nodiscard]] const std::set<JobId>& followed();
  /// Another number whenever they may be others. From 1.
  [[nodiscard]] std::uint64_t followed_version() const { return followed_version_; }
  [[nodiscard]] std::size_t size() const { return watches_.size(); }

 private:
  using Key = std::pair<SessionId, std::uint64_t>;
  struct Ended {
    Seq seq;
    msg::TaskEnded task;
  };
  struct Watch {
    JobId job;
    bool tasks = false, output = false;
    std::uint64_t serial = 0;  ///< Of this watch: an answer for an earlier one is ignored.
    net::Identity identity;

    bool allowed = false;  ///< A page is here, and with it the leave to see the job.
    bool live = false;
    Seq told;  ///< Everything up to here was told.
    Seq fed;   ///< Of live changes: everything up to here was looked at.
    // Catching up.
    Seq target;
    bool from_start = true;
    TaskIndex after;
    bool asked = false;       ///< A page is on its way.
    bool read_all = false;    ///< The last page is here: `target` may be told behind it.
    bool overflowed = false;  ///< Live changes did not fit: another round behind this one.
    std::deque<Ended> later;  ///< Live changes behind `target`, in order of seq.

    // To be told.
    std::deque<Ended> ended;
    std::size_t bytes = 0;  ///< Of `ended` and `later`.
    std::optional<msg::JobView> job_view;
    std::map<std::pair<AttemptKey, Stream>, std::uint64_t> grew;
    bool reset = false;
    bool urgent = false;
    int credit = limits::kWatchCredit;
    TimePoint not_before;
  };

  struct Page {
    store::Tables::TaskPage tasks;
    JobRow job;
  };

  /// Beyond this a watch catches up from the tables.
  static constexpr std::size_t kBacklogBytes = 4 * limits::kReplyBytes;

  void start_round(Watch& watch, Seq upto);
  void ask_page(const Key& key, Watch& watch);
  void on_page(const Key& key, std::uint64_t serial, const Result<Page>& page);
  void finish_round(Watch& watch);
  void feed(Watch& watch, const std::vector<Ended>& ended, Seq upto);
  [[nodiscard]] bool has_news(const Watch& watch) const;
  [[nodiscard]] bool is_due(const Watch& watch, TimePoint at) const;
  [[nodiscard]] bool needs_page(const Key& key, const Watch& watch) const;
  /// Moves what fits into a message.
  static void take_ended(Watch& watch, msg::WatchEvents& events);
  void send(const Key& key, Watch& watch, TimePoint at);
  void stop(const Key& key, const Error& error);
  void forget(const Key& key);

  Ledger& ledger_;
  Sessions& sessions_;
  Reads& reads_;
  std::map<Key, Watch> watches_;
  std::map<JobId, std::set<Key>> by_job_;
  /// Pages on their way, also of watches that are gone: as many as a client may have watches, or
  /// one that watches and unwatches in a loop would fill the reader's queue.
  std::map<SessionId, std::size_t> pages_asked_;
  std::uint64_t serial_ = 0;
  std::set<JobId> followed_;  ///< As of counted_version_.
  std::uint64_t followed_version_ = 1;
  std::uint64_t counted_version_ = 0;
};

}  // namespace capstan::api
