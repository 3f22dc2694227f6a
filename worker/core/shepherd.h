// SPDX-License-Identifier: MIT
//
// The shepherd as a pure machine: which attempts it holds, when each starts, how it is ended, and
// what is spooled until a master has it. Its shell (worker/shepherd_main.h) executes the actions in
// order; tests/sim executes them on a virtual machine. No clock, no I/O, no logging.
//
//            slots free           launched               tree gone
//  [Queued] ------------> [Launching] -----> [Running] -------------> spooled, then told
//     |  recalled, leaving,   | launch error     | cancel, time limit, leaving
//     |  disk full            '--> spooled       v
//     '--> returned                           [Ending] TERM, after kill_grace KILL; reported only
//                                                      when no process of its tree is left
//
// Invariants: an attempt is held or spooled or neither, never both; a Run of a held or spooled one
// changes nothing, so no attempt is executed twice in one instance; a result is appended to the
// spool before the agent hears of it; the slots of an attempt are free only when its tree is gone.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/keyed_list.h"
#include "common/model/limits.h"
#include "worker/core/pair.h"
#include "worker/core/shepherd_events.h"
#include "worker/core/slots.h"

namespace capstan {

class Shepherd {
 public:
  /// `spool`: what an earlier life left in the file, in its order; `generation` as it was.
  explicit Shepherd(shepherd::Config config, std::vector<pair::SpoolItem> spool = {},
                    Generation generation = {});
  Shepherd(const Shepherd&) = delete;  // It has places of its own lists.
  Shepherd& operator=(const Shepherd&) = delete;
  ~Shepherd() = default;

  /// Total: an event that makes no sense (any more) changes nothing. The actions are valid until
  /// the next step.
  [[nodiscard]] shepherd::Actions& step(shepherd::Event&& event, TimePoint now);
  /// When a Tick is due even if nothing happens; TimePoint::never() when none is.
  [[nodiscard]] TimePoint next_deadline() const;

  /// What the spool's file is to hold, in its order. Valid until the next step.
  [[nodiscard]] std::vector<const pair::SpoolItem*> appended() const;

  // For shells, checkers and tests.
  [[nodiscard]] std::size_t held_count() const { return held_.size(); }
  [[nodiscard]] std::size_t running_count() const { return running_; }
  [[nodiscard]] std::size_t spooled_count() const { return spool_.size(); }
  [[nodiscard]] bool holds(const AttemptKey& key) const { return held_.contains(key); }
  [[nodiscard]] bool is_leaving() const { return leaving_; }
  [[nodiscard]] const Instance& instance() const { return config_.instance; }

 private:
  enum class Phase : std::uint8_t { Queued, Launching, Running, Ending };
  /// Why an attempt is being ended by us; None: it ends by itself.
  enum class Cause : std::uint8_t {
    None,
    Cancelled,
    Superseded,
    NotGranted,
    Timeout,
    Stalled,
    TooLarge,
    Left,
    SetAside
  };
  struct Template {
    shepherd::JobPart part;
    bool is_whole = true;  // No file of it failed.
    std::size_t held = 0;  // Attempts.
    [[nodiscard]] bool has_files() const { return part.has_script || part.has_stdin; }
  };
  struct Attempt {
    Phase phase = Phase::Queued;
    Cause cause = Cause::None;
    bool measured = false;    // Its memory, which nothing else holds it to.
    bool followed = false;    // Its output went to a file from the first byte on, at some time.
    Template* job = nullptr;  // In templates_.
    pair::Run run;            // Moved out at the launch.
    TimePoint started_at;
    Slots::Share share;                       // Not Queued.
    TimePoint limit_at = TimePoint::never();  // Its time limit.
    TimePoint timer = TimePoint::never();  // Its time limit or a look at it, then its KILL. Also in
                                           // timers_.
    std::uint64_t used_bytes = 0;          // Of memory, when it was found to be too large.
    SparseText note;                       // For its result.
  };
  struct Ended {
    pair::SpoolItem item;
    TimePoint appended_at = TimePoint::never();  // To the file; never: not yet.
  };
  using Held = KeyedList<AttemptKey, Attempt>;
  using Spool = KeyedList<AttemptKey, Ended>;

