// SPDX-License-Identifier: MIT
//
// Who steers a simulated cluster: says `capstan failover`, `cluster reseed` and the like to a node,
// over a network that may lose it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/voting.h"
#include "common/wire/message.h"
#include "tests/sim/network.h"

namespace capstan::sim {

class Operator {
 public:
  /// A link to each node; `count` is told what was answered.
  Operator(const std::vector<Network*>& networks, std::function<void(std::string_view)> count);

  struct Words {
    msg::ClusterVerb verb = msg::ClusterVerb::FailOver;
    std::string node{};
    std::vector<std::string> lost{};
    std::uint32_t value = 0;
  };
  void say(NodeId to, Words words);

 private:
  void on_frame(std::string_view frame) const;

  std::vector<Link*> links_;
  std::function<void(std::string_view)> count_;
  std::uint64_t queries_ = 0;
};

}  // namespace capstan::sim
