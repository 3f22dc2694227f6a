// SPDX-License-Identifier: MIT
#include "master/complain.h"

#include "common/base/print_error.h"

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
  print_error("capstan-master: {}\n", error.message);
  return exit_code(error.code);
}

}  // namespace capstan
