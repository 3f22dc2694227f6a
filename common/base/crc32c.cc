// SPDX-License-Identifier: MIT
#include "common/base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

namespace capstan {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // Reflected.

using Table = std::array<std::uint32_t, 256>;

// Slicing by four: table k is table 0 moved on by k bytes.
constexpr std::array<Table, 4> make_tables() {
  std::array<Table, 4> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][i] = crc;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t before = tables[k - 1][i];
      tables[k][i] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr std::array<Table, 4> kTables = make_tables();

std::uint32_t by_tables(std::string_view bytes, std::uint32_t crc) {
  while (bytes.size() >= 4) {
    const auto byte = [&bytes](std::size_t i) {
      return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]));
    };
    crc ^= byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
    crc = kTables[3][crc & 0xFF] ^ kTables[2][crc >> 8 & 0xFF] ^ kTables[1][crc >> 16 & 0xFF] ^
          kTables[0][crc >> 24];
    bytes.remove_prefix(4);
  }
  for (const char c : bytes) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  }
  return crc;
}

#ifdef __x86_64__
/// SSE 4.2 has an instruction for this polynomial.
[[gnu::target("sse4.2")]] std::uint32_t by_instruction(std::string_view bytes, std::uint32_t crc) {
  std::uint64_t wide = crc;
  while (bytes.size() >= sizeof wide) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes.data(), sizeof eight);
    wide = __builtin_ia32_crc32di(wide, eight);
    bytes.remove_prefix(sizeof eight);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (const char c : bytes) crc = __builtin_ia32_crc32qi(crc, static_cast<unsigned char>(c));
  return crc;
}
#endif

using Folded = std::uint32_t (*)(std::string_view, std::uint32_t);

Folded fastest() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("sse4.2")) return by_instruction;
#endif
  return by_tables;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t before) {
  static const Folded fold = fastest();
  return ~fold(bytes, ~before);
}

}  // namespace capstan
