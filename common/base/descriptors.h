// SPDX-License-Identifier: MIT
#pragma once

#include <sys/resource.h>

#include <optional>

namespace capstan {

/// Lets this process have more open files than the usual 1,024, as far as it may: more than all
/// connections and files need; a limit of a milliard makes others slow. Returns the limit that was
/// there, if it was raised.
std::optional<rlimit> raise_descriptor_limit();

/// First in main(): a program that was started without standard input, output or error gets
/// /dev/null there. Else the first file that it opens would have one of their numbers, and what is
/// said to people would be written into it.
void fill_standard_descriptors();

}  // namespace capstan
