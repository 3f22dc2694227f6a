// SPDX-License-Identifier: MIT
//
// What was decided, out of the journal: a bounded piece of it for each question. See reads.h.
#include <algorithm>
#include <map>
#include <optional>

#include "common/model/limits.h"
#include "master/api/entry_events.h"
#include "master/api/reads.h"

namespace capstan::api {
namespace {

/// Of the journal for one question: some 10 ms of the reader thread.
constexpr std::size_t kJournalBytes = 2 * 1024 * 1024;
constexpr std::size_t kEventBytes = 40;  ///< Numbers and heads in msgpack.

/// The events of one answer, and who may see them.
class EventPage {
 public:
  EventPage(store::Tables& tables, const net::Identity& identity, std::size_t limit)
      : tables_(tables), identity_(identity), limit_(limit) {}

  [[nodiscard]] bool is_full() const {
    return list.events.size() >= limit_ || bytes_ >= limits::kMessageBytes;
  }
  Result<void> add(std::vector<EntryEvent> events) {
    for (EntryEvent& event : events) {
      if (!TRY(is_visible(event))) continue;
      bytes_ += kEventBytes + event.view.who.size() + event.view.text.size();
      list.events.push_back(std::move(event.view));
    }
    return {};
  }
  msg::EventList list;

 private:
  Result<bool> is_visible(const EntryEvent& event) {
    if (identity_.role == Role::Admin) return true;
    if (!event.owner.empty()) return event.owner == identity_.name;
    if (!event.view.job) return true;
    const auto known = owns_.find(event.view.job);
    if (known != owns_.end()) return known->second;
    const std::optional<JobRow> row = TRY(tables_.get_job(event.view.job));
    return owns_[event.view.job] = row && row->owner == identity_.name;
  }

  store::Tables& tables_;
  const net::Identity& identity_;
  std::size_t limit_;
  std::size_t bytes_ = 0;
  std::map<JobId, bool> owns_;
};

Result<msg::EventList> read_newest(store::Tables& tables, EventPage& page,
                                   const msg::ListEvents& question, const WorkerNames& workers) {
  const auto journal =
      TRY(tables.read_journal({.end = question.after, .backward = true, .bytes = kJournalBytes}));
  page.list.upto = journal.entries.empty() ? Seq(1) : journal.entries.back().seq;
  page.list.gap = journal.gap && !journal.more;
  page.list.more = journal.more;
  for (auto it = journal.entries.rbegin(); it != journal.entries.rend(); ++it) {
    if (page.is_full()) {
      page.list.more = true;
      page.list.gap = false;
      break;
    }
    std::vector<EntryEvent> events = events_of(*it, {question.job, question.task}, workers);
    std::reverse(events.begin(), events.end());
    TRY(page.add(std::move(events)));
    page.list.upto = it->seq;
  }
  std::reverse(page.list.events.begin(), page.list.events.end());
  return std::move(page.list);
}

Result<msg::EventList> read_on(store::Tables& tables, EventPage& page,
                               const msg::ListEvents& question, const WorkerNames& workers) {
  const auto journal =
      TRY(tables.read_journal({.end = question.after, .backward = false, .bytes = kJournalBytes}));
  page.list.upto = std::min(question.after, TRY(tables.applied_seq()));
  page.list.gap = journal.gap;
  page.list.more = journal.more;
  for (const Entry& entry : journal.entries) {
    if (page.is_full()) {
      page.list.more = true;
      break;
    }
    TRY(page.add(events_of(entry, {question.job, question.task}, workers)));
    page.list.upto = entry.seq;
  }
  return std::move(page.list);
}

}  // namespace

void ReadsApi::on_list_events(const Session& session, const msg::ListEvents& question) {
  WorkerNames workers;
  for (const auto& [id, worker] : ledger_.queue().workers()) workers[id] = worker.row.name;
  constexpr auto kMost = static_cast<std::uint32_t>(limits::kRowsPerPage);
  const std::size_t limit = question.limit == 0 ? kMost : std::min(question.limit, kMost);
  ask(
      session, question.query,
      [question, limit, workers = std::move(workers),
       identity = session.identity](store::Tables& tables) -> Result<msg::EventList> {
        // Of a job that was deleted an admin may still read.
        if (question.job && identity.role != Role::Admin)
          TRY(visible_job(tables, question.job, identity));
        EventPage page(tables, identity, limit);
        return question.newest ? read_newest(tables, page, question, workers)
                               : read_on(tables, page, question, workers);
      },
      [this, query = question.query](Session& asker, const msg::EventList& list) {
        msg::EventList answer = list;
        answer.query = query;
        sessions_.send(asker, std::move(answer));
      });
}

}  // namespace capstan::api
