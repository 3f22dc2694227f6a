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
#include "common/model/journal.h"
#include "master/core/command.h"

namespace capstan::store {

void append_entry(std::string& out, const Entry& entry);
/// An array of entries.
std::string encode_entries(const std::vector<Entry>& entries);
Result<std::vector<Entry>> decode_entries(std::string_view blob);
/// The entries of a batch that somebody else sealed. Corrupt unless it follows `before` without a
/// gap, in one epoch that is not lower, and its chain and time are those of its entries.
Result<std::vector<Entry>> open_batch(const JournalEnd& before, const SealedBatch& sealed);

/// A template as the tables keep it.
std::string encode_spec(const JobSpec& spec);
Result<JobSpec> decode_spec(std::string_view blob);

}  // namespace capstan::store
