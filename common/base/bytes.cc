// SPDX-License-Identifier: MIT
#include "common/base/bytes.h"

#include <fmt/format.h>
#include <sodium.h>

#include <cstring>

#include "common/base/check.h"

namespace capstan {
namespace {

/// Length of the well-formed UTF-8 sequence at the beginning of `s`, 0 when there is none
/// (the Unicode standard, table 3-7: no overlong forms, no surrogates, up to U+10FFFF).
std::size_t sequence_length(std::string_view s) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto follows = [&](std::size_t i, unsigned low, unsigned high) {
    return i < s.size() && at(i) >= low && at(i) <= high;
  };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1, 0x80, 0xBF) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
    const bool valid = follows(1, low, high) && follows(2, 0x80, 0xBF) && follows(3, 0x80, 0xBF);
    return valid ? 4 : 0;
  }
  return 0;
}

/// How many bytes at the beginning are ASCII without NUL, in steps of eight.
std::size_t plain_prefix(std::string_view s) {
  constexpr std::uint64_t kLow = 0x0101010101010101ULL, kHigh = 0x8080808080808080ULL;
  std::size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, s.data() + i, 8);
    if (((word | (word - kLow)) & kHigh) != 0) break;  // A high bit, or a NUL that borrowed one.
  }
  return i;
}

bool is_control(std::string_view sequence) {
  const auto lead = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return lead < 0x20 || lead == 0x7F;
  return lead == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;  // U+0080 to U+009F.
}

bool is_plain_for_sh(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+:,./-";
  return !word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  bytes.remove_prefix(plain_prefix(bytes));
  while (!bytes.empty()) {
    const std::size_t length = bytes[0] == '\0' ? 0 : sequence_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    const std::string_view sequence = bytes.substr(0, length == 0 ? 1 : length);
    if (length == 0 || is_control(sequence)) {
      for (const char c : sequence) {
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
      }
    } else {
      out += sequence;
    }
    bytes.remove_prefix(sequence.size());
  }
  return out;
}

std::string shell_quoted(std::string_view bytes) {
  if (is_plain_for_sh(bytes)) return std::string(bytes);
  std::string out = "'";
  for (const char c : bytes) {
    if (c == '\'')
      out += "'\\''";  // Ends the quotation, a quoted quote, and begins it again.
    else
      out += c;
  }
  return out += '\'';
}

std::string Digest::hex() const {
  std::string out(2 * sizeof bytes + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), bytes, sizeof bytes);
  out.pop_back();
  return out;
}

Digest chained_digest(const Digest& before, std::string_view data) {
  static const bool ready = sodium_init() >= 0;  // Picks the fastest code for this cpu.
  CHECK(ready);
  crypto_generichash_state state;
  Digest digest;
  CHECK(crypto_generichash_init(&state, nullptr, 0, sizeof digest.bytes) == 0);
  crypto_generichash_update(&state, before.bytes, sizeof before.bytes);
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(data.data()),
                            data.size());
  crypto_generichash_final(&state, digest.bytes, sizeof digest.bytes);
  return digest;
}

std::string size_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (amount >= 1023.95 && unit + 1 < std::size(kUnits)) {
    amount /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", amount, kUnits[unit]);
}

}  // namespace capstan
