// SPDX-License-Identifier: MIT
//
// How a verb ends: an exit code, or a failure with its exit code and one line for the person.
// The codes are public API (docs/cli.md).
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include "common/base/error.h"

namespace capstan::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;         ///< It was done, and a task (or a write) failed.
inline constexpr int kExitUsage = 2;          ///< What was typed cannot be meant; nothing was sent.
inline constexpr int kExitRefused = 3;        ///< A master answered: no.
inline constexpr int kExitUnavailable = 75;   ///< No answer in time (EX_TEMPFAIL): try again.
inline constexpr int kExitTimedOut = 124;     ///< `wait --timeout` passed; as timeout(1) says it.
inline constexpr int kExitInterrupted = 130;  ///< Ctrl-C, as shells say it.

/// Why a verb could not do what it was asked for. `message` is one line.
struct Failure {
  int exit_code = kExitFailed;
  std::string message;
};

/// Either a T or a Failure. TRY works on it.
template <class T>
using Outcome = tl::expected<T, Failure>;

inline tl::unexpected<Failure> fail_with(int exit_code, std::string message) {
  return tl::unexpected<Failure>(Failure{exit_code, std::move(message)});
}

/// The user's mistake: exit 2.
inline tl::unexpected<Failure> usage_error(std::string message) {
  return fail_with(kExitUsage, std::move(message));
}

/// A Result that only a mistake in what was typed can spoil. `what` names it: "--array: bad range".
template <class T>
Outcome<T> as_usage(Result<T> result, std::string_view what = {}) {
  if (result) {
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return std::move(*result);
    }
  }
  std::string message = std::move(result.error().message);
  if (!what.empty()) message = std::string(what) + ": " + message;
  return usage_error(std::move(message));
}

/// What a master's answer, or its absence, means for the exit code.
constexpr int exit_code_of(Errc code) {
  switch (code) {
    case Errc::Unavailable:
    case Errc::Timeout:
    case Errc::OutcomeUnknown:
      return kExitUnavailable;
    case Errc::Invalid:
    case Errc::NotFound:
    case Errc::NotAllowed:
    case Errc::Conflict:
    case Errc::Protocol:
    case Errc::TooNew:
      return kExitRefused;
    case Errc::Io:
    case Errc::DiskFull:
    case Errc::Corrupt:
    case Errc::Locked:
      return kExitFailed;
  }
  return kExitFailed;
}

}  // namespace capstan::cli
