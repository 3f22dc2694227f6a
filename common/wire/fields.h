// SPDX-License-Identifier: MIT
//
// One description of a struct serves writing and reading, so that the two cannot drift apart: an
// overload `fields(Shape{}, m)` lists the members of a struct, in the order of its declaration,
// with the bound of each. put_record() writes them as a msgpack array, get_record() reads them back
// and refuses another number of fields. Internal to common/wire.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "common/wire/codec.h"

namespace capstan::wire {

/// Makes `fields` found by its namespace, wherever the struct lives.
struct Shape {};

/// `Is<T> auto& m`: a T or a const T.
template <class Given, class Wanted>
concept Is = std::same_as<std::remove_const_t<Given>, Wanted>;

/// The members of a struct: references to what needs no bound of its own, and the wrappers below.
template <class... Field>
auto all(Field&&... field) {
  return std::tuple<Field...>(std::forward<Field>(field)...);
}

// --- Members that have a bound. S is std::string or const, and so on.
// ------------------------------

template <class S>
struct Text {
  S& value;
  std::size_t max;
};
/// A text that is cut when it is written, not refused.
template <class S>
struct Words {
  S& value;
  std::size_t max;
};
template <class S>
struct Bin {
  S& value;
  std::size_t max;
};
template <class E>
struct OneOf {
  E& value;
  std::uint64_t min;
  std::uint64_t max;
};
/// A list of strings; each element is written as Wrapped.
template <template <class> class Wrapped, class V>
struct ListOf {
  V& value;
  std::size_t max;
};

template <class S>
auto text(S& value, std::size_t max) {
  return Text<S>{value, max};
}
template <class S>
auto words(S& value, std::size_t max) {
  return Words<S>{value, max};
}
template <class S>
auto bin(S& value, std::size_t max) {
  return Bin<S>{value, max};
}
template <class V>
auto texts(V& value, std::size_t max) {
  return ListOf<Text, V>{value, max};
}
template <class V>
auto all_words(V& value, std::size_t max) {
  return ListOf<Words, V>{value, max};
}
template <class V>
auto bins(V& value, std::size_t max) {
  return ListOf<Bin, V>{value, max};
}
/// An enumerator from `min` to `max`.
template <class E>
auto one_of(E& value, std::remove_const_t<E> min, std::remove_const_t<E> max) {
  return OneOf<E>{value, static_cast<std::uint64_t>(min), static_cast<std::uint64_t>(max)};
}

// --- Writing
// ---------------------------------------------------------------------------------------

template <class T>
concept Record = requires(T& m) {
  fields(Shape{}, m);
};

template <std::integral T>
void put_field(Writer& w, const T& v) {
  if constexpr (std::same_as<T, bool>)
    w.boolean(v);
  else if constexpr (std::signed_integral<T>)
    w.i64(v);
  else
    w.u64(v);
}
template <class Tag, class Rep>
void put_field(Writer& w, const StrongId<Tag, Rep>& id) {
  w.u64(id.value);
}
inline void put_field(Writer& w, const Micros& d) {
  w.i64(d.count());
}
inline void put_field(Writer& w, const WallTime& t) {
  w.i64(t.us);
}
inline void put_field(Writer& w, const Uuid& id) {
  put(w, id);
}
inline void put_field(Writer& w, const Digest& digest) {
  w.bin({reinterpret_cast<const char*>(digest.bytes), sizeof digest.bytes});
}
template <class S>
void put_field(Writer& w, const Text<S>& f) {
  w.text(f.value);
}
template <class S>
void put_field(Writer& w, const Words<S>& f) {
  w.text(f.value, f.max);
}
template <class S>
void put_field(Writer& w, const Bin<S>& f) {
  w.bin(f.value);
}
template <class E>
void put_field(Writer& w, const OneOf<E>& f) {
  w.u64(static_cast<std::uint64_t>(f.value));
}
template <Record T>
void put_field(Writer& w, const T& m);

template <class T>
void put_field(Writer& w, const std::vector<T>& list) {
  w.array(list.size());
  for (const T& element : list) put_field(w, element);
}
template <template <class> class Wrapped, class V>
void put_field(Writer& w, const ListOf<Wrapped, V>& f) {
  w.array(f.value.size());
  for (const auto& element : f.value) put_field(w, Wrapped<const std::string>{element, f.max});
}

template <class T>
void put_record(Writer& w, const T& m) {
  std::apply(
      [&](const auto&... field) {
        w.array(sizeof...(field));
        (put_field(w, field), ...);
      },
      fields(Shape{}, m));
}
template <Record T>
void put_field(Writer& w, const T& m) {
  put_record(w, m);
}

// --- Reading
// ---------------------------------------------------------------------------------------

template <std::integral T>
void get_field(Reader& r, T& v) {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::same_as<T, bool>)
    v = r.boolean();
  else if constexpr (std::signed_integral<T>)
    v = static_cast<T>(r.i64(Limits::min(), Limits::max()));
  else
    v = static_cast<T>(r.u64(Limits::max()));
}
template <class Tag, class Rep>
void get_field(Reader& r, StrongId<Tag, Rep>& id) {
  get_field(r, id.value);
}
inline void get_field(Reader& r, Micros& d) {
  d = Micros(r.i64());
}
inline void get_field(Reader& r, WallTime& t) {
  t.us = r.i64();
}
inline void get_field(Reader& r, Uuid& id) {
  get(r, id);
}
inline void get_field(Reader& r, Digest& digest) {
  const std::string_view bytes = r.bin(sizeof digest.bytes);
  if (bytes.size() != sizeof digest.bytes) return r.set_error("a digest has another length");
  std::copy(bytes.begin(), bytes.end(), digest.bytes);
}
template <class S>
void get_field(Reader& r, Text<S> f) {
  f.value = r.text(f.max);
}
template <class S>
void get_field(Reader& r, Words<S> f) {
  f.value = r.text(f.max);
}
template <class S>
void get_field(Reader& r, Bin<S> f) {
  f.value = r.bin(f.max);
}
template <class E>
void get_field(Reader& r, OneOf<E> f) {
  const std::uint64_t number = r.u64(f.max);
  if (number < f.min) r.set_error("an unknown kind");
  if (r.ok()) f.value = static_cast<E>(number);
}
template <Record T>
void get_field(Reader& r, T& m);

