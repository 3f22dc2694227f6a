// SPDX-License-Identifier: MIT
//
// What voters agree on (docs/failover.md): who leads, and who has everything that was acknowledged.
// Stored in the vote file and sent between masters; rules for changing it are those of both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/ids.h"

namespace capstan {

/// A voter's id: 1 … 255, never used again. An epoch is counter * 256 + the id of who leads in it.
using NodeId = std::uint8_t;
inline constexpr std::size_t kVotersMax = 16;

[[nodiscard]] constexpr NodeId node_of(Epoch epoch) {
  return static_cast<NodeId>(epoch.value & 0xFFU);
}

/// The voted register: ordered by (epoch, ver).
struct Register {
  Epoch epoch;
  std::uint64_t ver = 0;
  NodeId leader = 0;        ///< 0: nobody yet.
  std::vector<NodeId> isr;  ///< Ascending; at most kVotersMax.
  bool operator==(const Register&) const = default;
  [[nodiscard]] bool is_before(const Register& other) const {
    return epoch != other.epoch ? epoch < other.epoch : ver < other.ver;
  }
};

/// What a voter must never forget.
struct Vote {
  Epoch promised;
  Register reg;
  std::uint64_t nonce = 0;  ///< Of the data node's last start; also in its database.
  bool fresh = true;        ///< As init wrote it: nothing was voted yet.
  bool operator==(const Vote&) const = default;
};

/// One voter, as the cluster's file names it.
struct Voter {
  NodeId id = 0;
  std::string name;         ///< "a"
  bool is_witness = false;  ///< It votes and holds no queue.
  bool operator==(const Voter&) const = default;
};

}  // namespace capstan
