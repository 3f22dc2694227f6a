// SPDX-License-Identifier: MIT
//
// CHECK: our own invariant, on in release builds. When it fails the process prints what and where
// and aborts: a wrong queue must not go on. Never used on anything that came from outside.
#pragma once

namespace capstan {

/// Prints "CHECK failed: EXPRESSION at FILE:LINE" on stderr and aborts.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace capstan

#define CHECK(condition)                                       \
  do {                                                         \
    if (__builtin_expect(!(condition), 0))                     \
      ::capstan::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
