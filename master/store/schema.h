// SPDX-License-Identifier: MIT
//
// The tables and how one version of them becomes the next. docs/storage.md describes them; a change
// here is a new step at the end of the list in schema.cc and a new limits::kSchemaVersion, never an
// edit of an old step.
#pragma once

#include <cstdint>

#include "common/base/error.h"
#include "master/store/sqlite.h"

namespace capstan::store {

/// "CPST": `file capstan.db` and SQLite's own header tell whose it is.
inline constexpr std::int32_t kApplicationId = 0x43505354;
/// Of a page: a task costs a twentieth less of the master than with SQLite's 4096, a commit of a
/// page or two no more; with 16384 it does.
inline constexpr std::uint64_t kPageBytes = 8192;

/// What must be set on the writer's connection before anything else is read or written.
Result<void> configure_writer(Connection& connection);

/// The version of the tables; 0: an empty database. Errors: TooNew; Corrupt when it is not ours.
Result<std::uint32_t> schema_version(Connection& connection);

/// Runs the steps from `version` to kSchemaVersion.
/// REQUIRES: a transaction is open; the caller commits it.
Result<void> migrate(Connection& connection, std::uint32_t version);

}  // namespace capstan::store
