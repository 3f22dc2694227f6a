// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <variant>
#include <vector>

namespace capstan::test {

/// Those of one kind, in their order; they leave `actions`.
template <class One, class Action>
std::vector<One> take_of(std::vector<Action>& actions) {
  std::vector<One> found;
  std::vector<Action> rest;
  for (Action& action : actions) {
    if (auto* one = std::get_if<One>(&action))
      found.push_back(std::move(*one));
    else
      rest.push_back(std::move(action));
  }
  actions = std::move(rest);
  return found;
}

}  // namespace capstan::test
