// SPDX-License-Identifier: MIT
#include "tests/sim/operator.h"

#include <utility>

#include "common/wire/codec.h"

namespace capstan::sim {

Operator::Operator(const std::vector<Network*>& networks,
                   std::function<void(std::string_view)> count)
    : count_(std::move(count)) {
  for (Network* network : networks) {
    links_.push_back(&network->add_link(
        {.role = Role::Admin, .name = "operator", .public_key = "key-of-operator"},
        {.on_frame = [this](std::string_view frame) { on_frame(frame); },
         .on_connected = [] {},
         .on_closed = [] {}}));
  }
}

void Operator::say(NodeId to, Words words) {
  msg::Message message;
  message.body = msg::ClusterControl{.query = ++queries_,
                                     .verb = words.verb,
                                     .node = std::move(words.node),
                                     .lost = std::move(words.lost),
                                     .value = words.value};
  links_.at(to - 1U)->send(wire::encode(message));
}

void Operator::on_frame(std::string_view frame) const {
  const auto message = wire::decode(frame);
  const auto* done = message ? std::get_if<msg::ClusterDone>(&message->body) : nullptr;
  if (done != nullptr) count_(done->ok ? "operator: done" : "operator: refused");
}

}  // namespace capstan::sim
