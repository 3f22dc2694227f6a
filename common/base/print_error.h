// SPDX-License-Identifier: MIT
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace capstan {

/// To standard error. What cannot be written there is lost and changes nothing: a full disk behind
/// a log must not end what works (fmt::print would throw).
void write_error(std::string_view text);

template <class... Args>
void print_error(fmt::format_string<Args...> text, Args&&... args) {
  write_error(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace capstan
