// SPDX-License-Identifier: MIT
//
// A std::variant of many types whose copying, moving and destroying are compiled once, not in each
// source that touches it: with 80 types that is 5 to 10 seconds a source. To be used as
//
//    using Body = Sum<std::variant<…>>;            // in the header,
//    extern template class capstan::Sum<…>;        // behind it,
//    template class capstan::Sum<…>;               // in one source that includes sum_members.h
//
// Everything else is std::variant's: visit, get_if, holds_alternative, index.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>
#include <variant>

namespace capstan {

template <class Variant>
class Sum : public Variant {
 public:
  using variant = Variant;
  Sum();
  Sum(const Sum& other);
  Sum(Sum&& other) noexcept;
  Sum& operator=(const Sum& other);
  Sum& operator=(Sum&& other) noexcept;
  ~Sum();
  /// Holds `value`, of exactly one of the types.
  template <class T>
  requires(!std::derived_from<std::remove_cvref_t<T>, Variant>)
      Sum(T&& value)  // NOLINT(google-explicit-constructor): as std::variant's.
      : Variant(std::in_place_type<std::remove_cvref_t<T>>, std::forward<T>(value)) {}
};

}  // namespace capstan
