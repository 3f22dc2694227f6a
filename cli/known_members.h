// SPDX-License-Identifier: MIT
//
// The masters of a cluster as one of them told them last, kept in
// $XDG_STATE_HOME/capstan/members/CLUSTER-HEX: so an access file that is older than a change of the
// masters still works. Only a memory: when it cannot be read or written, the access file holds.
#pragma once

#include <string>

#include "common/model/member.h"
#include "common/net/keys.h"
#include "common/wire/worker_message.h"

namespace capstan::cli {

/// "" when there is no home.
std::string known_members_file(const Uuid& cluster);

/// The access with the masters of `file` when those are newer; what only the access names is
/// dialled as well. Any error: the access as it is.
net::Access with_known_members(net::Access access, const std::string& file);

/// Writes them down when they are newer than what is there and not what `access` says already.
void remember_members(const std::string& file, const net::Access& access,
                      const msg::Welcome& welcome);

}  // namespace capstan::cli
