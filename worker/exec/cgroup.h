// SPDX-License-Identifier: MIT
//
// What control groups say about this process: where it is, and how much memory that leaves it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace capstan {

/// The directory of a process's group: of the hierarchy that `controller` is in (version 1), or of
/// version 2 when it is "". From the texts of /proc/PID/mountinfo and /proc/PID/cgroup. "": none.
std::string cgroup_dir(std::string_view mountinfo, std::string_view groups,
                       std::string_view controller);

/// The directory of this process's group of version 2. "": none.
std::string own_cgroup();

/// The machine's memory, or the lowest limit of the groups that this process is in.
std::uint64_t usable_memory();

}  // namespace capstan
