// SPDX-License-Identifier: MIT
#include "common/wire/version.h"

namespace capstan {

const char* const kVersion = "0.1.0";
const std::uint32_t kProtocol = 1;
const std::uint32_t kProtocolOldest = 1;
const std::uint32_t kEntryLevel = 1;

}  // namespace capstan
