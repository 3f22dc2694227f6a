// SPDX-License-Identifier: MIT
//
// The cursor. Every read checks the bytes that are left before it believes a length.
#include <endian.h>

#include <bit>
#include <cstring>

#include "common/wire/codec.h"

namespace capstan::wire {
namespace {

// Type bytes of the msgpack specification.
constexpr unsigned kNegativeFix = 0xE0;
constexpr unsigned kArray16 = 0xDC, kArray32 = 0xDD;
constexpr unsigned kFixStr = 0xA0, kFixStrEnd = 0xC0, kStr8 = 0xD9, kStr32 = 0xDB;
constexpr unsigned kBin8 = 0xC4, kBin32 = 0xC6;
constexpr unsigned kUint8 = 0xCC, kUint64 = 0xCF, kInt8 = 0xD0, kInt64 = 0xD3;

/// The low `bytes` bytes of `bits` as a two's complement number.
std::int64_t sign_extended(std::uint64_t bits, std::size_t bytes) {
  const auto shift = static_cast<int>(64 - 8 * bytes);
  return std::bit_cast<std::int64_t>(bits << shift) >> shift;
}

}  // namespace

std::string_view Reader::take(std::size_t count) {
  if (count > rest_.size()) set_error("it is cut off");
  if (!ok()) return {};
  const std::string_view taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

unsigned char Reader::byte() {
  if (rest_.empty()) set_error("it is cut off");
  if (!ok()) return 0;
  const auto first = static_cast<unsigned char>(rest_[0]);
  rest_.remove_prefix(1);
  return first;
}

std::uint64_t Reader::big_endian(std::size_t bytes) {
  const std::string_view taken = take(bytes);
  if (taken.size() == sizeof(std::uint64_t)) {
    std::uint64_t value = 0;
    std::memcpy(&value, taken.data(), sizeof value);
    return be64toh(value);
  }
  std::uint64_t value = 0;
  for (const char c : taken) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::size_t Reader::long_array() {
  const unsigned type = byte();
  if (type == kArray16) return big_endian(2);
  if (type == kArray32) return big_endian(4);
  set_error("an array was expected");
  return 0;
}

std::size_t Reader::array_up_to(std::size_t max) {
  const std::size_t count = length_of_array();
  // An element takes a byte at least.
  if (count > max || count > rest_.size()) set_error("a list is too long");
  return ok() ? count : 0;
}

std::uint64_t Reader::long_u64(std::uint64_t max) {
  const unsigned type = byte();
  std::uint64_t value = type;
  if (type >= kUint8 && type <= kUint64) {
    value = big_endian(std::size_t{1} << (type - kUint8));
  } else if (type >= Head::kNumberEnd) {
    set_error("an unsigned number was expected");
  }
  if (value > max) set_error("a number is out of range");
  return ok() ? value : 0;
}

std::int64_t Reader::long_i64(std::int64_t min, std::int64_t max) {
  const unsigned type = rest_.empty() ? 0 : static_cast<unsigned char>(rest_[0]);
  std::int64_t value = 0;
  if (type >= kNegativeFix) {
    value = sign_extended(byte(), 1);
  } else if (type >= kInt8 && type <= kInt64) {
    byte();
    const std::size_t bytes = std::size_t{1} << (type - kInt8);
    value = sign_extended(big_endian(bytes), bytes);
  } else {
    value = static_cast<std::int64_t>(u64(INT64_MAX));
  }
  if (value < min || value > max) set_error("a number is out of range");
  return ok() ? value : 0;
}

bool Reader::no_boolean() {
  set_error(rest_.empty() ? "it is cut off" : "true or false was expected");
  return false;
}

std::string_view Reader::bin(std::size_t max) {
  const unsigned type = byte();
  std::size_t length = 0;
  if (type >= kBin8 && type <= kBin32) {
    length = big_endian(std::size_t{1} << (type - kBin8));
  } else {
    set_error("bytes were expected");
  }
  if (length > max) set_error("bytes are too long");
  return take(length);
}

std::string_view Reader::text(std::size_t max) {
  const unsigned type = byte();
  std::size_t length = 0;
  if (type >= kFixStr && type < kFixStrEnd) {
    length = type - kFixStr;
  } else if (type >= kStr8 && type <= kStr32) {
    length = big_endian(std::size_t{1} << (type - kStr8));
  } else {
    set_error("a text was expected");
  }
  if (length > max) set_error("a text is too long");
  const std::string_view taken = take(length);
  if (!is_utf8(taken)) set_error("a text is not UTF-8");
  return ok() ? taken : std::string_view{};
}

}  // namespace capstan::wire
