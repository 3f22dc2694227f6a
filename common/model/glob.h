// SPDX-License-Identifier: MIT
//
// Names by a pattern. Pure, and its time is bounded by the two lengths multiplied: a pattern comes
// from outside.
#pragma once

#include <string_view>

namespace capstan {

/// True when all of `text` is what `pattern` says: `*` is any run of characters, `?` any one
/// character (of UTF-8), everything else itself.
[[nodiscard]] bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace capstan
