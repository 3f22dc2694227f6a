// SPDX-License-Identifier: MIT
//
// The one file that includes msgpack-c.
#include <limits>
#include <msgpack.hpp>

#include "common/base/check.h"
#include "common/wire/codec.h"

namespace capstan::wire {
namespace {

/// What msgpack-c's packer writes to.
struct Append {
  std::string& out;
  void write(const char* bytes, std::size_t count) { out.append(bytes, count); }
};

/// A packer is one pointer: made anew for each value.
template <class Pack>
void pack(std::string& out, Pack&& what) {
  Append append{out};
  msgpack::packer<Append> packer(append);
  what(packer);
}

std::uint32_t length_field(std::size_t length) {
  CHECK(length <= std::numeric_limits<std::uint32_t>::max());
  return static_cast<std::uint32_t>(length);
}

}  // namespace

void Writer::array(std::size_t count) {
  pack(out_, [&](auto& p) { p.pack_array(length_field(count)); });
}

void Writer::u64(std::uint64_t v) {
  pack(out_, [&](auto& p) { p.pack_uint64(v); });
}

void Writer::i64(std::int64_t v) {
  pack(out_, [&](auto& p) { p.pack_int64(v); });
}

void Writer::boolean(bool v) {
  pack(out_, [&](auto& p) { v ? p.pack_true() : p.pack_false(); });
}

void Writer::bin(std::string_view bytes) {
  pack(out_, [&](auto& p) {
    p.pack_bin(length_field(bytes.size()));
    p.pack_bin_body(bytes.data(), length_field(bytes.size()));
  });
}

void Writer::text(std::string_view utf8) {
  if (!is_utf8(utf8)) return text(printable(utf8));
  pack(out_, [&](auto& p) {
    p.pack_str(length_field(utf8.size()));
    p.pack_str_body(utf8.data(), length_field(utf8.size()));
  });
}

void Writer::text(std::string_view utf8, std::size_t max) {
  if (!is_utf8(utf8)) return text(printable(utf8), max);
  std::size_t end = std::min(utf8.size(), max);
  const auto continues = [&](std::size_t i) {
    return (static_cast<unsigned char>(utf8[i]) & 0xC0) == 0x80;
  };
  while (end > 0 && end < utf8.size() && continues(end)) --end;
  text(utf8.substr(0, end));
}

}  // namespace capstan::wire
