// SPDX-License-Identifier: MIT
//
// Watches: catching up, following, sending. See watch.h.
#include "master/api/watch.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "master/api/reads.h"
#include "master/api/views.h"

namespace capstan::api {
namespace {

constexpr std::uint32_t kPageRows = 256;  ///< 256 x 8 KiB of tails: 2 MiB at most.
/// A message is cut here: room for one more task with its tails below kReplyBytes.
constexpr std::size_t kEndedBytes = limits::kReplyBytes / 2;
constexpr std::size_t kGrewInMessage = 1024;

}  // namespace

void Watches::on_watch(const Session& session, const msg::Watch& watch) {
  const Key key{session.id, watch.watch};
  forget(key);
  const auto first = watches_.lower_bound({session.id, 0});
  const auto end = watches_.lower_bound({session.id.next(), 0});
  if (static_cast<std::size_t>(std::distance(first, end)) >= limits::kWatchesPerClient)
    return ledger_.hold(session.id, msg::Denied{RequestId{}, watch.watch, Errc::Unavailable,
                                                "too many watches of one client"});
  Watch& added = watches_[key];
  added.job = watch.job;
  added.tasks = watch.tasks;
  added.output = watch.output;
  added.serial = ++serial_;
  added.identity = session.identity;
  added.told = watch.from;
  const Generation& ours = sessions_.cluster().generation;
  if (watch.from && (watch.generation != ours || watch.from > ledger_.queue().last_seq())) {
    added.told = Seq{};
    added.reset = true;
  }
  by_job_[watch.job].insert(key);
}

void Watches::on_unwatch(const Session& session, const msg::Unwatch& unwatch) {
  forget({session.id, unwatch.watch});
}

void Watches::on_credit(const Session& session, const msg::WatchCredit& credit) {
  const auto it = watches_.find({session.id, credit.watch});
  if (it == watches_.end()) return;
  const auto back = static_cast<int>(
      std::min<std::uint32_t>(credit.handled, static_cast<std::uint32_t>(limits::kWatchCredit)));
  it->second.credit = std::min(it->second.credit + back, limits::kWatchCredit);
}

void Watches::on_ended(SessionId session) {
  std::vector<Key> keys;
  for (auto it = watches_.lower_bound({session, 0});
       it != watches_.end() && it->first.first == session; ++it)
    keys.push_back(it->first);
  for (const Key& key : keys) forget(key);
}

void Watches::forget(const Key& key) {
  const auto it = watches_.find(key);
  if (it == watches_.end()) return;
  const auto of_job = by_job_.find(it->second.job);
  of_job->second.erase(key);
  if (of_job->second.empty()) by_job_.erase(of_job);
  if (it->second.output && it->second.allowed) ++followed_version_;
  watches_.erase(it);
}

void Watches::stop(const Key& key, const Error& error) {
  if (Session* session = sessions_.find(key.first))
    sessions_.send(*session, msg::Denied{RequestId{}, key.second, error.code, error.message});
  forget(key);
}

// --- Catching up ---------------------------------------------------------------------------------

void Watches::start_round(Watch& watch, Seq upto) {
  watch.live = false;
  watch.target = upto;
  watch.fed = upto;
  watch.from_start = true;
  watch.after = TaskIndex{};
  watch.read_all = false;
  watch.overflowed = false;
  watch.ended.clear();
  watch.later.clear();
  watch.bytes = 0;
}

void Watches::ask_page(const Key& key, Watch& watch) {
  if (!watch.target) start_round(watch, ledger_.durable());
  watch.asked = true;
  ++pages_asked_[key.first];
  store::Tables::EndedFilter filter;
  filter.job = watch.job;
  filter.from = watch.told;
  filter.to = watch.target;
  filter.from_start = watch.from_start;
  filter.after = watch.after;
  filter.limit = kPageRows;
  reads_.post([this, key, filter, wanted = watch.tasks, serial = watch.serial,
               identity = watch.identity](store::Tables& tables) -> Reads::Completion {
    const auto read = [&]() -> Result<Page> {
      Page page;
      page.job = TRY(visible_job(tables, filter.job, identity));
      if (wanted) page.tasks = TRY(tables.list_ended(filter));
      return page;
    };
    return [this, key, serial, page = read()] { on_page(key, serial, page); };
  });
}

void Watches::on_page(const Key& key, std::uint64_t serial, const Result<Page>& page) {
  if (const auto asked = pages_asked_.find(key.first); --asked->second == 0)
    pages_asked_.erase(asked);
  const auto it = watches_.find(key);
  if (it == watches_.end() || it->second.serial != serial) return;
  Watch& watch = it->second;
  watch.asked = false;
  if (!page) return stop(key, page.error());
  if (!std::exchange(watch.allowed, true) && watch.output) ++followed_version_;
  for (const store::Tables::TaskEntry& entry : page->tasks.tasks) {
    watch.ended.push_back(
        {entry.row.finished_seq, task_ended(entry.task, entry.row, ledger_.queue().workers())});
    watch.bytes += approximate_bytes(watch.ended.back().task);
    watch.after = entry.task;
    watch.from_start = false;
  }
  if (page->tasks.more) return;
  watch.read_all = true;
  // What was fed meanwhile is newer than what was read.
  if (!watch.job_view) watch.job_view = job_view(page->job, kCommandBytes);
}

void Watches::finish_round(Watch& watch) {
  watch.told = watch.target;
  watch.target = Seq{};
  watch.read_all = false;
  if (watch.overflowed) return;  // The next ask_page() begins another round from here.
  watch.live = true;
  watch.ended = std::exchange(watch.later, {});
}

// --- Following -----------------------------------------------------------------------------------

void Watches::on_committed(const RowChanges& rows, Seq upto) {
  if (by_job_.empty()) return;
  for (const auto& [id, row] : rows.jobs) {
    const auto watchers = by_job_.find(id);
    if (watchers == by_job_.end()) continue;
    std::vector<Ended> ended;
    const bool wanted = std::any_of(watchers->second.begin(), watchers->second.end(),
                                    [&](const Key& key) { return watches_.at(key).tasks; });
    if (wanted) {
      for (auto it = rows.tasks.lower_bound({id, TaskIndex{0}});
           it != rows.tasks.end() && it->key.first == id; ++it) {
        if (!is_finished(it->row->state)) continue;
        ended.push_back({it->row->finished_seq,
                         task_ended(it->key.second, *it->row, ledger_.queue().workers())});
      }
      std::stable_sort(ended.begin(), ended.end(),
                       [](const Ended& a, const Ended& b) { return a.seq < b.seq; });
    }
    for (const Key& key : watchers->second) {
      Watch& watch = watches_.at(key);
      feed(watch, ended, upto);
      watch.job_view = job_view(row, kCommandBytes);
      if (is_finished(row.state)) watch.urgent = true;
    }
  }
}

void Watches::feed(Watch& watch, const std::vector<Ended>& ended, Seq upto) {
  const Seq known = std::exchange(watch.fed, upto);
  if (!watch.tasks || (!watch.live && (!watch.target || watch.overflowed))) return;
  std::deque<Ended>& waiting = watch.live ? watch.ended : watch.later;
  for (const Ended& one : ended) {
    if (one.seq <= known) continue;  // Its row changed again, but it was told when it ended.
    watch.bytes += approximate_bytes(one.task);
    waiting.push_back(one);
  }
  if (waiting.size() <= limits::kWatchBacklog && watch.bytes <= kBacklogBytes) return;
  if (watch.live) {
    start_round(watch, upto);
  } else {
    watch.overflowed = true;
    for (const Ended& one : watch.later) watch.bytes -= approximate_bytes(one.task);
    watch.later.clear();
  }
}

void Watches::on_output(const AttemptKey& key, Stream stream, std::uint64_t upto) {
  const auto watchers = by_job_.find(key.job);
  if (watchers == by_job_.end()) return;
  std::vector<Key> slow;
  for (const Key& watcher : watchers->second) {
    Watch& watch = watches_.at(watcher);
    if (!watch.output) continue;
    std::uint64_t& known = watch.grew[{key, stream}];
    known = std::max(known, upto);
    if (watch.grew.size() > limits::kWatchBacklog) slow.push_back(watcher);
  }
  for (const Key& watcher : slow)
    stop(watcher, Error{Errc::Unavailable, "this watch was too slow; begin it again"});
}

const std::set<JobId>& Watches::followed() {
  if (std::exchange(counted_version_, followed_version_) == followed_version_) return followed_;
  followed_.clear();
  for (const auto& [key, watch] : watches_) {
    if (watch.output && watch.allowed) followed_.insert(watch.job);
  }
  return followed_;
}

// --- Sending -------------------------------------------------------------------------------------

bool Watches::has_news(const Watch& watch) const {
  if (!watch.ended.empty()) return true;
  // Nothing is told before the first page is here: with it came the leave to see the job.
  if (!watch.live) return watch.read_all;
  return watch.job_view.has_value() || !watch.grew.empty();
}

bool Watches::is_due(const Watch& watch, TimePoint at) const {
  if (watch.credit <= 0 || !has_news(watch)) return false;
  // Pages are paced by credit; what follows live by time.
  return !watch.live || watch.urgent || at >= watch.not_before;
}

bool Watches::needs_page(const Key& key, const Watch& watch) const {
  if (watch.live || watch.asked || watch.read_all || !watch.ended.empty() || watch.credit <= 0)
    return false;
  const auto asked = pages_asked_.find(key.first);
  return asked == pages_asked_.end() || asked->second < limits::kWatchesPerClient;
}

void Watches::pump(TimePoint at) {
  // Sending and asking may end sessions or, with a door that answers at once, change watches.
  std::vector<Key> keys;
  for (const auto& [key, watch] : watches_) keys.push_back(key);
  for (const Key& key : keys) {
    while (true) {
      const auto it = watches_.find(key);
      if (it == watches_.end()) break;
      Watch& watch = it->second;
      if (is_due(watch, at)) {
        send(key, watch, at);
      } else if (needs_page(key, watch)) {
        ask_page(key, watch);
        const auto answered = watches_.find(key);
        if (answered != watches_.end() && answered->second.asked) break;
      } else {
        break;
      }
    }
  }
}

void Watches::take_ended(Watch& watch, msg::WatchEvents& events) {
  std::size_t bytes = 0;
  for (const msg::TaskEnded& ended : events.ended) bytes += approximate_bytes(ended);
  while (!watch.ended.empty() && bytes < kEndedBytes) {
    const std::size_t more = approximate_bytes(watch.ended.front().task);
    bytes += more;
    watch.bytes -= std::min(watch.bytes, more);
    events.ended.push_back(std::move(watch.ended.front().task));
    watch.ended.pop_front();
  }
}

void Watches::send(const Key& key, Watch& watch, TimePoint at) {
  Session* session = sessions_.find(key.first);
  if (session == nullptr) return forget(key);
  msg::WatchEvents events;
  events.watch = key.second;
  events.generation = sessions_.cluster().generation;
  events.reset = std::exchange(watch.reset, false);
  take_ended(watch, events);
  if (!watch.live && watch.read_all && watch.ended.empty()) {
    events.caught_up = !watch.overflowed;
    finish_round(watch);
    if (watch.live) take_ended(watch, events);  // What came while the tables were read.
  }
  while (!watch.grew.empty() && events.grew.size() < kGrewInMessage) {
    const auto first = watch.grew.begin();
    events.grew.push_back({first->first.first, first->first.second, first->second});
    watch.grew.erase(first);
  }
  // The end of a job is told behind all of its tasks; progress may run ahead of them.
  const bool told_all = watch.live && watch.ended.empty();
  if (watch.job_view && (told_all || !is_finished(watch.job_view->state)))
    events.job.push_back(*std::exchange(watch.job_view, std::nullopt));
  if (told_all) {
    watch.urgent = false;
    watch.told = std::max(watch.told, watch.fed);
  } else if (watch.live) {  // In order of seq: up to the next one all was told.
    watch.told = std::max(watch.told, Seq(watch.ended.front().seq.value - 1));
  }
  events.seq = watch.told;
  --watch.credit;
  watch.not_before = at + Micros(limits::kWatchPace);
  sessions_.send(*session, std::move(events));
}

TimePoint Watches::next_due() const {
  TimePoint next = TimePoint::never();
  for (const auto& [key, watch] : watches_) {
    const bool at_once = !watch.live || watch.urgent;
    if (needs_page(key, watch) || (watch.credit > 0 && has_news(watch)))
      next = std::min(next, at_once ? TimePoint{} : watch.not_before);
  }
  return next;
}

}  // namespace capstan::api
