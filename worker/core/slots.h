// SPDX-License-Identifier: MIT
//
// What a worker has to give to tasks, and what of it is taken. Pure; a part of the shepherd.
// Invariant: the shares that are out never sum to more than there is.
#pragma once

#include <cstdint>
#include <optional>

namespace capstan {

class Slots {
 public:
  struct Room {
    std::uint32_t cpus = 1;
    std::uint64_t mem_bytes = 0;  ///< 0: not known, nothing is counted.
  };
  struct Share {
    std::uint32_t cpus = 0;
    std::uint64_t mem_bytes = 0;
  };

  explicit Slots(Room room);

  /// Nothing: it does not fit now. Who asks for more than there is takes all of it.
  [[nodiscard]] std::optional<Share> take(std::uint32_t cpus, std::uint64_t mem_bytes);
  void give_back(const Share& share);

 private:
  Room room_;
  std::uint32_t cpus_taken_ = 0;
  std::uint64_t mem_taken_ = 0;
};

}  // namespace capstan
