// SPDX-License-Identifier: MIT
//
// Whole numbers in our own files, the lowest byte first. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace capstan {

/// The lowest `bytes` bytes of `value`, at most 8.
inline void put_int(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

/// REQUIRES: `in` has so many.
inline std::uint64_t take_int(std::string_view& in, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  }
  in.remove_prefix(bytes);
  return value;
}

}  // namespace capstan
