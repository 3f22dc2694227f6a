// SPDX-License-Identifier: MIT
//
// Errors as values. Every function that can fail for a reason outside this program returns
// Result<T>; a broken promise of our own is a CHECK (check.h) and stops the process.
// An error's message says what was being done, and to what, in words for the person who reads it.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace capstan {

/// Why something failed. The numbers travel in messages: append only, never renumber.
enum class Errc : unsigned char {
  Invalid = 1,         ///< What was asked makes no sense (a bad range, an empty command).
  NotFound = 2,        ///< It does not exist, or not any more.
  NotAllowed = 3,      ///< The key's role or the owner forbids it.
  Conflict = 4,        ///< It contradicts something that is there (the same token, other contents).
  Unavailable = 5,     ///< Not now: try again (no master, draining, disk nearly full).
  Io = 6,              ///< The system refused: the message has its words.
  DiskFull = 7,        ///< ENOSPC, and the write was rolled back whole.
  OutcomeUnknown = 8,  ///< It may have happened or not. Never folded into failure.
  Corrupt = 9,         ///< Stored or received bytes that cannot be what we wrote.
  Protocol = 10,       ///< A peer broke the rules of the wire.
  Timeout = 11,        ///< The limit that the caller gave has passed.
  Locked = 12,         ///< Another process holds it.
  TooNew = 13,         ///< Written by a newer version than this one.
};

struct Error {
  Errc code;
  std::string message;
};

/// Either a T or an Error.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

inline tl::unexpected<Error> fail(Errc code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

/// The error with what was being done in front: "while opening x: No such file".
inline tl::unexpected<Error> fail(Error error, std::string_view doing) {
  error.message = std::string(doing) + ": " + error.message;
  return tl::unexpected<Error>(std::move(error));
}

/// For TRY: what a successful one holds, nothing for void.
template <class T, class E>
T taken_from(tl::expected<T, E>& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// The system's words for an errno.
std::string errno_text(int error_number);

}  // namespace capstan

/// Evaluates to the value of a Result, or of anything else that is expected or not, or returns its
/// error from the enclosing function.
#define TRY(expression)                                                                \
  ({                                                                                   \
    auto try_result = (expression);                                                    \
    using TryError = std::remove_reference_t<decltype(try_result.error())>;            \
    if (!try_result) return ::tl::unexpected<TryError>(std::move(try_result.error())); \
    ::capstan::taken_from(try_result);                                                 \
  })
