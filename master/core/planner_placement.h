// SPDX-License-Identifier: MIT
//
// Which ready task goes to which worker, in one call of the planner: internal to master/core.
// It reads the queue and keeps beside it what it has given away in this call; the commands make it
// true. Three passes over the workers that are up:
//
//   fill_slots   every free slot, the emptiest worker first, before anything is sent ahead
//   send_ahead   short tasks beyond the slots, evenly, so that no worker idles for a round trip
//   take_back    what was sent ahead elsewhere, when a worker here has run dry
//
// fill_slots also finds the reservation (planner.h): it is decided anew in each call, from the
// queue alone, and what it lacks only shrinks, since the worker gets nothing meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "master/core/command.h"
#include "master/core/obstacle.h"
#include "master/core/queue.h"

namespace capstan::planner {

inline constexpr std::size_t kTasksPerCommand = 1000;  ///< A few KiB: well below a batch.

class Placement {
 public:
  explicit Placement(const Queue& queue) : queue_(queue) {}

  /// It is up: it has a session, is not suspect, and takes work.
  void add_worker(const Worker& worker);
  /// What hinders the worker from running a task of `job` now. `history`: of the task, or null.
  /// REQUIRES: add_worker(worker).
  [[nodiscard]] Obstacle obstacle_to(const Job& job, const LiveTask* history,
                                     WorkerId worker) const;
  /// Who has a worker reserved.
  struct Reservation {
    WorkerId worker;
    JobId job;
    std::uint32_t cpus = 0;   ///< Of one task.
    bool lacks_cpus = false;  ///< Else memory alone: what needs none may have the other cpus.
  };
  [[nodiscard]] const std::optional<Reservation>& reservation() const { return reserved_; }
  void keep(const std::optional<Reservation>& reservation) { reserved_ = reservation; }
  void fill_slots();
  void send_ahead();
  void take_back();
  [[nodiscard]] std::vector<Command> take_commands() { return std::move(commands_); }

 private:
  /// A worker that is up, with what this call gave it.
  struct Room {
    const Worker* worker = nullptr;
    std::uint64_t used = 0;          ///< Cpus granted and dying.
    std::uint64_t mem_used = 0;      ///< Memory, the same.
    std::uint64_t ahead_before = 0;  ///< Cpus beyond its slots when this call began.
    std::size_t held = 0;
    bool is_kept = false;  ///< For what has a higher priority than all that could be sent ahead.
    [[nodiscard]] std::uint64_t cpus() const { return worker->row.cpus; }
    [[nodiscard]] std::uint64_t free() const { return used < cpus() ? cpus() - used : 0; }
    [[nodiscard]] std::uint64_t mem_free() const {
      const std::uint64_t all = worker->row.mem_bytes;
      return mem_used < all ? all - mem_used : 0;
    }
    [[nodiscard]] std::uint64_t ahead() const { return used > cpus() ? used - cpus() : 0; }
  };
  /// Where in a job's ready tasks this call is.
  struct Cursor {
    const Job* job = nullptr;
    std::uint32_t at = 0;
    std::uint64_t given = 0;
    std::uint32_t held_back = 0;  ///< Passed over: they wait for a worker that has not failed them.
  };
  /// An owner's jobs of one priority, oldest first.
  struct OwnerTurn {
    std::set<JobId>::const_iterator next, end;
  };
  /// Owners of one priority by the cpus they have: the first one is next.
  using Turns = std::map<std::pair<std::uint64_t, std::string>, OwnerTurn>;

  [[nodiscard]] Turns turns_of(const std::map<std::string, std::set<JobId>>& owners) const;
  /// Lets owners take turns until none can place more, or `is_over`. `place`: tasks placed for a
  /// cursor.
  template <class Place, class IsOver>
  void take_turns(Turns turns, Place place, IsOver is_over);

  [[nodiscard]] Cursor& cursor_of(JobId id);
  [[nodiscard]] std::uint64_t left_to_give(const Cursor& cursor) const;
  [[nodiscard]] const LiveTask* history(const Job& job, std::uint32_t ordinal) const;
  [[nodiscard]] bool must_wait_for_another(const Job& job, const LiveTask* history,
                                           WorkerId worker) const;
  std::uint32_t place_one(Cursor& cursor);
  std::uint32_t place_ahead(Cursor& cursor);
  /// Of one priority: nothing lower is sent ahead to where their tasks could run next.
  void keep_from_ahead(const std::map<std::string, std::set<JobId>>& owners);
  [[nodiscard]] Room* emptiest_for(Cursor& cursor, const LiveTask* history, bool& is_blocked);
  [[nodiscard]] Room* least_ahead(const Job& job, std::uint64_t depth);
  [[nodiscard]] Obstacle obstacle_in(const Room& room, const Job& job,
                                     const LiveTask* history) const;
  [[nodiscard]] bool is_reserved_for_another(const Room& room, const Job& job) const;
  /// The first in line that finds no room: a worker is kept for it.
  void wait_in_line(const Cursor& cursor, std::uint32_t ordinal);
  void give(Cursor& cursor, std::uint32_t ordinal, Room& room);
  void take_back_from(const Worker& donor, std::uint64_t idle);
  [[nodiscard]] bool is_wanted_here(const Job& job);

  const Queue& queue_;
  std::map<WorkerId, Room> rooms_;
  std::uint64_t slots_ = 0;  ///< Of all of them.
  /// Rooms with a free slot, the emptiest first: (all - free, id).
  std::set<std::pair<std::uint64_t, WorkerId>> free_;
  std::optional<Reservation> reserved_;
  std::uint32_t looks_ = 0;        ///< At jobs that found no room, for the first in line.
  std::uint32_t looks_above_ = 0;  ///< At jobs that lower ones must not be sent ahead of.
  std::size_t rooms_kept_ = 0;
  bool line_is_settled_ = false;  ///< The first in line was found, or is not looked for any more.
  /// Cpus and memory of jobs without exclusions that found no room: rooms only fill up.
  std::set<std::pair<std::uint32_t, std::uint64_t>> too_large_;
  std::map<JobId, bool> wanted_;  ///< Of is_wanted_here(): nothing is placed meanwhile.
  std::map<JobId, Cursor> cursors_;
  std::map<std::string, std::uint64_t> owner_cpus_;  // Given in this call.
  std::vector<Command> commands_;
  /// The open command of a worker, job and attempt number: its place in commands_.
  std::map<std::tuple<WorkerId, JobId, AttemptNo>, std::size_t> open_;
};

}  // namespace capstan::planner
