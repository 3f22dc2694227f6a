// SPDX-License-Identifier: MIT
//
// The one file that includes msgpack-c.
#include <cstring>
#include <limits>
#include <msgpack.hpp>

#include "common/base/check.h"
#include "common/wire/codec.h"

namespace capstan::wire {
namespace {

std::uint32_t length_field(std::size_t length) {
  CHECK(length <= std::numeric_limits<std::uint32_t>::max());
  return static_cast<std::uint32_t>(length);
}

}  // namespace

/// What msgpack-c's packer writes to.
struct Writer::Sink {
  Writer& writer;
  [[gnu::always_inline]] void write(const char* bytes, std::size_t count) {
    if (count > kPieceBytes - writer.used_) return write_long(bytes, count);
    if (count > 0) std::memcpy(writer.piece_.data() + writer.used_, bytes, count);
    writer.used_ += count;
  }
  [[gnu::noinline]] void write_long(const char* bytes, std::size_t count);
  /// A packer is one pointer: made anew for each value.
  template <class Pack>
  void pack(Pack&& what) {
    msgpack::packer<Sink> packer(*this);
    what(packer);
  }
};

void Writer::Sink::write_long(const char* bytes, std::size_t count) {
  writer.finish();
  writer.out_.append(bytes, count);
}

Writer::~Writer() {
  CHECK(used_ == 0);
}

void Writer::written(std::string_view msgpack) {
  Sink{*this}.write(msgpack.data(), msgpack.size());
}

void Writer::finish() {
  out_.append(piece_.data(), used_);
  used_ = 0;
}

// Flattened: the packer's layers are inlined down to write(), where the length of a number is a
// constant then, and its bytes a store and no call.
[[gnu::flatten]] void Writer::long_array(std::size_t count) {
  Sink{*this}.pack([&](auto& p) { p.pack_array(length_field(count)); });
}

[[gnu::flatten]] void Writer::long_u64(std::uint64_t v) {
  Sink{*this}.pack([&](auto& p) { p.pack_uint64(v); });
}

[[gnu::flatten]] void Writer::negative(std::int64_t v) {
  Sink{*this}.pack([&](auto& p) { p.pack_int64(v); });
}

[[gnu::flatten]] void Writer::bin(std::string_view bytes) {
  Sink{*this}.pack([&](auto& p) {
    p.pack_bin(length_field(bytes.size()));
    p.pack_bin_body(bytes.data(), length_field(bytes.size()));
  });
}

void Writer::text(std::string_view utf8) {
  if (!is_utf8(utf8)) return text(printable(utf8));
  Sink{*this}.pack([&](auto& p) {
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
