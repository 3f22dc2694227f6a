// SPDX-License-Identifier: MIT
//
// Which access file is ours: the option (typed, $CAPSTAN_ACCESS, or of the configuration file),
// ~/.config/capstan/access, or that of this machine's master, in this order.
#pragma once

#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/outcome.h"
#include "cli/verb.h"
#include "common/net/keys.h"

namespace capstan::cli {

/// The path of the access file. None anywhere: exit 75 and how to get a master.
Outcome<std::string> find_access(const CommonOptions& common);
/// Finds and reads it. An invitation or a worker's file is refused here. A newer list of masters
/// that is known of goes before the file's.
Outcome<net::Access> load_access(const CommonOptions& common);
/// A client that starts to dial. `interrupts` may be null.
Outcome<std::unique_ptr<Client>> connect(net::EventLoop& loop, const Verb& verb,
                                         const Interrupts* interrupts = nullptr);

}  // namespace capstan::cli
