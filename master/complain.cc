// SPDX-License-Identifier: MIT
#include "master/complain.h"

#include <fmt/format.h>

#include <cstdio>

namespace capstan {
namespace {

int exit_code(Errc code) {
  switch (code) {
    case Errc::Invalid:
      return kExitUsage;
    case Errc::Locked:
    case Errc::NotAllowed:
    case Errc::TooNew:
      return kExitRefused;
    default:
      return kExitFailed;
  }
}

}  // namespace

int complain(const Error& error) {
  fmt::print(stderr, "capstan-master: {}\n", error.message);
  return exit_code(error.code);
}

}  // namespace capstan
