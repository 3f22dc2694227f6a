// SPDX-License-Identifier: MIT
//
// Whole numbers in our own files, the lowest byte first. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace capstan {

/// The lowest bytes of `value`, as many as there is room for: at most 8.
inline void set_int(std::span<char> room, std::uint64_t value) {
  for (std::size_t i = 0; i < room.size(); ++i) room[i] = static_cast<char>(value >> (8 * i));
}

/// The lowest `bytes` bytes of `value`, at most 8.
inline void put_int(std::string& out, std::uint64_t value, std::size_t bytes) {
  out.append(bytes, '\0');
  set_int(std::span(out).last(bytes), value);
}

/// Of all its bytes, at most 8.
inline std::uint64_t get_int(std::string_view in) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  }
  return value;
}

/// REQUIRES: `in` has so many.
inline std::uint64_t take_int(std::string_view& in, std::size_t bytes) {
  const std::uint64_t value = get_int(in.substr(0, bytes));
  in.remove_prefix(bytes);
  return value;
}

}  // namespace capstan
