// SPDX-License-Identifier: MIT
//
// Token buckets, one for each key that connected lately.
#include "common/net/connect_rate.h"

#include <algorithm>

#include "common/model/limits.h"

namespace capstan::net {

double ConnectRate::refilled(const Bucket& bucket, TimePoint now) {
  const double seconds = static_cast<double>((now - bucket.at).count()) / 1e6;
  return std::min<double>(limits::kConnectBurst,
                          bucket.tokens + seconds * limits::kConnectsPerSecond);
}

bool ConnectRate::take(const std::string& key, TimePoint now) {
  if (buckets_.size() >= limits::kWorkers) {
    std::erase_if(buckets_, [now](const auto& entry) {
      return refilled(entry.second, now) >= limits::kConnectBurst;
    });
  }
  Bucket& bucket = buckets_.try_emplace(key, Bucket{limits::kConnectBurst, now}).first->second;
  bucket = Bucket{refilled(bucket, now), now};
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

}  // namespace capstan::net
