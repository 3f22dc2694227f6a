// SPDX-License-Identifier: MIT
//
// Which cpus of the machine are this worker's to pin tasks to. Workers on one machine that know
// nothing of each other must not pin to the same cpu while others idle, so each cpu is claimed, by
// a name in the kernel (an abstract socket) that is free again when its owner dies.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/unique_fd.h"

namespace capstan {

/// The cpus that this process may use, ascending.
std::vector<std::uint32_t> allowed_cpus();

class CpuClaims {
 public:
  /// So many of `allowed` that nobody else claims; none when there are not enough of them.
  static CpuClaims take(std::uint32_t count, const std::vector<std::uint32_t>& allowed);

  [[nodiscard]] const std::vector<std::uint32_t>& cpus() const { return cpus_; }

 private:
  std::vector<std::uint32_t> cpus_;
  std::vector<UniqueFd> names_;
};

}  // namespace capstan