/// Grows with what was really there: a claimed length reserves next to nothing.
template <class T, class Read>
void get_list(Reader& r, std::vector<T>& list, Read read_one) {
  constexpr std::size_t kReserved = 256;
  const std::size_t count = r.array_up_to(SIZE_MAX);
  list.clear();
  list.reserve(std::min(count, kReserved));
  for (std::size_t i = 0; i < count && r.ok(); ++i) read_one(list.emplace_back());
}
template <class T>
void get_field(Reader& r, std::vector<T>& list) {
  get_list(r, list, [&](T& element) { get_field(r, element); });
}
template <template <class> class Wrapped, class V>
void get_field(Reader& r, ListOf<Wrapped, V> f) {
  get_list(r, f.value, [&](std::string& s) { get_field(r, Wrapped<std::string>{s, f.max}); });
}

template <class T>
void get_record(Reader& r, T& m) {
  std::apply(
      [&](auto&&... field) {
        r.array(sizeof...(field));
        (get_field(r, field), ...);
      },
      fields(Shape{}, m));
}
template <Record T>
void get_field(Reader& r, T& m) {
  get_record(r, m);
}
/// The fields that we know, of a record to which a later version may have appended some. They are
/// the last of a frame: what is behind them is not read.
template <class T>
void get_head_of_record(Reader& r, T& m, std::size_t fields_max) {
  std::apply(
      [&](auto&&... field) {
        const std::size_t count = r.array_up_to(fields_max);
        if (count < sizeof...(field)) r.set_error("fields are missing");
        (get_field(r, field), ...);
        if (r.ok() && count > sizeof...(field)) r = Reader({});
      },
      fields(Shape{}, m));
}

}  // namespace capstan::wire
