// SPDX-License-Identifier: MIT
//
// The file `cluster` of a node's directory: who votes, who has the queue, and which of them this
// directory is. `capstan-master init` writes it, the same for every node but for `self`, and
// nothing changes it while the cluster lives. Without one a directory is a single master's, which
// is the only voter. It holds public keys only.
//
//   cluster = 5f0c…          32 hex digits
//   generation = 17649… 931… when the cluster's life began, and a random number
//   version = 2              of this list: a later one counts
//   self = a
//   node = a 1 data KEY HOST:PORT[,HOST:PORT…]
//   node = b 2 data KEY …
//   node = w 3 witness KEY …
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"
#include "common/model/voting.h"

namespace capstan {

/// A single master's list of masters has version 1: a pair that it became goes before it.
inline constexpr std::uint64_t kFirstClusterVersion = 2;

struct ClusterNode {
  NodeId id = 0;
  bool is_witness = false;
  Member member;  ///< Its name, its key, and where the others dial it.
  bool operator==(const ClusterNode&) const = default;
};

struct ClusterFile {
  Uuid cluster;
  Generation generation;
  std::uint64_t version = kFirstClusterVersion;
  NodeId self = 0;
  std::vector<ClusterNode> nodes;  ///< Ascending ids.

  [[nodiscard]] const ClusterNode& own() const;
  [[nodiscard]] std::vector<Voter> voters() const;
  /// Those with a queue: what clients and workers dial.
  [[nodiscard]] std::vector<Member> masters() const;
};

/// None: there is no such file. Errors: Corrupt, with FILE:LINE.
Result<std::optional<ClusterFile>> read_cluster_file(const std::string& dir);
Result<void> write_cluster_file(const std::string& dir, const ClusterFile& file);

/// Fits a directory's name and a word of the file: letters, digits, '-', '_'; at most 32.
bool is_node_name(std::string_view name);

/// Machines that have more than one of these nodes, by the hosts of their first addresses: a
/// sentence each.
std::vector<std::string> shared_machines(const std::vector<Member>& nodes);

/// Where a node listens when nobody says: its first own address; every one of the machine when that
/// is a name, which may be known here by a loopback address. Without a cluster's file `otherwise`.
Result<std::string> default_listen(const std::string& dir, const std::string& otherwise);

}  // namespace capstan
