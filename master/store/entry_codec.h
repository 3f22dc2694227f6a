// SPDX-License-Identifier: MIT
//
// Entries to bytes and back: the journal's blob, and what replication ships. An entry is a msgpack
// array [seq, epoch, at_us, wall_us, level, number, [fields…]]; a command's number is its place in
// cmd's variant plus one. Counts are exact and nothing may be left over: what we did not write is
// Corrupt. An entry of a higher level than ours is TooNew: never half understood. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/model/job.h"
#include "master/core/command.h"

namespace capstan::store {

void append_entry(std::string& out, const Entry& entry);
/// An array of entries.
std::string encode_entries(const std::vector<Entry>& entries);
Result<std::vector<Entry>> decode_entries(std::string_view blob);

/// A template as the tables keep it.
std::string encode_spec(const JobSpec& spec);
Result<JobSpec> decode_spec(std::string_view blob);

}  // namespace capstan::store
