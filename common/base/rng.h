// SPDX-License-Identifier: MIT
//
// A seeded generator (splitmix64, Steele et al. 2014) for shells, jitter and the simulator.
// Not for secrets: those come from libsodium.
#pragma once

#include <cstdint>

namespace capstan {

/// One step of splitmix64: a good 64-bit mixing of `x`. Pure: usable in `apply` for jitter.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

class Rng {
 public:
  explicit constexpr Rng(std::uint64_t seed) : state_(seed) {}
  constexpr std::uint64_t next() { return mix64(state_ += 0x9E3779B97F4A7C15ULL); }
  /// Uniform in [0, bound); 0 when bound is 0.
  constexpr std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  /// True with the given chance in percent.
  constexpr bool chance(unsigned percent) { return below(100) < percent; }

 private:
  std::uint64_t state_;
};

}  // namespace capstan
