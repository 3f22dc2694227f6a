// SPDX-License-Identifier: MIT
//
// Who this worker is: its own key pair, made by itself and never sent, in DIR/worker.access once it
// is enrolled. Until then an invitation (a file of role `enrolment`) lets it ask for that. The pair
// is saved before it is sent, as DIR/worker.pending, so that a crash in between does not leave a
// name behind that nobody can use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/net/keys.h"

namespace capstan {

/// DIR/worker.access, or nothing when the worker is not enrolled yet.
Result<std::optional<net::Access>> own_access(const std::string& dir);

/// The invitation: `file` if it is given, else that of a master on this machine.
/// Errc::NotAllowed: there is none, or the file is of another role; the message has the way out.
/// Errc::Invalid: `file` cannot be read.
Result<net::Access> find_invitation(const std::string& file);

/// The pair that will be ours, made at the first call and the same in every further one.
Result<net::KeyPair> pending_keys(const std::string& dir, const net::Access& invitation);

/// Enrolled as `name`: saves the access file, drops the pending one.
Result<net::Access> finish_enrolment(const std::string& dir, const net::Access& invitation,
                                     const net::KeyPair& keys, const std::string& name);

/// The masters of the cluster, as one of them told.
struct ToldMasters {
  std::vector<Member> members;
  std::uint64_t version = 0;
};
/// The masters or the name changed: rewrites the file if so.
Result<void> update_access(const std::string& dir, net::Access& access, const std::string& name,
                           const ToldMasters& masters);

/// Marks what was started in this directory: 32 hex digits in DIR/id, made when missing.
Result<std::string> directory_id(const std::string& dir);

}  // namespace capstan
