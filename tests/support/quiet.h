// SPDX-License-Identifier: MIT
//
// A test source that includes this prints no event below an error.
#pragma once

#include "common/base/log.h"

namespace capstan::test {

struct Quiet {
  Quiet() { log::configure(log::Level::Error, log::Format::Text); }
};
inline const Quiet kQuiet;

}  // namespace capstan::test