  void on(const shepherd::AgentUp& event);
  void on(const shepherd::AgentDown& event);
  void on(shepherd::FromAgent& event);
  void on(const shepherd::Launched& event);
  void on(const shepherd::LaunchFailed& event);
  void on(const shepherd::Gone& event);
  void on(const shepherd::OutputGrew& event);
  void on(const shepherd::Seen& event);
  void on(const shepherd::FilesFailed& event);
  void on(const shepherd::Leave& event);
  void on(const shepherd::Disk& event);
  void on(const shepherd::NewInstance& event);
  void on(const shepherd::Tick& event);

  void on_message(pair::JobTemplate& message);
  void on_message(const pair::ForgetJob& message);
  void on_message(pair::Runs& message);
  void on_message(const pair::Unrunnable& message);
  void on_message(const pair::Cancel& message);
  void on_message(const pair::Recall& message);
  void on_message(const pair::Acked& message);
  void on_message(const pair::Follow& message);
  void on_message(const pair::Delivered& message);
  void on_message(const pair::Ready& message);
  void on_message(const pair::NewGeneration& message);
  void on_message(const pair::Fatal& message);

  template <class Message>
  void tell(Message message) {
    if (hears()) out_.push_back(shepherd::ToAgent{std::move(message)});
  }
  /// There is an agent, and what happens is for it.
  [[nodiscard]] bool hears() const { return agent_up_ && !setting_aside_; }
  void tell_state();
  /// An agent that asks for what ended already missed its end: it hears it again.
  bool tell_if_spooled(const AttemptKey& key);
  [[nodiscard]] bool takes_work() const;
  void forget_template(JobId job);
  /// False: it cannot be taken.
  bool hold(pair::Run& run);
  void launch(const AttemptKey& key, Attempt& attempt);
  /// The next look at it is due, at the latest when it may have stalled.
  void look_later(const AttemptKey& key, Attempt& attempt, TimePoint output_at);
  void set_timer(const AttemptKey& key, Attempt& attempt, TimePoint at);
  void enforce_timers();
  void start_what_fits();
  void end_attempt(Held::iterator it, Cause cause);
  void end_running(Cause cause);
  void give_back_queued();
  void erase(Held::iterator it);
  void class_by(const Attempt& attempt, bool never_ran, AttemptResult& result) const;
  void finish(Held::iterator it, AttemptResult result);
  void spool(AttemptResult result, bool followed);
  void follow(JobId job, bool on);
  void report_ended();
  void tell_started();
  void tell_growth();
  void forget_if_done(Spool::iterator it);
  void skip_synced();
  void sync_spool();
  void retry_disk();
  void set_aside_when_empty();
  void leave_when_done();

  shepherd::Config config_;
  Held held_;
  std::deque<AttemptKey> queue_;  // Queued ones, oldest first; may name some that are gone.
  std::size_t queued_ = 0;        // Of held_, in Phase::Queued.
  std::size_t running_ = 0;       // Of held_, in another phase.
  Slots slots_;
  std::map<JobId, Template> templates_;  // Of every held attempt, and maybe others.
  std::set<std::pair<TimePoint, AttemptKey>> timers_;
  std::deque<std::pair<TimePoint, AttemptKey>> young_;  // Starts that are not told yet; by time.

  Spool spool_;  // In the order in which they ended: appended ones, then those that are not yet.
  Spool::iterator first_unreported_ = spool_.end();  // Not yet appended and told.
  Spool::iterator first_unsynced_ = spool_.end();    // Neither acknowledged nor synced. The same as
                                                     // the other: no appended one is.
  std::size_t unreported_ = 0;
  TimePoint report_at_ = TimePoint::never();
  std::map<std::pair<AttemptKey, Stream>, std::uint64_t> grown_;
  TimePoint growth_at_;  // Not told more often than every kGrowthPace.
  std::set<JobId> followed_;

  bool agent_up_ = false;
  bool said_ready_ = false;
  Generation generation_;
  Epoch epoch_;
  bool leaving_ = false;
  bool all_done_told_ = false;
  TimePoint grace_over_ = TimePoint::never();
  TimePoint leave_over_ = TimePoint::never();
  bool disk_full_ = false;
  TimePoint disk_retry_ = TimePoint::never();
  std::optional<Generation> setting_aside_;
  bool aside_asked_ = false;
  std::optional<shepherd::Exit> fatal_;
  bool exited_ = false;

  TimePoint now_;  // Of the step that runs.
  shepherd::Actions out_;
};

}  // namespace capstan
