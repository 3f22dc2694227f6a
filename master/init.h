// SPDX-License-Identifier: MIT
//
// The directories of a cluster with a standby: one for each node, to be copied to its machine and
// started there, and the access files, which name all masters. Made whole beside their place and
// then renamed into it, or not at all. A stopped single master can be adopted: node 1 gets a copy
// of all that it has, and the old directory is marked, so that it is not started beside its
// successor.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace capstan {

/// A node as the command line names it.
struct NodePlace {
  std::string name;
  std::vector<std::string> addresses;  ///< HOST:PORT, tried in turn.
};
/// "a=node1:7741,b=node2:7741"; an item without a name is one more address of the node before it.
Result<std::vector<NodePlace>> parse_places(std::string_view text);

struct InitOptions {
  std::string dir;
  std::vector<NodePlace> masters;    ///< Two.
  std::vector<NodePlace> witnesses;  ///< One; none: only the first master may lead by itself.
  std::string adopt;                 ///< A stopped single master's directory; "": a new cluster.
};
/// Returns what a person should think about, a sentence each. ENSURES: on an error nothing was made
/// and nothing changed. Errors: Invalid, NotAllowed (something is there already), Locked (the
/// master to adopt runs), Io and what else the system says.
[[nodiscard]] Result<std::vector<std::string>> init_cluster(const InitOptions& options);

}  // namespace capstan
