// SPDX-License-Identifier: MIT
#include "tests/sim/schedule.h"

#include <algorithm>
#include <cstdio>

namespace capstan::sim {

void Schedule::at(TimePoint when, Action action) {
  events_.emplace(std::pair{std::max(when, now_), ++order_}, std::move(action));
}

bool Schedule::step(TimePoint until) {
  if (events_.empty() || events_.begin()->first.first > until) {
    now_ = std::max(now_, until);
    return false;
  }
  auto node = events_.extract(events_.begin());
  now_ = node.key().first;
  node.mapped()();
  return true;
}

Micros Schedule::between(Micros low, Micros high) {
  const auto width = static_cast<std::uint64_t>((high - low).count()) + 1;
  return low + Micros(static_cast<std::int64_t>(rng_.below(width)));
}

void Schedule::trace(std::string_view what, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  for (const char letter : what) hash_ = mix64(hash_ ^ static_cast<unsigned char>(letter));
  hash_ = mix64(mix64(mix64(hash_ ^ a) ^ b) ^ c);
  hash_ = mix64(hash_ ^ static_cast<std::uint64_t>(now_.us));
  if (printing_) {
    std::printf("%12.6f %.*s %llu %llu %llu\n", static_cast<double>(now_.us) / 1e6,
                static_cast<int>(what.size()), what.data(), static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b), static_cast<unsigned long long>(c));
  }
}

}  // namespace capstan::sim
