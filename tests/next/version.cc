// SPDX-License-Identifier: MIT
//
// The programs of a version to come: everything else is the same. For the upgrade test
// (tests/integration/upgrade_test.cc).
#include "common/wire/version.h"

namespace capstan {

const char* const kVersion = "0.2.0-next";
const std::uint32_t kProtocol = 2;
const std::uint32_t kProtocolOldest = 1;
const std::uint32_t kEntryLevel = 2;

}  // namespace capstan
