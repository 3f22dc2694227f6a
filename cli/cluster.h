// SPDX-License-Identifier: MIT
//
// `cluster`: who leads, who stands by, what would be lost. `failover`: let the other one lead.
#pragma once

#include <memory>

#include "cli/cluster_asker.h"
#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_cluster_verb();
std::unique_ptr<Verb> make_failover_verb();

/// For people; docs/cli.md has the JSON.
std::string cluster_text(const SeenCluster& seen, bool with_colour);

/// A planned switch-over is asked of the primary; one with losses of the node that is to lead,
/// which is `to`, or the only master left that answers and does not lead; or does, when the voters
/// beside it are given up.
Outcome<std::string> whom_to_ask(const std::vector<SeenCluster>& seen, const std::string& to,
                                 bool with_loss, bool gives_up_voters = false);

}  // namespace capstan::cli
