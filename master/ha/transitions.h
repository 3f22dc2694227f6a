// SPDX-License-Identifier: MIT
//
// The roles of a voter and every way between them, as one table: the machine moves only along its
// rows, and each row's sentence is what the log says when it does.
#pragma once

#include <cstdint>
#include <span>

namespace capstan::ha {

enum class Role : std::uint8_t { Follower, Asking, Candidate, Claiming, Leader };
[[nodiscard]] const char* to_string(Role role);

/// Why a role changes.
enum class Cause : std::uint8_t {
  Silence,      ///< No word from a leader for the election time (R1).
  Closed,       ///< The leader's connection closed, or its process began anew (R1).
  Sole,         ///< Nobody else may lead: the register names this node alone.
  Granted,      ///< A majority would promise (R1).
  TakeOver,     ///< The leader hands over (R11).
  Override,     ///< An operator says that the old primary is off (R12).
  Promised,     ///< A majority promised, and the register has this node in its isr (R2).
  Accepted,     ///< A majority accepted the register that names this node (R2).
  Unanswered,   ///< No majority in time.
  NotInIsr,     ///< The register that a majority knows does not have this node (R2).
  LeaderHeard,  ///< Somebody leads.
  HigherEpoch,  ///< Somebody promised or leads in a higher epoch (R5).
  NoMajority,   ///< In sync, and no majority heard for the election time (R8).
};

struct Transition {
  Role from;
  Role to;
  Cause cause;
  const char* event;     ///< What happened, in a word or two: the edge of a diagram.
  const char* sentence;  ///< For the log.
};

[[nodiscard]] std::span<const Transition> transitions();
/// The row; a CHECK fails when there is none: `from` is never left that way.
[[nodiscard]] const Transition& transition(Role from, Cause cause);

}  // namespace capstan::ha
