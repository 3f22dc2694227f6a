// SPDX-License-Identifier: MIT
//
// Versions that are public API. The protocol number stands in every HELLO; a master speaks its own
// and the one before. Raise kProtocol when a message changes; raise limits::kEntryLevel when an
// entry does; raise limits::kSchemaVersion when a table does.
#pragma once

#include <cstdint>

namespace capstan {

inline constexpr const char* kVersion = "0.1.0";
inline constexpr std::uint32_t kProtocol = 1;
inline constexpr std::uint32_t kProtocolOldest = 1;

}  // namespace capstan
