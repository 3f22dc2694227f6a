// SPDX-License-Identifier: MIT
//
// What the failover machine knows of another voter; for the sources of this folder only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/model/journal.h"
#include "common/model/voting.h"
#include "master/ha/machine.h"

namespace capstan::ha {

/// Another voter, as this one knows it.
struct Peer {
  Voter voter{};
  bool is_connected = false;  ///< Our connection to it.
  std::optional<TimePoint> closed_at{};
  std::optional<TimePoint> heard_at{};

  // What it said of itself, in its present life.
  bool is_foreign = false;  ///< Of another cluster or generation: nothing that it says counts.
  std::optional<msg::PeerHello> hello{};
  std::set<std::uint64_t> earlier_lives{};
  /// Of our appends to it: counts up with each of its lives, and each time its journal is sent from
  /// another place. Only an answer to the present one counts (R9a).
  std::uint64_t round = 0;
  TimePoint life_heard_at{};        ///< When something last came from its present life.
  std::uint64_t reseeded_life = 0;  ///< In that one it was given votes in this reign (R10).

  // Of the round that is going on.
  bool has_granted = false;
  bool has_promised = false;
  bool has_abstained = false;      ///< It answered so, in its present life, to our candidacy.
  std::uint64_t accepted_ver = 0;  ///< The highest that it accepted of our epoch.

  // Its journal, as we as the leader know it; data nodes only. Starts from nothing with each of its
  // lives (R9a).
  Seq matched{};                ///< It has our journal up to here, durably.
  JournalEnd sent{};            ///< It has this, or it is on its way.
  std::deque<Seq> in_flight{};  ///< Ends of what is on its way.
  bool is_streaming = false;    ///< It answered: `sent` can be trusted.
  bool needs_snapshot = false;  ///< Until its next life.
  bool is_diverged = false;     ///< That is why.
  bool is_making = false;       ///< The shell was asked for a snapshot.
  std::optional<msg::SnapshotOffer> offer{};
  TimePoint offer_at{};      ///< When to offer, or to ask for a snapshot, next.
  TimePoint progress_at{};   ///< When it last came further, or had everything.
  bool is_joining = false;   ///< R7: commits wait for it, and it is not in the isr yet.
  bool was_shrunk = false;   ///< It was put out of the isr in this reign.
  TimePoint steady_since{};  ///< R7a.

  [[nodiscard]] NodeId id() const { return voter.id; }
  [[nodiscard]] bool is_data() const { return !voter.is_witness; }
  [[nodiscard]] std::uint64_t life() const { return hello ? hello->life : 0; }
  [[nodiscard]] bool abstains() const { return hello && (hello->abstains || hello->fresh); }
};

}  // namespace capstan::ha
