// SPDX-License-Identifier: MIT
#include "cli/events.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "cli/access_lookup.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wait.h"
#include "common/base/print_error.h"
#include "common/json/json.h"
#include "common/model/limits.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

constexpr std::uint32_t kEventsShown = 100;
constexpr Micros kAskForMoreAfter = std::chrono::milliseconds(500);

class EventsVerb final : public Verb {
 public:
  EventsVerb() : Verb("events", "show who decided what, and when", {"ID", 0, 1}) {
    page_.synopsis = {"capstan events [OPTIONS] [ID[.TASK]]"};
    page_.description =
        "Lists what was decided, the newest last: by users (submitted, cancelled, retried …), by "
        "the master (assigned, lost …) and what workers reported. Only what is committed is "
        "shown. Of a job or a task each task has its own lines; without an ID a batch of them is "
        "summed up. The master keeps this for a day, or 1 GiB of it.\n\n"
        "ID is 17, 17.42 or last.";
    // clang-format off
    options_.add_options()
        ("follow,f", po::bool_switch(&follow_),
         "Go on with what is decided from now on, until interrupted.")
        ("limit",
         config::parsed("limit", &limit_, config::whole(0U, 1'000'000U))->value_name("N"),
         "The last so many (default 100; 0: everything that is kept).")
        ("json", po::bool_switch(&json_),
         "One JSON object for each event.");
    // clang-format on
    set_examples("  capstan events last\n  capstan events 17.42 --json\n  capstan events -f\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    msg::ListEvents list;
    if (!words.positionals.empty()) TRY(choose(*client, words.positionals.front(), list));
    // Where the journal ends: there the following begins.
    list.after = Seq(UINT64_MAX);
    list.limit = 1;
    list.after = TRY(client->ask<msg::EventList>(list)).upto;
    list.limit = limits::kRowsPerPage;
    TRY(show_last(*client, list));
    if (!follow_) return kExitOk;
    while (true) {
      const auto page = TRY(client->ask<msg::EventList>(list));
      if (page.gap) print_error("capstan events: some were gone before they were read\n");
      TRY(print(page.events));
      list.after = page.upto;
      if (page.more) continue;
      const TimePoint again = client->now() + kAskForMoreAfter;
      TRY(client->run_until([] { return false; }, again));
    }
  }

 private:
  static Outcome<void> choose(Client& client, const std::string& id, msg::ListEvents& list) {
    const Target target = TRY(resolve_one(client, id));
    list.job = target.job;
    if (target.tasks.empty()) return {};
    const IndexRange& range = target.tasks.front();
    if (target.tasks.size() > 1 || range.first != range.last)
      return usage_error("one task at a time, as in 17.42, or the whole job");
    list.task = TaskIndex(range.first);
    return {};
  }

  /// Backwards from the end of `list.after`, in pieces, until there are enough.
  Outcome<void> show_last(Client& client, msg::ListEvents list) {
    list.newest = true;
    list.after = list.after.next();
    std::vector<std::vector<msg::EventView>> pages;
    std::size_t count = 0;
    bool gap = false;
    while (limit_ == 0 || count < limit_) {
      auto page = TRY(client.ask<msg::EventList>(list));
      count += page.events.size();
      pages.push_back(std::move(page.events));
      gap = page.gap;
      list.after = page.upto;
      if (!page.more || page.upto <= Seq(1)) break;
    }
    std::vector<msg::EventView> events;
    for (auto page = pages.rbegin(); page != pages.rend(); ++page) {
      events.insert(events.end(), std::make_move_iterator(page->begin()),
                    std::make_move_iterator(page->end()));
    }
    if (limit_ != 0 && events.size() > limit_)
      events.erase(events.begin(), events.end() - static_cast<std::ptrdiff_t>(limit_));
    else if (gap)
      print_error("capstan events: what is older is not kept any more\n");
    if (events.empty() && !follow_ && !json_) print_error("capstan events: there are none\n");
    return print(events);
  }

  Outcome<void> print(const std::vector<msg::EventView>& events) {
    for (const msg::EventView& event : events) {
      if (json_) {
        out_.write(json::line(event) + "\n");
        continue;
      }
      std::string id = event.job ? std::to_string(event.job.value) : "-";
      if (event.task) id += fmt::format(".{}", event.task.value);
      table_.add({{local_time_text(event.at)},
                  {printable(event.who)},
                  {printable(event.what)},
                  {std::move(id)},
                  {printable(event.text)}});
    }
    out_.write(table_.page());
    return out_.flush();
  }

  bool follow_ = false;
  std::uint32_t limit_ = kEventsShown;
  bool json_ = false;
  Table table_{{{"TIME"}, {"WHO"}, {"WHAT"}, {"ID"}, {"DETAILS"}}, false};
  Output out_{STDOUT_FILENO};
};

}  // namespace

std::unique_ptr<Verb> make_events_verb() {
  return std::make_unique<EventsVerb>();
}

}  // namespace capstan::cli
