// SPDX-License-Identifier: MIT
//
// Versions that are public API. The protocol number stands in every HELLO; a master speaks its own
// and the one before. Raise kProtocol when a message changes; raise kEntryLevel when an entry does;
// raise limits::kSchemaVersion when a table does. They are constants of the program, not of its
// sources: the tests link a program of a version to come (tests/next).
#pragma once

#include <cstdint>

namespace capstan {

extern const char* const kVersion;
extern const std::uint32_t kProtocol;
extern const std::uint32_t kProtocolOldest;
/// Of journal entries: the highest that this program understands.
extern const std::uint32_t kEntryLevel;

/// Is there a protocol that both speak, we and one who speaks all from `oldest` to `newest`?
[[nodiscard]] inline bool is_spoken(std::uint32_t oldest, std::uint32_t newest) {
  return oldest <= kProtocol && newest >= kProtocolOldest;
}

}  // namespace capstan
