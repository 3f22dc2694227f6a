// SPDX-License-Identifier: MIT
//
// Messages of every type with random values within their bounds, made from the descriptions that
// the codec itself uses. Same seed, same messages. For tests of common/wire and for tests/fuzz.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/rng.h"
#include "common/wire/peer_fields.h"
#include "common/wire/version.h"

namespace capstan::wire {

/// A number with a random count of bits: small ones are as likely as huge ones.
inline std::uint64_t random_bits(Rng& rng) {
  return rng.next() >> rng.below(64);
}

inline std::string random_bytes(Rng& rng, std::size_t max) {
  std::string bytes(rng.below(std::min<std::size_t>(max, 24) + 1), '\0');
  for (char& c : bytes) c = static_cast<char>(rng.next());
  return bytes;
}

inline std::string random_text(Rng& rng, std::size_t max) {
  static constexpr const char* kPieces[] = {"a",  "Z", " ",  "\"",
                                            "\n", "ü", "写", "\xF0\x9F\x93\xB7"};
  std::string text;
  for (std::uint64_t left = rng.below(12); left > 0; --left) {
    const std::string piece = kPieces[rng.below(std::size(kPieces))];
    if (text.size() + piece.size() <= max) text += piece;
  }
  return text;
}

template <std::integral T>
void fill_field(Rng& rng, T& v) {
  if constexpr (std::same_as<T, bool>)
    v = rng.chance(50);
  else
    v = static_cast<T>(random_bits(rng));
}
template <class Tag, class Rep>
void fill_field(Rng& rng, StrongId<Tag, Rep>& id) {
  fill_field(rng, id.value);
}
inline void fill_field(Rng& rng, Micros& d) {
  d = Micros(static_cast<std::int64_t>(random_bits(rng)));
}
inline void fill_field(Rng& rng, WallTime& t) {
  t.us = static_cast<std::int64_t>(random_bits(rng));
}
inline void fill_field(Rng& rng, Uuid& id) {
  for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(rng.next());
}
inline void fill_field(Rng& rng, Digest& digest) {
  for (auto& byte : digest.bytes) byte = static_cast<unsigned char>(rng.next());
}
inline void fill_field(Rng& rng, AttemptRun& run) {
  fill_field(rng, run.job);
  fill_field(rng, run.attempt);
  run.first = TaskIndex(static_cast<std::uint32_t>(random_bits(rng) >> 33));
  run.count = 1 + static_cast<std::uint32_t>(rng.below(limits::kKeysPerList));
}
inline void fill_field(Rng& rng, IndexRange& range) {
  range.first = static_cast<std::uint32_t>(random_bits(rng)) / 2;
  range.last = range.first + static_cast<std::uint32_t>(rng.below(1000));
  range.step = static_cast<std::uint32_t>(1 + rng.below(9));
}
template <class S>
void fill_field(Rng& rng, Text<S> f) {
  f.value = random_text(rng, f.max);
}
template <class S>
void fill_field(Rng& rng, Words<S> f) {
  f.value = random_text(rng, f.max);
}
template <class S>
void fill_field(Rng& rng, Bin<S> f) {
  f.value = random_bytes(rng, f.max);
}
template <class E>
void fill_field(Rng& rng, OneOf<E> f) {
  f.value = static_cast<E>(f.min + rng.below(f.max - f.min + 1));
}
template <Record T>
void fill_field(Rng& rng, T& m);

template <class T>
void fill_field(Rng& rng, std::vector<T>& list) {
  list.resize(rng.below(4));
  for (T& element : list) fill_field(rng, element);
}
template <template <class> class Wrapped, class V>
void fill_field(Rng& rng, ListOf<Wrapped, V> f) {
  f.value.resize(rng.below(4));
  for (auto& element : f.value) fill_field(rng, Wrapped<std::string>{element, f.max});
}
template <Record T>
void fill_field(Rng& rng, T& m) {
  std::apply([&](auto&&... field) { (fill_field(rng, field), ...); }, fields(Shape{}, m));
}

/// Of the type with this place in msg::Body. Greetings are of our protocol.
template <std::size_t... I>
msg::Body random_body(Rng& rng, std::size_t type, std::index_sequence<I...>) {
  using Make = msg::Body (*)(Rng&);
  static constexpr std::array<Make, sizeof...(I)> kMakers = {[](Rng& random) {
    msg::Body body;
    auto& m = body.emplace<I>();
    fill_field(random, m);
    if constexpr (requires { m.protocol = kProtocol; }) m.protocol = kProtocol;
    if constexpr (requires { m.protocol_oldest = 0; }) m.protocol_oldest = kProtocolOldest;
    return body;
  }...};
  return kMakers[type](rng);
}

inline constexpr std::size_t kMessageTypes = std::variant_size_v<msg::Body::variant>;

inline msg::Message random_message(Rng& rng, std::size_t type) {
  msg::Message message;
  fill_field(rng, message.session);
  fill_field(rng, message.n);
  fill_field(rng, message.epoch);
  message.body = random_body(rng, type, std::make_index_sequence<kMessageTypes>{});
  return message;
}

}  // namespace capstan::wire
