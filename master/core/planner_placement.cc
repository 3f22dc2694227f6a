// SPDX-License-Identifier: MIT
#include "master/core/planner_placement.h"

#include <algorithm>
#include <iterator>

#include "common/model/limits.h"

namespace capstan::planner {
namespace {

/// Tasks of a job that one call passes over because they should go elsewhere; those behind them go
/// wherever there is room, so that the cost of a call is bounded.
constexpr std::uint32_t kHeldBack = 64;
/// Sent ahead in one go to one worker, at most.
constexpr std::uint64_t kChunk = 32;
/// Work ahead of a worker that would be done sooner than this is not worth the round trip that
/// takes it back.
constexpr Micros kWorthTakingBack{20'000};

/// Jobs without room that one call looks at for the first in line: those before it fit no worker.
constexpr std::uint32_t kLooks = 64;

constexpr std::uint64_t kMost = UINT64_MAX;

/// Attempts ahead for each of so many slots.
std::uint64_t depth_of(const Job& job, std::uint64_t slots) {
  const Micros horizon = limits::kPrefillHorizon;
  const auto depth = static_cast<std::uint64_t>(horizon.count() / job.mean_wall.count());
  const std::uint64_t share = limits::kPrefillTogether / std::max<std::uint64_t>(slots, 1);
  return std::min(depth, std::max(share, limits::kPrefillPerSlot));
}

}  // namespace

void Placement::add_worker(const Worker& worker) {
  Room room;
  room.worker = &worker;
  room.used = std::uint64_t{worker.cpus_granted} + worker.dying_sum.cpus;
  room.mem_used = worker.mem_granted + worker.dying_sum.mem_bytes;
  room.held = worker.granted.size() + worker.dying.size();
  room.ahead_before = room.ahead();
  if (room.free() > 0 && room.held < limits::kHeldPerWorker) {
    free_.emplace(kMost - room.free(), worker.id);
  }
  slots_ += room.cpus();
  rooms_.emplace(worker.id, room);
}

// --- Turns ---------------------------------------------------------------------------------------

Placement::Turns Placement::turns_of(const std::map<std::string, std::set<JobId>>& owners) const {
  Turns turns;
  for (const auto& [owner, jobs] : owners) {
    const auto given = owner_cpus_.find(owner);
    const std::uint64_t cpus =
        queue_.cpus_of(owner) + (given == owner_cpus_.end() ? 0 : given->second);
    turns.emplace(std::pair(cpus, owner), OwnerTurn{jobs.begin(), jobs.end()});
  }
  return turns;
}

template <class Place, class IsOver>
void Placement::take_turns(Turns turns, Place place, IsOver is_over) {
  while (!turns.empty() && !is_over()) {
    auto turn = turns.extract(turns.begin());
    OwnerTurn& owner = turn.mapped();
    while (owner.next != owner.end && !is_over()) {
      Cursor& cursor = cursor_of(*owner.next);
      const std::uint32_t placed = place(cursor);
      if (placed == 0) {
        ++owner.next;  // Nothing more of this job fits: rooms only fill up.
        continue;
      }
      const std::uint64_t cpus = std::uint64_t{placed} * cursor.job->spec->cpus;
      owner_cpus_[turn.key().second] += cpus;
      turn.key().first += cpus;
      turns.insert(std::move(turn));
      break;
    }
  }
}

Placement::Cursor& Placement::cursor_of(JobId id) {
  Cursor& cursor = cursors_[id];
  if (cursor.job == nullptr) cursor.job = queue_.find_job(id);
  return cursor;
}

std::uint64_t Placement::left_to_give(const Cursor& cursor) const {
  const std::uint32_t limit = cursor.job->spec->max_running;
  if (limit == 0) return kMost;
  const std::uint64_t taken = cursor.job->counts.running + cursor.given;
  return taken < limit ? limit - taken : 0;
}

// --- Where to ------------------------------------------------------------------------------------

const LiveTask* Placement::history(const Job& job, std::uint32_t ordinal) const {
  if (job.live.empty() || !job.bytes.is_touched(ordinal)) return nullptr;
  const auto it = job.live.find(ordinal);
  return it == job.live.end() ? nullptr : &it->second;
}

bool Placement::must_wait_for_another(const Job& job, const LiveTask* history,
                                      WorkerId worker) const {
  if (history == nullptr || history->failed_on.empty()) return false;
  const auto has_failed_it = [&](WorkerId id) {
    return std::binary_search(history->failed_on.begin(), history->failed_on.end(), id);
  };
  if (!has_failed_it(worker)) return false;
  return std::any_of(rooms_.begin(), rooms_.end(), [&](const auto& entry) {
    const auto& [id, room] = entry;
    return obstacle_between(*room.worker, job) == Obstacle::None && !has_failed_it(id);
  });
}

Placement::Room* Placement::emptiest_for(Cursor& cursor, const LiveTask* history,
                                         bool& is_blocked) {
  const Job& job = *cursor.job;
  // For all such jobs it is the same, but for the one that a worker is kept for.
  const bool is_like_others =
      history == nullptr && job.excluded.empty() && !(reserved_ && reserved_->job == job.id);
  const std::pair shape(job.spec->cpus, job.spec->mem_bytes);
  if (is_like_others && too_large_.contains(shape)) return nullptr;
  for (const auto& [order, id] : free_) {
    if (kMost - order < job.spec->cpus) break;
    Room& room = rooms_.at(id);
    const bool is_choosy = cursor.held_back < kHeldBack;
    const Obstacle obstacle = obstacle_in(room, job, is_choosy ? history : nullptr);
    if (obstacle == Obstacle::None) return &room;
    if (obstacle == Obstacle::FailedThere) is_blocked = true;
  }
  if (is_like_others) too_large_.insert(shape);
  return nullptr;
}

Obstacle Placement::obstacle_in(const Room& room, const Job& job, const LiveTask* history) const {
  const Obstacle lasting = obstacle_between(*room.worker, job);
  if (lasting != Obstacle::None) return lasting;
  if (room.free() < job.spec->cpus) return Obstacle::CpusBusy;
  if (room.mem_free() < job.spec->mem_bytes) return Obstacle::MemoryBusy;
  if (room.held >= limits::kHeldPerWorker) return Obstacle::HoldsTooMany;
  if (is_reserved_for_another(room, job)) return Obstacle::Reserved;
  if (must_wait_for_another(job, history, room.worker->id)) return Obstacle::FailedThere;
  return Obstacle::None;
}

Obstacle Placement::obstacle_to(const Job& job, const LiveTask* history, WorkerId worker) const {
  return obstacle_in(rooms_.at(worker), job, history);
}

bool Placement::is_reserved_for_another(const Room& room, const Job& job) const {
  if (!reserved_ || reserved_->worker != room.worker->id || reserved_->job == job.id) return false;
  if (reserved_->lacks_cpus || job.spec->mem_bytes > 0) return true;
  return room.free() < std::uint64_t{reserved_->cpus} + job.spec->cpus;
}

void Placement::wait_in_line(const Cursor& cursor, std::uint32_t ordinal) {
  if (line_is_settled_) return;
  const Job& job = *cursor.job;
  const LiveTask* past = history(job, ordinal);
  using Lack = std::pair<std::uint64_t, std::uint64_t>;
  const auto lack_of = [&](const Room& room) {
    const auto lack = [](std::uint64_t wanted, std::uint64_t free) {
      return wanted - std::min(wanted, free);
    };
    // What was sent ahead there comes first, too.
    return Lack{lack(job.spec->cpus, room.free()) + room.ahead(),
                lack(job.spec->mem_bytes, room.mem_free())};
  };
  const Room* best = nullptr;
  for (const auto& [id, room] : rooms_) {
    if (obstacle_between(*room.worker, job) != Obstacle::None) continue;
    if (must_wait_for_another(job, past, id)) continue;
    if (best == nullptr || lack_of(room) < lack_of(*best)) best = &room;
  }
  line_is_settled_ = best != nullptr || ++looks_ == kLooks;
  if (best == nullptr) return;
  // Short tasks of which some are on their way already need no slot: they are sent ahead.
  if (job.is_short() && job.counts.running + cursor.given > 0) return;
  const bool lacks_cpus = best->free() < job.spec->cpus;
  reserved_ = Reservation{best->worker->id, job.id, job.spec->cpus, lacks_cpus};
  if (lacks_cpus) free_.erase({kMost - best->free(), best->worker->id});
}

Placement::Room* Placement::least_ahead(const Job& job, std::uint64_t depth) {
  Room* best = nullptr;
  for (auto& [id, room] : rooms_) {
    if (room.is_kept) continue;
    const std::uint64_t limit = room.cpus() * depth;
    // Filled up again only when a quarter is used up: in larger pieces, not one by one.
    if (room.ahead_before * 4 > limit * 3) continue;
    if (room.used + job.spec->cpus > room.cpus() + limit) continue;
    if (room.held >= limits::kHeldPerWorker || room.mem_free() < job.spec->mem_bytes) continue;
    if (obstacle_between(*room.worker, job) != Obstacle::None) continue;
    if (is_reserved_for_another(room, job)) continue;
    if (best == nullptr || room.used * best->cpus() < best->used * room.cpus()) best = &room;
  }
  return best;
}

void Placement::give(Cursor& cursor, std::uint32_t ordinal, Room& room) {
  const Job& job = *cursor.job;
  const LiveTask* live = history(job, ordinal);
  const AttemptNo before = job.bytes.attempts(ordinal);
  const AttemptNo attempt = live != nullptr && live->number_free ? before : before.next();
  const WorkerId worker = room.worker->id;
  const auto [it, is_new] = open_.try_emplace({worker, job.id, attempt}, commands_.size());
  if (!is_new &&
      std::get<cmd::TasksAssigned>(commands_[it->second]).tasks.size() == kTasksPerCommand) {
    it->second = commands_.size();
  }
  if (it->second == commands_.size()) {
    commands_.emplace_back(cmd::TasksAssigned{worker, job.id, attempt, {}});
  }
  std::get<cmd::TasksAssigned>(commands_[it->second]).tasks.push_back(job.index_of(ordinal));

  free_.erase({kMost - room.free(), worker});
  room.used += job.spec->cpus;
  room.mem_used += job.spec->mem_bytes;
  ++room.held;
  if (room.free() > 0 && room.held < limits::kHeldPerWorker) {
    free_.emplace(kMost - room.free(), worker);
  }
  ++cursor.given;
  cursor.at = ordinal + 1;
}

// --- Slots ---------------------------------------------------------------------------------------

std::uint32_t Placement::place_one(Cursor& cursor) {
  const Job& job = *cursor.job;
  while (left_to_give(cursor) > 0) {
    const auto ordinal = job.ready.next(cursor.at);
    if (!ordinal) return 0;
    bool is_blocked = false;
    if (Room* room = emptiest_for(cursor, history(job, *ordinal), is_blocked)) {
      give(cursor, *ordinal, *room);
      return 1;
    }
    if (!is_blocked) {  // Nowhere is room for any task of this job.
      wait_in_line(cursor, *ordinal);
      return 0;
    }
    cursor.at = *ordinal + 1;
    ++cursor.held_back;
  }
  return 0;
}

void Placement::fill_slots() {
  const auto is_over = [this] { return free_.empty() && (line_is_settled_ || rooms_.empty()); };
  for (const auto& [priority, owners] : queue_.ready_jobs()) {
    if (is_over()) return;
    take_turns(
        turns_of(owners), [this](Cursor& cursor) { return place_one(cursor); }, is_over);
  }
}

// --- Ahead ---------------------------------------------------------------------------------------

std::uint32_t Placement::place_ahead(Cursor& cursor) {
  const Job& job = *cursor.job;
  const std::uint64_t depth = depth_of(job, slots_);
  Room* room = least_ahead(job, depth);
  if (room == nullptr) return 0;
  const std::uint64_t left = job.ready.count() - std::min(job.ready.count(), cursor.given);
  const std::uint64_t capacity = (room->cpus() * (depth + 1) - room->used) / job.spec->cpus;
  // A fair piece of what is left, so that the last ones are spread over all.
  std::uint64_t n = std::clamp<std::uint64_t>(left / (2 * rooms_.size()), 1, kChunk);
  n = std::min({n, capacity, left_to_give(cursor), limits::kHeldPerWorker - room->held});
  if (job.spec->mem_bytes > 0) n = std::min(n, room->mem_free() / job.spec->mem_bytes);
  std::uint32_t placed = 0;
  while (placed < n) {
    const auto ordinal = job.ready.next(cursor.at);
    if (!ordinal) break;
    if (cursor.held_back < kHeldBack &&
        must_wait_for_another(job, history(job, *ordinal), room->worker->id)) {
      ++cursor.held_back;
      cursor.at = *ordinal + 1;
      continue;
    }
    give(cursor, *ordinal, *room);
    ++placed;
  }
  return placed;
}

void Placement::keep_from_ahead(const std::map<std::string, std::set<JobId>>& owners) {
  for (const auto& [owner, jobs] : owners) {
    for (const JobId id : jobs) {
      if (rooms_kept_ == rooms_.size() || looks_above_ == kLooks) return;
      ++looks_above_;
      const Cursor& cursor = cursor_of(id);
      const Job& job = *cursor.job;
      if (job.is_short() || job.ready.count() <= cursor.given || left_to_give(cursor) == 0)
        continue;
      for (auto& [worker, room] : rooms_) {
        if (room.is_kept || obstacle_between(*room.worker, job) != Obstacle::None) continue;
        room.is_kept = true;
        ++rooms_kept_;
      }
    }
  }
}

void Placement::send_ahead() {
  auto above = queue_.ready_jobs().begin();
  for (const auto& [priority, owners] : queue_.short_jobs()) {
    // What waits above it and is too long to be sent ahead takes the next slot: one that never
    // falls free, since the next short task is there already, would turn the priorities around.
    for (; above != queue_.ready_jobs().end() && above->first > priority; ++above)
      keep_from_ahead(above->second);
    take_turns(
        turns_of(owners), [this](Cursor& cursor) { return place_ahead(cursor); },
        [this] { return rooms_.empty(); });
  }
}

// --- Back ----------------------------------------------------------------------------------------

bool Placement::is_wanted_here(const Job& job) {
  const auto [known, is_new] = wanted_.try_emplace(job.id);
  if (is_new)
    known->second = std::any_of(rooms_.begin(), rooms_.end(), [&](const auto& entry) {
      return obstacle_in(entry.second, job, nullptr) == Obstacle::None;
    });
  return known->second;
}

void Placement::take_back_from(const Worker& donor, std::uint64_t idle) {
  // The first attempts, as many as its slots take, run there by now or will at once.
  std::uint64_t running = 0;
  auto kept = donor.granted.begin();
  for (; kept != donor.granted.end(); ++kept) {
    const std::uint32_t cpus = queue_.find_job(kept->first.job)->spec->cpus;
    if (running + cpus > donor.row.cpus) break;
    running += cpus;
  }
  const auto ahead = static_cast<std::uint64_t>(std::distance(kept, donor.granted.end()));
  std::uint64_t wanted = std::max<std::uint64_t>(ahead * idle / (idle + donor.row.cpus), 1);
  wanted = std::min<std::uint64_t>(wanted, kTasksPerCommand);
  cmd::TasksRecalled recalled{donor.id, {}};
  // From the end, where they would wait longest. What was recalled before counts as taken.
  const Job* job = nullptr;  // Of the last one: those of a job mostly follow each other.
  bool is_worth_it = false;
  for (auto it = donor.granted.end(); it != kept && wanted > 0;) {
    --it;
    const AttemptKey& key = it->first;
    if (job == nullptr || job->id != key.job) {
      job = queue_.find_job(key.job);
      const auto waits = job->mean_wall * ahead / std::max(donor.row.cpus, 1U);
      is_worth_it = !job->paused && is_wanted_here(*job) &&
                    (job->mean_wall.count() == 0 || waits >= kWorthTakingBack);
    }
    if (!is_worth_it) continue;
    const LiveTask& live = job->live.at(*job->ordinal_of(key.task));
    if (live.started || live.cancelling || !live.failed_on.empty()) continue;
    --wanted;
    if (!live.recalled) recalled.keys.push_back(key);
  }
  if (recalled.keys.empty()) return;
  std::sort(recalled.keys.begin(), recalled.keys.end());
  commands_.emplace_back(std::move(recalled));
}

void Placement::take_back() {
  std::uint64_t idle = 0;
  for (const auto& [id, room] : rooms_) {
    if (!reserved_ || reserved_->worker != id) idle += room.free();
  }
  if (idle == 0) return;
  for (const auto& [id, room] : rooms_) {
    if (room.ahead_before > 0) take_back_from(*room.worker, idle);
  }
}

}  // namespace capstan::planner
