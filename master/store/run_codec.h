// SPDX-License-Identifier: MIT
//
// The runs of a reopened job (cmd::JobReopened) as an entry has them. A job of a million tasks of
// which one in twenty failed has a hundred thousand: two bytes each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "master/core/command.h"

namespace capstan::store {

using Runs = std::vector<cmd::JobReopened::Run>;

/// What `run` takes, in bytes.
[[nodiscard]] std::size_t packed_size(const cmd::JobReopened::Run& run);
[[nodiscard]] std::size_t packed_size(const Runs& runs);
[[nodiscard]] std::string packed(const Runs& runs);
/// False: `bytes` are not of packed().
[[nodiscard]] bool unpack(std::string_view bytes, Runs& runs);

}  // namespace capstan::store
