// SPDX-License-Identifier: MIT
//
// The members of Sum (sum.h): for the one source that instantiates it.
#pragma once

#include "common/base/sum.h"

namespace capstan {

template <class Variant>
Sum<Variant>::Sum() = default;
template <class Variant>
Sum<Variant>::Sum(const Sum& other) = default;
template <class Variant>
Sum<Variant>::Sum(Sum&& other) noexcept = default;
template <class Variant>
Sum<Variant>& Sum<Variant>::operator=(const Sum& other) = default;
template <class Variant>
Sum<Variant>& Sum<Variant>::operator=(Sum&& other) noexcept = default;
template <class Variant>
Sum<Variant>::~Sum() = default;

}  // namespace capstan
