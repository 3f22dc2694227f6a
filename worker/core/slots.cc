// SPDX-License-Identifier: MIT
#include "worker/core/slots.h"

#include <algorithm>

namespace capstan {

Slots::Slots(Room room) : room_(room) {
  room_.cpus = std::max(1U, room_.cpus);
}

std::optional<Slots::Share> Slots::take(std::uint32_t cpus, std::uint64_t mem_bytes) {
  const Share share{.cpus = std::clamp(cpus, 1U, room_.cpus),
                    .mem_bytes = std::min(mem_bytes, room_.mem_bytes)};
  if (share.cpus > room_.cpus - cpus_taken_) return std::nullopt;
  if (share.mem_bytes > room_.mem_bytes - mem_taken_) return std::nullopt;
  cpus_taken_ += share.cpus;
  mem_taken_ += share.mem_bytes;
  return share;
}

void Slots::give_back(const Share& share) {
  cpus_taken_ -= share.cpus;
  mem_taken_ -= share.mem_bytes;
}

}  // namespace capstan
