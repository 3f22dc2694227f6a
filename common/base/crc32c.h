// SPDX-License-Identifier: MIT
//
// CRC-32C (Castagnoli, RFC 3720 appendix B.4), for our own files: it tells a torn write, not an
// attacker. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace capstan {

/// Of `bytes` behind what `before` was computed over.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0);

}  // namespace capstan
