// SPDX-License-Identifier: MIT
//
// How often a key may connect: a bucket of kConnectBurst connects that fills up again by
// kConnectsPerSecond. A fleet that comes back after a master's restart passes; a key that guesses
// or spins is held back, alone. Inside common/net only. One thread.
#pragma once

#include <map>
#include <string>

#include "common/base/clock.h"

namespace capstan::net {

class ConnectRate {
 public:
  /// Takes one connect of `key`; false when there is none left. REQUIRES: keys that are known, so
  /// that there are few.
  bool take(const std::string& key, TimePoint now);
  [[nodiscard]] std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    TimePoint at;
  };
  static double refilled(const Bucket& bucket, TimePoint now);

  std::map<std::string, Bucket> buckets_;  // By public key. A full one is the same as none.
};

}  // namespace capstan::net
